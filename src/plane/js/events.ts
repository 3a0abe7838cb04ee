import { Barrier } from '../../faults/barrier.js';
import type { NodeKey } from '../../protocol/key.js';
import type { DropReason } from '../counters.js';
import type { ConnectionId, Failure, PacketDrop, PlaneEvents } from '../plane.js';

/**
 * Milliseconds for which events are coalesced: two clones that fight over a key cause at most a hundred reports a
 * second.
 */
const COALESCE = 10;

/** Most entries of one `drops` event. Packets from one key to another with one reason share an entry. */
const MOST_DROPS = 100;
/** Failures that are told of at a time. */
const MOST_FAILURES = 100;

interface Waiting {
  readonly event: (to: PlaneEvents) => void;
  readonly end: (() => void) | undefined;
}

/**
 * Raises events in order, but never within the code that caused them, because a handler may call the plane back. Events
 * that can occur with every packet are only noted, and raised once shortly after.
 */
export class EventQueue {
  /** Runs every handler of the plane. An exception in one becomes a non-fatal fault. */
  readonly barrier = new Barrier((what, error) => {
    const text = (error as Error | undefined)?.stack ?? String(error);
    this.raise((to) => to.fault('ERR_INTERNAL', `${what}: ${text}`, false));
  });
  private waiting: Waiting[] = [];
  private readonly activeNow = new Map<NodeKey, { id: ConnectionId; sequence: number }>();
  private readonly preferNow = new Map<ConnectionId, { readonly home: boolean; readonly changes: number }>();
  private readonly dropsNow = new Map<string, PacketDrop & { packets: number }>();
  private failuresNow: Failure[] = [];
  private untoldFailures = 0;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly to: PlaneEvents) {}

  /** `end` ends the subject of the event if a handler fails. */
  raise(event: (to: PlaneEvents) => void, end?: () => void): void {
    if (this.waiting.length === 0) queueMicrotask(() => this.flush());
    this.waiting.push({ event, end });
  }

  active(key: NodeKey, id: ConnectionId, sequence: number): void {
    this.activeNow.set(key, { id, sequence });
    this.later();
  }

  /** Notes that a client has changed its mind about where its home is. */
  prefer(id: ConnectionId, home: boolean): void {
    const changes = (this.preferNow.get(id)?.changes ?? 0) + 1;
    this.preferNow.set(id, { home, changes });
    this.later();
  }

  /** Notes a dropped packet to a watched key. */
  dropped(source: NodeKey, destination: NodeKey, reason: DropReason): void {
    const name = `${source}${destination}${reason}`;
    const known = this.dropsNow.get(name);
    if (known) known.packets += 1;
    else if (this.dropsNow.size < MOST_DROPS) this.dropsNow.set(name, { source, destination, reason, packets: 1 });
    this.later();
  }

  /** A connection has come to nothing. */
  failed(failure: Failure): void {
    if (this.failuresNow.length < MOST_FAILURES) this.failuresNow.push(failure);
    else this.untoldFailures += 1;
    this.later();
  }

  /** `closed` is a connection's last event. */
  closed(id: ConnectionId, key: NodeKey, event: (to: PlaneEvents) => void): void {
    // Its last moves count, even if it leaves at once.
    const moves = this.preferNow.get(id);
    if (moves) this.raise((to) => to.prefer(id, moves.home, moves.changes));
    this.preferNow.delete(id);
    if (this.activeNow.get(key)?.id === id) this.activeNow.delete(key);
    // Without this event, the records of the connection would stay wrong.
    this.raise(event, () => event(this.to));
  }

  stop(): void {
    clearTimeout(this.timer);
  }

  private later(): void {
    const raiseAll = () => {
      this.timer = undefined;
      for (const [key, { id, sequence }] of this.activeNow) this.raise((to) => to.active(key, id, sequence));
      for (const [id, { home, changes }] of this.preferNow) this.raise((to) => to.prefer(id, home, changes));
      const drops = [...this.dropsNow.values()];
      if (drops.length > 0) this.raise((to) => to.drops(drops));
      const { failuresNow: failures, untoldFailures: untold } = this;
      if (failures.length > 0) this.raise((to) => to.failures(failures, untold));
      this.failuresNow = [];
      this.untoldFailures = 0;
      this.dropsNow.clear();
      this.activeNow.clear();
      this.preferNow.clear();
    };
    this.timer ??= setTimeout(this.barrier.guard('coalesced events', raiseAll), COALESCE).unref();
  }

  private flush(): void {
    const events = this.waiting;
    this.waiting = [];
    for (const { event, end } of events) this.barrier.run('an event of the plane', () => event(this.to), end);
  }
}
