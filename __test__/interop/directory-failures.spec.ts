/** The directory while NATS is killed, stands still, comes back empty, or is none. */
import { once } from 'node:events';
import { type AddressInfo, createConnection, createServer, type Server, type Socket } from 'node:net';
import { connect } from '@nats-io/transport-node';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { builtNats } from '../../packaging/nats.mjs';
import { freePort } from '../../src/bench/ports.js';
import { key, TestDirectory } from '../helpers/directory.js';
import { join } from '../helpers/joined.js';
import { nothingIsLeft, openSockets } from '../helpers/leaks.js';
import { NatsServerProcess } from '../helpers/nats.js';
import { eventually, PATIENCE } from '../helpers/wait.js';

const program = builtNats();

describe.skipIf(!program)('a directory whose server fails', () => {
  nothingIsLeft();
  let nats: NatsServerProcess;
  beforeAll(async () => {
    nats = await NatsServerProcess.start(program as string);
  });
  afterAll(() => nats.stop());

  async function relays(count: number): Promise<TestDirectory[]> {
    const region = `r${Math.random().toString(36).slice(2)}`;
    const all = Array.from({ length: count }, () => new TestDirectory(`127.0.0.1:${nats.port}`, { region }).start());
    onTestFinished(async () => {
      await Promise.all(all.map(({ directory }) => directory.close()));
    });
    await Promise.all(all.map((one) => one.up()));
    return all;
  }

  it('a server that is killed and comes back empty knows everything again, changes of meanwhile too', async () => {
    const [a, b] = (await relays(2)) as [TestDirectory, TestDirectory];
    const [stays, goes, comes, moves] = [key(), key(), key(), key()];
    for (const one of [stays, goes, moves]) a.directory.announce(one);
    await b.watches(moves);
    await b.findsAt(goes, a.id);
    await nats.kill();
    await Promise.all([a.lost(), b.lost()]);
    expect(await b.finds(stays)).toBe('down');
    a.directory.withdraw(goes);
    a.directory.withdraw(moves);
    a.directory.announce(comes);
    b.directory.announce(moves);
    await nats.again();
    await Promise.all([a.up(), b.up()]);
    for (const one of [stays, comes]) await b.findsAt(one, a.id);
    await b.findsAt(goes, undefined);
    await a.findsAt(moves, b.id);
    expect(b.states).toEqual([true, false, true]);
    // What is watched is heard of again, too.
    a.directory.announce(moves);
    await eventually(() => b.moves.at(-1)?.place?.relay === a.id, 'news after the restart');
    const warnings = a.lines.flatMap(({ level, facts }) => (level === 'warn' ? [facts.reason] : []));
    // One line for each reason: the end of the connection, and the refusal of others.
    expect(warnings).toEqual([...new Set(warnings)]);
  });

  it('a key that leaves while only its relay has no connection is told of when that is back', async () => {
    const [a] = (await relays(1)) as [TestDirectory];
    const proxy = createServer((from) => {
      const to = createConnection(nats.port, '127.0.0.1');
      join(from, to);
      sockets.push(from);
    });
    const sockets: Socket[] = [];
    proxy.listen(await freePort(), '127.0.0.1');
    await once(proxy, 'listening');
    const b = new TestDirectory(`127.0.0.1:${(proxy.address() as AddressInfo).port}`, { region: a.region }).start();
    onTestFinished(async () => {
      // A reset ends the server's side, too.
      sockets[0]?.resetAndDestroy();
      await b.directory.close();
      proxy.close();
    });
    await b.up();
    const [goes, returns] = [key(), key()];
    for (const one of [goes, returns]) {
      b.directory.announce(one);
      await a.findsAt(one, b.id);
      await a.watches(one);
    }
    for (const socket of sockets.splice(0)) socket.destroy();
    await b.lost();
    for (const one of [goes, returns]) b.directory.withdraw(one);
    b.directory.announce(returns);
    await eventually(() => b.states.length === 3, 'the directory to be back');
    await b.up();
    await a.finds(key());
    const news = a.moves.map(({ key: moved, place }) => [moved === goes ? 'goes' : 'returns', place?.relay]);
    expect(news.sort()).toEqual([
      ['goes', undefined],
      ['returns', b.id],
    ]);
    expect(a.states).toEqual([true]);
  });

  it('while another relay has not announced its keys again, a key that no relay has is not nowhere', async () => {
    const [a, b] = (await relays(2)) as [TestDirectory, TestDirectory];
    const many = Array.from({ length: 20_000 }, key);
    for (const one of many) a.directory.announce(one);
    await b.findsAt(many.at(-1) as (typeof many)[0], a.id);
    await nats.kill();
    await Promise.all([a.lost(), b.lost()]);
    await nats.again();
    const outcomes = new Set<string | undefined>();
    await eventually(() => b.states.length === 3, 'the connection of the one that asks');
    // The last keys are announced last.
    for (const one of many.slice(-200).reverse()) outcomes.add(await b.finds(one));
    expect([...outcomes].filter((one) => one !== a.id && one !== 'syncing' && one !== 'late')).toEqual([]);
    await a.up();
    for (const one of many.slice(-200)) await b.findsAt(one, a.id);
    await b.findsAt(key(), undefined);
  });

  it('a server that stands still is noticed, and left when it goes on with what it has', {
    timeout: 120_000,
  }, async () => {
    const [a, b] = (await relays(2)) as [TestDirectory, TestDirectory];
    const client = key();
    a.directory.announce(client);
    await b.findsAt(client, a.id);
    onTestFinished(() => nats.resume());
    nats.pause();
    // The signal takes its time where the machine is busy.
    await eventually(async () => (await b.finds(client)) === 'late', 'no answer');
    await Promise.all([a.lost(), b.lost()]);
    expect(b.directory.status().trouble).toMatch(/does not answer/);
    expect(await b.finds(client)).toBe('down');
    nats.resume();
    await Promise.all([a.up(), b.up()]);
    await b.findsAt(client, a.id);
  });

  it('a relay that is cut off without a word is missed after three announcements', { timeout: 120_000 }, async () => {
    const [a, b] = (await relays(2)) as [TestDirectory, TestDirectory];
    await eventually(() => b.last.length === 2, 'the other relay');
    // Its process would stand still: here its directory says nothing any more.
    // biome-ignore lint/complexity/useLiteralKeys: what a relay that stands still does not do.
    a.directory['connection'].stop();
    await eventually(() => b.last.length === 1, 'the other relay to be missed', PATIENCE);
    expect(b.lines.at(-1)).toMatchObject({ text: 'a relay of the region announces itself no longer' });
  });

  it('garbage under every subject changes nothing, and is counted', async () => {
    const [a, b] = (await relays(2)) as [TestDirectory, TestDirectory];
    const stranger = await connect({ port: nats.port, reconnect: false });
    onTestFinished(() => stranger.close());
    const client = key();
    // What it sees of the relays, it sends again and elsewhere.
    const seen: { subject: string; data: Uint8Array; reply: string }[] = [];
    stranger.subscribe('>', {
      callback: (_error, { subject, data, reply }) => void seen.push({ subject, data, reply: reply ?? '' }),
    });
    await stranger.flush();
    await b.watches(client);
    a.directory.announce(client);
    await b.findsAt(client, a.id);
    // The key, its news, the answer, and the relays, which announce themselves every few seconds.
    const subjectsSeen = () => [...new Set(seen.map(({ subject }) => subject))];
    await eventually(
      () => b.moves.length > 0 && a.last.length === 2 && b.last.length === 2 && subjectsSeen().length > 3,
      'all that there is to see',
    );
    await stranger.flush();
    // A message that is sent again says again what it has said.
    const known = () => ({ moves: [...new Set(b.moves.map((move) => JSON.stringify(move)))], relays: b.last.length });
    const before = known();
    for (const subject of subjectsSeen()) {
      for (const length of [0, 1, 23, 24, 40, 64, 65, 1_000, 300_000])
        stranger.publish(subject, Buffer.alloc(length, 7));
      for (const { subject: other, data, reply } of seen) {
        if (other !== subject) stranger.publish(subject, data, reply === '' ? {} : { reply });
        const bent = Buffer.from(data);
        bent[bent.length - 1] = (bent.at(-1) ?? 0) ^ 1;
        stranger.publish(subject, bent, { reply: 'derpkit.other.inbox.a.b' });
      }
    }
    // Questions that are sent again, with another place for the answer.
    for (const { subject, data, reply } of seen) if (reply !== '') stranger.publish(subject, data, { reply: 'stolen' });
    const stolen: string[] = [];
    stranger.subscribe('stolen', { callback: (_error, { subject }) => void stolen.push(subject) });
    await stranger.flush();
    await b.findsAt(client, a.id);
    await eventually(() => b.directory.status().counts.refused > 50, 'refusals');
    expect(a.directory.status().counts.refused).toBeGreaterThan(10);
    expect(known()).toEqual(before);
    expect(stolen).toEqual([]);
    for (const one of [a, b]) expect(one.directory.status()).toMatchObject({ state: 'up', counts: { lost: 0 } });
  });
});

describe('a server that is no nats-server', () => {
  nothingIsLeft();
  const INFO = `INFO ${JSON.stringify({ version: '2.10.25', proto: 1, max_payload: 1 << 20, headers: true })}\r\n`;

  /** Accepts connections, and says the same to each. */
  async function fake(
    speak: (socket: Socket) => void,
  ): Promise<{ port: number; server: Server; arrived: () => number }> {
    const port = await freePort();
    const sockets = new Set<Socket>();
    let arrived = 0;
    const server = createServer((socket) => {
      arrived += 1;
      sockets.add(socket);
      socket.on('error', () => {});
      socket.on('close', () => sockets.delete(socket));
      speak(socket);
    }).listen(port, '127.0.0.1');
    await once(server, 'listening');
    onTestFinished(() => {
      for (const socket of sockets) socket.destroy();
      server.close();
    });
    return { port, server, arrived: () => arrived };
  }

  it.each<[string, (socket: Socket) => void]>([
    ['ends at once', (socket) => socket.destroy()],
    ['ends in the middle of its greeting', (socket) => socket.end('INFO {"ver')],
    ['greets with garbage', (socket) => socket.write('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['greets with garbage for JSON', (socket) => socket.write('INFO {"version": nonsense}\r\n')],
    ['greets and ends', (socket) => socket.end(INFO)],
    ['greets and then speaks garbage', (socket) => socket.write(`${INFO}PONG\r\nMSG x y z\r\n`)],
  ])('one that %s is tried again, ever more rarely', async (_what, speak) => {
    const { port, arrived } = await fake(speak);
    const relay = new TestDirectory(`127.0.0.1:${port}`).start();
    onTestFinished(() => relay.directory.close());
    await eventually(() => relay.directory.status().failures >= 3, 'three failures');
    expect(arrived()).toBeGreaterThanOrEqual(3);
    expect(relay.directory.status()).toMatchObject({ trouble: expect.stringMatching(/./), server: '' });
    expect(relay.states).toEqual([]);
  });

  it('one that permits tiny messages only is refused, and the relay says why', async () => {
    const { port } = await fake((socket) => socket.write(`${INFO.replace('1048576', '100')}PONG\r\n`));
    const relay = new TestDirectory(`127.0.0.1:${port}`).start();
    onTestFinished(() => relay.directory.close());
    await eventually(() => relay.directory.status().failures > 0, 'a failure');
    expect(relay.directory.status().trouble).toBe('the server permits messages of 100 bytes only (max_payload)');
  });

  it('one that accepts and says nothing takes one socket at a time, however often it is tried', {
    timeout: 120_000,
  }, async () => {
    const { port, arrived } = await fake(() => {});
    const before = openSockets();
    const relay = new TestDirectory(`127.0.0.1:${port}`).start();
    onTestFinished(() => relay.directory.close());
    await eventually(() => arrived() >= 3, 'three attempts');
    expect(relay.directory.status().trouble).toBe('the server does not answer in time');
    // Both ends of one connection are in this process.
    await eventually(
      () => openSockets() - before <= 2,
      () => `${openSockets() - before} sockets to be two`,
    );
  });

  it('one that is older than 2.10.26 is used, with one line about what to do', async () => {
    const { port } = await fake((socket) => {
      socket.write(INFO);
      socket.on('data', (bytes) => {
        const pings = bytes.toString().match(/PING/g)?.length ?? 0;
        socket.write('PONG\r\n'.repeat(pings));
      });
    });
    const relay = new TestDirectory(`127.0.0.1:${port}`).start();
    onTestFinished(() => relay.directory.close());
    await relay.up();
    expect(relay.lines.filter(({ level }) => level === 'warn')).toEqual([
      {
        level: 'warn',
        facts: { version: '2.10.25' },
        text: 'NATS is older than 2.10.26: a relay that stops reading slows others down; update nats-server',
      },
    ]);
  });
});
