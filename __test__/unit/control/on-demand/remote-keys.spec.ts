import { afterEach, describe, expect, it, vi } from 'vitest';
import { DirectoryError } from '../../../../src/control/directory/directory.js';
import { seeded } from '../../../helpers/random.js';
import { keyOf } from '../../plane/context.js';
import { Region, relays } from './region.js';

const ALICE = keyOf(100);
const BOB = keyOf(101);

afterEach(() => vi.useRealTimers());

describe('a lookup', () => {
  it('a key at another relay gets a route over a link that is dialled once', async () => {
    const { region, all } = await relays(2);
    const [one, two] = all;
    two.connect(ALICE, 1);
    two.connect(BOB, 2);
    one.remote.lookup(ALICE);
    one.remote.lookup(BOB);
    await region.settle();
    expect(one.answers).toEqual([
      { key: ALICE, to: two.key },
      { key: BOB, to: two.key },
    ]);
    expect([one.routeTo(ALICE), one.routeTo(BOB), one.dials]).toEqual([two.key, two.key, 1]);
    expect(one.remote.status()).toMatchObject({ keys: 2, routed: 2, counts: { lookups: 2, nowhere: 0, failed: 0 } });
  });

  it('a key that no relay has is answered so, and nothing of it is kept', async () => {
    const { region, all } = await relays(2);
    const [one] = all;
    one.remote.lookup(ALICE);
    await region.settle();
    expect(one.answers).toEqual([{ key: ALICE, to: undefined }]);
    expect(one.remote.status()).toMatchObject({ keys: 0, counts: { nowhere: 1, failed: 0 } });
    expect(one.watched.size).toBe(0);
  });

  it('a directory that cannot say is no answer that a key is nowhere, but the lookup is answered', async () => {
    const { region, all } = await relays(2);
    const [one, two] = all;
    two.connect(ALICE, 1);
    await region.settle();
    region.up(false);
    one.remote.lookup(ALICE);
    await region.settle();
    expect(one.answers).toEqual([{ key: ALICE, to: undefined }]);
    expect(one.remote.status().counts).toMatchObject({ nowhere: 0, failed: 1 });
    expect(one.lines).toContain('a key cannot be found: the directory of the region does not say where it is');
  });

  it('a relay that cannot be dialled is dialled once for many lookups, and all are answered', async () => {
    const { region, all } = await relays(2);
    const [one, two] = all;
    two.isReachable = false;
    for (const key of [ALICE, BOB]) two.connect(key, 1);
    for (const key of [ALICE, BOB, ALICE]) {
      one.remote.lookup(key);
      await region.settle();
    }
    expect(one.answers).toEqual([ALICE, BOB, ALICE].map((key) => ({ key, to: undefined })));
    expect(one.dials).toBe(1);
    expect(one.remote.status()).toMatchObject({ keys: 0, counts: { failed: 3 } });
  });

  it('a relay that has not announced itself yet cannot be dialled, and the lookup is answered', async () => {
    const region = new Region();
    const [one, two] = [region.relay(1), region.relay(2)];
    two.connect(ALICE, 1);
    one.remote.lookup(ALICE);
    await region.settle();
    expect(one.answers).toEqual([{ key: ALICE, to: undefined }]);
    region.rollCall();
    await region.settle();
    one.remote.lookup(ALICE);
    await region.settle();
    expect(one.routeTo(ALICE)).toBe(two.key);
  });

  it('of more keys than there may be, the oldest is forgotten, with its route', async () => {
    const { region, all } = await relays(2, { mostKeys: 2 });
    const [one, two] = all;
    for (const number of [100, 101, 102]) {
      two.connect(keyOf(number), number);
      one.remote.lookup(keyOf(number));
      await region.settle();
    }
    expect([...one.routes.keys()]).toEqual([keyOf(101), keyOf(102)]);
    expect(one.watched.size).toBe(2);
    expect(one.remote.status().counts.evicted).toBe(1);
  });
});

describe('a key that moves', () => {
  it('a key that connects elsewhere gets another route, and no client hears that it has left', async () => {
    const { region, all } = await relays(3);
    const [one, two, three] = all;
    two.connect(ALICE, 1);
    one.remote.heard(ALICE);
    one.remote.lookup(ALICE);
    await region.settle();
    three.connect(ALICE, 2);
    two.disconnect(ALICE);
    await region.settle();
    expect(one.routeTo(ALICE)).toBe(three.key);
    expect(one.gone).toEqual([]);
    expect(one.remote.status().counts.moved).toBe(1);
  });

  it('older news change nothing', async () => {
    const { region, all } = await relays(3);
    const [one, two, three] = all;
    two.connect(ALICE, 5);
    one.remote.lookup(ALICE);
    await region.settle();
    three.connect(ALICE, 4);
    await region.settle();
    expect(one.routeTo(ALICE)).toBe(two.key);
    three.disconnect(ALICE);
    await region.settle();
    expect(one.routeTo(ALICE)).toBe(two.key);
  });

  it('a key with two connections goes back to the older one when the younger one ends', async () => {
    const { region, all } = await relays(3);
    const [one, two, three] = all;
    two.connect(ALICE, 1);
    three.connect(ALICE, 2);
    one.remote.lookup(ALICE);
    await region.settle();
    expect(one.routeTo(ALICE)).toBe(three.key);
    three.disconnect(ALICE);
    await region.settle();
    expect(one.routeTo(ALICE)).toBe(two.key);
    expect(one.gone).toEqual([]);
  });

  it('a key that leaves is told of once, to a relay whose clients have heard it', async () => {
    const { region, all } = await relays(3);
    const [one, two, three] = all;
    two.connect(ALICE, 1);
    one.remote.heard(ALICE);
    three.remote.lookup(ALICE);
    await region.settle();
    two.disconnect(ALICE);
    await region.settle();
    expect([one.gone, three.gone]).toEqual([[ALICE], []]);
    expect([one, three].map(({ remote, watched }) => [remote.status().keys, watched.size])).toEqual([
      [0, 0],
      [0, 0],
    ]);
    expect(three.routes.size).toBe(0);
  });
});

describe('a stale route', () => {
  it('a key that its relay denies is asked for once more, and never in a loop', async () => {
    const { region, all } = await relays(2);
    const [one, two] = all;
    two.connect(ALICE, 1);
    one.remote.lookup(ALICE);
    await region.settle();
    // The directory goes on to say that the key is there, and the relay says that it is not.
    const find = vi.spyOn(one, 'find').mockResolvedValue({ relay: two.key, generation: 1 });
    two.own.delete(ALICE);
    for (let packet = 0; packet < 10; packet++) {
      one.send(ALICE);
      await region.settle();
    }
    expect([one.routes.size, one.remote.status().counts.denied, find.mock.calls.length]).toEqual([0, 1, 1]);
    // The plane asks again once it no longer knows the key as missing.
    region.forgetMisses();
    for (let packet = 0; packet < 10; packet++) {
      one.send(ALICE);
      await region.settle();
    }
    expect([one.routes.size, one.remote.status().counts.denied]).toEqual([0, 2]);
  });

  it('a key that has come back to the relay that denied it is believed', async () => {
    const { region, all } = await relays(2);
    const [one, two] = all;
    two.connect(ALICE, 1);
    one.remote.heard(ALICE);
    one.remote.lookup(ALICE);
    await region.settle();
    region.isUp = false;
    two.disconnect(ALICE);
    region.isUp = true;
    one.send(ALICE);
    await region.settle();
    expect([one.routes.size, one.gone]).toEqual([0, [ALICE]]);
    two.connect(ALICE, 2);
    region.forgetMisses();
    one.send(ALICE);
    await region.settle();
    expect(one.routeTo(ALICE)).toBe(two.key);
  });
});

describe('relays that end', () => {
  it('the keys of a relay that is killed leave, and each is told of', async () => {
    const { region, all } = await relays(3);
    const [one, two] = all;
    for (const key of [ALICE, BOB]) {
      two.connect(key, 1);
      one.remote.heard(key);
    }
    one.remote.lookup(ALICE);
    await region.settle();
    two.kill();
    region.rollCall();
    await region.settle();
    expect(new Set(one.gone)).toEqual(new Set([ALICE, BOB]));
    expect([one.routes.size, one.remote.status().keys]).toEqual([0, 0]);
  });

  it('a link that breaks while its relay lives costs a route, not a key', async () => {
    const { region, all } = await relays(2);
    const [one, two] = all;
    two.connect(ALICE, 1);
    one.remote.heard(ALICE);
    one.remote.lookup(ALICE);
    await region.settle();
    const [link] = one.links.keys();
    one.end(link as number, 'the connection broke');
    await region.settle();
    expect([one.routes.size, one.gone]).toEqual([0, []]);
    one.send(ALICE);
    await region.settle();
    expect(one.routeTo(ALICE)).toBe(two.key);
    expect(one.dials).toBe(2);
  });

  it('another relay at the address of a relay is left again', async () => {
    const { region, all } = await relays(2);
    const [one, two] = all;
    two.connect(ALICE, 1);
    Object.defineProperty(two, 'key', { value: keyOf(77) });
    vi.spyOn(one, 'find').mockResolvedValue({ relay: keyOf(2), generation: 1 });
    one.remote.lookup(ALICE);
    await region.settle();
    expect(one.answers).toEqual([{ key: ALICE, to: undefined }]);
    expect(one.remote.status().links[0]).toMatchObject({
      state: 'waiting',
      trouble: expect.stringContaining('another'),
    });
  });
});

describe('a directory that was away', () => {
  it('known routes go on, and what has moved meanwhile is found again', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { region, all } = await relays(3);
    const [one, two, three] = all;
    for (const key of [ALICE, BOB]) two.connect(key, 1);
    for (const key of [ALICE, BOB]) one.remote.lookup(key);
    one.remote.heard(BOB);
    await region.settle();
    region.up(false);
    three.connect(ALICE, 2);
    two.disconnect(ALICE);
    two.disconnect(BOB);
    await region.settle();
    expect(one.routes.size).toBe(2);
    region.up(true);
    for (let round = 0; round < 4; round++) {
      vi.advanceTimersByTime(60_000);
      await region.settle();
    }
    expect([one.routeTo(ALICE), one.routeTo(BOB), one.gone]).toEqual([three.key, undefined, [BOB]]);
  });

  it('a key that has left meanwhile is told of, even if the directory does not know enough at first', async () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { region, all } = await relays(2);
    const [one, two] = all;
    two.connect(ALICE, 1);
    one.remote.heard(ALICE);
    await region.settle();
    region.up(false);
    two.disconnect(ALICE);
    region.up(true);
    const find = vi.spyOn(one, 'find').mockRejectedValueOnce(new DirectoryError('late'));
    for (let round = 0; round < 5; round++) {
      vi.advanceTimersByTime(60_000);
      await region.settle();
    }
    expect([one.gone, find.mock.calls.length]).toEqual([[ALICE], 4]);
  });
});

describe('links that carry nothing', () => {
  it('an idle link is closed after its routes, and the next packet dials it again without a question', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    const { region, all } = await relays(2);
    const [one, two] = all;
    two.connect(ALICE, 1);
    one.remote.lookup(ALICE);
    await region.settle();
    const finds = one.finds;
    for (let look = 0; look < 3; look++) {
      vi.advanceTimersByTime(60_000);
      await region.settle();
    }
    expect([one.links.size, one.routes.size, one.remote.status().keys]).toEqual([0, 0, 1]);
    expect(one.remote.status()).toMatchObject({ counts: { closedIdle: 1 }, links: [{ state: 'idle', keys: 0 }] });
    one.send(ALICE);
    await region.settle();
    expect([one.routeTo(ALICE), one.dials, one.finds]).toEqual([two.key, 2, finds]);
  });

  it('an idle link that is slow to end is closed once', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    const { region, all } = await relays(2);
    const [one, two] = all;
    two.connect(ALICE, 1);
    one.remote.lookup(ALICE);
    await region.settle();
    for (let look = 0; look < 4; look++) {
      vi.advanceTimersByTime(60_000);
      await new Promise(setImmediate);
    }
    expect([one.links.size, one.remote.status().counts.closedIdle]).toEqual([1, 1]);
    await region.settle();
    expect(one.links.size).toBe(0);
  });

  it('a link that carries packets stays', async () => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval', 'performance'] });
    const { region, all } = await relays(2);
    const [one, two] = all;
    two.connect(ALICE, 1);
    one.remote.lookup(ALICE);
    await region.settle();
    for (let look = 0; look < 5; look++) {
      for (const link of one.links.values()) link.packets += 1;
      vi.advanceTimersByTime(59_000);
      await region.settle();
    }
    expect([one.links.size, one.routeTo(ALICE)]).toEqual([1, two.key]);
  });
});

describe('keys that move at random', () => {
  it.each([
    ...[1, 2, 3, 4, 5, 6, 7, 8].map((seed) => ({ seed, keys: 40, count: 4, acts: 3000 })),
    { seed: 9, keys: 20_000, count: 5, acts: 60_000 },
  ])(
    'every relay knows in the end where $keys keys are, as a model does: seed $seed',
    async ({ seed, keys: number, count, acts }) => {
      vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      const random = seeded(seed);
      const next = (below: number) => Math.floor(random() * below);
      const region = new Region(next);
      const all = Array.from({ length: count }, (_, index) => region.relay(index + 1, { mostKeys: number }));
      region.rollCall();
      await region.settle();
      const keys = Array.from({ length: number }, (_, index) => keyOf(1000 + index));
      /** What clients of each relay have heard, and may hear the end of. */
      const heard = new Map(all.map((relay) => [relay, new Set<string>()]));
      let told = 0;
      const takeGone = () => {
        for (const relay of all) {
          for (const key of relay.gone.splice(0)) {
            told += 1;
            // Exactly those that were heard are told of, and each once.
            expect([relay.address, heard.get(relay)?.delete(key)]).toEqual([relay.address, true]);
          }
        }
      };
      let generation = 0;
      for (let act = 0; act < acts; act++) {
        const relay = all[next(all.length)] as (typeof all)[0];
        const key = keys[next(keys.length)] as (typeof keys)[0];
        generation += 1;
        switch (next(8)) {
          case 0:
            relay.connect(key, generation);
            break;
          case 1:
            relay.disconnect(key);
            break;
          case 2:
            if (!relay.own.has(key) && region.placeOf(key, relay.key) && !heard.get(relay)?.has(key)) {
              heard.get(relay)?.add(key);
              relay.remote.heard(key);
            }
            break;
          case 3:
          case 4:
            if (!relay.own.has(key)) relay.send(key);
            break;
          default:
            region.step();
            await Promise.resolve();
        }
        if (next(50) === 0) await region.settle();
        takeGone();
      }
      await region.settle();
      // A key that was nowhere when it was first heard is asked for again.
      for (let again = 0; again < 3; again++) {
        vi.advanceTimersByTime(60_000);
        await region.settle();
      }
      takeGone();
      for (const relay of all) {
        for (const key of keys) {
          const place = region.placeOf(key, relay.key);
          const route = relay.routeTo(key);
          // A key that is nowhere has no route; one that has moved has the route to its place.
          if (route !== undefined && route !== place?.relay) expect([relay.address, key, route]).toEqual(place);
          // No departure was forgotten.
          if (!place) expect(heard.get(relay)?.has(key)).toBe(false);
        }
      }
      expect(told).toBeGreaterThan(10);
      // Whatever is sent now finds its way.
      region.forgetMisses();
      for (const relay of all) for (const key of keys) if (!relay.own.has(key)) relay.send(key);
      await region.settle();
      for (const relay of all)
        for (const key of keys)
          if (!relay.own.has(key) && relay.routeTo(key) !== region.placeOf(key, relay.key)?.relay)
            expect([relay.address, key, relay.routeTo(key)]).toEqual(region.placeOf(key, relay.key));
      for (const relay of all) relay.remote.stop();
    },
    60_000,
  );
});
