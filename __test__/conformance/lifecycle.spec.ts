import { createSocket } from 'node:dgram';
import { createServer } from 'node:net';
import { duplexPair } from 'node:stream';
import { describe, expect, it, onTestFinished } from 'vitest';
import { freePorts } from '../../src/bench/ports.js';
import { DerpkitError, ListenError } from '../../src/errors.js';
import { formatNodeKey, generateKeyPair } from '../../src/protocol/key.js';
import { DerpClient, upgradeRequest } from '../helpers/client.js';
import { LANES_AND_TLS, type Lane } from '../helpers/lanes.js';
import { nothingIsLeft, openSockets } from '../helpers/leaks.js';
import { newRelay, startRelay, type TestRelay, type TestRelayOptions } from '../helpers/relay.js';
import { eventually, turn } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

const EVERYTHING: TestRelayOptions = { tls: true, config: { httpPort: 0, stun: true, stunPort: 0 } };

/** The settings of a relay that is started more than once on its ports. */
async function onFreePorts(): Promise<TestRelayOptions> {
  const [derp, httpPort, stunPort] = (await freePorts(3)) as [number, number, number];
  return { tls: true, config: { listen: `127.0.0.1:${derp}`, httpPort, stun: true, stunPort } };
}

describe.each(LANES_AND_TLS)('a relay, $name', (lane) => {
  it('a started relay tells its address and its key', async () => {
    const relay = newRelay(lane, EVERYTHING);
    expect(relay.relay.address).toBeUndefined();
    expect(relay.relay.publicKey).toBeUndefined();
    await relay.relay.start();
    expect(relay.relay.address).toEqual({
      derp: { address: '127.0.0.1', port: expect.any(Number), tls: true },
      http: { address: '127.0.0.1', port: expect.any(Number) },
      stun: { address: '127.0.0.1', port: expect.any(Number) },
    });
    expect(relay.relay.publicKey).toBe(formatNodeKey(relay.keys.publicKey));
    expect(relay.relay.fingerprint).toMatch(/^[0-9a-f]{64}$/);
  });

  it.each([false, true])('a relay closes everything, even with traffic flowing; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls });
    const clients = await Promise.all([...Array(10)].map(() => DerpClient.connect(relay)));
    const idle = await Wire.open(relay.target());
    const http = await Wire.open(relay.target());
    http.write('GET /generate_204 HTTP/1.1\r\nHost: x\r\n\r\n');
    await http.takeThrough('\r\n\r\n');
    const login = await DerpClient.dial(relay);
    login.wire.write(login.head);
    await login.wire.take(45);
    const frozen = clients[0] as DerpClient;
    frozen.wire.stopReading();
    let running = true;
    const traffic = clients.slice(1).map(async (client, index) => {
      while (running && !client.wire.isOver) {
        client.sendPacket((clients[(index * 7) % 10] as DerpClient).key, Buffer.alloc(2000));
        await turn(1);
      }
    });
    await relay.untilFigures({ connections: 10 });
    await eventually(() => relay.count('packets_sent') > 1000, 'traffic');
    await relay.relay.close();
    running = false;
    for (const client of clients.slice(1)) await client.closed();
    for (const wire of [idle, http, login.wire]) await wire.ended();
    await Promise.all(traffic);
    expect(relay.disconnected.map(({ reason }) => reason)).toEqual(Array(10).fill('shutdown'));
    expect(await relay.dataPlane.snapshot(0, 1)).toMatchObject({ total: 0 });
    await expect(Wire.open(relay.target())).rejects.toThrow('ECONNREFUSED');
    // The books of the plane stay readable.
    const accounted = Object.values(relay.drops()).reduce((sum, count) => sum + count, relay.count('packets_sent'));
    expect(accounted).toBe(relay.count('packets_received:other'));
  });

  it('a closed relay frees its ports at once', async () => {
    const settings = await onFreePorts();
    const first = await startRelay(lane, settings);
    const client = await DerpClient.connect(first);
    await first.relay.close();
    const second = await startRelay(lane, settings);
    expect(second.relay.address).toEqual(first.relay.address);
    const back = await DerpClient.connect(second, { keys: client.keys });
    expect(await back.fence()).toEqual([]);
  });

  it('a relay has nothing open once close has resolved', async () => {
    const before = openSockets();
    const relay = await startRelay(lane, EVERYTHING);
    const clients = await Promise.all([...Array(3)].map(() => DerpClient.connect(relay)));
    const wire = await Wire.open(relay.httpTarget());
    expect(openSockets()).toBeGreaterThan(before + 2 * 4);
    await relay.relay.close();
    for (const client of clients) await client.close();
    await wire.destroy();
    await eventually(
      () => openSockets() === before,
      () => `${before} sockets, not ${openSockets()}`,
    );
  });

  it('two relays work in one process', async () => {
    const [first, second] = [await startRelay(lane), await startRelay(lane, { tls: true })];
    const keys = generateKeyPair();
    const [here, there] = [await DerpClient.connect(first, { keys }), await DerpClient.connect(second, { keys })];
    const sender = await DerpClient.connect(second);
    sender.sendPacket(keys.publicKey, 'there');
    expect(await there.expectPacket('there')).toBe(sender.key);
    expect(await here.fence()).toEqual([]);
    expect(first.count('packets_received:other')).toBe(0);
    expect(first.relay.figures().connections).toBe(1);
    expect(second.relay.figures().connections).toBe(2);
    await first.relay.close();
    await here.closed();
    sender.sendPacket(keys.publicKey, 'still there');
    expect(await there.expectPacket('still there')).toBe(sender.key);
  });

  it('a relay starts only once', async () => {
    const relay = newRelay(lane);
    const starting = relay.relay.start();
    await expect(relay.relay.start()).rejects.toMatchObject({ code: 'ERR_STATE' });
    await starting;
    await expect(relay.relay.start()).rejects.toMatchObject({ code: 'ERR_STATE' });
    // The one that was refused has changed nothing.
    expect(await (await DerpClient.connect(relay)).fence()).toEqual([]);
    await relay.relay.close();
    await expect(relay.relay.start()).rejects.toBeInstanceOf(DerpkitError);
  });

  it.each(['figures', 'counters', 'mesh', 'admission', 'reload'] as const)(
    'a relay refuses a call of %s before its start and after its close',
    async (question) => {
      const ask = async (asked: TestRelay) => asked.relay[question]();
      const refusal = (text: string) => ({ code: 'ERR_STATE', message: text });
      const unstarted = newRelay(lane);
      await expect(ask(unstarted)).rejects.toMatchObject(refusal('the relay has not started'));
      const relay = await startRelay(lane);
      const atTheEnd: unknown[] = [];
      relay.relay.on('disconnected', () => void atTheEnd.push(ask(relay)));
      await DerpClient.connect(relay);
      await expect(ask(relay)).resolves.not.toThrow();
      await relay.relay.close();
      // While the relay closes, handlers may ask.
      expect(await Promise.allSettled(atTheEnd)).toMatchObject([{ status: 'fulfilled' }]);
      await expect(ask(relay)).rejects.toMatchObject(refusal('the relay is closed'));
      await unstarted.relay.close();
      await expect(ask(unstarted)).rejects.toMatchObject(refusal('the relay is closed'));
    },
  );

  it('a relay refuses calls after a failed start', async () => {
    const relay = newRelay(lane, { config: { listen: '192.0.2.1:0' } });
    await expect(relay.relay.start()).rejects.toMatchObject({ code: 'ERR_LISTEN' });
    expect(() => relay.relay.figures()).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });

  it('a relay may be closed any number of times, and before its start', async () => {
    const unstarted = newRelay(lane);
    await unstarted.relay.close();
    await expect(unstarted.relay.start()).rejects.toMatchObject({ code: 'ERR_STATE' });
    const relay = await startRelay(lane);
    await DerpClient.connect(relay);
    await Promise.all([relay.relay.close(), relay.relay.close()]);
    await relay.relay.close();
    expect(relay.disconnected).toHaveLength(1);
  });

  it('a relay that is closed while it starts has nothing open in the end', async () => {
    const before = openSockets();
    for (const turns of [0, 1, 2, 5, 20]) {
      const relay = newRelay(lane, EVERYTHING);
      const starting = relay.relay.start().then(
        () => 'started',
        (error: DerpkitError) => error.code,
      );
      await turn(turns);
      await relay.relay.close();
      expect(openSockets()).toBe(before);
      expect(['started', 'ERR_STATE']).toContain(await starting);
    }
  });

  it('a relay works with `await using`', async () => {
    let port: number;
    {
      const relay = newRelay(lane);
      await using running = relay.relay;
      await running.start();
      port = relay.target().port;
      await DerpClient.connect(relay);
    }
    await expect(Wire.open({ host: '127.0.0.1', port })).rejects.toThrow('ECONNREFUSED');
  });

  it('a relay reports each client once when it connects and once when it leaves', async () => {
    const relay = await startRelay(lane);
    const clients = await Promise.all([...Array(20)].map(() => DerpClient.connect(relay)));
    expect(relay.connected.map(({ key }) => key).toSorted()).toEqual(
      clients.map(({ key }) => formatNodeKey(key)).toSorted(),
    );
    for (const [index, client] of clients.entries()) {
      if (index % 4 === 0) client.wire.reset();
      else if (index % 4 === 1) client.send(Buffer.of(4, 0, 0, 0, 0));
      else if (index % 4 === 2) client.wire.end();
    }
    await eventually(() => relay.disconnected.length === 15, 'fifteen of them to be gone');
    await relay.relay.close();
    const reasons = clients.map(({ key }) => relay.disconnected.filter((event) => event.key === formatNodeKey(key)));
    expect(reasons.map((ends) => ends.map(({ reason }) => reason))).toEqual(
      clients.map((_, index) => [(['disconnected', 'protocol_error', 'disconnected', 'shutdown'] as const)[index % 4]]),
    );
  });

  describe('unavailable addresses', () => {
    it.each([
      ['listen', async (port: number) => ({ listen: `127.0.0.1:${port}` })],
      ['httpPort', async (port: number) => ({ httpPort: port })],
    ] as const)('a taken port is reported as %s, and nothing stays open', async (setting, config) => {
      const taken = await takenTcpPort();
      await expectTaken(lane, setting, { ...EVERYTHING.config, ...(await config(taken)) });
    });

    it('a taken port is reported as stunPort, and nothing stays open', async () => {
      const socket = createSocket('udp4');
      await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve));
      onTestFinished(() => new Promise<void>((resolve) => void socket.close(() => resolve())));
      await expectTaken(lane, 'stunPort', { ...EVERYTHING.config, stunPort: socket.address().port });
    });

    it('an address that is not this machine’s is reported', async () => {
      const relay = newRelay(lane, { config: { listen: '192.0.2.1:0' } });
      const error = await relay.relay.start().catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'ERR_LISTEN', setting: 'listen', cause: { code: 'EADDRNOTAVAIL' } });
    });
  });

  describe('an attached stream', () => {
    it('an attached stream is served as any client', async () => {
      const relay = await startRelay(lane);
      const [ours, theirs] = duplexPair();
      const connecting = DerpClient.over(ours, relay);
      await relay.dataPlane.attach(theirs, { address: '192.0.2.7', port: 99 });
      const [client, other] = [await connecting, await DerpClient.connect(relay)];
      expect(relay.connected[0]).toMatchObject({ mesh: false, peer: { address: '192.0.2.7', port: 99 } });
      for (const size of [0, 1, 1400, 65536]) {
        const packet = Buffer.alloc(size, size);
        client.sendPacket(other.key, packet);
        expect(await other.expect('RecvPacket')).toEqual({ type: 'RecvPacket', source: client.key, packet });
        other.sendPacket(client.key, packet);
        expect(await client.expect('RecvPacket')).toEqual({ type: 'RecvPacket', source: other.key, packet });
      }
      // A pair's other side sees an end, not a destruction.
      client.wire.end();
      expect(await relay.endOf(client.key)).toBe('disconnected');
      expect(await other.expect('PeerGone')).toMatchObject({ key: client.key });
    });

    it('a relay ends an attached stream when it closes', async () => {
      const relay = await startRelay(lane);
      const [ours, theirs] = duplexPair();
      const connecting = DerpClient.over(ours, relay);
      await relay.dataPlane.attach(theirs, { address: '', port: 0 });
      const client = await connecting;
      await relay.relay.close();
      expect(await relay.endOf(client.key)).toBe('shutdown');
      expect(theirs.destroyed).toBe(true);
    });

    it('a relay does not wait for an attached stream that has already ended', async () => {
      const relay = await startRelay(lane);
      const [ours, theirs] = duplexPair();
      ours.destroy();
      theirs.destroy();
      await relay.dataPlane.attach(theirs, { address: '', port: 0 });
      await relay.untilCount('logins_failed', 1);
    });

    it('an attached stream that is not read does not delay the close', async () => {
      const relay = await startRelay(lane, { config: { tcpWriteTimeout: 300 } });
      const [ours, theirs] = duplexPair();
      const connecting = DerpClient.over(ours, relay);
      await relay.dataPlane.attach(theirs, { address: '', port: 0 });
      const [client, other] = [await connecting, await DerpClient.connect(relay)];
      client.wire.stopReading();
      while ((relay.drops().queue_head ?? 0) === 0) {
        other.sendPacket(client.key, Buffer.alloc(65536));
        await other.fence();
      }
      expect(await relay.endOf(client.key)).toBe('write_timeout');
      expect(await other.fence()).toEqual([]);
    });
  });

  it('a face refuses requests that belong to another one, and goes on', async () => {
    const relay = await startRelay(lane, EVERYTHING);
    const wire = await Wire.open(relay.httpTarget());
    wire.write(upgradeRequest());
    await wire.ended();
    expect(await (await DerpClient.connect(relay)).fence()).toEqual([]);
  });
});

async function takenTcpPort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => new Promise<void>((resolve) => void server.close(() => resolve())));
  return (server.address() as { port: number }).port;
}

async function expectTaken(lane: Lane, setting: string, config: TestRelayOptions['config']): Promise<void> {
  const before = openSockets();
  const relay = newRelay(lane, { tls: true, ...(config && { config }) });
  const error = await relay.relay.start().catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(ListenError);
  expect(error).toMatchObject({ code: 'ERR_LISTEN', setting, cause: { code: 'EADDRINUSE' } });
  expect(openSockets()).toBe(before);
  await expect(relay.relay.start()).rejects.toMatchObject({ code: 'ERR_STATE' });
}
