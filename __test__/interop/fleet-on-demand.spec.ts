/**
 * Three relays that find keys on demand, behind a real HAProxy, with a real nats-server: a crowd of Tailscale's clients talks in
 * pairs while each relay, NATS and HAProxy are killed in turn. Packets between clients of relays that stay are never lost.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Client } from '../../packaging/fleet/client.mjs';
import { Fleet, HOSTNAME, whyNoFleet } from '../../packaging/fleet/fleet.mjs';
import { Talk } from '../../packaging/fleet/talk.mjs';
import { builtNats } from '../../packaging/nats.mjs';
import { buildPeers } from '../../packaging/peers.mjs';
import { eventually } from '../helpers/wait.js';

const nats = builtNats();
const missing = whyNoFleet() ?? (nats ? undefined : 'nats-server is not built');
if (missing) console.warn(`left out: a fleet with keys on demand: ${missing}`);

/** How many clients there are. */
const CLIENTS = process.env.DERPKIT_LONG ? 2000 : 200;
/** For everything that happens at once, but to so many, on a busy machine. */
const PATIENCE = 120_000;

interface State {
  readonly connected: number;
  /** Clients that have got a packet since they and their partners have connected. */
  readonly flowing: number;
  readonly relays: Readonly<Record<string, number>>;
}

interface Summary {
  readonly sent: number;
  readonly received: number;
  /** Lost while one side changed its connection. */
  readonly excused: number;
  readonly lost: number;
  readonly disorder: number;
  readonly twice: number;
  readonly gone: number;
  readonly examples: readonly string[] | null;
}

/** The crowd, in a process of its own. */
class Crowd {
  private readonly child: ChildProcess;
  private readonly answers: AsyncIterator<string>;
  errors = '';

  constructor(program: string, args: readonly string[]) {
    this.child = spawn(program, args, { stdio: 'pipe' });
    this.child.stderr?.on('data', (text) => {
      this.errors = `${this.errors}${text}`.slice(-2000);
    });
    if (!this.child.stdout) throw new Error('it has no output');
    this.answers = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  async ask<T>(word: 'state' | 'stop'): Promise<T> {
    this.child.stdin?.write(`${word}\n`);
    const { value, done } = await this.answers.next();
    if (done) throw new Error(`the crowd has ended: ${this.errors}`);
    return JSON.parse(value) as T;
  }

  /** Waits until all clients are connected, or have been reached by their partners since. */
  async whole(what: 'connected' | 'flowing' = 'connected'): Promise<void> {
    let state: State | undefined;
    await eventually(
      async () => {
        state = await this.ask<State>('state');
        return state[what] === CLIENTS;
      },
      () => `all clients to be ${what}: ${JSON.stringify(state)}`,
      PATIENCE,
    );
  }

  end(): void {
    this.child.kill('SIGKILL');
  }
}

describe.skipIf(missing)(`${CLIENTS} clients of a fleet with keys on demand`, () => {
  const kinds = { 'relay-1': 'native', 'relay-2': 'js', 'relay-3': 'native' } as const;
  let fleet: Fleet;
  let crowd: Crowd;
  let log = '';

  beforeAll(async () => {
    const { interop } = await buildPeers();
    const env = { DERPKIT_MESH_MODE: 'on-demand', DERPKIT_MESH_DISCOVER: '[]' };
    fleet = new Fleet('127.34.1.', env, nats);
    fleet.onLine = (name, line) => {
      log = `${log}${name}: ${line}\n`.slice(-20_000);
    };
    const names = fleet.relays.map(({ name }) => name);
    await fleet.start(names);
    for (const name of names) startRelay(name);
    await known(2);
    const target = ['-tls', `https://127.0.0.1:${fleet.port}`, '-ca', fleet.authority, '-server-name', HOSTNAME];
    crowd = new Crowd(interop, ['-talk', `${CLIENTS}`, ...target]);
    await crowd.whole();
  });

  afterAll(async () => {
    crowd?.end();
    await fleet?.close();
  });

  function startRelay(name: string): void {
    fleet.startRelay(name, { DERPKIT_PLANE: kinds[name as keyof typeof kinds] });
  }

  /** Every relay that runs knows so many others. */
  async function known(others: number): Promise<void> {
    const links = async (name: string) => {
      const figures = await fleet.figures(name).catch(() => new Map<string, number>());
      const rows = [...figures].filter(([row]) => row.startsWith('derpkit_on_demand_links{'));
      return rows.reduce((sum, [, count]) => sum + count, 0) - others || (figures.get('derpkit_directory_up') ?? 0) - 1;
    };
    const running = fleet.relays.map(({ name }) => name).filter((name) => fleet.isRunning(name));
    await eventually(
      async () => (await Promise.all(running.map(links))).every((off) => off === 0),
      () => `each relay to know ${others} others:\n${log.slice(-4000)}`,
      PATIENCE,
    );
  }

  /** Every relay misses NATS. */
  async function missed(): Promise<void> {
    const isUp = async ({ name }: { name: string }) => (await fleet.figures(name)).get('derpkit_directory_up');
    await eventually(
      async () => (await Promise.all(fleet.relays.map(isUp))).every((up) => up === 0),
      'each relay to miss NATS',
      PATIENCE,
    );
  }

  it('no packet between clients of relays that stay is lost, and all clients are back, whatever is killed', async () => {
    for (const { name } of fleet.relays) {
      await fleet.stop(name, 'SIGKILL');
      await crowd.whole();
      startRelay(name);
      await known(2);
    }
    await crowd.whole('flowing');
    await fleet.stop('nats', 'SIGKILL');
    await missed();
    fleet.startNats();
    await known(2);
    fleet.signal('nats', 'SIGSTOP');
    await missed();
    await crowd.whole();
    fleet.signal('nats', 'SIGCONT');
    await known(2);
    await fleet.stop('haproxy', 'SIGKILL');
    const killed = performance.now();
    await fleet.startHaproxy();
    await crowd.whole();
    const back = Math.round(performance.now() - killed);
    await crowd.whole('flowing');
    const { lost, disorder, twice, sent, received, excused, examples } = await crowd.ask<Summary>('stop');
    expect({ lost, disorder, twice, examples }, log.slice(-4000)).toEqual({
      lost: 0,
      disorder: 0,
      twice: 0,
      examples: null,
    });
    expect(sent).toBe(received + excused);
    expect(received).toBeGreaterThan(CLIENTS * 10);
    console.log({ sent, received, excused, back });
  });
});

describe.skipIf(missing)('two relays that find keys on demand, and a derper', () => {
  it('clients of all three reach each other, in order, and none of their packets is lost', async () => {
    const peers = await buildPeers();
    const derper = `${HOSTNAME}:8443/127.34.2.13`;
    const env = { DERPKIT_MESH_MODE: 'on-demand', DERPKIT_MESH_DISCOVER: '[]', DERPKIT_MESH_WITH: derper };
    const fleet = new Fleet('127.34.2.', env, nats);
    const clients: Client[] = [];
    try {
      const [one, two, three] = fleet.relays.map(({ name }) => name) as [string, string, string];
      await fleet.start([one, two, three]);
      fleet.startRelay(one, { DERPKIT_PLANE: 'native' });
      fleet.startRelay(two, { DERPKIT_PLANE: 'js' });
      const flags = [
        ...['-a', `${fleet.addressOf(three)}:8443`, '-http-port', '-1', '-stun=false', '-home', 'blank'],
        ...['-c', join(dirname(fleet.meshKeyFile), 'derper.key'), '-certmode', 'manual', '-hostname', HOSTNAME],
        ...['-certdir', dirname(fleet.authority), '-mesh-psk-file', fleet.meshKeyFile],
        ...['-mesh-with', [one, two].map((name) => `${HOSTNAME}:8443/${fleet.addressOf(name)}`).join()],
      ];
      fleet.startRelay(three, {}, [peers.derper, ...flags]);
      const ca = readFileSync(fleet.authority);
      for (const name of [one, two, three, one, two, three])
        clients.push(new Client({ host: fleet.addressOf(name), port: 8443, servername: HOSTNAME, ca }));
      await eventually(() => clients.every(({ relay }) => relay !== undefined), 'clients to be connected', PATIENCE);
      const talk = new Talk(clients);
      await eventually(() => talk.reaches(), 'ways between all clients', PATIENCE);
      const { sent, received, outOfOrder } = await talk.during(2_000);
      expect({ received, outOfOrder }).toEqual({ received: sent, outOfOrder: 0 });
      // Between the two, packets take links on demand; derper's clients are known by the mesh.
      for (const name of [one, two]) {
        const figures = await fleet.figures(name);
        expect(figures.get('derpkit_remote_keys_routed')).toBe(2);
        expect(figures.get('derpkit_mesh_links{state="connected"}')).toBe(1);
      }
    } finally {
      for (const client of clients) client.close();
      await fleet.close();
    }
  });
});
