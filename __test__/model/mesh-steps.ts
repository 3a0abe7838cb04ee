/** Traces over two relays that mesh: who comes and goes where, who sends to whom, and links that are cut. */
import { seeded } from '../helpers/random.js';
import type { Kind } from './packet.js';

export const NODES = [0, 1] as const;
export type Node = (typeof NODES)[number];

/** Clients by name, which is all that is known of a key. `N` is never there. */
export const NAMES = ['A', 'B', 'C', 'D', 'E', 'N'] as const;
export type Name = (typeof NAMES)[number];

/** A step that makes no sense where it comes does nothing, so any part of a trace is one too. */
export type MeshStep =
  | { readonly do: 'connect'; readonly node: Node; readonly name: Name }
  | { readonly do: 'close'; readonly node: Node; readonly name: Name }
  | {
      readonly do: 'send';
      readonly node: Node;
      readonly name: Name;
      readonly to: Name;
      readonly kind: Kind;
      readonly length: number;
      readonly count: number;
    }
  /** Ends the link that this node has dialled; it is not dialled again before `restore`. */
  | { readonly do: 'cut'; readonly node: Node }
  | { readonly do: 'restore'; readonly node: Node };

const WEIGHTS: Readonly<Record<MeshStep['do'], number>> = { connect: 12, close: 7, send: 40, cut: 2, restore: 4 };
const LOT = Object.entries(WEIGHTS).flatMap(([name, weight]) =>
  new Array<MeshStep['do']>(weight).fill(name as MeshStep['do']),
);
/** The longest is one frame of a link, and more than a read of a relay's. */
const LENGTHS = [8, 61, 62, 100, 1400, 1400, 9000, 65_536];

export function meshTraceOf(seed: number, length: number): MeshStep[] {
  const random = seeded(seed);
  const one = <T>(choices: readonly T[]) => choices[Math.floor(random() * choices.length)] as T;
  const next = (): MeshStep => {
    const [name, node, who] = [one(LOT), one(NODES), one(NAMES)];
    switch (name) {
      case 'connect':
      case 'close':
        return { do: name, node, name: who };
      case 'send': {
        const kind: Kind = one(['disco', 'data', 'data']);
        return { do: name, node, name: who, to: one(NAMES), kind, length: one(LENGTHS), count: one([1, 1, 3, 8]) };
      }
      case 'cut':
      case 'restore':
        return { do: name, node };
    }
  };
  return Array.from({ length }, next);
}
