import type { NodeKey } from '../../protocol/key.js';
import { KeyQueue } from '../../protocol/key-queue.js';
import type { Share } from './budget.js';
import type { Holder } from './budgets.js';
import type { Client, ForwardingContext } from './client.js';
import { SenderSketch } from './sender-sketch.js';

/** The peers that have sent packets to one connection: those whose departure it will be told, and how many there were. */
export class Sources {
  /** The most recent last. */
  private readonly told = new KeyQueue();
  /** Its share of the budget for pairs. */
  private share: Share<Holder> | undefined;
  private sketch: SenderSketch | undefined;

  constructor(
    private readonly connection: Client & Holder,
    private readonly context: ForwardingContext,
  ) {}

  /** About how many peers have sent packets; 0 unless the policy has them counted. */
  get senders(): number {
    return this.context.policy.countSenders ? (this.sketch?.estimate() ?? 0) : 0;
  }

  /** Notes that a packet of `source` leaves for the connection. Mostly the source is known. */
  sent(source: NodeKey): void {
    if (this.told.has(source)) return;
    if (this.told.size >= this.context.policy.limits.peerGoneSubscriptions) this.forgetOldest();
    this.told.add(source);
    const isFirst = this.context.table.subscribe(source, this.connection);
    if (isFirst && this.context.policy.lookups && !this.context.table.lookup(source))
      this.context.events.raise((to) => to.heard(source));
    if (this.context.policy.countSenders) {
      this.sketch ??= new SenderSketch();
      this.sketch.insert(source);
    }
    this.note();
    this.context.budgets.pairs.relieve();
  }

  /** The connection is told that `source` has left. */
  remove(source: NodeKey): void {
    this.told.delete(source);
    this.note();
  }

  /** Forgets the oldest `count` sources whose departure it would be told. */
  forget(count: number): void {
    for (let forgotten = 0; forgotten < count && this.told.size > 0; forgotten++) this.forgetOldest();
    this.note();
  }

  /** The end of the connection. */
  clear(): void {
    for (const source of this.told) this.context.table.unsubscribe(source, this.connection);
    this.told.clear();
    this.note();
  }

  private forgetOldest(): void {
    const oldest = this.told.takeOldest();
    if (oldest !== undefined) this.context.table.unsubscribe(oldest, this.connection);
  }

  private note(): void {
    this.share = this.context.budgets.pairs.set(this.share, this.connection, this.told.size);
  }
}
