/**
 * What makes two relays comparable: frames are only under way together where their order does not matter, and before it
 * does, everything has arrived.
 *
 * A client's answer to a ping says that the relay has acted on all that it sent, so that packets are in their
 * destinations' sockets or queues. A ping of the destination after that brings what is in its socket; the answer overtakes
 * queued packets, so as long as some are missing it is asked again. A ping is a frame, which makes its connection the
 * active one of its key: the active one is always asked last.
 */
import { turn } from '../helpers/wait.js';
import type { Rig } from './rig.js';
import type { Link, World } from './world.js';

/** What may be on its way to one connection at once, that nothing be dropped: fewer than a queue holds, and an inbox. */
const MOST_PACKETS = 24;
const MOST_BYTES = 192 << 10;

export class Pace {
  private readonly pending = new Set<Link>();

  constructor(
    private readonly rig: Rig,
    private readonly world: World,
    private readonly fail: (finding: string) => void,
  ) {}

  /** Has `link` say something: what may race with that is over before. */
  async say(link: Link, ...frames: Buffer[]): Promise<void> {
    const switches = !this.world.isActive(link);
    if (switches) await this.settle();
    this.world.activity(link);
    link.out.push(...frames);
    this.pending.add(link);
    if (switches) await this.settle();
  }

  /** A packet is about to be sent to `link`, which reads: makes room for it. */
  async room(link: Link, bytes: number): Promise<void> {
    const { packets, bytes: before } = link.underWay;
    if (packets > 0 && (packets >= MOST_PACKETS || before + bytes > MOST_BYTES)) {
      await this.settle();
      await this.drain([link]);
    }
    link.underWay.packets += 1;
    link.underWay.bytes += bytes;
    link.expected += 1;
    link.dirty = true;
  }

  /** Everything said has been written, and the relay has acted on it. */
  async settle(): Promise<void> {
    const talking = [...this.pending];
    this.pending.clear();
    await Promise.all(talking.map((link) => link.peer.fence(link.out.splice(0))));
  }

  /** Writes a part of what a connection is to say. */
  async split(link: Link, share: number): Promise<void> {
    const bytes = Buffer.concat(link.out);
    const cut = Math.floor(share * bytes.length);
    if (cut === 0) return;
    link.out = [bytes.subarray(cut)];
    link.peer.write(bytes.subarray(0, cut));
    await turn(1);
  }

  /** All is said, done, and received by whoever reads. */
  async quiet(): Promise<void> {
    await this.settle();
    await this.drain(this.world.links.filter((link) => link.dirty));
  }

  /** What is on its way to these connections arrives. After {@link settle}. */
  async drain(links: readonly Link[]): Promise<void> {
    const reading = links.filter((link) => !link.stall);
    const names = new Set(reading.map(({ actor }) => actor.name));
    await Promise.all(
      [...names].map(async (name) => {
        const active = this.world.active(name);
        const clones = reading.filter((link) => link.actor.name === name && link !== active);
        for (const clone of clones) await this.drainOne(clone);
        // Only who is asked last stays active; who does not read cannot be asked.
        if (active && !active.stall && (clones.length > 0 || reading.includes(active))) await this.drainOne(active);
      }),
    );
  }

  private async drainOne(link: Link): Promise<void> {
    this.world.activity(link);
    await link.peer.fence();
    // Once more than nothing is queued: what was in an inbox the first time is in a queue after that.
    for (let empty = 0; link.peer.packets < link.expected && empty < 2; ) {
      const queued = await this.rig.queued(link.id);
      if (queued > 0) await turn(1);
      else empty += 1;
      await link.peer.fence();
    }
    const { packets } = link.peer;
    if (packets !== link.expected) {
      this.fail(`connection ${link.number} reads, and has received ${packets} packets, not ${link.expected}`);
      link.expected = packets;
    }
    link.underWay = { packets: 0, bytes: 0 };
    link.dirty = false;
  }
}
