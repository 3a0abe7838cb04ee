/**
 * The data plane: it moves the packets. Two implementations stand behind this interface: `js`, the readable
 * specification, and `native`, the fast one. The control plane above it exists once.
 *
 * Every implementation keeps these rules, and every caller may rely on them:
 *
 * - **Per connection, not per packet.** No method is called and no event is raised for a relayed packet.
 * - **Two threads.** A command states what shall be, and returns before it is done; only a Promise answers. Commands
 *   take effect in the order of the calls. The events of one connection, link or key arrive in their order; events of
 *   different ones have no order. Arguments are plain data that a structured clone preserves; only the streams
 *   of `duplex` and `attach` are not.
 * - **Ids** are integers below 2^53 that rise and are never reused. A command for an ended id has no effect. The plane
 *   numbers connections and listeners, the control plane numbers links.
 * - **Ends are reported once.** Exactly one `closed` follows every `login`, even if the client was refused or left
 *   before `admit`. Exactly one `linkClosed` follows every `dial`. The id is forgotten then.
 * - **Data comes before the end.** However a client ends its connection, the plane first processes everything that the
 *   client has sent, even if that waits for `admit` or for a receive limit. Only a client that sent nothing ahead of
 *   its admission is gone at once. A client that ends only its sending side still gets the data queued for it, after
 *   its `closed`.
 * - **The plane enforces the bounds.** Before its admission, a peer counts as an attacker; every limit of
 *   {@link PlanePolicy} applies to it, without a call.
 * - **Units**: milliseconds and bytes.
 */
import type { Duplex } from 'node:stream';
import type { ErrorCode } from '../errors.js';
import type { NodeKey } from '../protocol/key.js';
import type { ClientInfo } from '../protocol/login.js';
import type { PeerGoneReason } from '../protocol/wire.js';
import type { CertificateNeed, CertificateSet } from './certificate-set.js';
import type { CounterPage, DropReason } from './counters.js';
import type { Failure } from './failures.js';
import type { ConnectionId, LinkId, ListenerId, PeerAddress } from './ids.js';
import type { DialTarget, LinkChange } from './mesh-link.js';
import type { PacketTap, TapOptions } from './packet-tap.js';
import type { PlanePolicy, ReceiveRate } from './policy.js';
import type { Snapshot } from './snapshot.js';

export type { Certificate, CertificateNeed, CertificateSet } from './certificate-set.js';
export type { Failure } from './failures.js';
export type { ConnectionId, LinkId, ListenerId, PeerAddress } from './ids.js';
export type { DialTarget, LinkChange } from './mesh-link.js';
export type { PacketTap, TapBatch, TapFrame, TapOptions } from './packet-tap.js';
export type { PlaneDeadlines, PlaneLimits, PlaneLookups, PlanePolicy, ReceiveRate } from './policy.js';
export { LINK_COLUMNS, SNAPSHOT_COLUMNS, type Snapshot } from './snapshot.js';

/** The implementation: `js` is JavaScript alone, `native` is the addon. */
export type PlaneKind = 'js' | 'native';

/** Makes a plane without listeners. */
export type PlaneFactory = (options: PlaneOptions, events: PlaneEvents) => DataPlane;

/** Fixed settings of a plane, and its first policy. */
export interface PlaneOptions {
  /** The relay's X25519 private key, 32 bytes. */
  readonly privateKey: Uint8Array;
  /** The policy at the start. */
  readonly policy: PlanePolicy;
  /** Worker threads, on a plane that has them; absent or 0 means one per core. */
  readonly workers?: number;
}

/** Commands from the control plane to the data plane. */
export interface DataPlane {
  /** Which implementation it is. */
  readonly kind: PlaneKind;
  /** Live counters; reading them does not call the plane. */
  readonly counters: CounterPage;

  /**
   * Opens a listener. Rejects with `ERR_LISTEN`, whose cause has the system's code. A TLS listener needs `certificates`
   * first.
   */
  listen(spec: ListenSpec): Promise<Listening>;
  /** Replaces all certificates for later handshakes. Parked handshakes look for a match again. */
  certificates(set: CertificateSet): void;
  /** Replaces the whole policy. Limits and rates apply at once, deadlines when they are next armed. */
  policy(policy: PlanePolicy): void;

  /**
   * Admits a logged-in client, in one step: its connection becomes the active one of its key, ServerInfo is its first
   * frame, then packets flow both ways.
   */
  admit(id: ConnectionId, admission: Admission): void;
  /**
   * Replaces the receive limit of an admitted connection; `null` is that of the policy. The new limit starts with a full
   * burst, and holds for the next frame: what waits for the old limit goes on. Nothing happens to a mesh peer, which has no
   * limit, nor to a connection that is not admitted.
   */
  limit(id: ConnectionId, receiveLimit: ReceiveRate | null): void;
  /** Refuses a client that asked to log in. `closed` follows, with reason `refused`. */
  refuse(id: ConnectionId): void;
  /** Ends a connection at any stage, a parked handshake included. `closed` follows if there was a `login`. */
  close(id: ConnectionId, reason: CloseReason): void;

  /**
   * Sets the mesh link for a key that is not connected here; `null` removes it. Local connections need no route:
   * `admit` enters them, their end removes them, and they take precedence over links. A route outlives its link: until
   * it changes, packets for it are dropped, reason `mesh_down`.
   *
   * A link also answers a `lookup` of the key: what waits goes into the link in its order, ahead of every later packet. It is
   * dropped instead where the key has a connection here by then (`unknown_dest`), or the link is not open (`mesh_down`). The
   * key is no known miss any more.
   */
  route(key: NodeKey, via: LinkId | null): void;
  /**
   * The key is nowhere: answers a `lookup`. Drops what waits, reason `unknown_dest`; each waiting disco packet that has a
   * token of its sender's {@link PlanePolicy.notHere} is answered with NotHere, if that connection is still there. The key
   * is a known miss from now on. If it has a connection here by now, what waits is dropped, and nothing else happens. No
   * effect without {@link PlanePolicy.lookups}.
   */
  missing(key: NodeKey): void;
  /**
   * Reports that a key has left the region. Every connection that was sent a packet from the key gets one PeerGone, and
   * another one only after another packet. Takes effect in order with `admit` and `route`.
   */
  gone(key: NodeKey, reason: PeerGoneReason): void;
  /**
   * Queues whole control frames for each of the connections, in order, before packets. With `pull`, the plane raises
   * `pulled` as soon as less than half of {@link PlaneLimits.controlBytes} is queued; the control plane sends a long
   * dump this way. A connection with more than `controlBytes` queued is closed, reason `control_overflow`. ({@link
   * PlaneLimits.queuedBytes} bounds the bytes of all connections together.)
   */
  send(ids: readonly ConnectionId[], frames: Uint8Array, options?: SendOptions): void;

  /**
   * Takes a connection back after `duplex`, once the HTTP server has answered its upgrade. The plane continues with the
   * greeting; `leftover` is what the server read beyond the request.
   */
  adopt(id: ConnectionId, how: Adoption): void;
  /**
   * Serves DERP, from the greeting on, on a transport that JavaScript owns. Here alone, every chunk crosses between
   * planes.
   */
  attach(stream: Duplex, peer: PeerAddress, options?: AttachOptions): Promise<ConnectionId>;
  /**
   * Connects to another relay as its mesh peer: TCP, TLS, HTTP, login with the plane's own key. `linkOpen` or
   * `linkClosed` follows. Over TLS 1.3, a plane that sees a meta certificate in the relay's chain starts fast.
   *
   * With `watch`, the plane subscribes to the relay's clients, unless the relay has the plane's own key. Packets that
   * `route` directs to the link leave as ForwardPacket frames, in order within each kind, from two queues of
   * {@link PlanePolicy.linkQueueDepth}. A full queue drops a packet, reason `mesh_queue`; the end of the link drops
   * the rest, reason `mesh_down`. No sender waits for a link.
   */
  dial(link: LinkId, target: DialTarget): void;
  /** Ends a link, or a dial in progress. `linkClosed` follows. */
  hangUp(link: LinkId): void;

  /**
   * Figures of at most `limit` admitted connections whose ids are above `after`, in the order of ids. Ids are above 0. A reader that
   * goes on after the last id of a page sees every connection that stays, once, while others come and go.
   */
  snapshot(after: ConnectionId, limit: number): Promise<Snapshot>;
  /**
   * Copies packets to JavaScript as the plane reads them: work per packet, but only while a tap exists. Throws
   * `ERR_STATE` if there is one already.
   */
  tap(options: TapOptions): PacketTap;

  /** Resolves when every thread that moves packets has made a turn: a sign of life. Never, where one of them makes none. */
  pulse(): Promise<void>;

  /** Closes listeners, connections and links; resolves when all are closed. May be called again. */
  shutdown(): Promise<void>;
}

/** Options of an attached connection. */
export interface AttachOptions {
  /**
   * The connection is the relay's own: no counter, snapshot or tap shows it, or its packets. Events tell of it as of any other.
   * The rows of {@link CounterPage} that say what is held, or was too much, leave it out, too.
   */
  readonly uncounted?: boolean;
}

/** Options for sending control frames. */
export interface SendOptions {
  /** More frames follow: the plane raises `pulled` when there is room for them. */
  readonly pull?: boolean;
}

/** Events from the data plane to the control plane. Handlers must not throw. */
export interface PlaneEvents {
  /** A client has proven its key and waits for `admit` or `refuse`. */
  login(login: Login): void;
  /** A connection has ended, after its `login`. */
  closed(id: ConnectionId, reason: CloseReason): void;
  /**
   * Of several connections of `key`, `id` is the active one now. Coalesced: of changes in quick succession, only the
   * last one needs to arrive. `sequence` rises over the plane's life; of two events for one key, the higher one is
   * newer.
   */
  active(key: NodeKey, id: ConnectionId, sequence: number): void;
  /** A connection with mesh permission subscribes to connected clients. Each `watch` requires a dump. */
  watch(id: ConnectionId): void;
  /** A connection with mesh permission asks to close all connections of a key. */
  closePeer(id: ConnectionId, target: NodeKey): void;
  /**
   * A client has made this relay its home, or another one. Coalesced: `home` is what holds now, `changes` is how often that
   * has changed since the last such event, 1 or more.
   */
  prefer(id: ConnectionId, home: boolean, changes: number): void;
  /** There is room for the next part of a dump that was sent with `pull`. */
  pulled(id: ConnectionId): void;

  /**
   * A client has sent a packet to a key that has neither a connection here nor a route: `route` or `missing` answers. The
   * packets wait until then. Raised once for each answer, and only with {@link PlanePolicy.lookups}, which bounds it.
   */
  lookup(key: NodeKey): void;
  /**
   * The plane begins to owe a PeerGone for a key that has no connection here: until now, no connection was owed one. Not
   * raised again before `gone` of the key, or before all connections that are owed one have ended or forgotten it; not at
   * all if that comes before the event. Raised only with {@link PlanePolicy.lookups}.
   */
  heard(key: NodeKey): void;

  /**
   * A dial has succeeded: the other relay has admitted this one. `serverKey` is its key; it equals our own if we
   * dialled ourselves.
   */
  linkOpen(link: LinkId, serverKey: NodeKey): void;
  /**
   * The other relay reports clients that connected or left, in its order. Coalesced. The plane stops reading the link
   * while too many changes wait.
   */
  linkPeers(link: LinkId, changes: readonly LinkChange[]): void;
  /** A dial has failed, or its link has ended. Routes over it drop packets. The reason is for the log. */
  linkClosed(link: LinkId, reason: string): void;

  /** A handshake is parked until `certificates` brings a match, `close` ends it, or its deadline passes. Bounded. */
  certificateNeeded(need: CertificateNeed): void;
  /**
   * A connection that is not raw DERP: `stream` belongs to an HTTP server. Its request bytes are unread, but every line
   * of its first head ends with CR LF, whatever the client sent. Bytes that cannot begin a request arrive as one zero
   * byte. The close of `stream` ends the connection.
   */
  duplex(id: ConnectionId, stream: Duplex, info: DuplexInfo): void;

  /** Packets to watched keys were dropped. Coalesced and bounded: only the counters cover every packet. */
  drops(drops: readonly PacketDrop[]): void;

  /**
   * Connections came to nothing before they were admitted: raised with {@link PlanePolicy.tellFailures} alone. Coalesced, and
   * bounded: `untold` is how many more there were since the last call. Counters tell of all.
   */
  failures(failures: readonly Failure[], untold: number): void;
  /** One of the addresses, IP text, whose share ({@link PlaneLimits.perAddress}) is full: now and then, while there are any. */
  crowded(address: string): void;

  /**
   * A fault of the plane's own; the text is for the log. A fatal one has closed every listener and connection, any other
   * only the connection that it happened on.
   */
  fault(code: ErrorCode, message: string, fatal: boolean): void;
}

/** A client that has proven its key. */
export interface Login {
  /** The connection, as `admit`, `refuse` and `close` take it. */
  readonly id: ConnectionId;
  /** The client's public key. */
  readonly key: NodeKey;
  /** The client's ClientInfo. */
  readonly info: ClientInfo;
  /** The address of the client. */
  readonly peer: PeerAddress;
  /** The TLS version; `null` without TLS. */
  readonly tlsVersion: TlsVersion | null;
  /** The client sent `Ideal-Node`: it prefers another relay of the region. */
  readonly notIdeal: boolean;
}

/** A version of TLS. */
export type TlsVersion = '1.2' | '1.3';

/** What an admitted connection may do. */
export interface Admission {
  /** May watch, close peers and forward. Uses the mesh write deadline; has no receive limit. */
  readonly mesh: boolean;
  /** The connection's own receive limit; `null` for the policy's. */
  readonly receiveLimit: ReceiveRate | null;
}

/** Why a connection ended. The login reasons belong to connections that were never admitted. */
export type CloseReason =
  /** The client closed the connection, or the transport failed. */
  | 'disconnected'
  /** An admitted client sent a frame that violates the protocol. */
  | 'protocol_error'
  /** ClientInfo was not complete within {@link PlaneDeadlines.clientInfo}. */
  | 'login_timeout'
  /** The login was malformed, did not open, or exceeded {@link PlaneLimits.loginBytes}. */
  | 'login_failed'
  /** Admission refused the client, or later revoked its admission. */
  | 'refused'
  /** Neither `admit` nor `refuse` came within {@link PlaneDeadlines.admission}. */
  | 'admission_timeout'
  /** A write made no progress within its deadline. */
  | 'write_timeout'
  /** More than {@link PlaneLimits.controlBytes} of control frames were queued for the client. */
  | 'control_overflow'
  /** A limit over all connections was exceeded, and this connection held the most. */
  | 'over_budget'
  /** A mesh peer asked to close it. */
  | 'closed_by_peer'
  /** The control plane or the operator asked to close it. */
  | 'closed'
  /** A fault of the plane itself; `fault` reports it. */
  | 'internal_error'
  /** The relay shuts down. */
  | 'shutdown';

/** Packets from one key to another that were dropped for one reason since the last report. */
export interface PacketDrop {
  /** The sender. */
  readonly source: NodeKey;
  /** The watched key. */
  readonly destination: NodeKey;
  /** Why they were dropped. */
  readonly reason: DropReason;
  /** How many were dropped. */
  readonly packets: number;
}

/** A listener to open. */
export interface ListenSpec {
  /** `tls` and `tcp` accept connections; `stun` is UDP. */
  readonly kind: 'tls' | 'tcp' | 'stun';
  /** Whether the plane serves raw DERP upgrades; if not, they go to the HTTP server like any other request. */
  readonly derp: boolean;
  /** An address; empty for all addresses of both families. */
  readonly host: string;
  /** The port; 0 lets the system pick one. */
  readonly port: number;
  /**
   * A socket that is open already, by its descriptor; `host` and `port` are then what it has. It is taken for as long as
   * the process lives. Absent: the plane opens one.
   */
  readonly fd?: number | undefined;
}

/** An open listener, with its actual address and port. */
export interface Listening {
  /** The listener, as {@link DuplexInfo} names it. */
  readonly id: ListenerId;
  /** The address, as IP text. */
  readonly address: string;
  /** The port; never 0. */
  readonly port: number;
}

/** The origin of an HTTP server's connection. */
export interface DuplexInfo {
  /** The listener that accepted it. */
  readonly listener: ListenerId;
  /** The address of the client. */
  readonly peer: PeerAddress;
  /** The TLS version; `null` without TLS. */
  readonly tlsVersion: TlsVersion | null;
}

/** How a connection returns from the HTTP server. */
export interface Adoption {
  /** The protocol of its upgrade. */
  readonly framing: 'raw' | 'websocket';
  /** Bytes that followed the request. */
  readonly leftover: Uint8Array;
  /** See {@link Login.notIdeal}. */
  readonly notIdeal: boolean;
}
