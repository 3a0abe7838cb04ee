/**
 * Clients whose network has vanished. On the native plane the system gives up on data that is not acknowledged, which no
 * test here can show: loopback loses nothing. The JavaScript plane has to ask.
 */
import { describe, expect, it } from 'vitest';
import { DerpClient } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { startRelay } from '../helpers/relay.js';

nothingIsLeft();

/** No deadline in the way of a test. */
const FOR_EVER = 3_600_000;

describe.each(LANES)('a silent client, $name', (lane) => {
  describe.runIf(lane.planeKind === 'js')('pings of the JavaScript plane', () => {
    it.each([false, true])('a client that answers no Ping is closed, and its peers are told; TLS %s', async (tls) => {
      const relay = await startRelay(lane, { tls, policy: { deadlines: { silence: 100, pong: 100 } } });
      const peer = await DerpClient.connect(relay, { info: { CanAckPings: false } });
      const client = await DerpClient.connect(relay);
      client.sendPacket(peer.key, 'the last');
      await peer.expectPacket('the last');
      await client.expect('Ping');
      expect(await peer.expect('PeerGone')).toMatchObject({ key: client.key, reason: 0 });
      await client.closed();
      expect(await relay.endOf(client.key)).toBe('disconnected');
    });

    it('a client that answers is pinged again, with other bytes each time', async () => {
      const relay = await startRelay(lane, { policy: { deadlines: { silence: 100, pong: FOR_EVER } } });
      const client = await DerpClient.connect(relay);
      const pings = new Set<string>();
      for (let count = 0; count < 4; count++) {
        const { data } = await client.expect('Ping');
        pings.add(data);
        client.pong(Buffer.from(data, 'hex'));
      }
      expect(pings.size).toBe(4);
      expect(relay.disconnected).toEqual([]);
    });

    it('any frame of a client counts as its answer', async () => {
      const relay = await startRelay(lane, { policy: { deadlines: { silence: 100, pong: FOR_EVER } } });
      const client = await DerpClient.connect(relay);
      for (let count = 0; count < 3; count++) {
        await client.expect('Ping');
        client.notePreferred(true);
      }
    });

    it('a client is not closed before its deadline', async () => {
      const relay = await startRelay(lane, { policy: { deadlines: { silence: 100, pong: FOR_EVER } } });
      const client = await DerpClient.connect(relay);
      await client.expect('Ping');
      expect(await client.fence()).toEqual([]);
    });

    it('a client that does not announce that it answers is not pinged, and stays', async () => {
      const relay = await startRelay(lane, { policy: { deadlines: { silence: 50, pong: 50 } } });
      const clients = await Promise.all(
        [{ CanAckPings: false }, { CanAckPings: null }].map((info) => DerpClient.connect(relay, { info })),
      );
      // By the time that clients that do are closed, one after the other, they would be.
      for (let count = 0; count < 3; count++) await (await DerpClient.connect(relay)).closed();
      for (const client of clients) expect(await client.fence()).toEqual([]);
    });

    it.each(['silence', 'pong'])('a client is not pinged if the deadline of %s is 0', async (deadline) => {
      const deadlines = { silence: 50, pong: 50, [deadline]: 0 };
      const relay = await startRelay(lane, { policy: { deadlines, keepAlive: { interval: 300, jitter: 0 } } });
      const client = await DerpClient.connect(relay);
      for (let count = 0; count < 2; count++) await client.expect('KeepAlive');
      expect(await client.fence()).toEqual([]);
    });

    it('a client is not closed while its receive limit keeps its frames unread', async () => {
      const receiveRate = { bytesPerSecond: 65568, burst: 65568 };
      const relay = await startRelay(lane, { policy: { receiveRate, deadlines: { silence: 50, pong: 150 } } });
      const client = await DerpClient.connect(relay);
      // A second and a half of what it may send, of which two thirds are owed.
      for (let count = 0; count < 3; count++) client.sendPacket(client.key, Buffer.alloc(50_000));
      for (let count = 0; count < 3; ) {
        const frame = await client.next();
        if (frame.type === 'RecvPacket') count += 1;
      }
      expect(relay.disconnected).toEqual([]);
    });
  });

  it.runIf(lane.planeKind === 'native')('the native plane pings no client', async () => {
    const policy = { deadlines: { silence: 50, pong: 50 }, keepAlive: { interval: 300, jitter: 0 } };
    const relay = await startRelay(lane, { policy });
    const client = await DerpClient.connect(relay);
    for (let count = 0; count < 2; count++) await client.expect('KeepAlive');
    expect(await client.fence()).toEqual([]);
  });
});
