/** Single clients, as `relay.clients()` and `/debug/clients/` show them. */
import { describe, expect, it } from 'vitest';
import { formatNodeKey, generateKeyPair } from '../../src/protocol/key.js';
import type { ClientStatus } from '../../src/registry/client-status.js';
import { DerpClient } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { MESH_KEY, startRelay, type TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

async function all(relay: TestRelay): Promise<ClientStatus[]> {
  const found: ClientStatus[] = [];
  for await (const client of relay.relay.clients()) found.push(client);
  return found;
}

async function page(relay: TestRelay, path: string) {
  const { status, body, headers } = await ask(relay.target(), path);
  expect(status, body).toBe(200);
  expect(headers['content-type']).toBe('application/json');
  return JSON.parse(body);
}

describe.each(LANES_AND_TLS)('the list of clients, $name', (lane) => {
  it('the list has the facts of each client, and its traffic in both directions', async () => {
    const relay = await startRelay(lane);
    const before = Date.now();
    const a = await DerpClient.connect(relay, { appName: 'tailcat', idealNode: 'elsewhere' });
    const b = await DerpClient.connect(relay, { prober: true });
    const mesh = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    b.notePreferred(true);
    a.sendPacket(b.key, Buffer.alloc(100));
    a.sendPacket(b.key, Buffer.alloc(20));
    a.sendPacket(generateKeyPair().publicKey, Buffer.alloc(5));
    await a.fence();
    for (let count = 0; count < 2; count++) await b.expect('RecvPacket');
    await b.fence();
    await relay.untilCount('packets_sent', 2);
    await eventually(() => relay.relay.figures().home === 1, 'the home to be known');
    const clients = await all(relay);
    const tls = lane.tls === undefined ? null : lane.tls === 'TLSv1.3' ? '1.3' : '1.2';
    const usual = {
      address: '127.0.0.1',
      active: true,
      duplicate: false,
      version: 2,
      tls,
      dropped: 0,
      queued: 0,
      senders: null,
    };
    const flags = { home: false, mesh: false, notIdeal: false, prober: false, app: '' };
    const none = { packets: 0, bytes: 0 };
    expect(clients).toMatchObject([
      {
        ...usual,
        ...flags,
        key: formatNodeKey(a.key),
        app: 'tailcat',
        notIdeal: true,
        received: { packets: 3, bytes: 125 },
        sent: none,
      },
      {
        ...usual,
        ...flags,
        key: formatNodeKey(b.key),
        prober: true,
        home: true,
        received: none,
        sent: { packets: 2, bytes: 120 },
      },
      { ...usual, ...flags, key: formatNodeKey(mesh.key), mesh: true, received: none, sent: none },
    ]);
    const ids = clients.map(({ id }) => id);
    expect(ids).toEqual(ids.toSorted((one, other) => one - other));
    for (const { connectedAt, port } of clients) {
      expect(port).toBeGreaterThan(0);
      expect(connectedAt).toBeGreaterThanOrEqual(before - 1000);
      expect(connectedAt).toBeLessThanOrEqual(Date.now() + 1000);
    }
    // The page has the list of the library, whole or in parts.
    expect(await page(relay, '/debug/clients.json?sort=conn')).toEqual({
      connections: 3,
      keys: 3,
      remaining: 0,
      next: '',
      clients,
    });
    const first = await page(relay, '/debug/clients.json?sort=conn&limit=2');
    expect(first).toMatchObject({ connections: 3, remaining: 1, clients: clients.slice(0, 2) });
    const second = await page(relay, `/debug/clients.json${first.next}`);
    expect(second).toMatchObject({ connections: 3, remaining: 0, clients: clients.slice(2) });
    expect((await page(relay, '/debug/clients.json?app=tailcat')).clients).toEqual(clients.slice(0, 1));
    expect((await page(relay, `/debug/clients.json?key=${formatNodeKey(b.key)}`)).clients).toEqual([clients[1]]);
    expect((await page(relay, '/debug/clients.json?cidr=10.0.0.0/8')).clients).toEqual([]);
  });

  it('the list marks the connections of one key, and the one that gets its packets', async () => {
    const relay = await startRelay(lane);
    const keys = generateKeyPair();
    const [one, two] = [await DerpClient.connect(relay, { keys }), await DerpClient.connect(relay, { keys })];
    const standing = async () => (await all(relay)).map(({ active, duplicate }) => ({ active, duplicate }));
    expect(await standing()).toEqual([
      { active: false, duplicate: true },
      { active: true, duplicate: true },
    ]);
    one.sendPacket(generateKeyPair().publicKey, Buffer.alloc(1));
    await one.fence();
    await eventually(async () => (await all(relay))[0]?.active, 'the connection that sent last to be the active one');
    two.close();
    // The plane has it no more before the registry hears of it.
    await eventually(async () => {
      const [left, ...others] = await standing();
      return others.length === 0 && left?.active && !left.duplicate;
    }, 'the other one to leave');
  });

  it('the list counts packets that a client does not read, dropped or queued', async () => {
    const relay = await startRelay(lane, { config: { tcpWriteTimeout: 0, tcpUserTimeout: 0 } });
    const [from, slow] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    slow.wire.stopReading();
    const none = { head: 0, tail: 0, age: 0, overBudget: 0 };
    expect((await all(relay))[1]).toMatchObject({ queueDrops: none, queueDelay: null });
    await eventually(async () => {
      for (let count = 0; count < 50; count++) from.sendPacket(slow.key, Buffer.alloc(60_000));
      await from.fence();
      const [, { queued, dropped } = { queued: 0, dropped: 0 }] = await all(relay);
      return queued > 0 && dropped > 0;
    }, 'packets to wait, and packets to be dropped');
    slow.wire.goOnReading();
    await eventually(async () => (await all(relay))[1]?.queued === 0, 'the queue to empty');
    const [sender, receiver] = await all(relay);
    expect(sender).toMatchObject({ queueDrops: none, queueDelay: null });
    const { dropped, queueDrops, queueDelay } = receiver as ClientStatus;
    expect(queueDrops.head + queueDrops.tail + queueDrops.age + queueDrops.overBudget).toBe(dropped);
    expect(queueDelay?.mean).toBeGreaterThan(0);
    expect(queueDelay?.max).toBeGreaterThanOrEqual(queueDelay?.mean as number);
    const { clients } = await page(relay, '/debug/clients.json?sort=-maxdelay');
    expect(clients.map(({ key }: ClientStatus) => key)).toEqual([slow, from].map(({ key }) => formatNodeKey(key)));
  });

  it('the list and the page of traffic have the number of senders to a client, if the setting asks for it', async () => {
    const relay = await startRelay(lane, { config: { senderCardinality: true } });
    const [receiver, other] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const keys = Array.from({ length: 5 }, () => generateKeyPair());
    let packets = 0;
    receiver.onPacket = () => {
      packets += 1;
    };
    for (const [each, wanted] of [
      [keys, 15],
      [keys.slice(0, 2), 21],
    ] as const) {
      const peers = await Promise.all(each.map((pair) => DerpClient.connect(relay, { keys: pair })));
      for (const peer of peers) {
        for (let count = 0; count < 3; count++) peer.sendPacket(receiver.key, Buffer.alloc(9));
        await peer.fence();
      }
      await eventually(() => packets === wanted, 'the packets to come');
      for (const peer of peers) await peer.close();
    }
    const senders = async () => (await all(relay)).map(({ key, senders }) => [key, senders]);
    await eventually(async () => (await senders()).length === 2, 'the senders to leave');
    const wanted = [
      [formatNodeKey(receiver.key), 5],
      [formatNodeKey(other.key), 0],
    ];
    expect(await senders()).toEqual(wanted);
    const { clients } = await page(relay, '/debug/clients/?all&sort=-senders&format=json');
    expect(clients.map(({ key, senders }: ClientStatus) => [key, senders])).toEqual(wanted);
    const [line] = await traffic(relay);
    expect(line).toMatchObject({ Key: formatNodeKey(receiver.key), UniqueSenders: 5 });
    expect(Object.keys(line ?? {})).toEqual(['Sent', 'Recv', 'Key', 'UniqueSenders']);
    // Another connection of the key begins anew.
    await receiver.close();
    await eventually(async () => (await senders()).length === 1, 'the receiver to leave');
    expect(await senders()).toEqual([[formatNodeKey(other.key), 0]]);
  });

  it.runIf(lane.planeKind === 'native' && process.platform === 'linux')(
    'the list has the round trip that TCP measures for a client, and null before the first',
    async () => {
      const relay = await startRelay(lane, { policy: { tcp: { roundTrips: 50 } } });
      const never = await startRelay(lane, { policy: { tcp: { roundTrips: 0 } } });
      for (const one of [relay, never]) await DerpClient.connect(one);
      const roundTrip = async (of: TestRelay) => (await all(of))[0]?.roundTrip;
      const measured = await eventually(async () => (await roundTrip(relay)) ?? undefined, 'a round trip');
      expect(measured).toBeGreaterThan(0);
      expect(measured).toBeLessThan(10_000);
      expect(await roundTrip(never)).toBeNull();
    },
  );

  it.runIf(lane.planeKind === 'js')(
    'the list has the round trip of a silent client’s ping, and null before the first',
    async () => {
      const relay = await startRelay(lane, { policy: { deadlines: { silence: 100, pong: 60_000 } } });
      const client = await DerpClient.connect(relay);
      expect((await all(relay))[0]?.roundTrip).toBeNull();
      const { data } = await client.expect('Ping');
      client.pong(Buffer.from(data, 'hex'));
      const roundTrip = async () => (await all(relay))[0]?.roundTrip ?? undefined;
      expect(await eventually(roundTrip, 'a round trip')).toBeGreaterThan(0);
    },
  );

  it('the list is empty before the first client, and refuses malformed queries', async () => {
    const relay = await startRelay(lane);
    expect(await all(relay)).toEqual([]);
    expect(await page(relay, '/debug/clients/?format=json')).toEqual({ conns: 0, keys: 0 });
    const { status, body } = await ask(relay.target(), '/debug/clients/?ip=nowhere');
    expect({ status, body }).toEqual({ status: 400, body: 'ip must be an IP address, not "nowhere"\n' });
    const denied = await ask(relay.target(), '/debug/clients/?all', { headers: { 'X-Forwarded-For': '192.0.2.1' } });
    expect(denied.status).toBe(403);
    const redirect = await ask(relay.target(), '/debug/clients?all=1');
    expect(redirect).toMatchObject({ status: 307, headers: { location: '/debug/clients/?all=1' } });
  });

  it('the list shows no text of a client as HTML', async () => {
    const relay = await startRelay(lane);
    await DerpClient.connect(relay, { appName: '<b>"&\'' });
    const { body } = await ask(relay.target(), '/debug/clients/?all');
    expect(body).toContain('&lt;b&gt;');
    expect(body).not.toContain('<b>"');
  });
});

/** The lines of `/debug/traffic` up to its first empty line. */
async function traffic(relay: TestRelay): Promise<Record<string, unknown>[]> {
  const wire = await Wire.open(relay.target());
  wire.write('GET /debug/traffic HTTP/1.0\r\nHost: localhost\r\n\r\n');
  const text = (await wire.takeThrough('}\n\n')).toString();
  await wire.destroy();
  return [...text.matchAll(/^\{.*\}$/gm)].map(([line]) => JSON.parse(line));
}
