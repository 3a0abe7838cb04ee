/** What no relay shows, because its control plane answers at once: the plane alone, with a test above it. */
import type { Duplex } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { SNAPSHOT_COLUMNS } from '../../src/plane/plane.js';
import { encodeFrame, notePreferredFrame, peerGoneFrame, sendPacketFrame } from '../../src/protocol/frame.js';
import { generateKeyPair } from '../../src/protocol/key.js';
import { FrameType } from '../../src/protocol/wire.js';
import { DerpClient } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { NO_RIGHTS, PlaneHarness } from '../helpers/plane-harness.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

describe.each(LANES)('a plane, $name', (lane) => {
  describe('a login that waits for admission', () => {
    it('the plane reports every fact of a login', async () => {
      const harness = await PlaneHarness.open(lane, {}, 'tls');
      const { client, login } = await harness.loggingIn({ appName: 'app', prober: true, idealNode: 'x' });
      expect(login).toEqual({
        id: expect.any(Number),
        key: client.key,
        info: { version: 2, meshKey: undefined, canAckPings: true, isProber: true, appName: 'app' },
        peer: { address: '127.0.0.1', port: client.wire.localPort },
        tlsVersion: '1.3',
        notIdeal: true,
      });
    });

    it('the plane bounds silent connections of each listener', async () => {
      const harness = await PlaneHarness.open(lane, { limits: { handshakes: 2 } });
      const spec = { kind: 'tcp', derp: true, host: '127.0.0.1', port: 0 } as const;
      const { port } = await harness.plane.listen(spec);
      const other = [await Wire.open({ host: spec.host, port }), await Wire.open({ host: spec.host, port })];
      const silent = [await harness.wire(), await harness.wire(), await harness.wire()];
      // The one that came first makes room.
      await silent[0]?.ended();
      expect([...other, ...silent.slice(1)].filter((wire) => wire.isOver)).toEqual([]);
      expect(harness.plane.counters.read('strangers_evicted:pool')).toBe(1);
      expect(harness.plane.counters.read('connections_refused')).toBe(0);
    });

    it('the plane closes a login that is refused', async () => {
      const harness = await PlaneHarness.open(lane);
      const { client, login } = await harness.loggingIn();
      harness.plane.refuse(login.id);
      await client.closed();
      expect(await harness.endOf(login.id)).toBe('refused');
      expect(harness.plane.counters.read('logins_failed')).toBe(1);
    });

    it('the plane closes a login for any reason that it is given', async () => {
      const harness = await PlaneHarness.open(lane);
      const { client, login } = await harness.loggingIn();
      harness.plane.close(login.id, 'closed');
      await client.closed();
      expect(await harness.endOf(login.id)).toBe('closed');
    });

    it('the plane closes a login at the admission deadline', async () => {
      const harness = await PlaneHarness.open(lane, { deadlines: { admission: 300 } });
      const start = performance.now();
      const { client, login } = await harness.loggingIn();
      await client.closed();
      expect(performance.now() - start).toBeGreaterThan(295);
      expect(await harness.endOf(login.id)).toBe('admission_timeout');
      // Too late, and without consequence.
      harness.plane.admit(login.id, NO_RIGHTS);
      const { total } = await harness.plane.snapshot(0, 1);
      expect(total).toBe(0);
    });

    it('the plane notices that a waiting client has left', async () => {
      const harness = await PlaneHarness.open(lane);
      const { client, login } = await harness.loggingIn();
      await client.close();
      expect(await harness.endOf(login.id)).toBe('disconnected');
    });

    it('the plane sends a waiting client nothing, and delivers nothing from it', async () => {
      const harness = await PlaneHarness.open(lane);
      const { client: sender } = await harness.admitted();
      const { client, login } = await harness.loggingIn();
      harness.plane.send([login.id], peerGoneFrame(sender.key, 0));
      await harness.plane.snapshot(0, 0);
      sender.sendPacket(client.key, 'too early');
      await sender.fence();
      expect(harness.plane.counters.read('packets_dropped:unknown_dest:other')).toBe(1);
      harness.plane.admit(login.id, NO_RIGHTS);
      await client.expect('ServerInfo');
      expect(await client.fence()).toEqual([]);
    });

    it('the plane keeps what a waiting client sends ahead, and processes it after admission', async () => {
      const harness = await PlaneHarness.open(lane);
      const { client, login } = await harness.loggingIn();
      const count = 50;
      for (let packet = 0; packet < count; packet++) client.sendPacket(client.key, `ahead ${packet}`);
      await client.wire.flushed();
      expect(harness.plane.counters.read('packets_received:other')).toBe(0);
      harness.plane.admit(login.id, NO_RIGHTS);
      await client.expect('ServerInfo');
      for (let packet = 0; packet < count; packet++) await client.expectPacket(`ahead ${packet}`);
    });

    it('the plane keeps only a bounded amount of data ahead of an admission', async () => {
      const harness = await PlaneHarness.open(lane, { limits: { leftoverBytes: 4096 } });
      const { client, login } = await harness.loggingIn();
      const stranger = generateKeyPair().publicKey;
      const count = 600;
      // More than all buffers of the system take.
      for (let packet = 0; packet < count; packet++) client.send(sendPacketFrame(stranger, Buffer.alloc(60_000)));
      const { client: other } = await harness.admitted();
      await other.fence();
      expect(client.wire.stream.writableLength).toBeGreaterThan(1 << 20);
      harness.plane.admit(login.id, NO_RIGHTS);
      await client.expect('ServerInfo');
      await client.fence();
      expect(harness.plane.counters.read('packets_received:other')).toBe(count);
    });
  });

  it('the plane ignores commands for unknown ids', async () => {
    const harness = await PlaneHarness.open(lane);
    const { client, id } = await harness.admitted();
    await client.close();
    await harness.endOf(id);
    for (const gone of [id, id + 1000]) {
      harness.plane.admit(gone, NO_RIGHTS);
      harness.plane.refuse(gone);
      harness.plane.close(gone, 'closed');
      harness.plane.send([gone], peerGoneFrame(client.key, 0), { pull: true });
      harness.plane.adopt(gone, { framing: 'raw', leftover: Buffer.alloc(0), notIdeal: false });
    }
    harness.plane.gone(client.key, 0);
    expect(await harness.plane.snapshot(0, 10)).toMatchObject({ total: 0 });
    expect(harness.pulls).toEqual([]);
    expect(harness.ends.size).toBe(1);
  });

  it('the plane admits a connection once', async () => {
    const harness = await PlaneHarness.open(lane);
    const { client, id } = await harness.admitted();
    harness.plane.admit(id, NO_RIGHTS);
    harness.plane.refuse(id + 1);
    await harness.plane.snapshot(0, 0);
    expect(await client.fence()).toEqual([]);
  });

  it('the plane sends control frames to every given connection, in order', async () => {
    const harness = await PlaneHarness.open(lane);
    const all = [await harness.admitted(), await harness.admitted(), await harness.admitted()];
    const [named, unnamed] = [all.slice(0, 2), all.slice(2)];
    const keys = [...Array(5)].map(() => generateKeyPair().publicKey);
    for (const key of keys) {
      harness.plane.send(
        named.map(({ id }) => id),
        Buffer.concat([peerGoneFrame(key, 0), peerGoneFrame(key, 1)]),
      );
    }
    for (const { client } of named) {
      for (const key of keys) {
        expect(await client.expect('PeerGone')).toEqual({ type: 'PeerGone', key, reason: 0 });
        expect(await client.expect('PeerGone')).toEqual({ type: 'PeerGone', key, reason: 1 });
      }
    }
    for (const { client } of unnamed) expect(await client.fence()).toEqual([]);
    await eventually(() => harness.plane.counters.read('peer_gone_not_here_frames') === 10, 'all to be counted');
    expect(harness.plane.counters.read('peer_gone_disconnected_frames')).toBe(10);
    expect(harness.pulls).toEqual([]);
  });

  it('the plane reports room once for every `pull`', async () => {
    const harness = await PlaneHarness.open(lane, { limits: { controlBytes: 1000 } });
    const { client, id } = await harness.admitted();
    const key = generateKeyPair().publicKey;
    for (let count = 1; count <= 5; count++) {
      harness.plane.send([id], peerGoneFrame(key, 0), { pull: true });
      await eventually(() => harness.pulls.length === count, 'a pull');
      await client.expect('PeerGone');
    }
    expect(await client.fence()).toEqual([]);
    expect(harness.pulls).toEqual(Array(5).fill(id));
  });

  it('the plane closes a connection with too many control frames queued', async () => {
    const harness = await PlaneHarness.open(lane, { limits: { controlBytes: 1000 } });
    const { client, id } = await harness.admitted();
    const { client: other } = await harness.admitted();
    harness.plane.send([id], encodeFrame(FrameType.Health, Buffer.alloc(2000)));
    await client.closed();
    expect(await harness.endOf(id)).toBe('control_overflow');
    expect(await other.fence()).toEqual([]);
  });

  it('the plane closes open connections', async () => {
    const harness = await PlaneHarness.open(lane);
    const { client, id } = await harness.admitted();
    harness.plane.close(id, 'closed');
    harness.plane.close(id, 'closed_by_peer');
    await client.closed();
    expect(await harness.endOf(id)).toBe('closed');
  });

  it('the plane tells each change of a client’s home, however fast they come, and those before it leaves', async () => {
    const harness = await PlaneHarness.open(lane);
    const { client, id } = await harness.admitted();
    const changes = () => harness.moves.reduce((sum, { changes }) => sum + changes, 0);
    const notes = (...homes: boolean[]) => homes.map((home) => notePreferredFrame(home));
    client.send(...notes(true, false, true, true));
    await eventually(() => changes() === 3, 'three changes');
    expect(harness.moves.at(-1)).toMatchObject({ id, home: true });
    client.send(...notes(false, true));
    await eventually(() => changes() === 5, 'a move there and back');
    expect(harness.moves.at(-1)).toMatchObject({ id, home: true });
    client.send(...notes(false, true, false));
    client.wire.end();
    await harness.endOf(id);
    // `closed` is the last event.
    expect(changes()).toBe(8);
    expect(harness.moves.at(-1)).toMatchObject({ id, home: false });
  });

  it('the plane has figures of every client, in pages', async () => {
    const harness = await PlaneHarness.open(lane, { tcp: { roundTrips: 0 } });
    const all = [await harness.admitted(), await harness.admitted(), await harness.admitted()];
    await harness.loggingIn();
    const [first, second] = all as [(typeof all)[0], (typeof all)[0]];
    for (const size of [10, 20, 30]) first.client.sendPacket(second.client.key, Buffer.alloc(size));
    first.client.sendPacket(generateKeyPair().publicKey, Buffer.alloc(5));
    for (let count = 0; count < 3; count++) await second.client.expect('RecvPacket');
    await first.client.fence();
    await eventually(() => harness.plane.counters.read('packets_sent') === 3, 'the packets to be counted');
    const rows = async (after: number, limit: number) => {
      const { total, rows } = await harness.plane.snapshot(after, limit);
      expect(total).toBe(3);
      const width = SNAPSHOT_COLUMNS.length;
      expect(rows.length % width).toBe(0);
      return Array.from({ length: rows.length / width }, (_, row) =>
        Object.fromEntries(SNAPSHOT_COLUMNS.map((name, column) => [name, rows[row * width + column]])),
      );
    };
    const nothing = {
      packetsReceived: 0,
      bytesReceived: 0,
      packetsSent: 0,
      bytesSent: 0,
      packetsDropped: 0,
      queuedPackets: 0,
      senders: 0,
      roundTrip: Number.NaN,
      droppedHead: 0,
      droppedTail: 0,
      droppedAge: 0,
      droppedOverBudget: 0,
      queueDelayMean: 0,
      queueDelayMax: 0,
    };
    const wanted = [
      { ...nothing, id: first.id, packetsReceived: 4, bytesReceived: 65 },
      { ...nothing, id: second.id, packetsSent: 3, bytesSent: 60 },
      { ...nothing, id: all[2]?.id },
    ];
    expect(await rows(0, 10)).toEqual(wanted);
    expect(await rows(0, 2)).toEqual(wanted.slice(0, 2));
    expect(await rows(second.id, 2)).toEqual(wanted.slice(2));
    expect(await rows(all[2]?.id ?? 0, 10)).toEqual([]);
    // A page goes on behind a connection that has left meanwhile.
    harness.plane.close(second.id, 'closed');
    await harness.endOf(second.id);
    await eventually(async () => (await harness.plane.snapshot(0, 0)).total === 2, 'the connection to leave');
    const { rows: rest } = await harness.plane.snapshot(second.id, 10);
    expect(rest[0]).toBe(all[2]?.id);
  });

  it('the plane takes a new policy while it runs', async () => {
    const harness = await PlaneHarness.open(lane, { keepAlive: { interval: 60_000, jitter: 0 } });
    const { client: before } = await harness.admitted();
    harness.plane.policy(harness.policy({ keepAlive: { interval: 50, jitter: 0 }, limits: { pendingLogins: 0 } }));
    await harness.plane.snapshot(0, 0);
    const refused = new DerpClient(await harness.wire(), harness.keys.publicKey);
    refused.wire.write(refused.head);
    await refused.closed();
    harness.plane.policy(harness.policy({ keepAlive: { interval: 50, jitter: 0 } }));
    await harness.plane.snapshot(0, 0);
    const { client: after } = await harness.admitted();
    await after.expect('KeepAlive');
    // What was armed before stays as it was armed.
    expect(await before.fence()).toEqual([]);
  });

  it('the plane takes new certificates while it runs, and leaves connections alone', async () => {
    const harness = await PlaneHarness.open(lane, {}, 'tls');
    const { client } = await harness.admitted();
    const leaf = harness.serve('another.test');
    await harness.plane.snapshot(0, 0);
    const wire = await harness.wire();
    expect(wire.tlsSocket.getPeerX509Certificate()?.fingerprint256).toBe(leaf.fingerprint256);
    expect(client.wire.tlsSocket.getPeerX509Certificate()?.fingerprint256).not.toBe(leaf.fingerprint256);
    expect(await client.fence()).toEqual([]);
  });

  it('the plane closes connections to a TLS listener without a certificate', async () => {
    const harness = await PlaneHarness.open(lane);
    const { port } = await harness.plane.listen({ kind: 'tls', derp: true, host: '127.0.0.1', port: 0 });
    await expect(Wire.open({ host: '127.0.0.1', port, tls: {} })).rejects.toThrow();
  });

  it('the plane cannot listen on a port in use', async () => {
    const harness = await PlaneHarness.open(lane);
    const { port } = await harness.plane.listen({ kind: 'tcp', derp: true, host: '127.0.0.1', port: 0 });
    const again = harness.plane.listen({ kind: 'tcp', derp: true, host: '127.0.0.1', port });
    await expect(again).rejects.toMatchObject({ code: 'ERR_LISTEN', cause: { code: 'EADDRINUSE' } });
  });

  it('the plane listens at the address of a name', async () => {
    const harness = await PlaneHarness.open(lane);
    const { address, port } = await harness.plane.listen({ kind: 'tcp', derp: true, host: 'localhost', port: 0 });
    expect(['127.0.0.1', '::1']).toContain(address);
    await Wire.open({ host: address, port });
  });

  it.each([
    ['an address of nobody here', { host: '192.0.2.1', port: 0 }, 'EADDRNOTAVAIL'],
    ['a name of nobody', { host: 'no.such.host.invalid', port: 0 }, expect.stringMatching(/^(?:ENOTFOUND|EAI_AGAIN)$/)],
  ])('the plane cannot listen at %s', async (_, where, code) => {
    const harness = await PlaneHarness.open(lane);
    const listening = harness.plane.listen({ kind: 'tcp', derp: true, ...where });
    await expect(listening).rejects.toMatchObject({ code: 'ERR_LISTEN', cause: { code } });
  });

  it('the plane shuts down once, and reports every end', async () => {
    const harness = await PlaneHarness.open(lane);
    const { client, id } = await harness.admitted();
    const { login } = await harness.loggingIn();
    await Promise.all([harness.plane.shutdown(), harness.plane.shutdown()]);
    await harness.plane.shutdown();
    expect(harness.ends).toEqual(
      new Map([
        [id, 'shutdown'],
        [login.id, 'shutdown'],
      ]),
    );
    await client.closed();
    await expect(harness.wire()).rejects.toThrow('ECONNREFUSED');
  });

  it('the plane hands over a connection that is not DERP with its bytes unread, and ends it on command', async () => {
    const harness = await PlaneHarness.open(lane);
    const wires = [await harness.wire(), await harness.wire()];
    for (const wire of wires) {
      wire.write('GET / HTTP/1.1\r\nHost: x\r\n\r\n');
      wire.write('and more');
    }
    await eventually(() => harness.duplexes.size === 2, 'two streams');
    const [first, second] = [...harness.duplexes] as [[number, Duplex], [number, Duplex]];
    for (const [, stream] of [first, second]) {
      let text = '';
      stream.on('data', (chunk: Buffer) => {
        text += chunk;
      });
      // It comes stopped, so that nothing is lost on its way.
      stream.resume();
      await eventually(
        () => text === 'GET / HTTP/1.1\r\nHost: x\r\n\r\nand more',
        () => `the request, not ${text}`,
      );
      stream.write('hello');
    }
    for (const wire of wires) expect((await wire.take(5)).toString()).toBe('hello');
    harness.plane.close(first[0], 'closed');
    await eventually(() => wires.some((wire) => wire.isOver), 'one of them to end');
    expect(wires.filter((wire) => wire.isOver)).toHaveLength(1);
    await harness.plane.shutdown();
    for (const wire of wires) await wire.ended();
    expect(second[1].destroyed).toBe(true);
    expect(harness.ends.size).toBe(0);
  });

  it('the plane never reuses an id', async () => {
    const harness = await PlaneHarness.open(lane);
    const ids: number[] = [];
    for (let count = 0; count < 5; count++) {
      const { client, login } = await harness.loggingIn();
      ids.push(login.id);
      await client.close();
      await harness.endOf(login.id);
    }
    expect(ids).toEqual(ids.toSorted((a, b) => a - b));
    expect(new Set(ids).size).toBe(5);
  });
});
