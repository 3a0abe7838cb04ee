/** Ways in which a key could stay unreachable, or its end untold, for as long as the relay runs. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { DirectoryError } from '../../../../src/control/directory/directory.js';
import { keyOf } from '../../plane/context.js';
import { relays } from './region.js';

const ALICE = keyOf(100);
const BOB = keyOf(101);

afterEach(() => vi.useRealTimers());

describe('a key that moves to a relay whose last dial has failed a moment ago', () => {
  /** A route to the relay that the key moves away from; the other one's dials are repeated after `retry` milliseconds. */
  async function moving(retry = 0) {
    const { region, all } = await relays(3, { times: { retry, longest: retry } });
    const [one, two, three] = all;
    two.connect(ALICE, 1);
    three.connect(BOB, 1);
    one.remote.heard(ALICE);
    one.remote.lookup(ALICE);
    await region.settle();
    return { region, one, two, three };
  }

  it('loses its route, and gets one when the relay can be dialled again', async () => {
    vi.useFakeTimers({ toFake: ['performance'] });
    const { region, one, two, three } = await moving(1_000);
    three.isReachable = false;
    one.remote.lookup(BOB);
    await region.settle();
    three.connect(ALICE, 2);
    two.disconnect(ALICE);
    await region.settle();
    three.isReachable = true;
    vi.advanceTimersByTime(2_000);
    region.forgetMisses();
    for (let packet = 0; packet < 3; packet++) {
      one.send(ALICE);
      await region.settle();
    }
    expect(one.routeTo(ALICE)).toBe(three.key);
  });

  it('is told of when it leaves that relay', async () => {
    const { region, one, two, three } = await moving();
    three.isReachable = false;
    three.connect(ALICE, 2);
    two.disconnect(ALICE);
    await region.settle();
    three.disconnect(ALICE);
    await region.settle();
    expect(one.gone).toEqual([ALICE]);
  });

  it('is told of when that relay ends without a word', async () => {
    const { region, one, two, three } = await moving();
    three.isReachable = false;
    three.connect(ALICE, 2);
    two.disconnect(ALICE);
    await region.settle();
    three.kill();
    region.rollCall();
    await region.settle();
    expect(one.gone).toEqual([ALICE]);
  });
});

it('a key does not leave because too many questions are under way', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  const { region, all } = await relays(2);
  const [one, two] = all;
  two.connect(ALICE, 1);
  one.remote.heard(ALICE);
  one.remote.lookup(ALICE);
  await region.settle();
  const find = vi.spyOn(one, 'find').mockRejectedValue(new DirectoryError('crowded'));
  const [link] = one.links.keys();
  one.end(link as number, 'the connection broke');
  for (let round = 0; round < 6; round++) {
    await region.settle();
    vi.advanceTimersByTime(60_000);
  }
  expect(one.gone).toEqual([]);
  find.mockRestore();
  vi.advanceTimersByTime(60_000);
  await region.settle();
  one.send(ALICE);
  await region.settle();
  expect(one.routeTo(ALICE)).toBe(two.key);
});

it('a lookup is answered although an old departure is repeated all the time', async () => {
  const { region, all } = await relays(2);
  const [one, two] = all;
  two.connect(ALICE, 5);
  const find = one.find.bind(one);
  let finds = 0;
  vi.spyOn(one, 'find').mockImplementation((key) => {
    finds += 1;
    if (finds > 20) throw new Error('it asks for ever');
    // While the question is under way, NATS repeats that a relay has lost the key with an older generation.
    region.later(() => one.sink?.moved(key, two.key, undefined, 4));
    return find(key);
  });
  one.remote.lookup(ALICE);
  await region.settle();
  expect([one.routeTo(ALICE), finds]).toEqual([two.key, 1]);
});

it('a key that makes room for others is told of, if its departure matters', async () => {
  const { region, all } = await relays(2, { mostKeys: 2 });
  const [one, two] = all;
  for (const key of [ALICE, BOB]) two.connect(key, 1);
  one.remote.heard(ALICE);
  one.remote.lookup(BOB);
  await region.settle();
  for (const number of [200, 201]) one.remote.lookup(keyOf(number));
  await region.settle();
  expect([one.gone, one.remote.status().counts.evicted]).toEqual([[ALICE], 2]);
});

it('the address of a relay with IPv6 can be told from its port', async () => {
  const { all } = await relays(2);
  const [one, two] = all;
  one.sink?.relays([{ ...two.announced, address: 'fd00::7' }]);
  expect(one.remote.status().links).toMatchObject([{ address: '[fd00::7]:443' }]);
});

it('a relay that is no longer announced before its name is resolved is not dialled', async () => {
  const { region, all } = await relays(2);
  const [one, two] = all;
  two.connect(ALICE, 1);
  one.remote.lookup(ALICE);
  for (let turn = 0; turn < 20 && one.remote.status().links[0]?.state !== 'dialling'; turn++) {
    region.step();
    await Promise.resolve();
  }
  one.sink?.relays([one.announced]);
  await region.settle();
  expect([one.dials, one.links.size, one.answers]).toEqual([0, 0, [{ key: ALICE, to: undefined }]]);
});
