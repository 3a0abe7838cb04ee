/**
 * What a plane that asks for keys has to do, said in as few words as it can be: `PlaneLookups` in `src/plane/policy.ts` has the
 * rules in prose. Pure.
 */
import type { Link, Name } from './lookup-steps.js';
import type { Kind } from './packet.js';

/** Bounds that a trace meets. */
export const BOUNDS = { depth: 4, burst: 3, keys: 3, misses: 2 } as const;

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

export class LookupWorld {
  /** What counters have to say, by the names of their rows. */
  readonly counts = new Map<string, number>();
  /** Keys that were asked for, and keys that clients began to hear of. */
  readonly lookups: Name[] = [];
  readonly heard: Name[] = [];
  private readonly here = new Map<Name, Here>();
  private readonly routes = new Map<Name, Link>();
  private readonly open = new Set<Link>([1, 2]);
  private readonly asked = new Map<Name, Sent[]>();
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
    return this.asked.get(name)?.filter((sent) => sent.kind === kind).length;
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
    return this.isAsked(to, this.here.get(sent.source) as Here) ? this.wait(sent) : this.lose(sent);
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
    for (const sent of [...this.asked.values()].flat()) this.drop(sent, 'unknown_dest');
  }

  private isAsked(name: Name, sender: Here): boolean {
    if (!this.isOn) return false;
    if (this.misses.includes(name)) return this.count('lookups:missed');
    if (this.asked.has(name)) return true;
    if (this.asked.size >= BOUNDS.keys) return this.count('lookups:crowded');
    if (sender.tokens === 0) return this.count('lookups:limited');
    sender.tokens -= 1;
    this.asked.set(name, []);
    this.lookups.push(name);
    this.count('lookups:asked');
    return true;
  }

  private wait(sent: Sent): Due[] {
    const waiting = this.asked.get(sent.to) as Sent[];
    waiting.push(sent);
    const ofKind = waiting.filter(({ kind }) => kind === sent.kind);
    const [oldest] = ofKind as [Sent];
    if (ofKind.length <= BOUNDS.depth) return [];
    waiting.splice(waiting.indexOf(oldest), 1);
    this.drop(oldest, 'queue_head');
    return [];
  }

  private answer(name: Name): Due[] {
    const isHere = this.here.has(name);
    if (!isHere) this.count('lookups:missing');
    return this.take(name).flatMap((sent) => {
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
    const waiting = this.asked.get(name) ?? [];
    this.asked.delete(name);
    return waiting;
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
