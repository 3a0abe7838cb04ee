/**
 * A relay inside of a program: with the program's own decision about clients, its own log, and a gentle end.
 *
 *     npm install derpkit pino && npm install --save-dev typescript @types/node
 *     npx tsc -p . && node relay.mjs allowed.txt
 *
 * `allowed.txt` has the node key of a client on each line. In a clone: `npm run build`, then `npx tsc -p examples/node --outDir
 * .derpkit`, and `node .derpkit/relay.mjs allowed.txt`.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { ConfigError, createRelay, type OnAdmit } from 'derpkit';
import { pino } from 'pino';

const [allowed = 'allowed.txt', listen = '127.0.0.1:3340'] = process.argv.slice(2);
const logger = pino({ name: 'relay' });
const end = new AbortController();

/** Decides about each client. `signal` aborts when the client leaves, or has waited for too long. */
const onAdmit: OnAdmit = async ({ key }, signal) => {
  const keys = (await readFile(allowed, { encoding: 'utf8', signal })).split('\n');
  return keys.includes(key) || { refuse: `not in ${allowed}` };
};

async function run(): Promise<void> {
  // The relay is closed where this function ends, also by an error.
  await using relay = createRelay({ listen, certMode: 'off', stun: false, dataDir: 'relay-data' }, { onAdmit, logger });
  relay.on('connected', ({ key, peer }) => logger.info({ key, address: peer.address }, 'a client is there'));
  relay.once('fault', () => {
    process.exitCode = 1;
    end.abort();
  });
  await relay.start();
  logger.info({ port: relay.address?.derp.port, key: relay.publicKey }, 'serving');
  if (!end.signal.aborted) await once(end.signal, 'abort');
  for await (const { key, received, sent } of relay.clients()) {
    logger.info({ key, received: received.bytes, sent: sent.bytes }, 'a client is still there');
  }
  // A relay that others find tells them that it ends, and serves on for a moment; any other ends at once.
  await relay.drain();
}

// The relay leaves signals to the program.
for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => end.abort());
try {
  await run();
} catch (error) {
  if (!(error instanceof ConfigError)) throw error;
  for (const { path, message } of error.problems) console.error(`${path}: ${message}`);
  process.exitCode = 2;
}
