import type { Client } from './client.mjs';

/** What was sent, what arrived, and what arrived out of order. */
export interface Said {
  readonly sent: number;
  readonly received: number;
  readonly outOfOrder: number;
}

/** Packets from every client to every other, in turn, with numbers. */
export class Talk {
  constructor(clients: readonly Client[]);
  /** Whether a packet of every client has just reached every other. */
  reaches(): Promise<boolean>;
  during(milliseconds: number): Promise<Said>;
  /** Talks until {@link stop}. */
  until(): Promise<Said>;
  stop(): void;
}
