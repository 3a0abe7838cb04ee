/** Numbers of connections, links and listeners: positive whole numbers, each used once in the life of a plane. */

/** One connection, from the moment it is accepted. */
export type ConnectionId = number;

/** One outgoing mesh connection, from its `dial` on. */
export type LinkId = number;

/** One listening socket. */
export type ListenerId = number;
