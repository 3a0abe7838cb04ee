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
  it('the rate file is read again, and applies to connected clients', async () => {
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
    '%s is refused, and the rate from before stays in force',
    async (bad) => {
      const { relay, port, write } = await startWith(plane, LIMIT);
      write(bad);
      relay.signal('SIGHUP');
      await relay.printed(/error: a file cannot be used, and its last contents stay in force reason=\S+/);
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
  it('certificates are read again; one line reports an unusable one', async () => {
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
    await relay.printed(
      /error: a file cannot be used, and its last contents stay in force reason="\S*derp.test.key: the private key/,
    );
    await shown(second.chain);
    expect((await relay.stop()).code).toBe(0);
  });
});

interface Serving {
  readonly relay: Command;
  readonly port: number;
  write(text: string): void;
  /** Has the settings read again, and waits for what is said about them. */
  reload(text: string, said: RegExp): Promise<void>;
}

/** `derpkit serve` with a settings file, whose other settings are those of the test. */
async function serve(plane: string, text: string, env = {}, flags: readonly string[] = []): Promise<Serving> {
  const directory = temporary();
  const path = join(directory, 'relay.yaml');
  const own = `listen: 127.0.0.1:0\ncertMode: off\nstun: false\nkeyFile: ${join(directory, 'derper.key')}\n`;
  const write = (written: string) => writeFileSync(path, own + written);
  write(text);
  const relay = start('derpkit', ['serve', '--config', path, ...flags], { env: { DERPKIT_PLANE: plane, ...env } });
  const port = await portOf(relay, 'DERP over plain HTTP');
  const reload = async (written: string, said: RegExp) => {
    write(written);
    relay.signal('SIGHUP');
    await relay.printed(said);
  };
  return { relay, port, write, reload };
}

describe.each(PLANE_KINDS)('SIGHUP, on the %s plane, with a settings file', (plane) => {
  it('settings that can change are applied; for others a line names the setting that needs a restart, but no value', async () => {
    const { relay, port, reload } = await serve(
      plane,
      'meshKey: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\n',
    );
    const nodeKey = await keyOf(relay);
    const client = await logIn(port, nodeKey);
    const directory = temporary();
    const [keys, rate] = [join(directory, 'keys'), join(directory, 'rate.json')];
    writeFileSync(keys, '');
    writeFileSync(rate, '{"PerClientRateLimitBytesPerSec": 1000}');
    const changed = [
      'logLevel: debug',
      `admission: { verifiers: [{ keys: ${keys} }] }`,
      `rateConfig: ${rate}`,
      'meshKey: bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',
      'queueDepth: 7\n',
    ].join('\n');
    await reload(changed, /changed settings are in force settings=rateConfig,admission\.verifiers,logLevel\n/);
    await relay.printed(/warn: settings have changed that need a restart settings=queueDepth,meshKey\n/);
    await client.closed();
    await relay.printed(/debug: client disconnected/);
    expect(await metric(port, 'derp_rate_limit_per_client_bytes_per_second')).toBe(1000);
    // The next reload without a change says nothing of what has been applied.
    await reload(changed, /the relay has read its files again\n(?:.*\n)*.*the relay has read its files again\n/);
    const { code, stderr } = await relay.stop();
    expect(code).toBe(0);
    expect(stderr.match(/changed settings are in force/g)).toHaveLength(1);
    expect(stderr.match(/need a restart/g)).toHaveLength(2);
    expect(stderr).not.toMatch(/aaaa|bbbb/);
  });

  it('settings of flags and variables stay as they are', async () => {
    const env = { DERPKIT_LOG_LEVEL: 'info' };
    const { relay, reload } = await serve(plane, '', env, ['--debug-hosts', 'a.test']);
    const text = 'logLevel: silent\ndebugHosts: b.test\ndebugHint: true\n';
    await reload(text, /changed settings are in force settings=debugHint\n/);
    expect((await relay.stop()).stderr).toMatch(/stopping reason=SIGTERM\n.* the relay has ended .*\n$/);
  });

  it.each([
    ['debugHint: true\ndebugHosts: [\n', /error: .* the settings are unchanged reason="relay\.yaml:6: .*\n/],
    [
      'debugHint: true\nqueueDepth: none\n',
      /error: .* the settings are unchanged reason="relay\.yaml: queueDepth: must be a number from 1 to 65536"\n/,
    ],
    [
      'debugHint: true\nqueuedepth: 3\n',
      /error: .* the settings are unchanged reason="relay\.yaml: queuedepth: there is no such setting; it is called queueDepth"\n/,
    ],
    [
      'debugHint: true\nrateConfig: /nowhere/rate.json\n',
      /error: .* the settings are unchanged reason="relay\.yaml: rateConfig: \/nowhere\/rate\.json: no such file or directory"\n/,
    ],
    [
      'debugHint: true\nadmission: { verifiers: [{ keys: /nowhere/allow.txt }] }\n',
      /error: .* the settings are unchanged reason="relay\.yaml: admission\.verifiers\.0\.keys: \/nowhere\/allow\.txt: no such file or directory"\n/,
    ],
  ])('everything stays as it is if the file has %j', async (bad, message) => {
    const { relay, reload } = await serve(plane, '');
    await reload(bad, message);
    await reload('debugHint: true\n', /changed settings are in force settings=debugHint\n/);
    const { code, stderr } = await relay.stop();
    expect({ code, errors: stderr.match(/error: /g)?.length }).toEqual({ code: 0, errors: 1 });
  });
});

it('a second relay at one port is refused, and the first one goes on', async () => {
  const first = start('derper', ['-a', '127.0.0.1:0', '-stun=false', '-c', join(temporary(), 'derper.key')]);
  const port = await portOf(first, 'DERP over plain HTTP');
  const args = ['-a', `127.0.0.1:${port}`, '-stun=false', '-c', join(temporary(), 'derper.key')];
  const { code, stderr } = await start('derper', args).end();
  expect(code).toBe(1);
  expect(stderr).toMatch(/^derper: cannot listen on .*: the port is already in use; choose another port with -a\n$/);
  expect((await get(port, '/derp/probe')).status).toBe(200);
  expect((await first.stop()).code).toBe(0);
});
