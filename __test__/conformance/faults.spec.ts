/** A handler that throws, whichever it is, costs its own connection: the others, and the program around the relay, go on. */

import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { freePorts } from '../../src/bench/ports.js';
import { parseSettings } from '../../src/config.js';
import { Barrier } from '../../src/faults/barrier.js';
import { createLogger } from '../../src/logger.js';
import { formatPrivateKey, generateKeyPair, type KeyPair } from '../../src/protocol/key.js';
import { composeRelay, type Relay } from '../../src/relay.js';
import { askStun } from '../cli/reach.js';
import { DerpClient, upgradeRequest } from '../helpers/client.js';
import { LANES, type Lane } from '../helpers/lanes.js';
import { MESH_KEY, ownCertificate } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

const NONCE = Buffer.alloc(16).toString('base64');

/** One event of the js plane is like another to its barrier: the first of them, and the ones behind it. */
const EVENTS = 'an event of the plane';
const OCCASIONS = 12;

/** A relay beside which nothing checks what its plane says: here faults are what is wanted. */
class Rig {
  /** Settled when a handler has thrown whose failure nobody can see from outside. */
  struck: Promise<void> = new Promise(() => {});

  private constructor(
    readonly relay: Relay,
    readonly keys: KeyPair,
    private readonly tls: boolean,
  ) {}

  static async start({ select, planeKind }: Lane, tls: boolean): Promise<Rig> {
    const keys = generateKeyPair();
    const [deadPort] = await freePorts(1);
    const settings = parseSettings({
      ...{ listen: '127.0.0.1:0', httpPort: -1, stunPort: 0, logLevel: 'silent', plane: planeKind },
      ...(tls ? { certificate: ownCertificate() } : { certMode: 'off' }),
      privateKey: formatPrivateKey(keys.privateKey),
      meshKey: MESH_KEY,
      // No relay listens there: each dial fails, and is repeated.
      meshWith: `127.0.0.1:${deadPort}`,
    });
    const times = { mesh: { connect: 1000, retry: 20, jitter: 0 } };
    const logger = createLogger({ format: 'json', level: 'silent' });
    const relay = composeRelay(settings, select(), { logger }, times);
    onTestFinished(() => relay.close());
    await relay.start();
    return new Rig(relay, keys, tls);
  }

  get port(): number {
    return this.relay.address?.derp.port as number;
  }

  open(): Promise<Wire> {
    return Wire.open({ host: '127.0.0.1', port: this.port, ...(this.tls && { tls: {} }) });
  }

  async client(options: ConstructorParameters<typeof DerpClient>[2] = {}): Promise<DerpClient> {
    const client = new DerpClient(await this.open(), this.keys.publicKey, options);
    await client.login();
    return client;
  }

  /** Everything that strangers can make the relay do; what is not answered has ended. */
  async everything(): Promise<void> {
    const visitors = [
      () => this.talk(),
      () => this.talk({ meshKey: MESH_KEY }),
      () => this.ask('GET /debug/varz HTTP/1.1\r\nHost: x\r\n\r\n'),
      () => this.ask('GET /debug/check HTTP/1.1\r\nHost: x\r\n\r\n'),
      () => this.ask('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n'),
      () => this.ask('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nExpect: miracles\r\n\r\n'),
      () => this.ask('CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n'),
      () => this.ask('no request\r\n\r\n'),
      () => this.webSocket(),
      () => this.lateUpgrade(),
      () => Promise.race([askStun(this.relay.address?.stun?.port as number), this.struck]),
    ];
    // A handshake that fails is one of the ends that there may be.
    for (const visit of visitors) await visit().catch(() => undefined);
    await this.relay.reload();
  }

  private async talk(options: { readonly meshKey?: string } = {}): Promise<void> {
    const wire = await this.open();
    const client = new DerpClient(wire, this.keys.publicKey, options);
    const end = wire.ended();
    const talk = async () => {
      await client.login();
      if (options.meshKey) client.watch();
      client.notePreferred(true);
      client.sendPacket(client.key, 'to itself');
      await client.fence();
    };
    await Promise.race([talk().catch(() => undefined), end]);
    await wire.destroy();
  }

  private async ask(request: string): Promise<void> {
    const wire = await this.open();
    wire.write(request);
    await Promise.race([wire.takeThrough('\r\n\r\n').catch(() => undefined), wire.ended()]);
    await wire.destroy();
  }

  private async webSocket(): Promise<void> {
    const handshake = { Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': NONCE };
    await this.ask(upgradeRequest({ ...handshake, 'Sec-WebSocket-Protocol': 'derp' }));
  }

  private async lateUpgrade(): Promise<void> {
    const wire = await this.open();
    wire.write('GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n', upgradeRequest());
    await Promise.race([wire.takeThrough('Upgrade').catch(() => undefined), wire.ended()]);
    await wire.destroy();
  }
}

type Barred = (what: string, act: () => unknown, end?: () => void) => unknown;

/** Has `visit` called for each handler that runs, whichever relay it is of. */
function onHandler(visit: (what: string, act: () => unknown) => unknown): void {
  const run = Barrier.prototype.run as Barred;
  const spy = vi.spyOn(Barrier.prototype, 'run').mockImplementation(function (this: Barrier, what, act, end) {
    return run.call(this, what, () => visit(what, act), end) as never;
  });
  onTestFinished(() => spy.mockRestore());
}

async function handlersOf(lane: Lane, tls: boolean): Promise<string[]> {
  const seen = new Set<string>();
  onHandler((what, act) => {
    seen.add(what);
    return act();
  });
  const rig = await Rig.start(lane, tls);
  await rig.everything();
  await rig.relay.close();
  vi.restoreAllMocks();
  return [...seen].sort();
}

const CASES = LANES.filter(({ name }) => name !== 'js-async').flatMap((lane) =>
  [false, true].map((tls) => ({ name: lane.name, lane, tls })),
);

describe.each(CASES)('$name, TLS $tls', ({ lane, tls }) => {
  it.each(['before', 'after'])(
    'an exception of each handler in turn ends only its subject, thrown %s its work',
    async (when) => {
      const handlers = await handlersOf(lane, tls);
      expect(handlers.length).toBeGreaterThan(12);
      const plants = handlers.flatMap((what) =>
        [...Array(what === EVENTS ? OCCASIONS : 1).keys()].map((occasion) => ({ what, occasion })),
      );
      const rig = await Rig.start(lane, tls);
      let planted: { what: string; occasion: number } | undefined;
      let thrown = 0;
      let struck = () => {};
      onHandler((what, act) => {
        if (what !== planted?.what) return act();
        if (planted.occasion > 0) {
          planted.occasion -= 1;
          return act();
        }
        planted = undefined;
        thrown += 1;
        if (what.startsWith('STUN')) struck();
        if (when === 'after') act();
        throw new Error(`planted: ${what}`);
      });
      for (const plant of plants) {
        const handler = `${plant.what}, ${plant.occasion}`;
        const there = [await rig.client(), await rig.client()] as const;
        rig.struck = new Promise((resolve) => {
          struck = resolve;
        });
        planted = plant;
        await rig.everything();
        planted = undefined;
        const [a, b] = [await rig.client(), await rig.client()];
        a.sendPacket(b.key, handler);
        await b.expectPacket(handler);
        // Earlier clients are unrelated, but a handler that serves all in turn, a deadline or events, may be theirs.
        expect(there.filter(({ wire }) => wire.isOver).length, handler).toBeLessThanOrEqual(1);
        for (const client of [...there, a, b]) await client.close();
        await eventually(() => rig.relay.figures().connections === 0, `the books to balance after ${handler}`);
      }
      expect(thrown).toBeGreaterThan(10);
    },
  );

  it('an exception or rejection of an embedder’s listener ends no client', async () => {
    const rig = await Rig.start(lane, tls);
    const heard: string[] = [];
    rig.relay.on('connected', () => {
      throw new Error('the first listener of the program is broken');
    });
    rig.relay.on('connected', async () => {
      throw new Error('the second one, too');
    });
    rig.relay.on('connected', ({ key }) => heard.push(key));
    rig.relay.on('disconnected', () => {
      throw new Error('and this one');
    });
    const [a, b] = [await rig.client(), await rig.client()];
    a.sendPacket(b.key, 'text');
    await b.expectPacket('text');
    expect(heard).toHaveLength(2);
    await a.close();
    await eventually(() => rig.relay.figures().connections === 1, 'one to have left');
    await b.fence();
  });
});
