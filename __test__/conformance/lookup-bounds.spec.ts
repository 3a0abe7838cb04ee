/** What a client can cause with packets to keys that the plane does not know. */
import { describe, expect, it } from 'vitest';
import { discoPacket } from '../helpers/client.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import {
  anyKey,
  balanced,
  commandsDone,
  discoText,
  drops,
  forwarded,
  linkedTo,
  lookupCounts,
  notHere,
  openWithLookups,
  sendTo,
  texts,
  untilAsked,
} from '../helpers/lookups.js';
import { numbered } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

describe.each(LANES)('the bounds of lookups, $name', (lane) => {
  describe('known misses', () => {
    it('a packet to a known miss is dropped at once and takes no token of the lookups', async () => {
      const harness = await openWithLookups(lane, { burst: 2 });
      const { client } = await harness.admitted();
      const [key, other] = [anyKey(), anyKey()];
      await sendTo(client, key, 'one');
      harness.plane.missing(key);
      await commandsDone(harness);
      for (let count = 0; count < 5; count++) client.sendPacket(key, 'again');
      client.sendPacket(key, discoPacket());
      expect(await client.fence()).toEqual([notHere(key)]);
      expect(lookupCounts(harness)).toEqual({ asked: 1, missing: 1, missed: 6 });
      await sendTo(client, other, 'two');
      await untilAsked(harness, key, other);
    });

    it('a key that was not asked for can become a known miss', async () => {
      const harness = await openWithLookups(lane);
      const { client } = await harness.admitted();
      const key = anyKey();
      harness.plane.missing(key);
      await commandsDone(harness);
      await sendTo(client, key, 'one');
      expect(lookupCounts(harness)).toEqual({ missing: 1, missed: 1 });
    });

    it('a miss ends after its time', async () => {
      const harness = await openWithLookups(lane, { missTime: 100 });
      const { client } = await harness.admitted();
      const key = anyKey();
      await sendTo(client, key, 'one');
      harness.plane.missing(key);
      await commandsDone(harness);
      await eventually(async () => {
        await sendTo(client, key, 'again');
        return harness.plane.counters.read('lookups:asked') === 2;
      }, 'another lookup');
    });

    it('of more misses than the bound the oldest is forgotten', async () => {
      const harness = await openWithLookups(lane, { misses: 2 });
      const { client } = await harness.admitted();
      const [oldest, middle, newest] = [anyKey(), anyKey(), anyKey()];
      for (const key of [oldest, middle, newest]) {
        await sendTo(client, key, 'one');
        harness.plane.missing(key);
        await commandsDone(harness);
      }
      for (const key of [middle, newest, oldest]) await sendTo(client, key, 'two');
      expect(lookupCounts(harness)).toEqual({ asked: 4, missing: 3, missed: 2 });
      await untilAsked(harness, oldest, middle, newest, oldest);
    });

    it('a route makes its key no known miss', async () => {
      const harness = await openWithLookups(lane);
      const { client } = await harness.admitted();
      const key = anyKey();
      await sendTo(client, key, 'one');
      harness.plane.missing(key);
      harness.plane.route(key, 1);
      harness.plane.route(key, null);
      await commandsDone(harness);
      await sendTo(client, key, 'two');
      await untilAsked(harness, key, key);
    });

    it('an admission makes its key no known miss', async () => {
      const harness = await openWithLookups(lane);
      const { client } = await harness.admitted();
      const { client: late, login } = await harness.loggingIn();
      await sendTo(client, late.key, 'one');
      harness.plane.missing(late.key);
      harness.plane.admit(login.id, { mesh: false, receiveLimit: null });
      await late.expect('ServerInfo');
      await late.close();
      await harness.endOf(login.id);
      await sendTo(client, late.key, 'two');
      await untilAsked(harness, late.key, late.key);
    });
  });

  describe('limits', () => {
    it('one connection causes as many lookups as its bucket has tokens, and takes none from others', async () => {
      const harness = await openWithLookups(lane, { burst: 2 });
      const [{ client: a }, { client: b }] = [await harness.admitted(), await harness.admitted()];
      const keys = [anyKey(), anyKey(), anyKey()] as const;
      await sendTo(a, keys[0], 'one');
      await sendTo(a, keys[1], 'two');
      a.sendPacket(keys[2], 'three');
      a.sendPacket(keys[2], discoPacket());
      expect(await a.fence()).toEqual([notHere(keys[2])]);
      expect(lookupCounts(harness)).toEqual({ asked: 2, limited: 2 });
      expect(drops(harness)).toEqual({ unknown_dest: 2 });
      // What is asked for already costs nothing.
      await sendTo(a, keys[0], 'four');
      await sendTo(b, keys[2], 'five');
      await untilAsked(harness, ...keys);
      expect(lookupCounts(harness)).toEqual({ asked: 3, limited: 2 });
    });

    it('the bucket fills again', async () => {
      const harness = await openWithLookups(lane, { burst: 1, perSecond: 20 });
      const { client } = await harness.admitted();
      await sendTo(client, anyKey(), 'one');
      const key = anyKey();
      await eventually(async () => {
        await sendTo(client, key, 'again');
        return harness.plane.counters.read('lookups:asked') === 2;
      }, 'another lookup');
    });

    it('a key above the bound of keys is not asked for, and takes no token', async () => {
      const harness = await openWithLookups(lane, { keys: 1, burst: 2 });
      const { client } = await harness.admitted();
      const [first, second] = [anyKey(), anyKey()];
      await sendTo(client, first, 'one');
      client.sendPacket(second, 'two');
      client.sendPacket(second, discoPacket());
      expect(await client.fence()).toEqual([notHere(second)]);
      expect(lookupCounts(harness)).toEqual({ asked: 1, crowded: 2 });
      expect(drops(harness)).toEqual({ unknown_dest: 2 });
      harness.plane.missing(first);
      await commandsDone(harness);
      await sendTo(client, second, 'three');
      await untilAsked(harness, first, second);
    });

    it('the oldest packet of a kind makes room when more wait than a queue may hold', async () => {
      const harness = await openWithLookups(lane, {}, { queueDepth: 2 });
      const end = await linkedTo(harness);
      const { client } = await harness.admitted();
      const key = anyKey();
      await sendTo(client, key, 'other 0', discoText('disco 0'), 'other 1', 'other 2', 'other 3');
      await sendTo(client, key, discoText('disco 1'));
      expect(drops(harness)).toEqual({ queue_head: 2 });
      expect(harness.plane.counters.read('packets_dropped:queue_head:other')).toBe(2);
      harness.plane.route(key, 1);
      const words = (await texts(end, 4)).map((text) => text.match(/(other|disco) \d+$/)?.[0]);
      expect(words.sort()).toEqual(['disco 0', 'disco 1', 'other 2', 'other 3']);
      await balanced(harness, 4);
    });

    it('no packet waits where queues hold none, but its key is asked for', async () => {
      const harness = await openWithLookups(lane, {}, { queueDepth: 0 });
      const { client } = await harness.admitted();
      const key = anyKey();
      await sendTo(client, key, 'one', 'two');
      await untilAsked(harness, key);
      expect(drops(harness)).toEqual({ queue_tail: 2 });
    });

    it('a packet for which there is no memory is dropped, but its key is asked for', async () => {
      const harness = await openWithLookups(lane, { bytes: 100_000 });
      const end = await linkedTo(harness);
      const { client } = await harness.admitted();
      const [first, second] = [anyKey(), anyKey()];
      await sendTo(client, first, numbered(0, 60_000));
      await sendTo(client, second, numbered(1, 60_000), numbered(2, 60_000));
      await untilAsked(harness, first, second);
      expect(lookupCounts(harness)).toEqual({ asked: 2, crowded: 2 });
      expect(drops(harness)).toEqual({ unknown_dest: 2 });
      // What has waited leaves its memory to others.
      harness.plane.missing(first);
      await commandsDone(harness);
      await sendTo(client, second, numbered(3, 60_000));
      harness.plane.route(second, 1);
      const [packet] = await forwarded(end, 1);
      expect(packet?.packet.readUInt32BE(0)).toBe(3);
      await balanced(harness, 1);
    });

    it('a client that sends to thousands of random keys causes no more lookups than it may', async () => {
      const harness = await openWithLookups(lane, { burst: 100 });
      const [{ client }, { client: other }] = [await harness.admitted(), await harness.admitted()];
      for (let count = 0; count < 3000; count++) client.sendPacket(anyKey(), 'x');
      await sendTo(client, other.key, 'still served');
      await other.expectPacket('still served');
      expect(lookupCounts(harness)).toEqual({ asked: 100, limited: 2900 });
      await eventually(() => harness.lookups.length === 100, 'all lookups');
      for (const key of harness.lookups) harness.plane.missing(key);
      await commandsDone(harness);
      expect(drops(harness)).toEqual({ unknown_dest: 3000 });
      await balanced(harness, 0);
    });
  });
});
