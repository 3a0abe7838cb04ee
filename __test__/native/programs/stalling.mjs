/**
 * A relay whose JavaScript stands still on SIGUSR2, for as long as a file is there, and for two seconds at least. Takes
 * the relay's private key and the file; prints the port, when packets flow, when it stands still, and when it goes on,
 * with the number of packets sent in between. Clients are kept alive every second.
 */
import { existsSync, writeSync } from 'node:fs';
import { parseSettings } from '../../../dist/config.js';
import { selectPlane } from '../../../dist/plane/select.js';
import { composeRelay } from '../../../dist/relay.js';

const LEAST = 2000;

const [, , privateKey, file] = process.argv;
const settings = parseSettings({
  listen: '127.0.0.1:0',
  certMode: 'off',
  httpPort: -1,
  stun: false,
  plane: 'native',
  logLevel: 'silent',
  privateKey,
});
const selected = selectPlane('native', { tls: false });
const create = ({ policy, ...options }, events) =>
  selected.create({ ...options, policy: { ...policy, keepAlive: { interval: 1000, jitter: 0 } } }, events);
const relay = composeRelay(settings, { ...selected, create });
await relay.start();
process.on('SIGUSR2', () => {
  // Not through a stream, which would wait for the loop.
  writeSync(1, 'stands still\n');
  const before = relay.counters().packets_sent;
  const begin = performance.now();
  while (existsSync(file) || performance.now() - begin < LEAST);
  writeSync(1, `goes on after ${relay.counters().packets_sent - before} packets\n`);
});
process.on('SIGTERM', () => relay.close());
const looking = setInterval(() => {
  if (relay.counters().packets_sent < 1000) return;
  clearInterval(looking);
  console.log('packets flow');
}, 10).unref();
console.log(`port ${relay.address.derp.port}`);
