import type { PlaneDeadlines } from '../plane.js';

/**
 * Detects clients whose network has vanished: Node cannot set the system's limit for unacknowledged data. A silent
 * client is sent a Ping and must soon send something, its Pong or any other frame. Times are those of the wheel's
 * clock.
 */
export class Liveness {
  /** When the client was pinged; -1 if it has sent something since. */
  private pingedAt = -1;
  /** When the Ping left that has no Pong yet; -1 if there is none. */
  private askedAt = -1;
  /** How long the client's last Pong took, in milliseconds; `undefined` before the first one. */
  roundTrip: number | undefined;

  constructor(private heardAt: number) {}

  /** Notes that the client has sent bytes. */
  heard(now: number): void {
    this.heardAt = now;
    this.pingedAt = -1;
  }

  /** Notes that the client has sent a Pong. */
  answered(now: number): void {
    if (this.askedAt >= 0) this.roundTrip = now - this.askedAt;
    this.askedAt = -1;
  }

  /** What is due: a Ping, the end of the connection, or nothing before the returned time. */
  look(now: number, { silence, pong }: PlaneDeadlines): 'ping' | 'gone' | number {
    if (silence === 0 || pong === 0) return Number.POSITIVE_INFINITY;
    if (this.pingedAt >= 0) return now >= this.pingedAt + pong ? 'gone' : this.pingedAt + pong;
    if (now < this.heardAt + silence) return this.heardAt + silence;
    this.pingedAt = now;
    this.askedAt = now;
    return 'ping';
  }
}
