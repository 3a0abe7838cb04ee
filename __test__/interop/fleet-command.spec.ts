/** `derpkit fleet`, as an operator types it: relays in processes of their own, in a region with a real nats-server. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { builtNats } from '../../packaging/nats.mjs';
import { parseSettings } from '../../src/config.js';
import type { NatsDirectoryOptions } from '../../src/control/directory/nats-directory.js';
import type { FleetReport } from '../../src/http/fleet-report.js';
import { formatNodeKey, generateKeyPair, type KeyPair } from '../../src/protocol/key.js';
import { fleetSettings } from '../../src/relay/fleet-settings.js';
import { VERSION } from '../../src/version.js';
import { type Command, lines, run, start, temporary } from '../cli/commands.js';
import { keyOf, logIn, portOf } from '../cli/reach.js';
import { MESH_KEY, TestDirectory } from '../helpers/directory.js';
import { NatsServerProcess } from '../helpers/nats.js';
import { pemPair } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

const program = builtNats();

interface Member {
  readonly command: Command;
  readonly key: string;
  readonly port: number;
  readonly url: string;
}

const newest = <T>(list: readonly T[]) => list.at(-1);

describe.skipIf(!program)('derpkit fleet in a region', () => {
  let nats: NatsServerProcess;
  // One for all, so that each relay trusts the others.
  const pair = pemPair(['localhost', '127.0.0.1']);
  beforeAll(async () => {
    nats = await NatsServerProcess.start(program as string);
  });
  afterAll(() => nats.stop());

  /** A relay of a region; its data and its copy of the certificate lie in a directory of its own. */
  async function relay(region: string, ...flags: string[]): Promise<Member> {
    const directory = temporary();
    writeFileSync(join(directory, 'localhost.crt'), pair.chain);
    writeFileSync(join(directory, 'localhost.key'), pair.key);
    const secrets = { DERPKIT_MESH_KEY: MESH_KEY, DERPKIT_NATS_SERVERS: `127.0.0.1:${nats.port}` };
    const command = start(
      'derpkit',
      [
        ...['serve', '--plane=js', `--data-dir=${directory}`, '--listen=127.0.0.1:0', '--http-port=-1', '--no-stun'],
        ...['--hostname=localhost', '--cert-mode=manual', `--cert-dir=${directory}`],
        ...['--mesh-mode=on-demand', `--mesh-region=${region}`],
        ...flags,
      ],
      { env: { ...secrets, SSL_CERT_FILE: join(directory, 'localhost.crt') } },
    );
    const port = await portOf(command, 'DERP over TLS');
    return { command, port, key: await keyOf(command), url: `https://localhost:${port}` };
  }

  /** A directory of the region that no relay stands behind. */
  async function directory(region: string, options: Partial<NatsDirectoryOptions>): Promise<TestDirectory> {
    const one = new TestDirectory(`127.0.0.1:${nats.port}`, { region, ...options }).start();
    onTestFinished(() => one.directory.close());
    return one.up();
  }

  async function report({ url }: Member, keys?: KeyPair): Promise<FleetReport> {
    const more = keys ? ['--key', formatNodeKey(keys.publicKey)] : [];
    const { code, stdout, stderr } = await run('derpkit', ['fleet', '--url', url, '--json', ...more]);
    expect({ code, stderr, lines: lines(stdout).length }).toEqual({ code: 0, stderr: '', lines: 1 });
    return JSON.parse(stdout) as FleetReport;
  }

  /** Waits until a relay has heard of so many others, and from each of them. */
  async function knows(one: Member, others: number): Promise<void> {
    const looks: FleetReport[] = [];
    await eventually(
      async () => {
        looks.push(await report(one));
        const { directory, relays } = newest(looks) as FleetReport;
        return directory?.state === 'up' && relays.length === others && relays.every(({ silence }) => silence === '');
      },
      () => `${others} relays to be known: ${JSON.stringify(newest(looks))}`,
    );
  }

  it('each relay has a row: one whose settings differ, one of another version, and one that stands still', async () => {
    const region = `r${Math.random().toString(36).slice(2)}`;
    const [here, differs, still] = await Promise.all([
      relay(region),
      relay(region, '--log-level=debug'),
      relay(region),
    ]);
    const settings = { ...fleetSettings(parseSettings({})), novelty: 7 };
    const later = await directory(region, {
      settings: () => settings,
      facts: () => {
        const facts = { address: 'later.test', port: 443, tlsName: 'later.test', version: '9.9.9', settings: 'other' };
        // A later version may announce more.
        return { ...facts, load: { clients: 5, links: 6, packets: 7_000 }, novelty: { of: 'it' } };
      },
    });
    await knows(here, 3);
    const keys = generateKeyPair();
    const client = await logIn(
      differs.port,
      differs.key,
      { rejectUnauthorized: false, servername: 'localhost' },
      { keys },
    );

    const of = ({ relays }: FleetReport, key: string) => relays.find((one) => one.relay === key);
    const asked = await report(here, keys);
    expect(asked).toMatchObject({ mode: 'on-demand', region, here: { relay: here.key, version: VERSION } });
    expect(asked.directory).toMatchObject({ state: 'up', server: `127.0.0.1:${nats.port}`, failures: 0 });
    const place = { relay: differs.key, address: `127.0.0.1:${differs.port}`, generation: expect.any(Number) };
    expect(asked.key).toEqual({ key: formatNodeKey(keys.publicKey), here: false, elsewhere: place, trouble: '' });
    expect(of(asked, differs.key)).toMatchObject({
      ...{ version: VERSION, address: `127.0.0.1:${differs.port}`, tlsName: 'localhost', load: { clients: 1 } },
      ...{ silence: '', link: { state: 'idle', failures: 0 } },
    });
    expect(of(asked, differs.key)?.differences).toEqual([{ name: 'logLevel', here: 'info', there: 'debug' }]);
    expect(of(asked, still.key)).toMatchObject({ silence: '', differences: [] });
    expect(of(asked, formatNodeKey(later.id))).toMatchObject({
      ...{ version: '9.9.9', address: 'later.test:443', load: { clients: 5, links: 6, packets: 7_000 } },
      silence: '',
    });
    expect(of(asked, formatNodeKey(later.id))?.differences).toContainEqual({ name: 'novelty', there: 7 });
    expect((await report(differs, keys)).key).toMatchObject({ here: true, elsewhere: null, trouble: '' });
    expect((await report(here, generateKeyPair())).key).toMatchObject({ here: false, elsewhere: null, trouble: '' });

    // A client sends to the one at the other relay: it has a link then, which is no client.
    const sender = await logIn(here.port, here.key, { rejectUnauthorized: false, servername: 'localhost' });
    const arrived: string[] = [];
    client.onPacket = (_source, packet) => arrived.push(packet.toString());
    const sending = setInterval(() => sender.sendPacket(keys.publicKey, 'hello'), 20);
    onTestFinished(() => clearInterval(sending));
    await eventually(() => arrived.length > 0, 'the packet to arrive');
    const top = async ({ url }: Member) =>
      JSON.parse((await run('derpkit', ['top', '--url', url, '--once', '--json'])).stdout);
    expect(await top(here)).toMatchObject({
      ...{ connections: 1, keys: 1, links: 0 },
      mesh: [{ relay: `127.0.0.1:${differs.port}`, state: 'connected', peers: 1 }],
    });
    const there = await top(differs);
    expect(there).toMatchObject({ connections: 1, keys: 1, links: 1, mesh: [] });
    expect(there.clients.map(({ key }: { key: string }) => key)).toEqual([formatNodeKey(keys.publicKey)]);
    clearInterval(sending);
    await sender.close();

    still.command.signal('SIGSTOP');
    try {
      const silent = of(await report(here), still.key);
      expect(silent).toMatchObject({ silence: 'the relay does not answer in time', differences: [] });
      const { code, stdout, stderr } = await run('derpkit', ['fleet', here.url]);
      expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
      const short = (key: string) => key.slice('nodekey:'.length, 'nodekey:'.length + 16);
      expect(stdout).toMatch(new RegExp(`^region +${region}, mode on-demand, 3 other relays$`, 'm'));
      expect(stdout).toMatch(new RegExp(`^${short(here.key)} 127\\.0\\.0\\.1:${here.port} .* here -`, 'm'));
      expect(stdout).toMatch(new RegExp(`^${short(differs.key)} .* connected +1 +0 1 differs$`, 'm'));
      expect(stdout).toMatch(new RegExp(`^${short(formatNodeKey(later.id))} later\\.test:443 +9\\.9\\.9 `, 'm'));
      expect(lines(stdout)).toContain(`${short(differs.key)} logLevel: info here, debug there`);
      expect(lines(stdout)).toContain(
        `${short(still.key)} does not say what it does: the relay does not answer in time`,
      );
    } finally {
      still.command.signal('SIGCONT');
    }
    await client.close();
  });

  it('while NATS is away, the command says so, and that it cannot be said where a key is', async () => {
    const region = `r${Math.random().toString(36).slice(2)}`;
    const [here] = await Promise.all([relay(region), relay(region)]);
    await knows(here, 1);
    await nats.kill();
    try {
      const looks: FleetReport[] = [];
      await eventually(async () => {
        looks.push(await report(here, generateKeyPair()));
        return (newest(looks)?.directory?.failures ?? 0) > 1;
      }, 'the relay to miss NATS');
      const { directory, key, relays } = newest(looks) as FleetReport;
      expect(directory).toMatchObject({ server: '', trouble: 'connection refused' });
      expect(key).toMatchObject({ here: false, elsewhere: null, trouble: 'the directory is not connected' });
      expect(relays).toMatchObject([{ silence: 'the directory is not connected', differences: [] }]);
      const { code, stdout } = await run('derpkit', ['fleet', here.url]);
      expect(code).toBe(0);
      expect(stdout).toMatch(/^directory (waiting|connecting) for \d+s, .*: connection refused$/m);
    } finally {
      await nats.again();
    }
    await knows(here, 1);
  });
});
