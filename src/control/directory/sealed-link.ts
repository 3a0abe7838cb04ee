/** A connection whose messages are sealed: what others write into the region is counted, and not heard. */
import type { Link, LinkMessage } from './link.js';
import type { Bound, Opened, Seal } from './seal.js';

/** The clocks of relays may differ by this many milliseconds. Older messages may be repeated by anyone who has seen them. */
export const CLOCKS = 300_000;

export interface SealedMessage extends Opened {
  /** Where an answer is expected; empty if none is. */
  readonly reply: string;
  readonly subject: string;
}

/** `time`: the message is a relay's, and its clock is wrong, or the message is an old one. */
export type Refusal = 'sealed' | 'malformed' | 'time';

export class SealedLink {
  constructor(
    readonly link: Link,
    private readonly seal: Seal,
    private readonly clock: () => number,
    private readonly onRefused: (why: Refusal) => void,
  ) {}

  /** Sends one message under one subject or several. */
  send(subjects: string | readonly string[], bound: Bound, kind: number, body: Uint8Array, reply?: string): void {
    const sealed = this.seal.seal(kind, bound, body, this.clock());
    for (const subject of [subjects].flat()) this.link.publish(subject, sealed, reply);
  }

  /** Listens to a subject. `hear` returns whether the message is one that belongs there. */
  listen(subject: string, bound: Bound, hear: (message: SealedMessage) => boolean): void {
    this.link.subscribe(subject, { onMessage: (message) => this.take(message, bound, hear) });
  }

  /** Opens a message and hears it; one that is none of the mesh, or does not belong there, is counted instead. */
  take(message: LinkMessage, bound: Bound, hear: (message: SealedMessage) => boolean): void {
    const opened = this.open(message, bound);
    if (opened && !hear(opened)) this.onRefused('malformed');
  }

  private open({ data, reply, subject }: LinkMessage, bound: Bound): SealedMessage | undefined {
    const opened = this.seal.open(data, bound);
    const isOld = opened && Math.abs(this.clock() - opened.time) > CLOCKS;
    if (opened && !isOld) return { ...opened, reply, subject };
    this.onRefused(isOld ? 'time' : 'sealed');
    return undefined;
  }
}

/** Milliseconds for which a slice of work holds the event loop. */
const SLICE = 5;

/**
 * Does something with each item, in slices: after each, the server catches up, and everything else of the process has a turn.
 * Rejects if the connection ends.
 */
export async function inSlices<Item>(link: Link, items: Iterable<Item>, act: (item: Item) => void): Promise<void> {
  let end = performance.now() + SLICE;
  for (const item of items) {
    act(item);
    if (performance.now() < end) continue;
    await link.flush();
    end = performance.now() + SLICE;
  }
  await link.flush();
}
