import { describe, expect, it } from 'vitest';
import {
  COUNTER_NAMES,
  CounterPage,
  DROP_REASONS,
  PACKET_KINDS,
  WritableCounters,
} from '../../../src/plane/counters.js';
import { vectors } from '../vectors.js';

/** derper's mesh links hold senders up, and its queues have neither a budget nor a limit of age. */
const OWN_REASONS: readonly string[] = ['mesh_queue', 'mesh_down', 'over_budget', 'queue_age'];

describe('names of counters', () => {
  it('names of counters are unique', () => {
    expect(new Set(COUNTER_NAMES).size).toBe(COUNTER_NAMES.length);
  });

  it('reasons and kinds of drops are upstream’s, except our own reasons', () => {
    const theirs = DROP_REASONS.filter((reason) => !OWN_REASONS.includes(reason));
    expect(theirs.sort()).toEqual([...vectors.drops.reasons].sort());
    expect([...PACKET_KINDS].sort()).toEqual([...vectors.drops.kinds].sort());
  });

  it('every drop has a counter of packets and one of bytes', () => {
    const drops = COUNTER_NAMES.filter((name) => /^(?:packets|bytes)_dropped:/.test(name));
    const expected = ['packets', 'bytes'].flatMap((what) =>
      [...vectors.drops.reasons, ...OWN_REASONS].flatMap((reason) =>
        vectors.drops.kinds.map((kind) => `${what}_dropped:${reason}:${kind}`),
      ),
    );
    expect([...drops].sort()).toEqual(expected.sort());
  });

  it('names of counters have one form', () => {
    for (const name of COUNTER_NAMES) expect(name).toMatch(/^[a-z]+(?:_[a-z]+)*(?::[a-z0-9]+(?:_[a-z]+)*){0,2}$/);
  });
});

describe('the page of counters', () => {
  it('a page starts at zero, and counts each name alone', () => {
    const counters = new WritableCounters();
    expect(Object.values(counters.readAll())).toEqual(COUNTER_NAMES.map(() => 0));
    COUNTER_NAMES.forEach((name, index) => {
      counters.add(name, index + 1);
    });
    expect(counters.readAll()).toEqual(Object.fromEntries(COUNTER_NAMES.map((name, index) => [name, index + 1])));
    expect(Object.keys(counters.readAll())).toEqual(COUNTER_NAMES);
  });

  it('a page adds one if no number is given', () => {
    const counters = new WritableCounters();
    counters.add('accepts');
    counters.add('accepts');
    expect(counters.read('accepts')).toBe(2);
  });

  it('a page counts a drop as one packet and its bytes', () => {
    const counters = new WritableCounters();
    for (const reason of DROP_REASONS) for (const kind of PACKET_KINDS) counters.dropped(reason, kind, 100);
    const counted = Object.entries(counters.readAll()).filter(([, value]) => value > 0);
    expect(counted).toHaveLength(4 * DROP_REASONS.length);
    for (const [name, value] of counted) expect(value).toBe(name.startsWith('packets') ? 1 : 100);
  });

  it('a page reads 64-bit cells, exactly up to 2^53', () => {
    const cells = new BigUint64Array(COUNTER_NAMES.length);
    cells[COUNTER_NAMES.indexOf('bytes_sent')] = BigInt(Number.MAX_SAFE_INTEGER);
    expect(new CounterPage(cells).read('bytes_sent')).toBe(Number.MAX_SAFE_INTEGER);
    expect(new CounterPage(cells).read('packets_sent')).toBe(0);
  });

  it('a page is a live view of its cells', () => {
    const cells = new Float64Array(COUNTER_NAMES.length);
    const page = new CounterPage(cells);
    new WritableCounters(cells).add('stun_requests:success', 3);
    expect(page.read('stun_requests:success')).toBe(3);
  });
});
