/**
 * What a plane that asks for keys has to do, said in as few words as it can be: `PlaneLookups` in `src/plane/policy.ts` has the
 * rules in prose. Pure.
 */
import type { Link, Name } from './lookup-steps.js';
import type { Kind } from './packet.js';

/** Bounds that a trace meets. */
export const BOUNDS = { depth: 4, burst: 3, keys: 3, share: 2, misses: 2 } as const;

/** A receiver: a client here, the mesh peer that forwards packets, or a link. */
export type Receiver = Name | 'M' | Link;

/** Something that a receiver has to be sent: in order within each row. */
export interface Due {
  readonly at: Receiver;
  readonly row: string;
  readonly what: string;
}

/** A packet, by the number of the connection that sent it. */
export interface Sent {
  readonly source: Name;
  readonly sender: number;
  readonly to: Name;
  readonly kind: Kind;
  readonly what: string;
}

interface Here {
  readonly number: number;
  /** Lookups that it may still cause. */
  tokens: number;
  /** Keys whose departure it is told. */
  readonly sources: Set<Name>;
}

/** A key that is asked for: what waits, and the connection that it counts for. Every connection is an address of its own. */
interface Asked {
  by: number | undefined;
  waiting: Sent[];
}

export class LookupWorld {
  /** What counters have to say, by the names of their rows. */
  readonly counts = new Map<string, number>();
  /** Keys that were asked for, and keys that clients began to hear of. */
  readonly lookups: Name[] = [];
  readonly heard: Name[] = [];
  private readonly here = new Map<Name, Here>();
  private readonly routes = new Map<Name, Link>();
  private readonly open = new Set<Link>([1, 2]);
  private readonly asked = new Map<Name, Asked>();
  /** The numbers of connections that ask for keys: those that ask for about as many in the order in which they came to that. */
  private readonly askers = new Map<number, number>();
  /** Keys in the order in which they came to count for a connection. */
  private readonly owned: Name[] = [];
  private misses: Name[] = [];
  private isOn = true;

  isHere(name: Name): boolean {
    return this.here.has(name);
  }

  isOpen(link: Link): boolean {
    return this.open.has(link);
  }

  /** How many packets of a kind wait for a key; undefined if it is not asked for. */
  waiting(name: Name, kind: Kind): number | undefined {
    const asked = this.asked.get(name);
    return asked?.by === undefined ? undefined : asked.waiting.filter((sent) => sent.kind === kind).length;
  }

  connect(name: Name, number: number): void {
    this.here.set(name, { number, tokens: BOUNDS.burst, sources: new Set() });
    this.forgetMiss(name);
  }

  close(name: Name): void {
    this.here.delete(name);
  }

  cut(link: Link): void {
    this.open.delete(link);
  }

  unroute(name: Name): void {
    this.routes.delete(name);
  }

  gone(name: Name): Due[] {
    return [...this.here].flatMap(([told, { sources }]) =>
      sources.delete(name) ? [{ at: told, row: `${name} gone`, what: '' }] : [],
    );
  }

  send(sent: Sent): Due[] {
    const { to } = sent;
    const receiver = this.here.get(to);
    if (receiver) {
      receiver.sources.add(sent.source);
      return [dueOf(sent, to)];
    }
    const link = this.routes.get(to);
    if (link !== undefined) return this.over(link, sent);
    const [isAsked, dues] = this.ask(to, this.here.get(sent.source) as Here);
    return [...dues, ...(isAsked ? this.wait(sent) : this.lose(sent))];
  }

  /** A packet that the mesh peer forwards. */
  arrive(sent: Sent): Due[] {
    const receiver = this.here.get(sent.to);
    if (!receiver) {
      this.drop(sent, 'unknown_dest_on_fwd');
      return this.isOn || sent.kind === 'disco' ? [notHere('M', sent.to)] : [];
    }
    const isFirst = ![...this.here.values()].some(({ sources }) => sources.has(sent.source));
    if (this.isOn && isFirst && !this.here.has(sent.source)) this.heard.push(sent.source);
    receiver.sources.add(sent.source);
    return [dueOf(sent, sent.to)];
  }

  route(name: Name, link: Link): Due[] {
    this.routes.set(name, link);
    this.forgetMiss(name);
    return this.take(name).flatMap((sent) => {
      if (!this.here.has(name)) return this.over(link, sent);
      this.drop(sent, 'unknown_dest');
      return [];
    });
  }

  missing(name: Name): Due[] {
    if (!this.isOn) return [];
    if (!this.here.has(name)) {
      this.forgetMiss(name);
      this.misses = [...this.misses, name].slice(-BOUNDS.misses);
    }
    return this.answer(name);
  }

  policy(on: boolean): Due[] {
    this.isOn = on;
    if (on) return [];
    this.misses = [];
    return [...this.asked.keys()].flatMap((name) => this.answer(name));
  }

  /** The plane ends: what waits is dropped. */
  end(): void {
    for (const { waiting } of this.asked.values()) for (const sent of waiting) this.drop(sent, 'unknown_dest');
  }

  /** Whether the packet waits, and what is due to those that make room. */
  private ask(name: Name, sender: Here): [boolean, Due[]] {
    const lose = (why: string): [boolean, Due[]] => [this.count(`lookups:${why}`), []];
    if (!this.isOn) return [false, []];
    if (this.misses.includes(name)) return lose('missed');
    const known = this.asked.get(name);
    if (known?.by !== undefined) return [true, []];
    const held = this.heldBy(sender.number);
    if (held >= BOUNDS.share) return lose('share');
    const owned = [...this.asked.values()].filter(({ by }) => by !== undefined).length;
    const isFull = owned >= BOUNDS.keys;
    const mayEvict = this.asked.size - owned < BOUNDS.keys && digits(this.heldBy(this.largest())) > digits(held + 1);
    if (isFull && !mayEvict) return lose('crowded');
    if (!known && sender.tokens === 0) return lose('limited');
    if (!known) {
      sender.tokens -= 1;
      this.lookups.push(name);
      this.count('lookups:asked');
    }
    const dues = isFull ? this.evict() : [];
    const asked = known ?? { by: undefined, waiting: [] };
    this.asked.set(name, asked);
    this.own(name, asked, sender.number);
    return [true, dues];
  }

  private heldBy(number: number): number {
    return this.owned.filter((name) => this.asked.get(name)?.by === number).length;
  }

  /** Of the connections with the most digits, the one that has had so many for longest. */
  private largest(): number {
    const most = Math.max(0, ...this.askers.values());
    return [...this.askers].find(([, of]) => of === most)?.[0] ?? 0;
  }

  private own(name: Name, asked: Asked, by: number): void {
    asked.by = by;
    this.owned.push(name);
    this.rank(by);
  }

  private disown(name: Name, asked: Asked): void {
    const { by } = asked;
    asked.by = undefined;
    if (by === undefined) return;
    this.owned.splice(this.owned.indexOf(name), 1);
    this.rank(by);
  }

  private rank(number: number): void {
    const of = digits(this.heldBy(number));
    if (this.askers.get(number) === of) return;
    this.askers.delete(number);
    if (of > 0) this.askers.set(number, of);
  }

  private evict(): Due[] {
    for (;;) {
      const largest = this.largest();
      const name = this.owned.find((owned) => this.asked.get(owned)?.by === largest) as Name;
      const asked = this.asked.get(name) as Asked;
      const most = this.heldBy(largest) - 1;
      const heir = asked.waiting.find(({ sender }) => sender !== largest && this.heldBy(sender) < most)?.sender;
      this.disown(name, asked);
      if (heir !== undefined) {
        this.count('lookups:inherited');
        this.own(name, asked, heir);
        continue;
      }
      this.count('lookups:evicted');
      return this.loseAll(name, asked.waiting.splice(0));
    }
  }

  private wait(sent: Sent): Due[] {
    const { waiting } = this.asked.get(sent.to) as Asked;
    waiting.push(sent);
    const ofKind = waiting.filter(({ kind }) => kind === sent.kind);
    const [oldest] = ofKind as [Sent];
    if (ofKind.length <= BOUNDS.depth) return [];
    waiting.splice(waiting.indexOf(oldest), 1);
    this.drop(oldest, 'queue_head');
    return [];
  }

  private answer(name: Name): Due[] {
    if (!this.here.has(name)) this.count('lookups:missing');
    return this.loseAll(name, this.take(name));
  }

  private loseAll(name: Name, all: readonly Sent[]): Due[] {
    const isHere = this.here.has(name);
    return all.flatMap((sent) => {
      if (!isHere) return this.lose(sent);
      this.drop(sent, 'unknown_dest');
      return [];
    });
  }

  /** The receiver is nowhere, and a sender of disco that is still there is told. */
  private lose(sent: Sent): Due[] {
    this.drop(sent, 'unknown_dest');
    const isThere = this.here.get(sent.source)?.number === sent.sender;
    return isThere && sent.kind === 'disco' ? [notHere(sent.source, sent.to)] : [];
  }

  private over(link: Link, sent: Sent): Due[] {
    this.count('packets_forwarded_out');
    if (this.open.has(link)) return [dueOf(sent, link)];
    this.drop(sent, 'mesh_down');
    return [];
  }

  private take(name: Name): Sent[] {
    const asked = this.asked.get(name);
    if (!asked) return [];
    this.disown(name, asked);
    this.asked.delete(name);
    return asked.waiting;
  }

  private forgetMiss(name: Name): void {
    this.misses = this.misses.filter((miss) => miss !== name);
  }

  private drop({ kind }: Sent, reason: string): void {
    this.count(`packets_dropped:${reason}:${kind === 'disco' ? 'disco' : 'other'}`);
  }

  private count(name: string): false {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    return false;
  }
}

/** Binary digits: the plane finds the one with the most by them. */
function digits(count: number): number {
  return count === 0 ? 0 : count.toString(2).length;
}

/** Packets of one connection to one key keep their order, within each kind. */
function dueOf({ source, sender, to, kind, what }: Sent, at: Receiver): Due {
  return { at, row: rowOf(source, sender, to, kind), what };
}

export function rowOf(source: string, sender: number, to: string, kind: Kind): string {
  return `${kind} of ${source}, connection ${sender}, to ${to}`;
}

function notHere(at: Receiver, name: Name): Due {
  return { at, row: `${name} is not here`, what: '' };
}
