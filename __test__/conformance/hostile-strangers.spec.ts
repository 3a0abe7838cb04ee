/** Attackers that come and stay. Whatever these do, unrelated newcomers are served. */
import { describe, expect, it } from 'vitest';
import { Bystanders } from '../helpers/bystanders.js';
import { DerpClient } from '../helpers/client.js';
import { Flood, loopbackAddresses } from '../helpers/flood.js';
import { ask } from '../helpers/http.js';
import { LANES, LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { PlaneHarness } from '../helpers/plane-harness.js';
import { startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { WebSocketClient } from '../helpers/websocket.js';
import { type Target, Wire } from '../helpers/wire.js';

nothingIsLeft();

/** No address is exempt, and there is little room, so that a few attackers suffice instead of thousands. */
const POOL = 32;
const SHARE = 8;
const NARROW = { handshakes: POOL, pendingLogins: POOL, duplexes: POOL, perAddress: SHARE, exempt: [] };
/** Attackers of one wave: so many come while one newcomer gets in. */
const WAVE = 16;
const ROUNDS = 100;
/** No connection ends because of a deadline. */
const NEVER = { handshake: 600_000, head: 600_000, clientInfo: 600_000 };

const GET = 'GET /generate_204 HTTP/1.1\r\nHost: relay.test\r\n\r\n';

const ATTACKERS = [
  { from: 'one address', addresses: ['127.0.0.2'], least: 0.99 },
  { from: '1000 addresses', addresses: loopbackAddresses(1000), least: 0.8 },
];

async function login(relay: TestRelay, from: string): Promise<void> {
  const client = await DerpClient.connect(relay, { from });
  expect(await client.fence()).toEqual([]);
  await client.close();
}

async function probe(target: Target, from: string): Promise<void> {
  const wire = await Wire.open({ ...target, from });
  wire.write(GET);
  expect((await wire.takeThrough('\r\n\r\n')).toString('latin1')).toMatch(/^HTTP\/1\.1 204 /);
  await wire.destroy();
}

async function webSocket(relay: TestRelay): Promise<void> {
  const stream = await WebSocketClient.open(relay);
  const client = await DerpClient.over(stream, relay);
  expect(await client.fence()).toEqual([]);
  await client.close();
}

/** The share of newcomers that are served, one in each wave of a flood that first fills all it can. */
async function served(flood: Flood, newcomer: (from: string, round: number) => Promise<void>): Promise<number> {
  for (let wave = 0; wave < 8; wave++) await flood.wave(WAVE);
  const froms = loopbackAddresses(ROUNDS, 2);
  const got: boolean[] = [];
  for (const [round, from] of froms.entries()) {
    const came = newcomer(from, round).then(
      () => true,
      () => false,
    );
    const [is] = await Promise.all([came, flood.wave(WAVE)]);
    got.push(is);
  }
  expect(flood.made).toBe((ROUNDS + 8) * WAVE);
  return got.filter(Boolean).length / ROUNDS;
}

describe.each(LANES_AND_TLS)('strangers, $name', (lane) => {
  it.each(ATTACKERS)('silent strangers from $from keep no new client out', async ({ addresses, least }) => {
    const relay = await startRelay(lane, { policy: { limits: NARROW, deadlines: NEVER } });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const flood = new Flood(relay.target(), { addresses });
      const share = await served(flood, (from, round) =>
        round % 4 === 0 ? probe(relay.target(), from) : login(relay, from),
      );
      expect(share).toBeGreaterThanOrEqual(least);
      await eventually(
        () => flood.standing <= POOL,
        () => `${POOL} of them to be left, not ${flood.standing}`,
      );
      await flood.end();
    });
  });

  it.each(ATTACKERS)(
    'strangers with HTTP connections from $from keep no new client out',
    async ({ addresses, least }) => {
      const relay = await startRelay(lane, { policy: { limits: NARROW, deadlines: NEVER } });
      const bystanders = await Bystanders.join(relay);
      await bystanders.during(async () => {
        const flood = new Flood(relay.target(), { addresses, says: GET });
        const share = await served(flood, (from, round) =>
          round % 4 === 0 ? webSocket(relay) : round % 4 === 1 ? login(relay, from) : probe(relay.target(), from),
        );
        expect(share).toBeGreaterThanOrEqual(least);
        await flood.end();
      });
    },
  );

  it('strangers that got the greeting and do not log in keep no new client out', async () => {
    const relay = await startRelay(lane, { policy: { limits: NARROW, deadlines: NEVER } });
    const bystanders = await Bystanders.join(relay);
    await bystanders.during(async () => {
      const { head } = await DerpClient.dial(relay).then(async (client) => {
        await client.close();
        return client;
      });
      const flood = new Flood(relay.target(), { addresses: loopbackAddresses(1000), says: head });
      const share = await served(flood, (from) => login(relay, from));
      expect(share).toBeGreaterThanOrEqual(0.99);
      await flood.end();
    });
  });
});

describe.each(LANES)('bounds of strangers, $name', (lane) => {
  it('each listener has its own bound, so a flood of the plain one leaves the other alone', async () => {
    const relay = await startRelay(lane, { tls: true, config: { httpPort: 0 }, policy: { limits: NARROW } });
    const kept = await Wire.open(relay.target());
    kept.write(GET);
    await kept.takeThrough('\r\n\r\n');
    const silent = await Wire.open({ ...relay.target(), tls: undefined });
    const addresses = loopbackAddresses(1000);
    for (const says of [undefined, GET]) {
      const flood = new Flood(relay.httpTarget(), { addresses, ...(says && { says }) });
      for (let wave = 0; wave < 16; wave++) await flood.wave(WAVE);
      await relay.untilCount('strangers_evicted:pool', 16 * WAVE - POOL);
      await flood.end();
    }
    // The oldest of all, and idle for longest.
    expect(silent.isOver).toBe(false);
    kept.write(GET);
    await kept.takeThrough('\r\n\r\n');
  });

  it('a client that waits for admission does not make room for strangers', async () => {
    const harness = await PlaneHarness.open(lane, { limits: { ...NARROW, pendingLogins: 3 }, deadlines: NEVER });
    const waiting = [await harness.loggingIn(), await harness.loggingIn()];
    const greeted = async () => {
      const client = new DerpClient(await harness.wire(), harness.keys.publicKey);
      client.wire.write(client.head);
      await client.wire.take(45);
      return client;
    };
    const first = await greeted();
    const second = await greeted();
    await first.closed();
    expect(harness.plane.counters.read('strangers_evicted:pool')).toBe(1);
    second.wire.write(second.clientInfo);
    await eventually(() => harness.logins.length === 3, 'the third login');
    const late = new DerpClient(await harness.wire(), harness.keys.publicKey);
    late.wire.write(late.head);
    await late.closed();
    expect(harness.plane.counters.read('strangers_refused:pool')).toBe(1);
    for (const { client, login } of waiting) {
      harness.plane.admit(login.id, { mesh: false, receiveLimit: null });
      await client.expect('ServerInfo');
    }
    expect(harness.ends.size).toBe(0);
  });

  it('the bound applies to each address, except exempt ones', async () => {
    const limits = { ...NARROW, exempt: ['127.0.0.3'] };
    const relay = await startRelay(lane, { tls: false, policy: { limits, deadlines: NEVER } });
    for (const [from, most] of [
      ['127.0.0.2', SHARE],
      ['127.0.0.3', SHARE + 4],
      ['127.0.0.4', SHARE],
    ] as const) {
      const flood = new Flood(relay.target(), { addresses: [from] });
      await flood.wave(SHARE + 4);
      await eventually(
        () => flood.standing === most,
        () => `${most} of ${from} to stand, not ${flood.standing}`,
      );
    }
    expect(relay.count('strangers_refused:address')).toBe(8);
    expect(relay.count('connections_refused')).toBe(8);
    // Those that are admitted have no part in it.
    const clients: DerpClient[] = [];
    for (let client = 0; client < 2 * SHARE; client++) {
      clients.push(await DerpClient.connect(relay, { from: '127.0.0.5' }));
    }
    for (const client of clients) expect(await client.fence()).toEqual([]);
  });

  it('deadlines of strangers are shorter while more than half of a bound is used', async () => {
    const relay = await startRelay(lane, {
      tls: false,
      policy: { limits: { ...NARROW, handshakes: 4 }, deadlines: { head: 8000 } },
    });
    const wires = [];
    for (const from of loopbackAddresses(3)) {
      const wire = await Wire.open({ ...relay.target(), from });
      wires.push(wire);
    }
    // It came last, and goes first.
    await wires[2]?.ended();
    expect(wires.slice(0, 2).map((wire) => wire.isOver)).toEqual([false, false]);
  });

  it('the metrics count evicted and refused strangers', async () => {
    const relay = await startRelay(lane, { policy: { limits: NARROW, deadlines: NEVER } });
    const flood = new Flood(relay.target(), { addresses: loopbackAddresses(1000) });
    for (let wave = 0; wave < 4; wave++) await flood.wave(WAVE);
    await relay.untilCount('strangers_evicted:pool', 2 * POOL - POOL);
    const { body } = await ask(relay.target(), '/debug/varz');
    expect(body).toMatch(/^derpkit_strangers_evicted_total\{full="pool"\} 3[23]$/m);
    expect(body).toMatch(/^derpkit_strangers_refused_total\{full="address"\} 0$/m);
  });
});
