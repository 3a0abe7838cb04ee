/** A connection to a server of NATS, as the directory uses it: `nats-link.ts` makes it. */

/** A message of NATS. */
export interface LinkMessage {
  readonly data: Uint8Array;
  /** Where an answer is expected; empty if none is. */
  readonly reply: string;
  readonly subject: string;
  /** The server says: no connection listens to the subject of a question. */
  readonly isNoResponders: boolean;
}

/** Hears the messages of a subscription. It is an object, because there is one for each key. */
export interface LinkListener {
  onMessage(message: LinkMessage): void;
}

export interface LinkSubscription {
  unsubscribe(): void;
}

export interface Link {
  /** The server, without user and password. */
  readonly server: string;
  readonly version: string;
  /** This end's address as the server sees it; empty if the server does not say. */
  readonly ownAddress: string;
  publish(subject: string, data: Uint8Array, reply?: string): void;
  subscribe(subject: string, listener: LinkListener): LinkSubscription;
  /**
   * Resolves when the server has processed everything before, after a turn of the event loop. Rejects if the connection ends
   * before, or the server has refused something.
   */
  flush(): Promise<void>;
  /** Ends the connection; `reason` is what {@link ended} resolves with. */
  end(reason: string): void;
  /** Resolves with the reason when the connection has ended, whatever ends it. Never rejects. */
  readonly ended: Promise<string>;
}
