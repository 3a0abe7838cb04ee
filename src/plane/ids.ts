/**
 * Numbers of connections, links and listeners, positive whole numbers, each used once in the life of a plane; and the
 * addresses of peers.
 */

/** Identifies a connection from its acceptance on. */
export type ConnectionId = number;

/** Identifies an outgoing mesh connection from its `dial` on. */
export type LinkId = number;

/** Identifies a listening socket. */
export type ListenerId = number;

/** Where a connection comes from, or leads to. */
export interface PeerAddress {
  /** IP text, mapped IPv4 addresses as IPv4; empty if unknown. */
  readonly address: string;
  /** 0 if unknown. */
  readonly port: number;
}
