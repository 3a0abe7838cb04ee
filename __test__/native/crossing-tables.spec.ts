/** What is spelled once in each language crosses unchanged: every number of a policy, and every word of an enum. */
import { describe, expect, it } from 'vitest';
import { parseSettings } from '../../src/config.js';
import { EVENT_KINDS } from '../../src/plane/binding.js';
import { DROP_REASONS, PACKET_KINDS } from '../../src/plane/drop-reasons.js';

import { policyForBinding } from '../../src/plane/native-policy.js';
import type { CertificateSet, CloseReason, PlanePolicy, TlsVersion } from '../../src/plane/plane.js';
import { generateKeyPair, type NodeKey } from '../../src/protocol/key.js';
import { LOOKUPS, planePolicy } from '../../src/relay/policy.js';
import { FAULTS, type FaultyPlane, faultyAddon } from '../helpers/faulty-addon.js';

const addon = faultyAddon();
const rows = addon.policyRows();

/** Deadlines that only the JavaScript plane knows. */
const OF_JS = ['deadlines.silence', 'deadlines.pong'];
/** What crosses beside the numbers. */
const NO_NUMBERS = ['limits.exempt', 'watchedDrops'];

/** The names of everything in a policy, as deep as it goes. */
function leaves(value: unknown, path = ''): string[] {
  if (value === null || typeof value !== 'object' || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([name, inner]) => leaves(inner, path === '' ? name : `${path}.${name}`));
}

/** The policy of a relay without settings, with every rate, and with lookups. */
function fullPolicy(): PlanePolicy {
  const rate = { bytesPerSecond: 1, burst: 2 };
  return { ...planePolicy(parseSettings({}), rate), acceptRate: { perSecond: 3, burst: 4 }, lookups: LOOKUPS };
}

/** The number that a row has in {@link numbered}: its place, and of a truth value that it holds. */
const TRUTHS = ['tellFailures', 'countSenders'];
const numberOf = (row: string, index: number) => (TRUTHS.includes(row) ? 1 : index + 2);

/** A policy whose numbers are 2, 3, 4 and so on, in the order of the rows. */
function numbered(): PlanePolicy {
  const policy = structuredClone(fullPolicy()) as unknown as Record<string, unknown>;
  rows.forEach((row, index) => {
    const names = row.split('.');
    const last = names.pop() as string;
    const parent = names.reduce((inner, name) => inner[name] as Record<string, unknown>, policy);
    parent[last] = typeof parent[last] === 'boolean' ? true : numberOf(row, index);
  });
  return policy as unknown as PlanePolicy;
}

function withPlane<T>(policy: PlanePolicy, act: (plane: FaultyPlane) => T): T {
  const binding = policyForBinding(rows, policy, 0);
  const plane = new addon.BindingPlane(generateKeyPair().privateKey, binding, 1, () => {}) as FaultyPlane;
  try {
    return act(plane);
  } finally {
    plane.shutdown();
  }
}

describe('policies of the native plane', () => {
  it('the addon has a row for every number of a policy, and no other row', () => {
    const crossing = leaves(fullPolicy()).filter((leaf) => ![...OF_JS, ...NO_NUMBERS].includes(leaf));
    expect([...rows].sort()).toEqual(crossing.sort());
    expect(leaves(fullPolicy())).toEqual(expect.arrayContaining([...OF_JS, ...NO_NUMBERS]));
  });

  it('a policy arrives in the plane with each number in its place, at the start and on replacement', () => {
    const numbers = rows.map(numberOf);
    withPlane(numbered(), (plane) => expect([...plane.policyInForce().numbers]).toEqual(numbers));
    withPlane(fullPolicy(), (plane) => {
      const watched = generateKeyPair().publicKey;
      const limits = { ...numbered().limits, exempt: ['192.0.2.0/24', '2001:db8::/32'] };
      const policy = { ...numbered(), limits, watchedDrops: [watched] as readonly NodeKey[] };
      const sent = policyForBinding(rows, policy, 7);
      plane.policy(sent);
      const { numbers: arrived, exempt, receiveEpoch, watchedDrops } = plane.policyInForce();
      expect([...arrived]).toEqual(numbers);
      expect({ exempt, receiveEpoch }).toEqual({ exempt: sent.exempt, receiveEpoch: 7 });
      expect(watchedDrops.map((key) => Buffer.from(key))).toEqual(sent.watchedDrops.map((key) => Buffer.from(key)));
    });
  });

  it('a policy without rates and lookups arrives without them', () => {
    const policy: PlanePolicy = { ...fullPolicy(), acceptRate: null, receiveRate: null, lookups: null };
    withPlane(policy, (plane) => {
      const { numbers } = plane.policyInForce();
      const none = rows.filter((_row, index) => Number.isNaN(numbers[index]));
      const absent = ['acceptRate', 'lookups', 'receiveRate'];
      expect(none).toEqual(rows.filter((row) => absent.includes(row.split('.')[0] as string)));
      expect(none).toHaveLength(12);
    });
  });

  it('the policy of a relay without settings is the default of the crates', () => {
    const ours = policyForBinding(rows, planePolicy(parseSettings({})), 0);
    const theirs = withPlane(fullPolicy(), (plane) => plane.defaultPolicy());
    const table = (numbers: Float64Array) => Object.fromEntries(rows.map((row, index) => [row, numbers[index]]));
    expect(table(theirs.numbers)).toEqual(table(ours.numbers));
    expect(theirs.exempt).toEqual(ours.exempt);
  });

  it('a policy that lacks a number is refused by name', () => {
    const { numbers, ...rest } = policyForBinding(rows, fullPolicy(), 0);
    withPlane(fullPolicy(), (plane) => {
      expect(() => plane.policy({ ...rest, numbers: numbers.subarray(1) })).toThrow(
        'as many numbers as there are rows',
      );
    });
    const { limits, ...others } = fullPolicy();
    const { headBytes: _gone, ...fewer } = limits;
    expect(() => policyForBinding(rows, { ...others, limits: fewer as typeof limits }, 0)).toThrow('limits.headBytes');
  });
});

describe('words that cross to the addon', () => {
  /** Every word of a type, held complete by the compiler. */
  const all = <T extends string>(words: Readonly<Record<T, true>>) => Object.keys(words).sort();
  const closeReasons = all<CloseReason>({
    disconnected: true,
    protocol_error: true,
    login_timeout: true,
    login_failed: true,
    refused: true,
    admission_timeout: true,
    write_timeout: true,
    control_overflow: true,
    over_budget: true,
    closed_by_peer: true,
    closed: true,
    internal_error: true,
    shutdown: true,
  });

  it.each<[type: string, words: readonly string[]]>([
    ['CloseReason', closeReasons],
    ['DropReason', [...DROP_REASONS]],
    ['PacketKind', [...PACKET_KINDS]],
    ['TlsVersion', all<TlsVersion>({ '1.2': true, '1.3': true })],
    ['Otherwise', all<CertificateSet['otherwise']>({ first: true, refuse: true, ask: true, challenge: true })],
    ['EventKind', [...EVENT_KINDS]],
    ['Fault', [...FAULTS, 'panic', 'hang', 'accept', 'register', 'pair', 'duplicate']],
  ])('the words of %s are one list in both languages', (type, words) => {
    const theirs = withPlane(fullPolicy(), (plane) => plane.words());
    expect([...(theirs[type] ?? [])].sort()).toEqual([...words].sort());
  });

  it('the test compares all lists of words', () => {
    const types = Object.keys(withPlane(fullPolicy(), (plane) => plane.words()));
    expect(types.sort()).toEqual(
      ['CloseReason', 'DropReason', 'EventKind', 'Fault', 'Otherwise', 'PacketKind', 'TlsVersion'].sort(),
    );
  });

  it('the addon refuses unknown words', () => {
    withPlane(fullPolicy(), (plane) => {
      expect(() => plane.close(1, 'boredom')).toThrow('no such reason to close');
      expect(() => plane.certificates([], 'perhaps')).toThrow('no such rule for other names');
      expect(() => plane.gone(new Uint8Array(32), 9)).toThrow('no such reason to be gone');
    });
  });
});
