/** What the native plane does where the system refuses what a stranger makes it ask for. */
import { expect, it, onTestFinished } from 'vitest';
import { parseSettings } from '../../src/config.js';
import { createLogger } from '../../src/logger.js';
import { formatPrivateKey, generateKeyPair } from '../../src/protocol/key.js';
import { composeRelay } from '../../src/relay.js';
import { DerpClient } from '../helpers/client.js';
import type { FaultyPlane } from '../helpers/faulty-addon.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { pemPair } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import { faultyPlanes } from './addon.js';

nothingIsLeft();

const WEB_SOCKET = [
  'GET /derp HTTP/1.1',
  'Host: localhost',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Protocol: derp',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n');

/** What a stranger does to make the plane ask the system for something. */
const CASES = [
  { fault: 'accept', request: undefined },
  { fault: 'register', request: undefined },
  { fault: 'pair', request: 'GET /generate_204 HTTP/1.1\r\nHost: localhost\r\n\r\n' },
  { fault: 'duplicate', request: WEB_SOCKET },
] as const;

it.each(CASES)('a system that refuses to $fault costs only the connection that asked for it', async (row) => {
  const { fault, request } = row;
  const { create, made } = faultyPlanes();
  const keys = generateKeyPair();
  const settings = parseSettings({
    listen: '127.0.0.1:0',
    certificate: pemPair(['localhost']),
    httpPort: -1,
    stun: false,
    privateKey: formatPrivateKey(keys.privateKey),
  });
  const logger = createLogger({ format: 'json', level: 'silent' });
  const relay = composeRelay(settings, { kind: 'native', reason: 'a test', create }, { logger });
  onTestFinished(() => relay.close());
  const ends: unknown[] = [];
  relay.on('fault', (error) => ends.push(error));
  await relay.start();
  const target = { host: '127.0.0.1', port: relay.address?.derp.port as number, tls: {} };
  const connect = async () => {
    const client = new DerpClient(await Wire.open(target), keys.publicKey);
    await client.login();
    return client;
  };
  const [from, to] = [await connect(), await connect()];
  const exchange = async (text: string) => {
    from.sendPacket(to.key, text);
    expect(await to.expectPacket(text)).toBe(from.key);
  };

  const plane = made.plane as FaultyPlane;
  plane.plant(fault);
  await exchange('while the system refuses');
  for (let time = 0; time < 3; time++) {
    const stranger = Wire.open(target).then(async (wire) => {
      if (request) wire.write(request);
      await wire.ended();
    });
    // Its end may come before it is open. One that is served instead does not end.
    const isOver = stranger.catch((error: Error) => {
      if (error.message.includes('in vain')) throw error;
    });
    // Where nothing is accepted, the handshake waits in the system's queue.
    if (fault === 'accept') isOver.catch(() => undefined);
    else await isOver;
    await exchange(`after stranger ${time}`);
  }

  plane.plant(null);
  const late = await eventually(() => connect().catch(() => undefined), 'a newcomer to be let in');
  expect(await late.fence()).toEqual([]);
  await exchange('when the system refuses no more');
  expect(ends).toEqual([]);
});
