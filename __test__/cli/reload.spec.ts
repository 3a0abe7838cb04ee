/** SIGHUP: files and settings are read again by a process that goes on. `signals.spec.ts` has what it means without them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { sendPacketFrame } from '../../src/protocol/frame.js';
import { PLANE_KINDS } from '../helpers/lanes.js';
import { pemPair } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { type Command, start, temporary } from './commands.js';
import { get, handshake, keyOf, logIn, portOf } from './reach.js';

const NO_LIMIT = '{}';
/** A packet's worth at once, and then next to nothing. */
const LIMIT = '{"PerClientRateLimitBytesPerSec": 1, "PerClientRateBurstBytes": 1}';

interface Started {
  readonly relay: Command;
  readonly port: number;
  write(text: string): void;
}

async function startWith(plane: string, text: string): Promise<Started> {
  const directory = temporary();
  const path = join(directory, 'rate.json');
  const write = (written: string) => writeFileSync(path, written);
  write(text);
  const args = ['-a', '127.0.0.1:0', '-stun=false', '-c', join(directory, 'derper.key'), '-rate-config', path];
  const relay = start('derper', args, { env: { DERPKIT_PLANE: plane } });
  return { relay, port: await portOf(relay, 'DERP over plain HTTP'), write };
}

async function metric(port: number, name: string): Promise<number> {
  const text = await (await get(port, '/debug/varz')).text();
  return Number(new RegExp(`^${name} (\\S+)$`, 'm').exec(text)?.[1]);
}

describe.each(PLANE_KINDS)('SIGHUP, on the %s plane', (plane) => {
  it('has the rate file read again, and what is in it holds for who is connected', async () => {
    const { relay, port, write } = await startWith(plane, NO_LIMIT);
    const nodeKey = await keyOf(relay);
    const [client, other] = [await logIn(port, nodeKey), await logIn(port, nodeKey)];
    const packet = sendPacketFrame(other.key, Buffer.alloc(60_000));
    let got = 0;
    other.onPacket = () => {
      got += 1;
    };
    for (let count = 0; count < 4; count++) client.send(packet);
    await eventually(() => got === 4, 'packets without a limit');
    write(LIMIT);
    relay.signal('SIGHUP');
    await relay.printed(/the relay has read its files again/);
    expect(await metric(port, 'derp_rate_limit_per_client_bytes_per_second')).toBe(1);
    // The bucket is full; what is overdrawn holds everything behind it back.
    for (let count = 0; count < 4; count++) client.send(packet);
    await eventually(
      async () => (await metric(port, 'derp_rate_limit_per_client_waited')) > 0,
      'the client to be held',
    );
    expect(got).toBeLessThan(8);
    write(NO_LIMIT);
    relay.signal('SIGHUP');
    await eventually(() => got === 8, 'what was held back');
    expect((await relay.stop()).code).toBe(0);
  });

  it.each(['{', '[]', '{"PerClientRateLimitBytesPerSec": "x"}'])(
    'keeps what there was, if there is %s',
    async (bad) => {
      const { relay, port, write } = await startWith(plane, LIMIT);
      write(bad);
      relay.signal('SIGHUP');
      await relay.printed(/error: a file cannot be used, and its last contents hold: \S+/);
      expect(await metric(port, 'derp_rate_limit_per_client_bytes_per_second')).toBe(1);
      // A good one is taken afterwards.
      write(NO_LIMIT);
      relay.signal('SIGHUP');
      await relay.printed(/the relay has read its files again/);
      expect(await metric(port, 'derp_rate_limit_per_client_bytes_per_second')).toBe(0);
      expect((await relay.stop()).code).toBe(0);
    },
  );
});

describe.each(PLANE_KINDS)('SIGHUP, on the %s plane, with certificates from files', (plane) => {
  it('has them read again; one that cannot be used is told of in one line', async () => {
    const directory = temporary();
    const write = ({ chain, key }: { chain: string; key: string }) => {
      writeFileSync(join(directory, 'derp.test.key'), key);
      writeFileSync(join(directory, 'derp.test.crt'), chain);
    };
    const [first, second] = [pemPair(['derp.test']), pemPair(['derp.test'])];
    write(first);
    const own = ['-a', '127.0.0.1:0', '-http-port=-1', '-stun=false', '-c', join(directory, 'derper.key')];
    const files = ['-certmode=manual', '-hostname=derp.test', '-certdir', directory];
    const relay = start('derper', [...own, ...files], { env: { DERPKIT_PLANE: plane } });
    const port = await portOf(relay, 'DERP over TLS');
    // The handshake fails where the certificate is another one.
    const shown = (ca: string) => handshake(port, { servername: 'derp.test', ca, rejectUnauthorized: true });
    await shown(first.chain);
    write(second);
    relay.signal('SIGHUP');
    await relay.printed(/the relay has read its files again/);
    await shown(second.chain);
    await expect(shown(first.chain)).rejects.toThrow();
    write({ ...second, key: first.key });
    relay.signal('SIGHUP');
    await relay.printed(/error: a file cannot be used, and its last contents hold: \S*derp.test.key: the private key/);
    await shown(second.chain);
    expect((await relay.stop()).code).toBe(0);
  });
});

it('a second relay at the same port is told so, and the first one goes on', async () => {
  const first = start('derper', ['-a', '127.0.0.1:0', '-stun=false', '-c', join(temporary(), 'derper.key')]);
  const port = await portOf(first, 'DERP over plain HTTP');
  const args = ['-a', `127.0.0.1:${port}`, '-stun=false', '-c', join(temporary(), 'derper.key')];
  const { code, stderr } = await start('derper', args).end();
  expect(code).toBe(1);
  expect(stderr).toMatch(/^derper: cannot listen on .*: the port is already in use; choose another port with -a\n$/);
  expect((await get(port, '/derp/probe')).status).toBe(200);
  expect((await first.stop()).code).toBe(0);
});
