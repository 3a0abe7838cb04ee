/** What one address may have of the lookups, and which one makes room when they are all taken. */
import { describe, expect, it } from 'vitest';
import type { PlaneLookups } from '../../src/plane/plane.js';
import { type DerpClient, discoPacket } from '../helpers/client.js';
import { loopbackAddresses } from '../helpers/flood.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import {
  anyKey,
  balanced,
  commandsDone,
  drops,
  linkedTo,
  lookupCounts,
  notHere,
  openWithLookups,
  sendTo,
  texts,
  untilAsked,
} from '../helpers/lookups.js';
import type { PlaneHarness } from '../helpers/plane-harness.js';
import { numbered } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

const [LOUD = '', QUIET = '', OTHER = ''] = loopbackAddresses(3);

describe.each(LANES)('shares of lookups, $name', (lane) => {
  /** A plane for which no address is exempt. */
  const openWithShares = (lookups: Partial<PlaneLookups>) => openWithLookups(lane, lookups, { limits: { exempt: [] } });

  async function from(harness: PlaneHarness, ...addresses: readonly string[]): Promise<DerpClient[]> {
    const clients: DerpClient[] = [];
    for (const address of addresses) clients.push((await harness.admitted({ from: address })).client);
    return clients;
  }

  it('all connections of one address have one share of the keys, and others have theirs', async () => {
    const harness = await openWithShares({ keysPerAddress: 2 });
    const [a, b, quiet] = (await from(harness, LOUD, LOUD, QUIET)) as [DerpClient, DerpClient, DerpClient];
    const keys = [anyKey(), anyKey(), anyKey()] as const;
    await sendTo(a, keys[0], 'one');
    await sendTo(b, keys[1], 'two');
    b.sendPacket(keys[2], 'three');
    b.sendPacket(keys[2], discoPacket());
    expect(await b.fence()).toEqual([notHere(keys[2])]);
    expect(lookupCounts(harness)).toEqual({ asked: 2, share: 2 });
    expect(drops(harness)).toEqual({ unknown_dest: 2 });
    // What is asked for already needs no share.
    await sendTo(b, keys[0], 'four');
    await sendTo(quiet, keys[2], 'five');
    await untilAsked(harness, ...keys);
    harness.plane.missing(keys[0]);
    await commandsDone(harness);
    const last = anyKey();
    await sendTo(a, last, 'six');
    await untilAsked(harness, ...keys, last);
    await balanced(harness, 0, 3);
  });

  it('a connection whose address is exempt has a share of its own', async () => {
    const harness = await openWithLookups(lane, { keysPerAddress: 1 });
    const [a, b] = (await from(harness, LOUD, LOUD)) as [DerpClient, DerpClient];
    const keys = [anyKey(), anyKey()] as const;
    await sendTo(a, keys[0], 'one');
    await sendTo(a, anyKey(), 'two');
    await sendTo(b, keys[1], 'three');
    await untilAsked(harness, ...keys);
    expect(lookupCounts(harness)).toEqual({ asked: 2, share: 1 });
  });

  it('when all keys are taken, the oldest one of the address with the most makes room', async () => {
    const harness = await openWithShares({ keys: 4, burst: 4 });
    const [loud, quiet] = (await from(harness, LOUD, QUIET)) as [DerpClient, DerpClient];
    const keys = Array.from({ length: 4 }, anyKey);
    for (const key of keys) await sendTo(loud, key, discoPacket(), 'other');
    const key = anyKey();
    await sendTo(quiet, key, 'quiet');
    expect(await loud.fence()).toEqual([notHere(keys[0] as string & typeof key)]);
    await untilAsked(harness, ...keys, key);
    expect(lookupCounts(harness)).toEqual({ asked: 5, evicted: 1 });
    expect(drops(harness)).toEqual({ unknown_dest: 2 });
    await balanced(harness, 0, 7);
  });

  it('an address takes no room from one that asks for about as many keys', async () => {
    const harness = await openWithShares({ keys: 4 });
    const [a, b] = (await from(harness, LOUD, QUIET)) as [DerpClient, DerpClient];
    for (const client of [a, b]) for (let count = 0; count < 2; count++) await sendTo(client, anyKey(), 'x');
    for (const client of [a, b]) await sendTo(client, anyKey(), 'x');
    expect(lookupCounts(harness)).toEqual({ asked: 4, crowded: 2 });
  });

  it('a key that has made room is still answered, and asked for again without a question', async () => {
    const harness = await openWithShares({ keys: 2, burst: 2 });
    const end = await linkedTo(harness);
    const [loud, quiet] = (await from(harness, LOUD, QUIET)) as [DerpClient, DerpClient];
    const [first, second, third] = [anyKey(), anyKey(), anyKey()];
    for (const key of [first, second]) await sendTo(loud, key, 'lost');
    await sendTo(quiet, third, 'x');
    harness.plane.missing(second);
    await commandsDone(harness);
    await sendTo(loud, first, 'again');
    await untilAsked(harness, first, second, third);
    harness.plane.route(first, 1);
    expect(await texts(end, 1)).toEqual(['again']);
    expect(lookupCounts(harness)).toEqual({ asked: 3, evicted: 1, missing: 1 });
    await balanced(harness, 1, 1);
  });

  it('keys that have made room and are not answered yet are bounded', async () => {
    const harness = await openWithShares({ keys: 2 });
    const [a, b] = (await from(harness, LOUD, QUIET)) as [DerpClient, DerpClient];
    const unanswered: string[] = [];
    for (let round = 0; round < 3; round++) {
      const [first, second, third] = [anyKey(), anyKey(), anyKey()];
      unanswered.push(first);
      for (const key of [first, second]) await sendTo(a, key, 'x');
      await sendTo(b, third, 'x');
      for (const key of [second, third]) harness.plane.missing(key);
      await commandsDone(harness);
    }
    expect(lookupCounts(harness)).toMatchObject({ asked: 8, evicted: 2, crowded: 1 });
  });

  it('a key that makes room goes on for another address whose packet waits for it', async () => {
    const harness = await openWithShares({ keys: 3 });
    const end = await linkedTo(harness);
    const [loud, quiet, other] = (await from(harness, LOUD, QUIET, OTHER)) as [DerpClient, DerpClient, DerpClient];
    const [shared, second, third, last] = [anyKey(), anyKey(), anyKey(), anyKey()];
    for (const key of [shared, second, third]) await sendTo(loud, key, 'loud');
    await sendTo(quiet, shared, 'quiet');
    await sendTo(other, last, 'other');
    expect(lookupCounts(harness)).toEqual({ asked: 4, evicted: 1 });
    expect(drops(harness)).toEqual({ unknown_dest: 1 });
    harness.plane.route(shared, 1);
    expect(await texts(end, 2)).toEqual(['loud', 'quiet']);
  });

  it('one address has a share of the memory, and a packet beyond it is dropped while its key is asked for', async () => {
    const harness = await openWithShares({ bytesPerAddress: 100_000 });
    const [a, b, quiet] = (await from(harness, LOUD, LOUD, QUIET)) as [DerpClient, DerpClient, DerpClient];
    const [first, second] = [anyKey(), anyKey()];
    await sendTo(a, first, numbered(0, 60_000));
    await sendTo(b, second, numbered(1, 60_000));
    expect(lookupCounts(harness)).toEqual({ asked: 2, share: 1 });
    await sendTo(quiet, second, numbered(2, 60_000));
    await untilAsked(harness, first, second);
    expect(drops(harness)).toEqual({ unknown_dest: 1 });
    await balanced(harness, 0, 2);
  });

  it('when all memory is taken, the oldest packets of the address with the most of it make room', async () => {
    const harness = await openWithShares({ bytes: 200_000 });
    const end = await linkedTo(harness);
    const [loud, quiet] = (await from(harness, LOUD, QUIET)) as [DerpClient, DerpClient];
    const [key, other] = [anyKey(), anyKey()];
    for (let number = 0; number < 3; number++) await sendTo(loud, key, numbered(number, 60_000));
    await sendTo(quiet, other, numbered(9, 30_000));
    expect(lookupCounts(harness)).toEqual({ asked: 2, evicted: 1 });
    // As much as the loud one has now, and it would have to go for what is larger than it.
    await sendTo(quiet, other, numbered(10, 60_000));
    expect(lookupCounts(harness)).toEqual({ asked: 2, evicted: 1, crowded: 1 });
    harness.plane.route(key, 1);
    harness.plane.route(other, 1);
    const numbers = (await texts(end, 3)).map((text) => text.charCodeAt(3));
    expect(numbers.sort()).toEqual([1, 2, 9]);
    await balanced(harness, 3);
  });

  it('an address with dozens of connections that send to random keys keeps no other from being looked up', async () => {
    const harness = await openWithShares({ keys: 64, keysPerAddress: 16 });
    const loud = await from(harness, ...Array.from({ length: 24 }, () => LOUD));
    const quiet = await from(harness, ...loopbackAddresses(12, 2));
    const keys = quiet.map(anyKey);
    for (let round = 0; round < 20; round++) for (const client of loud) client.sendPacket(anyKey(), 'x');
    for (const client of loud) expect(await client.fence()).toEqual([]);
    for (const [index, client] of quiet.entries()) await sendTo(client, keys[index] as (typeof keys)[0], 'quiet');
    await eventually(() => harness.lookups.length === 16 + 12, 'all lookups');
    expect(harness.lookups).toEqual(expect.arrayContaining(keys));
    expect(lookupCounts(harness)).toEqual({ asked: 28, share: 20 * 24 - 16 });
  });

  it('many loud addresses together keep no quiet one from being looked up', async () => {
    const harness = await openWithShares({ keys: 64, keysPerAddress: 16 });
    const loud = await from(harness, ...loopbackAddresses(8));
    const quiet = await from(harness, ...loopbackAddresses(12, 2));
    const keys = quiet.map(anyKey);
    for (let round = 0; round < 30; round++) for (const client of loud) client.sendPacket(anyKey(), 'x');
    for (const client of loud) expect(await client.fence()).toEqual([]);
    for (const [index, client] of quiet.entries()) {
      await sendTo(client, keys[index] as (typeof keys)[0], 'quiet');
      for (const one of loud) one.sendPacket(anyKey(), 'x');
    }
    for (const client of loud) expect(await client.fence()).toEqual([]);
    await eventually(() => keys.every((key) => harness.lookups.includes(key)), 'the lookups of the quiet ones');
    const [first] = await linkedTo(harness).then(async (end) => {
      for (const key of keys) harness.plane.route(key, 1);
      return [await texts(end, 12)];
    });
    expect(new Set(first)).toEqual(new Set(['quiet']));
  });
});
