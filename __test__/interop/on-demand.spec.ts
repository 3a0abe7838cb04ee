/** Relays that find keys in a real nats-server, on every plane: what is sent, what moves, what ends, and what it costs. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { builtNats } from '../../packaging/nats.mjs';
import { generateKeyPair, type NodeKey } from '../../src/protocol/key.js';
import { PeerGoneReason } from '../../src/protocol/wire.js';
import { DerpClient, discoPacket } from '../helpers/client.js';
import { key } from '../helpers/directory.js';
import { loopbackAddresses } from '../helpers/flood.js';
import { ask } from '../helpers/http.js';
import { LANES, type Lane } from '../helpers/lanes.js';
import { anyKey } from '../helpers/lookups.js';
import { trustOwnCertificate } from '../helpers/mesh.js';
import { NatsServerProcess } from '../helpers/nats.js';
import { startRelay, type TestRelay, type TestRelayOptions } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';

const program = builtNats();

type Three = [TestRelay, TestRelay, TestRelay];

describe.skipIf(!program).each(LANES)('keys on demand on $name', (lane) => {
  let nats: NatsServerProcess;
  beforeAll(async () => {
    nats = await NatsServerProcess.start(program as string);
  });
  afterAll(() => nats.stop());

  /** Three relays of one region that no other test uses, which know each other. */
  async function region(options: TestRelayOptions = {}): Promise<Three> {
    trustOwnCertificate();
    const name = `r${Math.random().toString(36).slice(2)}`;
    const all = await Promise.all([1, 2, 3].map(() => startOne(lane, nats, name, options)));
    inPlay = all;
    await Promise.all(all.map((one) => knows(one, 2)));
    return all as Three;
  }

  it('packets find their way between clients of different relays, both ways and in order', async () => {
    const [one, two] = await region();
    const a = await DerpClient.connect(one);
    const b = await DerpClient.connect(two);
    await announced(two, 1);
    const texts = Array.from({ length: 100 }, (_, index) => `packet ${index}`);
    for (const text of texts.slice(0, 20)) a.sendPacket(b.key, text);
    for (const text of texts.slice(0, 20)) expect(await gets(b, text)).toBe(a.key);
    for (const text of texts.slice(20)) a.sendPacket(b.key, text);
    for (const text of texts.slice(20)) expect(await gets(b, text)).toBe(a.key);
    for (const text of texts.slice(0, 20)) b.sendPacket(a.key, text);
    for (const text of texts.slice(0, 20)) expect(await gets(a, text)).toBe(b.key);
    // One message each way per new pair, and one link.
    expect(one.relay.region()).toMatchObject({ keys: 1, routed: 1, counts: { lookups: 1 } });
    expect(one.relay.region()?.directory.counts.found).toBe(1);
    expect(one.drops()).toEqual({});
    await Promise.all([a.close(), b.close()]);
  });

  it('a relay says where another relay has its key, on its page, too', async () => {
    trustOwnCertificate();
    const name = `r${Math.random().toString(36).slice(2)}`;
    const keys = generateKeyPair();
    const [one, two] = (await Promise.all([1, 2].map(() => startOne(lane, nats, name, { keys })))) as [
      TestRelay,
      TestRelay,
    ];
    inPlay = [one, two];
    const there = `127.0.0.1:${two.relay.address?.derp.port}`;
    await eventually(
      () => one.relay.region()?.directory.twin === there,
      () => JSON.stringify(one.relay.region()),
    );
    const { body } = await ask(one.target({}), '/debug/');
    expect(body).toContain(`another relay with the key of this one, at ${there}: give each relay a key of its own`);
  });

  it('a relay keeps only the keys that its clients talk with', async () => {
    const [one, two, three] = await region();
    const crowd = await Promise.all(Array.from({ length: 30 }, () => DerpClient.connect(two)));
    const a = await DerpClient.connect(one);
    await announced(two, 30);
    a.sendPacket(crowd[7]?.key ?? a.key, 'hello');
    await gets(crowd[7] as DerpClient, 'hello');
    const remote = ({ relay }: TestRelay) => relay.figures().totalKeys - relay.figures().localKeys;
    expect([one, two, three].map(remote)).toEqual([1, 0, 0]);
    await Promise.all([a, ...crowd].map((client) => client.close()));
  });

  it('a key that no relay has is said so to discovery packets, and asked for once', async () => {
    const [one] = await region();
    const a = await DerpClient.connect(one);
    const nowhere = key();
    for (const mark of [1, 2]) a.sendPacket(nowhere, discoPacket(mark));
    for (let times = 0; times < 2; times++)
      expect(await a.expect('PeerGone')).toMatchObject({ key: nowhere, reason: PeerGoneReason.NotHere });
    a.sendPacket(nowhere, discoPacket(3));
    expect(await a.expect('PeerGone')).toMatchObject({ key: nowhere });
    expect(one.relay.region()).toMatchObject({ keys: 0, counts: { lookups: 1, nowhere: 1 } });
    expect(one.drops()).toEqual({ unknown_dest: 3 });
    await a.close();
  });

  it('a client that sends to random keys asks for no more than its share, and costs others nothing', async () => {
    const [one, two] = await region();
    const flooder = await DerpClient.connect(one);
    const a = await DerpClient.connect(one);
    const b = await DerpClient.connect(two);
    await announced(two, 1);
    a.sendPacket(b.key, 'before');
    await gets(b, 'before');
    for (let burst = 0; burst < 50; burst++)
      for (let packet = 0; packet < 100; packet++) flooder.sendPacket(key(), 'x');
    a.sendPacket(b.key, 'during');
    await gets(b, 'during');
    await flooder.fence();
    await eventually(
      () => one.drops().unknown_dest === 5000,
      () => `every packet to be dropped: ${JSON.stringify(one.drops())}`,
    );
    const { counts } = one.relay.region() as NonNullable<ReturnType<TestRelay['relay']['region']>>;
    expect(counts.lookups).toBeGreaterThanOrEqual(256);
    const refused = one.count('lookups:limited') + one.count('lookups:share');
    expect(counts.lookups + refused).toBeGreaterThanOrEqual(5000);
    expect(refused).toBeGreaterThan(0);
    await Promise.all([flooder, a, b].map((client) => client.close()));
  });

  it('an address with 50 connections that send to random keys keeps no new pair of others apart', async () => {
    const [one, two] = await region({ policy: { limits: { exempt: [] } } });
    const loud = await Promise.all(Array.from({ length: 50 }, () => DerpClient.connect(one, { from: '127.0.0.2' })));
    const pairs = await Promise.all(
      loopbackAddresses(40, 3).map(async (from) => {
        const [a, b] = await Promise.all([DerpClient.connect(one, { from }), DerpClient.connect(two, { from })]);
        return { a, b };
      }),
    );
    await announced(two, 40);
    const [first, last] = [await DerpClient.connect(one), await DerpClient.connect(two)];
    await announced(two, 41);
    first.sendPacket(last.key, 'the link is dialled');
    await gets(last, 'the link is dialled');
    // Each pair has one packet, which is lost if its key is not asked for.
    const got = Promise.all(pairs.map(({ b }, index) => b.expectPacket(`pair ${index}`)));
    for (let round = 0; round < 10; round++) {
      for (const client of loud) for (let packet = 0; packet < 100; packet++) client.sendPacket(anyKey(), 'x');
      for (let index = 4 * round; index < 4 * round + 4; index++)
        pairs[index]?.a.sendPacket(pairs[index]?.b.key as NodeKey, `pair ${index}`);
      await Promise.all(loud.map((client) => client.fence()));
    }
    const sources = await got;
    expect(sources).toEqual(pairs.map(({ a }) => a.key));
    expect(one.count('lookups:share')).toBeGreaterThan(0);
    await Promise.all([...loud, first, last, ...pairs.flatMap(({ a, b }) => [a, b])].map((client) => client.close()));
  });

  it('a client that moves to another relay gets its packets there, and its peers do not hear that it has left', async () => {
    const [one, two, three] = await region();
    const a = await DerpClient.connect(one);
    const keys = generateKeyPair();
    const before = await DerpClient.connect(two, { keys });
    await announced(two, 1);
    await talks(a, before);
    const after = await DerpClient.connect(three, { keys });
    await announced(three, 1);
    await eventually(() => one.relay.region()?.counts.moved === 1, 'the route to change');
    await one.commandsDone();
    await before.close();
    await announced(two, 0);
    a.sendPacket(keys.publicKey, 'after');
    await gets(after, 'after');
    expect(await a.fence()).toEqual([]);
    await Promise.all([a, after].map((client) => client.close()));
  });

  it('PeerGone comes once, to exactly the clients that have packets of the key', async () => {
    const [one, two, three] = await region();
    const [a, silent] = [await DerpClient.connect(one), await DerpClient.connect(one)];
    const c = await DerpClient.connect(three);
    const b = await DerpClient.connect(two);
    await Promise.all([announced(one, 2), announced(two, 1), announced(three, 1)]);
    // A has packets of B, and has never sent one; C has sent one, and has none.
    b.sendPacket(a.key, 'from b');
    await gets(a, 'from b');
    c.sendPacket(b.key, 'from c');
    await gets(b, 'from c');
    await eventually(() => one.relay.region()?.keys === 1, 'the relay of A to know where B is');
    await b.close();
    expect(await a.expect('PeerGone')).toMatchObject({ key: b.key, reason: PeerGoneReason.Disconnected });
    await eventually(() => three.relay.region()?.keys === 0, 'the relay of C to forget B');
    for (const client of [a, silent, c]) expect(await client.fence()).toEqual([]);
    await Promise.all([a, silent, c].map((client) => client.close()));
  });

  it('PeerGone comes, too, to clients that got the packets of the key when it was at their own relay', async () => {
    const [one, two] = await region();
    const keys = generateKeyPair();
    const a = await DerpClient.connect(one);
    const there = await DerpClient.connect(two, { keys });
    await announced(two, 1);
    a.sendPacket(keys.publicKey, 'over a link');
    await gets(there, 'over a link');
    const here = await DerpClient.connect(one, { keys });
    here.sendPacket(a.key, 'from here');
    await gets(a, 'from here');
    await here.close();
    await announced(one, 1);
    expect(await a.fence()).toEqual([]);
    await there.close();
    expect(await a.expect('PeerGone')).toMatchObject({ key: keys.publicKey, reason: PeerGoneReason.Disconnected });
    await a.close();
  });

  it('of a key at two relays, each prefers its own, and a third takes the last one', async () => {
    const [one, two, three] = await region();
    const keys = generateKeyPair();
    const older = await DerpClient.connect(one, { keys });
    await announced(one, 1);
    const younger = await DerpClient.connect(two, { keys });
    await announced(two, 1);
    const [atOne, atTwo, atThree] = await Promise.all([one, two, three].map((relay) => DerpClient.connect(relay)));
    const to = (client: DerpClient | undefined, text: string) => client?.sendPacket(keys.publicKey, text);
    to(atOne, 'one');
    await gets(older, 'one');
    to(atTwo, 'two');
    await gets(younger, 'two');
    to(atThree, 'three');
    await gets(younger, 'three');
    await younger.close();
    await announced(two, 1);
    await eventually(() => three.relay.region()?.counts.moved === 1, 'the route to change');
    await three.commandsDone();
    to(atThree, 'three again');
    await gets(older, 'three again');
    await Promise.all([older, atOne, atTwo, atThree].map((client) => client?.close()));
  });

  it('the keys of a relay that ends leave, and packets to them are answered', async () => {
    const [one, two] = await region({ onDemandTimes: { again: 300 } });
    const a = await DerpClient.connect(one);
    const b = await DerpClient.connect(two);
    await announced(two, 1);
    await talks(a, b);
    await two.relay.close();
    expect(await a.expect('PeerGone')).toMatchObject({ key: b.key, reason: PeerGoneReason.Disconnected });
    a.sendPacket(b.key, discoPacket(1));
    expect(await a.expect('PeerGone')).toMatchObject({ key: b.key, reason: PeerGoneReason.NotHere });
    expect(one.relay.region()).toMatchObject({ keys: 0 });
    await Promise.all([a.close(), b.close()]);
  });

  it('a link that nothing takes is closed, and the next packet dials it again', async () => {
    const [one, two] = await region({ config: { mesh: { idle: '300ms' } }, onDemandTimes: { look: 50 } });
    const a = await DerpClient.connect(one);
    const b = await DerpClient.connect(two);
    await announced(two, 1);
    a.sendPacket(b.key, 'first');
    await gets(b, 'first');
    await eventually(() => one.relay.region()?.counts.closedIdle === 1, 'the link to be closed');
    await eventually(() => one.relay.region()?.links.every(({ state }) => state === 'idle'), 'the link to be idle');
    a.sendPacket(b.key, 'second');
    await gets(b, 'second');
    expect(one.relay.region()?.directory.counts.found).toBe(1);
    expect(await a.fence()).toEqual([]);
    await Promise.all([a.close(), b.close()]);
  });

  it('while NATS is away, known routes and local traffic go on, and everything heals when it is back', async () => {
    const [one, two, three] = await region({ onDemandTimes: { again: 300 } });
    const [a, local] = [await DerpClient.connect(one), await DerpClient.connect(one)];
    const [b, c] = [await DerpClient.connect(two), await DerpClient.connect(three)];
    await Promise.all([announced(two, 1), announced(three, 1)]);
    await talks(a, b);
    await nats.kill();
    try {
      await eventually(() => one.relay.region()?.directory.state === 'waiting', 'the relay to miss NATS');
      await talks(a, b);
      await talks(a, local);
      // What is not known is said so.
      a.sendPacket(c.key, discoPacket(1));
      expect(await a.expect('PeerGone')).toMatchObject({ key: c.key, reason: PeerGoneReason.NotHere });
      expect(one.relay.region()?.counts).toMatchObject({ failed: 1 });
    } finally {
      await nats.again();
    }
    await eventually(async () => {
      a.sendPacket(c.key, 'again');
      return (await c.fence()).length > 0;
    }, 'a new key to be found again');
    await talks(a, b);
    expect((await a.fence()).filter(({ type }) => type === 'PeerGone')).toEqual([]);
    await Promise.all([a, local, b, c].map((client) => client.close()));
  });

  it('a client that leaves while NATS is away is told of when it is back', async () => {
    const [one, two] = await region({ onDemandTimes: { again: 300 } });
    const a = await DerpClient.connect(one);
    const b = await DerpClient.connect(two);
    await announced(two, 1);
    await talks(a, b);
    await nats.kill();
    try {
      await eventually(() => two.relay.region()?.directory.state === 'waiting', 'the relay to miss NATS');
      await b.close();
      await eventually(() => two.relay.figures().connections === 1, 'the client to be gone');
    } finally {
      await nats.again();
    }
    expect(await a.expect('PeerGone')).toMatchObject({ key: b.key });
    expect(await a.fence()).toEqual([]);
    await a.close();
  });
});

async function startOne(lane: Lane, nats: NatsServerProcess, region: string, options: TestRelayOptions) {
  const mesh = { mode: 'on-demand', region, ...(options.config?.mesh ?? {}) } as const;
  const servers = `127.0.0.1:${nats.port}`;
  return startRelay(lane, { ...options, tls: true, config: { ...options.config, mesh, nats: { servers } } });
}

/** The relay is connected to NATS, and knows so many others. */
async function knows(one: TestRelay, others: number): Promise<void> {
  await eventually(
    () => one.relay.region()?.links.length === others && one.relay.region()?.directory.state === 'up',
    () => `${others} relays to be known: ${JSON.stringify(one.relay.region())}`,
  );
}

/** The relay has announced so many keys, and NATS has taken that: it answers in order. */
async function announced(one: TestRelay, keys: number): Promise<void> {
  await eventually(
    () => one.relay.region()?.directory.keys === keys,
    () => `${keys} keys to be announced: ${JSON.stringify(one.relay.region()?.directory)}`,
  );
  const asker = await DerpClient.connect(one);
  asker.sendPacket(key(), discoPacket(1));
  await asker.expect('PeerGone');
  await asker.close();
  await eventually(() => one.relay.region()?.directory.keys === keys, 'the one that asked to be gone');
}

let inPlay: readonly TestRelay[] = [];

/** The client gets a packet; the message of a failure has what the relays say. */
async function gets(client: DerpClient, text: string): Promise<NodeKey> {
  return client.expectPacket(text).catch((cause: Error) => {
    const facts = inPlay.map((one) =>
      JSON.stringify([one.drops(), one.dataPlane.counters.readAll(), one.relay.region()]),
    );
    throw new Error(`${cause.message}: ${facts.join('\n')}`, { cause });
  });
}

let talk = 0;

/** A packet each way. */
async function talks(a: DerpClient, b: DerpClient): Promise<void> {
  talk += 1;
  for (const [from, to] of [
    [a, b],
    [b, a],
  ] as const) {
    from.sendPacket(to.key, `talk ${talk}`);
    expect(await gets(to, `talk ${talk}`)).toBe(from.key);
  }
}
