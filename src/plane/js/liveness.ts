import type { PlaneDeadlines } from '../plane.js';

/**
 * Finds clients whose network has vanished, so that neither their end nor their silence is ever heard of: Node cannot ask
 * the system to give up on unacknowledged data. A client that has been silent for a while is sent a Ping, and has to send
 * something (its Pong, or anything else) soon. Times are those of the wheel's clock.
 */
export class Liveness {
  /** When the client was pinged; -1 if it has been heard since. */
  private pingedAt = -1;

  constructor(private heardAt: number) {}

  /** Something of the client has come. */
  heard(now: number): void {
    this.heardAt = now;
    this.pingedAt = -1;
  }

  /** What is due: a Ping, the end of the connection, or nothing before the time that is returned. */
  look(now: number, { silence, pong }: PlaneDeadlines): 'ping' | 'gone' | number {
    if (silence === 0 || pong === 0) return Number.POSITIVE_INFINITY;
    if (this.pingedAt >= 0) return now >= this.pingedAt + pong ? 'gone' : this.pingedAt + pong;
    if (now < this.heardAt + silence) return this.heardAt + silence;
    this.pingedAt = now;
    return 'ping';
  }
}
