import { describe, expect, it } from 'vitest';
import { Networks, networkOf } from '../../../src/plane/networks.js';
import { type Full, Pool, type Stranger, Strangers } from '../../../src/plane/strangers.js';

const EXEMPT = ['192.0.2.99/32'];

/** Pools of three, shares of two, and a line for each event. */
function world(most = { ofPool: 3, perAddress: 2 }) {
  const log: string[] = [];
  const strangers = new Strangers({
    limits: () => ({ perAddress: most.perAddress, exempt: EXEMPT }),
    evicted: (why: Full) => void log.push(`evicted for the ${why}`),
    refused: (why: Full) => void log.push(`refused for the ${why}`),
  });
  const pools = [new Pool(() => most.ofPool), new Pool(() => most.ofPool)] as const;
  const enter = (who: string, address = '', now = 0, pool: Pool = pools[0]) =>
    strangers.enter(pool, { address, port: 1 }, () => void log.push(`${who} ends`), now);
  const told = () => log.splice(0);
  return { strangers, pools, enter, told, most };
}

describe('strangers', () => {
  it('a full pool makes room for a stranger, and evicts the oldest', () => {
    const { enter, told, pools } = world();
    const [first, second, third] = ['a', 'b', 'c'].map((who) => enter(who) as Stranger);
    expect(told()).toEqual([]);
    enter('d');
    expect(told()).toEqual(['evicted for the pool', 'a ends']);
    // The evicted stranger has no place any more, so that its leave changes nothing.
    first?.leave();
    expect(pools[0].count).toBe(3);
    second?.touch(5);
    third?.hold();
    enter('e');
    expect(told()).toEqual(['evicted for the pool', 'd ends']);
    second?.leave();
    enter('f');
    expect(told()).toEqual([]);
    expect(pools[0].count).toBe(3);
  });

  it('a pool of held strangers refuses a newcomer', () => {
    const { enter, told } = world();
    for (const who of ['a', 'b', 'c']) enter(who)?.hold();
    expect(enter('d')).toBeUndefined();
    expect(told()).toEqual(['refused for the pool']);
  });

  it('a full share of an address evicts its oldest stranger after a second', () => {
    const { enter, told, pools } = world({ ofPool: 10, perAddress: 2 });
    enter('a', '192.0.2.1', 0);
    enter('b', '::ffff:192.0.2.1', 500);
    expect(enter('c', '192.0.2.1', 999)).toBeUndefined();
    expect(told()).toEqual(['refused for the address']);
    enter('d', '192.0.2.1', 1000);
    expect(told()).toEqual(['evicted for the address', 'a ends']);
    // Another address has a share of its own. Exempt and unknown addresses have none. A share covers all pools.
    enter('e', '192.0.2.2', 1000);
    for (const who of ['f', 'g', 'h']) {
      enter(who, '192.0.2.99', 1000);
      enter(who, '', 1000);
    }
    expect(told()).toEqual([]);
    enter('i', '192.0.2.1', 1500, pools[1]);
    expect(told()).toEqual(['evicted for the address', 'b ends']);
  });

  it('a stranger enters another pool as a newcomer, and keeps its part in the share of its address', () => {
    const { enter, told, pools } = world();
    const first = enter('a', '192.0.2.1') as Stranger;
    for (const who of ['b', 'c', 'd']) enter(who, '', 0, pools[1]);
    expect(first.advance(pools[1], () => {}, 0)).toBe(true);
    expect(told()).toEqual(['evicted for the pool', 'b ends']);
    expect(pools.map(({ count }) => count)).toEqual([0, 3]);
    const second = enter('e', '192.0.2.1');
    expect(enter('f', '192.0.2.1')).toBeUndefined();
    second?.leave();
    first.leave();
    expect(enter('g', '192.0.2.1')).toBeDefined();
    expect(first.advance(pools[1], () => {}, 0)).toBe(false);
  });

  it('a stranger leaves if the next pool has no place', () => {
    const { enter, told, pools } = world();
    for (const who of ['a', 'b', 'c']) enter(who, '', 0, pools[1])?.hold();
    const one = enter('d') as Stranger;
    expect(one.advance(pools[1], () => {}, 0)).toBe(false);
    expect(told()).toEqual(['refused for the pool']);
    expect(pools.map(({ count }) => count)).toEqual([0, 3]);
  });

  it('a pool that is more than half full gives strangers less time', () => {
    const { enter, pools } = world({ ofPool: 4, perAddress: 2 });
    expect([1, 2, 3].map(() => (enter('a') as Stranger).patience(1000))).toEqual([1000, 1000, 250]);
    expect(pools[1].patience(1000)).toBe(1000);
  });

  it('pools follow a bound that becomes narrower', () => {
    const { enter, told, most } = world();
    for (const who of ['a', 'b', 'c']) enter(who);
    most.ofPool = 1;
    enter('d');
    expect(told()).toEqual(['evicted for the pool', 'a ends']);
    most.ofPool = 0;
    expect(enter('e')).toBeUndefined();
  });
});

describe('networks of addresses', () => {
  it('an IPv4 address is one network, and so is a /64 of IPv6', () => {
    for (const [one, other] of [
      ['192.0.2.1', '::ffff:192.0.2.1'],
      ['2001:db8::1', '2001:db8::ffff:0:0:2'],
      ['2001:db8:0:0:1::', '2001:db8::'],
      ['fe80::1%eth0', 'fe80::2%eth1'],
      ['::1', '::2'],
      ['64:ff9b::192.0.2.1', '64:ff9b::1'],
      ['2001:db8:1:2:3:4:192.0.2.1', '2001:db8:1:2::'],
    ] as const) {
      expect(networkOf(one)).toBe(networkOf(other));
      expect(networkOf(one)).not.toBe('');
    }
    const different = ['192.0.2.1', '192.0.2.2', '2001:db8::1', '2001:db8:0:1::1', '::1', '1::', '0:1::'];
    expect(new Set(different.map(networkOf)).size).toBe(different.length);
    expect(['', 'x', '1.2.3'].map(networkOf)).toEqual(['', '', '']);
  });

  it('a network has the addresses that begin with its prefix', () => {
    const networks = new Networks(['127.0.0.0/8', '::1/128', '2001:db8::/32', '198.51.100.7']);
    for (const address of ['127.9.9.9', '::ffff:127.0.0.1', '::1', '2001:db8:5::1', '198.51.100.7']) {
      expect(networks.has(address), address).toBe(true);
    }
    for (const address of ['128.0.0.1', '::2', '2001:db9::1', '198.51.100.8', '', 'x']) {
      expect(networks.has(address), address).toBe(false);
    }
  });
});
