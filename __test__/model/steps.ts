/** What a trace is made of. A step that makes no sense where it comes does nothing, so any part of a trace is one too. */
import { seeded } from '../helpers/random.js';
import { ACTORS, SLOTS } from './cast.js';
import type { Kind } from './packet.js';

export const OFFENCES = ['not mesh', 'short SendPacket', 'long Ping', 'huge', 'ClosePeer of 31'] as const;
export type Offence = (typeof OFFENCES)[number];

export const CLOSINGS = ['end', 'destroy', 'reset', 'control'] as const;
export type Closing = (typeof CLOSINGS)[number];

/** How a client ends its connection right behind what it has sent: it reads on, it does not, or it takes everything back. */
export const LEAVINGS = ['end', 'destroy', 'reset'] as const;
export type Leaving = (typeof LEAVINGS)[number];

/** When a client that visits sends its packets, and its end: with the login, or as soon as it is let in. */
export const VISITS = ['with the login', 'at ServerInfo'] as const;
export type Visit = (typeof VISITS)[number];

/** `slot` is who acts, or is acted upon; `to` and `from` are names of keys. */
export type Step =
  | { readonly do: 'connect'; readonly slot: number }
  | { readonly do: 'close'; readonly slot: number; readonly how: Closing }
  | {
      readonly do: 'send';
      readonly slot: number;
      readonly to: string;
      readonly kind: Kind;
      readonly length: number;
      readonly count: number;
    }
  /** Packets, and right behind them the end of the connection; one that does not read has unread data then. */
  | {
      readonly do: 'leave';
      readonly slot: number;
      readonly to: string;
      readonly kind: Kind;
      readonly length: number;
      readonly count: number;
      readonly how: Leaving;
    }
  /** A client that connects, sends packets, and half-closes right behind them. */
  | {
      readonly do: 'visit';
      readonly slot: number;
      readonly to: string;
      readonly kind: Kind;
      readonly length: number;
      readonly count: number;
      readonly when: Visit;
    }
  /** A mesh peer's packet of somebody else. */
  | {
      readonly do: 'forward';
      readonly slot: number;
      readonly from: string;
      readonly to: string;
      readonly kind: Kind;
      readonly length: number;
    }
  /** More than a socket takes, to a key whose connection does not read. */
  | { readonly do: 'flood'; readonly slot: number; readonly to: string }
  /** Writes a part of what is to be written; the rest follows later, from wherever it was cut. */
  | { readonly do: 'split'; readonly slot: number; readonly share: number }
  | { readonly do: 'stall'; readonly slot: number }
  | { readonly do: 'resume'; readonly slot: number }
  | { readonly do: 'watch'; readonly slot: number }
  | { readonly do: 'closePeer'; readonly slot: number; readonly to: string }
  | { readonly do: 'prefer'; readonly slot: number; readonly home: boolean }
  | { readonly do: 'ping'; readonly slot: number }
  /** A frame of a type that there is not. */
  | { readonly do: 'strange'; readonly slot: number; readonly length: number }
  /** A packet, and behind it a frame that ends the connection. */
  | { readonly do: 'offend'; readonly slot: number; readonly to: string; readonly what: Offence };

/** Around every edge: no label, a label, the shortest discovery, what is usual, a read of the relay's, the longest. */
const LENGTHS = [0, 7, 8, 61, 62, 100, 100, 1400, 1400, 1400, 9000, 16_384, 65_536];

const WEIGHTS: Readonly<Record<Step['do'], number>> = {
  connect: 8,
  close: 4,
  leave: 3,
  visit: 4,
  send: 110,
  forward: 14,
  flood: 1,
  split: 6,
  stall: 4,
  resume: 6,
  watch: 4,
  closePeer: 2,
  prefer: 5,
  ping: 6,
  strange: 2,
  offend: 2,
};
const LOT = Object.entries(WEIGHTS).flatMap(([name, weight]) => new Array<Step['do']>(weight).fill(name as Step['do']));

const MESH_SLOTS = SLOTS.flatMap(({ mesh }, slot) => (mesh ? [slot] : []));
/** Enough clients for something to happen between them. */
const CROWD = 4;

export function traceOf(seed: number, length: number): Step[] {
  const random = seeded(seed);
  const below = (limit: number) => Math.floor(random() * limit);
  const one = <T>(choices: readonly T[]) => choices[below(choices.length)] as T;
  // What would be, if no step failed to make sense: so that most of them do.
  const open = new Set<number>();
  const stalled = new Set<number>();
  const oneOf = (slots: ReadonlySet<number>) => (slots.size > 0 ? one([...slots]) : below(SLOTS.length));
  const kind = (): Kind => (below(4) === 0 ? 'disco' : 'data');
  const key = () => one(ACTORS).name;
  const keyOf = (slots: ReadonlySet<number>) => (slots.size > 0 && below(8) > 0 ? nameAt(one([...slots])) : key());

  const packets = () => ({ to: keyOf(open), kind: kind(), length: one(LENGTHS), count: 1 + below(4) });

  const next = (): Step => {
    const name = open.size < CROWD && below(2) === 0 ? 'connect' : one(LOT);
    const slot = oneOf(open);
    const reading = oneOf(new Set([...open].filter((number) => !stalled.has(number))));
    const mesh = below(8) > 0 ? oneOf(new Set(MESH_SLOTS.filter((number) => open.has(number)))) : one(MESH_SLOTS);
    switch (name) {
      case 'connect': {
        const free = SLOTS.map((_, number) => number).filter((number) => !open.has(number));
        const taken = free.length > 0 ? one(free) : slot;
        open.add(taken);
        return { do: name, slot: taken };
      }
      case 'close':
        open.delete(slot);
        stalled.delete(slot);
        return { do: name, slot, how: one(CLOSINGS) };
      case 'send':
        return { ...packets(), do: name, slot: reading };
      case 'leave':
        open.delete(slot);
        stalled.delete(slot);
        return { ...packets(), do: name, slot, how: one(LEAVINGS) };
      case 'visit': {
        const free = SLOTS.map((_, number) => number).filter((number) => !open.has(number));
        return { ...packets(), do: name, slot: free.length > 0 ? one(free) : slot, when: one(VISITS) };
      }
      case 'forward':
        return { do: name, slot: mesh, from: key(), to: keyOf(open), kind: kind(), length: one(LENGTHS) };
      case 'flood':
        return { do: name, slot: reading, to: keyOf(stalled) };
      case 'split':
        return { do: name, slot: reading, share: random() };
      case 'stall':
        stalled.add(reading);
        return { do: name, slot: reading };
      case 'resume': {
        const again = oneOf(stalled);
        stalled.delete(again);
        return { do: name, slot: again };
      }
      case 'watch':
        return { do: name, slot: mesh };
      case 'closePeer': {
        const to = keyOf(open);
        for (const gone of [...open].filter((number) => nameAt(number) === to)) {
          open.delete(gone);
          stalled.delete(gone);
        }
        return { do: name, slot: mesh, to };
      }
      case 'prefer':
        return { do: name, slot: reading, home: below(2) === 0 };
      case 'ping':
        return { do: name, slot };
      case 'strange':
        return { do: name, slot: reading, length: one([0, 100, 65_536]) };
      case 'offend':
        open.delete(reading);
        return { do: name, slot: reading, to: keyOf(open), what: one(OFFENCES) };
    }
  };
  return Array.from({ length }, next);
}

function nameAt(slot: number): string {
  return SLOTS[slot]?.name ?? '?';
}
