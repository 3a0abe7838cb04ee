import { INTERVAL, TARGET } from './codel.js';

/** A full packet of an ordinary network. Shorter ones count as this where the time of a packet matters. */
export const FULL_PACKET = 1514;
/** A rate is measured over at least this time. */
const MEASURED = 20_000;
/** What stood still for longer was stopped by its reader, and says nothing about the link. */
const PAUSE = 1_000_000;
/** What the link takes in this time may be beyond reach. Filling the socket again may take half of it. */
const AHEAD = 20_000;

/**
 * How fast what waits for a destination leaves, and what follows: how long a packet may stand, and how many bytes may be
 * where the plane cannot drop them any more. Times are whole microseconds.
 */
export class DrainRate {
  private known = 0;
  /** When the measurement began, when something left last, and how many bytes left between the two. */
  private begun = 0;
  private last = 0;
  private bytes = 0;
  /** What left at that last time. Sockets take much at once, and then nothing for as long as that lasts. */
  private atOnce = 0;
  /** Packets that came before this time stood while nothing moved. Their age does not come from the link. */
  private movedAgain = 0;

  /** Bytes a second; 0 while it is unknown. */
  get rate(): number {
    return this.known;
  }

  /** From `now` on something waits, and nothing has until then. */
  begins(now: number): void {
    this.begun = now;
    this.last = now;
    this.bytes = 0;
    this.atOnce = 0;
  }

  /** The socket takes something. Called before packets are taken out for it. */
  moves(now: number): void {
    const still = now - this.last;
    if (still > this.usual()) this.movedAgain = now;
    if (still > PAUSE) {
      this.begun = now;
      this.bytes = 0;
    } else if (still > 0 && this.last - this.begun >= MEASURED) {
      const sample = Math.floor((this.bytes * 1_000_000) / (this.last - this.begun));
      this.known = this.known === 0 ? sample : Math.floor((3 * this.known + sample) / 4);
      this.begun = this.last;
      this.bytes = 0;
    }
    if (still > 0) this.atOnce = 0;
    this.last = now;
  }

  /** This many bytes leave now, after {@link moves}. What leaves when a measurement begins is not part of it. */
  leaves(bytes: number): void {
    this.atOnce += bytes;
    if (this.last > this.begun) this.bytes += bytes;
  }

  /** For this long nothing may move, without a pause of the reader. */
  private usual(): number {
    const taken = this.known === 0 ? 0 : Math.floor((2 * this.atOnce * 1_000_000) / this.known);
    return Math.min(Math.max(INTERVAL, 2 * this.target(FULL_PACKET), taken), PAUSE);
  }

  /** Whether the age of a packet that came at `since` says something about the link. A reader that paused gets what waits. */
  judges(since: number): boolean {
    return since >= this.movedAgain;
  }

  /** How long a packet of `bytes` may stand: the time of two packets, but at least {@link TARGET}. */
  target(bytes: number): number {
    if (this.known === 0) return TARGET;
    return Math.max(TARGET, Math.floor((2 * Math.max(bytes, FULL_PACKET) * 1_000_000) / this.known));
  }

  /**
   * How many bytes may be beyond reach, of `most`: what the link takes in twenty milliseconds, but at least four packets.
   * All of them while the rate is unknown.
   */
  ahead(most: number): number {
    if (this.known === 0) return most;
    return Math.min(Math.max(Math.floor((this.known * AHEAD) / 1_000_000), 4 * FULL_PACKET), most);
  }
}
