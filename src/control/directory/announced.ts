/** The relays of the region that announce themselves. Pure: times are arguments. */
import { isHostname } from '../../protocol/host-name.js';
import { type NodeKey, nodeKeyHex, parseNodeKeyHex } from '../../protocol/key.js';
import type { AnnouncedRelay, RelayLoad } from './directory.js';

/** Milliseconds without an announcement after which a relay has left: three are missed. */
export const LOST_AFTER = 15_000;
/** Relays that are known at once, and those that have left whose last time is remembered. */
export const MOST_RELAYS = 1_024;
/** Processes of one key that are remembered, to tell a restart from two relays with one key. */
const MOST_PROCESSES = 8;
/** The longest announcement, in bytes. */
const LONGEST = 2_048;

/** What a relay announces of itself. */
export interface Announcement extends Omit<AnnouncedRelay, 'seen'> {
  /** A random number of the process, in hex: two relays with one key have two. */
  readonly instance: string;
  /** Whether it has announced all of its keys. */
  readonly isSynced: boolean;
  /** Whether it asks the others to announce themselves now. */
  readonly asks: boolean;
}

interface Known {
  readonly relay: AnnouncedRelay;
  /** When it was sent, by the clock of the relay. */
  readonly time: number;
  isSynced: boolean;
  /** The processes that have announced themselves as this relay; the last one is the relay. */
  readonly instances: readonly string[];
}

export class AnnouncedRelays {
  private readonly known = new Map<NodeKey, Known>();
  /** When relays that have left said so, by their clocks. */
  private readonly left = new Map<NodeKey, number>();

  /** Whether every relay has announced all of its keys, as far as is known. */
  get isSynced(): boolean {
    for (const { isSynced } of this.known.values()) if (!isSynced) return false;
    return true;
  }

  all(): AnnouncedRelay[] {
    return [...this.known.values()].map(({ relay }) => relay);
  }

  /**
   * A relay has announced itself. `time` is that of the message, `now` is ours. Returns whether the set has changed for relays
   * that follow it: a relay is new or can be dialled elsewhere. `undefined`: the message is an old one, and says nothing. `twin`: the
   * process is an earlier one of the key, so that two relays have it; the later one stays while it announces itself.
   */
  heard(announcement: Announcement, time: number, now: number): boolean | 'twin' | undefined {
    const { id, address, port, tlsName, version, load, settings, since, instance, isSynced } = announcement;
    const before = this.known.get(id);
    if (time <= (before?.time ?? this.left.get(id) ?? 0)) return undefined;
    if (!before && this.known.size >= MOST_RELAYS) return undefined;
    const earlier = before?.instances.filter((one) => one !== instance) ?? [];
    if (before?.instances.includes(instance) && before.instances.at(-1) !== instance) return 'twin';
    this.left.delete(id);
    const relay = { id, address, port, tlsName, version, load, settings, since, seen: now };
    this.known.set(id, { relay, time, isSynced, instances: [...earlier, instance].slice(-MOST_PROCESSES) });
    const last = before?.relay;
    return last?.address !== address || last.port !== port || last.tlsName !== tlsName;
  }

  /** A relay has said that it ends. Returns whether it was in the set. */
  leave(id: NodeKey, time: number): boolean {
    const before = this.known.get(id);
    if (before && time < before.time) return false;
    // An old farewell may be repeated: it does not bring back what was said before a later one.
    const last = Math.max(time, this.left.get(id) ?? 0);
    this.left.delete(id);
    this.left.set(id, last);
    if (this.left.size > MOST_RELAYS) this.left.delete(this.left.keys().next().value as NodeKey);
    return this.known.delete(id);
  }

  /** Forgets relays that have not announced themselves for too long. Returns those. */
  expire(now: number): AnnouncedRelay[] {
    const lost = this.all().filter(({ seen }) => now - seen >= LOST_AFTER);
    for (const { id } of lost) this.known.delete(id);
    return lost;
  }

  /**
   * The connection was down: each relay may have lost its own meanwhile, and has not announced all of its keys until it says
   * so. `now` counts as the time of its last announcement.
   */
  resume(now: number): void {
    for (const [id, known] of this.known) {
      this.known.set(id, { ...known, relay: { ...known.relay, seen: now }, isSynced: false });
    }
  }
}

export function writeAnnouncement({ id, ...others }: Announcement): Buffer {
  return Buffer.from(JSON.stringify({ id: nodeKeyHex(id), ...others }));
}

/** An announcement, checked in every field; `undefined` if one of them is wrong. */
export function readAnnouncement(body: Buffer): Announcement | undefined {
  if (body.length > LONGEST) return undefined;
  const given = objectIn(body);
  if (!given) return undefined;
  const { address, port, tlsName, version, settings, since, instance, isSynced, asks } = given;
  const id = typeof given.id === 'string' ? parseNodeKeyHex(given.id) : undefined;
  const load = loadIn(given.load);
  if (!id || !load || !isHost(address) || !isHost(tlsName) || !isCount(port) || port < 1 || port > 65535) {
    return undefined;
  }
  if (!isWord(version, 64) || !isWord(settings, 64) || !isWord(instance, 64) || !isCount(since)) return undefined;
  if (typeof isSynced !== 'boolean' || typeof asks !== 'boolean') return undefined;
  return { id, address, port, tlsName, version, load, settings, since, instance, isSynced, asks };
}

export function loadIn(given: unknown): RelayLoad | undefined {
  const { clients, links, packets } = (given ?? {}) as Record<string, unknown>;
  return isCount(clients) && isCount(links) && isCount(packets) ? { clients, links, packets } : undefined;
}

/** The object that JSON stands for; `undefined` if it is no JSON, or no object. */
export function objectIn(body: Buffer): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(body.toString('utf8'));
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

function isHost(given: unknown): given is string {
  return typeof given === 'string' && isHostname(given);
}

function isCount(given: unknown): given is number {
  return Number.isSafeInteger(given) && (given as number) >= 0;
}

function isWord(given: unknown, most: number): given is string {
  return typeof given === 'string' && given.length <= most && /^[\w.+-]+$/.test(given);
}
