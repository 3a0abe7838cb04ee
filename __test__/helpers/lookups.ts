/** A plane that asks for keys, and what a test needs to play the control plane that answers. */
import { randomBytes } from 'node:crypto';
import { expect } from 'vitest';
import { DROP_REASONS, PACKET_KINDS } from '../../src/plane/counters.js';
import type { LinkId, PlaneLookups } from '../../src/plane/plane.js';
import { type NodeKey, readNodeKey } from '../../src/protocol/key.js';
import { FrameType, KEY_LENGTH } from '../../src/protocol/wire.js';
import type { DerpClient } from './client.js';
import type { Lane } from './lanes.js';
import { type OtherEnd, OtherRelay } from './other-relay.js';
import { PlaneHarness } from './plane-harness.js';
import { MESH_KEY, type PolicyChanges } from './relay.js';
import { eventually } from './wait.js';

/** No bound that a test meets by chance, and no miss that ends within a test. */
const LOOKUPS: PlaneLookups = {
  perSecond: 0,
  burst: 10_000,
  keys: 10_000,
  keysPerAddress: 10_000,
  bytes: 16 << 20,
  bytesPerAddress: 16 << 20,
  misses: 10_000,
  missTime: 3_600_000,
};

/** A plane with lookups; all disco packets are answered, unless the policy says otherwise. */
export function openWithLookups(
  lane: Lane,
  lookups: Partial<PlaneLookups> = {},
  policy: PolicyChanges = {},
): Promise<PlaneHarness> {
  return PlaneHarness.open(lane, lookupPolicy(lookups, policy));
}

export function lookupPolicy(lookups: Partial<PlaneLookups> = {}, policy: PolicyChanges = {}): PolicyChanges {
  return { notHere: { burst: 10_000, perSecond: 0 }, ...policy, lookups: { ...LOOKUPS, ...lookups } };
}

/** A key that no client has: random bytes, which cost less than a pair of keys. */
export function anyKey(): NodeKey {
  return readNodeKey(randomBytes(KEY_LENGTH));
}

/** The plane has asked for these keys, each as often as it is named, and for no other. Events of different keys have no order. */
export async function untilAsked(harness: PlaneHarness, ...keys: readonly NodeKey[]): Promise<void> {
  await eventually(
    () => harness.lookups.length >= keys.length,
    () => `${keys.length} lookups, not ${harness.lookups.length}`,
  );
  expect([...harness.lookups].sort()).toEqual([...keys].sort());
  expect(harness.plane.counters.read('lookups:asked')).toBe(keys.length);
}

/** Every command until now has been done. */
export async function commandsDone({ plane }: PlaneHarness): Promise<void> {
  await plane.snapshot(0, 0);
}

/** The rows of lookups that are not 0, without their common name. */
export function lookupCounts({ plane }: PlaneHarness): Record<string, number> {
  const names = ['asked', 'missing', 'missed', 'limited', 'crowded', 'share', 'evicted'] as const;
  const rows = names.map((name) => [name, plane.counters.read(`lookups:${name}`)] as const);
  return Object.fromEntries(rows.filter(([, count]) => count > 0));
}

/** Packets that were dropped, by reason; those of which there are none left out. */
export function drops({ plane }: PlaneHarness): Record<string, number> {
  const counters = plane.counters.readAll();
  const rows = DROP_REASONS.map((reason): [string, number] => [
    reason,
    PACKET_KINDS.reduce((sum, kind) => sum + counters[`packets_dropped:${reason}:${kind}`], 0),
  ]);
  return Object.fromEntries(rows.filter(([, count]) => count > 0));
}

/** Every packet was sent, forwarded or dropped, except for `waiting` of them. `carried`: what the links have sent. */
export async function balanced(harness: PlaneHarness, carried: number, waiting = 0): Promise<void> {
  const { counters } = harness.plane;
  const taken = () =>
    counters.read('packets_received:disco') +
    counters.read('packets_received:other') +
    counters.read('packets_forwarded_in');
  const left = () => Object.values(drops(harness)).reduce((sum, count) => sum + count, counters.read('packets_sent'));
  await eventually(
    () => taken() === left() + carried + waiting,
    () => `${taken()} packets to be ${left()}, ${carried} carried and ${waiting} waiting`,
  );
}

/** An open link that does not watch, and the other relay's end of it. */
export async function linkedTo(harness: PlaneHarness, link: LinkId = 1): Promise<OtherEnd> {
  const other = await OtherRelay.start(false);
  harness.plane.dial(link, {
    address: { address: '127.0.0.1', port: other.port },
    host: 'localhost',
    authority: `localhost:${other.port}`,
    roots: null,
    meshKey: MESH_KEY,
    timeout: 30_000,
    watch: false,
  });
  const end = await other.linked(false);
  await eventually(() => harness.opened.includes(link), 'the link to be open');
  return end;
}

/** A packet that the other relay gets over a link. */
export interface Forwarded {
  readonly source: NodeKey;
  readonly destination: NodeKey;
  readonly packet: Buffer;
}

/** The next packets that a link brings; nothing else may come. */
export async function forwarded(end: OtherEnd, count: number): Promise<Forwarded[]> {
  const packets: Forwarded[] = [];
  for (let number = 0; number < count; number++) {
    const { type, body } = await end.frame();
    expect(type).toBe(FrameType.ForwardPacket);
    const packet = body.subarray(2 * KEY_LENGTH);
    packets.push({ source: readNodeKey(body), destination: readNodeKey(body, KEY_LENGTH), packet });
  }
  return packets;
}

/** The texts of the next packets that a link brings. */
export async function texts(end: OtherEnd, count: number): Promise<string[]> {
  return (await forwarded(end, count)).map(({ packet }) => packet.toString());
}

/** A disco packet with a text behind the magic. */
export function discoText(text: string): Buffer {
  const packet = Buffer.alloc(62 + text.length);
  packet.write('TS💬', 0, 'utf8');
  packet.write(text, 62);
  return packet;
}

/** What a client is told when a peer is not here. */
export function notHere(key: NodeKey) {
  return { type: 'PeerGone', key, reason: 1 } as const;
}

/** Sends packets, and returns when the plane has acted upon them. */
export async function sendTo(client: DerpClient, key: NodeKey, ...packets: readonly (string | Uint8Array)[]) {
  for (const packet of packets) client.sendPacket(key, packet);
  expect(await client.fence()).toEqual([]);
}
