/** Traces over one plane that asks for keys: clients that send to each other and to far keys, and a control plane that answers, or does not. */
import { seeded } from '../helpers/random.js';
import type { Kind } from './packet.js';

/** Clients by name. Every one may also be at another relay, as far as the control plane says. */
export const CLIENTS = ['A', 'B', 'C', 'D'] as const;
/** Keys that never connect here. */
const FAR = ['R', 'S', 'T', 'U', 'V'] as const;
export const NAMES = [...CLIENTS, ...FAR] as const;
export type Name = (typeof NAMES)[number];

/** Links to other relays; the last one is never open. */
export const LINKS = [1, 2, 9] as const;
export type Link = (typeof LINKS)[number];

interface Sending {
  readonly name: Name;
  readonly to: Name;
  readonly kind: Kind;
  readonly count: number;
}

/** A step that makes no sense where it comes does nothing, so any part of a trace is one too. */
export type LookupStep =
  | { readonly do: 'connect' | 'close' | 'missing' | 'unroute' | 'gone'; readonly name: Name }
  | ({ readonly do: 'send' } & Sending)
  /** Another relay forwards packets of a key. */
  | ({ readonly do: 'arrive' } & Sending)
  | { readonly do: 'route'; readonly name: Name; readonly link: Link }
  /** The client sends while the answer that its packets wait for comes: both happen at once. */
  | { readonly do: 'rush'; readonly to: Name; readonly link: Link }
  | { readonly do: 'cut'; readonly link: Link }
  | { readonly do: 'policy'; readonly on: boolean };

const WEIGHTS: Readonly<Record<LookupStep['do'], number>> = {
  connect: 10,
  close: 3,
  send: 48,
  arrive: 8,
  route: 4,
  missing: 5,
  unroute: 12,
  gone: 3,
  rush: 8,
  cut: 1,
  policy: 2,
};
const LOT = Object.entries(WEIGHTS).flatMap(([name, weight]) =>
  new Array<LookupStep['do']>(weight).fill(name as LookupStep['do']),
);

export function lookupTraceOf(seed: number, length: number): LookupStep[] {
  const random = seeded(seed);
  const one = <T>(choices: readonly T[]) => choices[Math.floor(random() * choices.length)] as T;
  const next = (): LookupStep => {
    const [step, name, to, link] = [one(LOT), one(NAMES), one([...NAMES, ...FAR]), one(LINKS)];
    switch (step) {
      case 'connect':
      case 'close':
        return { do: step, name: one(CLIENTS) };
      case 'send':
        return { do: step, name: one(CLIENTS), to, kind: one(['disco', 'data']), count: one([1, 1, 2, 6]) };
      case 'arrive':
        return { do: step, name, to, kind: one(['disco', 'data']), count: one([1, 1, 2, 6]) };
      case 'route':
        return { do: step, name, link };
      case 'rush':
        return { do: step, to, link };
      case 'cut':
        return { do: step, link };
      case 'policy':
        return { do: step, on: random() < 0.8 };
      default:
        return { do: step, name };
    }
  };
  return Array.from({ length }, next);
}
