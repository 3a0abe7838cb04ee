/**
 * The data plane: what moves packets. Two implementations stand behind this one interface, `js` (readable, complete, the
 * oracle) and `native` (why people come). Everything above it, the control plane, is written once.
 *
 * The rules every implementation keeps, and every caller may rely on:
 *
 * - **Per connection, not per packet.** Nothing here is called or raised for a relayed packet.
 * - **Two threads.** A command says what shall be, and returns before it is; only what returns a Promise answers. Commands
 *   take effect in the order of the calls. The events of one connection (or link) arrive in their order; between two
 *   connections no order is promised. Arguments are plain data that a structured clone leaves intact; the streams of
 *   `duplex` and `attach` are the only exception.
 * - **Ids** are integers below 2^53, rising, never used again. A command for an id that has ended does nothing. The plane
 *   counts those of connections and listeners, the control plane those of links.
 * - **Ends are reported once.** Every `login` is followed by exactly one `closed` with its id, also if it was refused, or
 *   was gone before `admit`, and every `dial` by exactly one `linkClosed`. An id is forgotten after that.
 * - **An end comes behind what was sent before it.** Whatever way a client ends its connection, the plane first acts upon
 *   what it has sent, also if that waits for `admit` or for a receive limit. Only a client that has sent nothing ahead of its
 *   admission is gone at once. A client that sends no more and reads on gets what waits for it, after its `closed`.
 * - **Bounds are the plane's.** Before admission a peer is an attacker; all that {@link PlanePolicy} limits holds there,
 *   without a call.
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
import type { PacketTap, TapOptions } from './packet-tap.js';
import type { Snapshot } from './snapshot.js';

export type { Certificate, CertificateNeed, CertificateSet } from './certificate-set.js';
export type { Failure } from './failures.js';
export type { ConnectionId, LinkId, ListenerId, PeerAddress } from './ids.js';
export type { PacketTap, TapBatch, TapFrame, TapOptions } from './packet-tap.js';
export { LINK_COLUMNS, SNAPSHOT_COLUMNS, type Snapshot } from './snapshot.js';

/** Which implementation: `js` is JavaScript alone, `native` the addon. */
export type PlaneKind = 'js' | 'native';

/** Makes a plane, which has no listener yet. */
export type PlaneFactory = (options: PlaneOptions, events: PlaneEvents) => DataPlane;

/** What a plane is made with, and keeps. */
export interface PlaneOptions {
  /** The relay's X25519 private key, 32 bytes. */
  readonly privateKey: Uint8Array;
  /** The policy that it begins with. */
  readonly policy: PlanePolicy;
  /** Threads that move packets, where that is a choice; one per core if absent or 0. */
  readonly workers?: number;
}

/** Down: what the control plane asks for. */
export interface DataPlane {
  /** Which implementation it is. */
  readonly kind: PlaneKind;
  /** Live figures; reading them is no crossing. */
  readonly counters: CounterPage;

  /** Opens a listener. Rejects with `ERR_LISTEN`, whose cause has the system's code. TLS ones need `certificates` first. */
  listen(spec: ListenSpec): Promise<Listening>;
  /** Replaces all certificates, for handshakes from now on. Handshakes parked by `certificateNeeded` look again. */
  certificates(set: CertificateSet): void;
  /** Replaces the policy as a whole. Holds for what is armed from now on; limits and rates at once. */
  policy(policy: PlanePolicy): void;

  /**
   * Lets a logged-in connection in, as one step: it becomes its key's active connection, ServerInfo is its first frame,
   * then packets for it flow and its own are read.
   */
  admit(id: ConnectionId, admission: Admission): void;
  /**
   * Replaces the receive limit of an admitted connection; `null` is that of the policy. The new limit starts with a full
   * burst, and holds for the next frame: what waits for the old limit goes on. Nothing happens to a mesh peer, which has no
   * limit, nor to a connection that is not admitted.
   */
  limit(id: ConnectionId, receiveLimit: ReceiveRate | null): void;
  /** Ends a connection that asked to log in. `closed` follows, with reason `refused`. */
  refuse(id: ConnectionId): void;
  /** Ends a connection at any stage, also a parked handshake. `closed` follows, if there was a `login`. */
  close(id: ConnectionId, reason: CloseReason): void;

  /**
   * Says which mesh link leads to a key that has no connection here; `null` takes that away. Local connections are not
   * programmed: `admit` enters them, their end removes them, and they always win over a link. A route outlives its link:
   * until it is changed, what goes that way is dropped, reason `mesh_down`.
   */
  route(key: NodeKey, via: LinkId | null): void;
  /**
   * The key has left the region. Every connection that was sent a packet of it is told PeerGone, once; it is told again
   * only after another packet. Takes effect in order with `admit` and `route`.
   */
  gone(key: NodeKey, reason: PeerGoneReason): void;
  /**
   * Queues whole control frames for each of the connections, in order, before packets. With `pull`, `pulled` is raised
   * as soon as less than half of {@link PlaneLimits.controlBytes} is queued: that is how a long dump is sent.
   * A connection with more than that queued is closed, reason `control_overflow`.
   * (The bytes of all connections together are {@link PlaneLimits.queuedBytes}.)
   */
  send(ids: readonly ConnectionId[], frames: Uint8Array, options?: SendOptions): void;

  /**
   * Takes a connection back from `duplex`, after the HTTP server has answered its upgrade. The plane goes on with the
   * greeting; `leftover` is what the server had read beyond the request.
   */
  adopt(id: ConnectionId, how: Adoption): void;
  /** Serves DERP, from the greeting on, on a transport that JavaScript owns. The one documented crossing per chunk. */
  attach(stream: Duplex, peer: PeerAddress): Promise<ConnectionId>;
  /**
   * Connects to another relay as its mesh peer: TCP, TLS, HTTP, login with the plane's own key. `linkOpen` or `linkClosed`
   * follows. Over TLS 1.3 a plane that can see a meta certificate among the ones presented starts fast.
   *
   * The relay is asked who is there (WatchConns) unless it has our own key. What `route` sends over the link leaves as
   * ForwardPacket, in order for each kind, from two queues of {@link PlanePolicy.linkQueueDepth}: their oldest packet goes
   * for `mesh_queue`, whatever is left when the link ends for `mesh_down`. No sender ever waits for a link.
   */
  dial(link: LinkId, target: DialTarget): void;
  /** Ends a link, or a dial under way. `linkClosed` follows. */
  hangUp(link: LinkId): void;

  /**
   * Figures of at most `limit` admitted connections whose ids are above `after`, in the order of ids. Ids are above 0. A reader that
   * goes on after the last id of a page sees every connection that stays, once, while others come and go.
   */
  snapshot(after: ConnectionId, limit: number): Promise<Snapshot>;
  /**
   * Starts to copy packets to JavaScript, as they are read: per packet, but only while somebody looks. One tap at a time;
   * throws `ERR_STATE` if there is one.
   */
  tap(options: TapOptions): PacketTap;

  /** Resolves when every thread that moves packets has made a turn: a sign of life. Never, where one of them makes none. */
  pulse(): Promise<void>;

  /** Closes listeners, connections and links, and resolves when nothing of the plane is left. Idempotent. */
  shutdown(): Promise<void>;
}

/** How control frames are sent. */
export interface SendOptions {
  /** There is more: `pulled` is raised when there is room for it. */
  readonly pull?: boolean;
}

/** Up: what the control plane is told. Handlers must not throw. */
export interface PlaneEvents {
  /** A client has proven its key and waits for `admit` or `refuse`. */
  login(login: Login): void;
  /** A connection of which there was a `login` has ended. */
  closed(id: ConnectionId, reason: CloseReason): void;
  /**
   * The active connection of a key that has several is now `id`. Coalesced: only the last of a quick row need arrive.
   * `sequence` rises over the plane's life; of two events for one key the one with the higher is right.
   */
  active(key: NodeKey, id: ConnectionId, sequence: number): void;
  /** The connection, which has mesh permission, subscribes to who is here. Each is owed a dump. */
  watch(id: ConnectionId): void;
  /** The connection, which has mesh permission, wants all connections of a key closed. */
  closePeer(id: ConnectionId, target: NodeKey): void;
  /** Whether this relay is the client's home has changed. Coalesced. */
  prefer(id: ConnectionId, home: boolean): void;
  /** There is room for the next part of what is sent with `pull`. */
  pulled(id: ConnectionId): void;

  /** A dial has succeeded: the relay has let us in. `serverKey` is its key; our own where we have dialled ourselves. */
  linkOpen(link: LinkId, serverKey: NodeKey): void;
  /**
   * A link's relay says who has come and who has gone, in its order. Coalesced; a link is not read on while more than a
   * bounded number of changes waits to be raised.
   */
  linkPeers(link: LinkId, changes: readonly LinkChange[]): void;
  /** A dial has failed, or its link has ended; routes over it are dead. The reason is for the log. */
  linkClosed(link: LinkId, reason: string): void;

  /** A handshake is parked until `certificates` brings a match, `close` ends it, or its deadline does. Bounded. */
  certificateNeeded(need: CertificateNeed): void;
  /**
   * A connection that is not raw DERP: `stream` belongs in an HTTP server, request bytes unread, the lines of its first head
   * ending with CR LF whatever the client sent. What can never become a request head is one zero byte. Its close is its end.
   */
  duplex(id: ConnectionId, stream: Duplex, info: DuplexInfo): void;

  /** Packets to keys that are watched were dropped. Coalesced, and bounded: only counters tell of all. */
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
  /** For `admit`, `refuse` and `close`. */
  readonly id: ConnectionId;
  /** The client's public key. */
  readonly key: NodeKey;
  /** What the client says of itself. */
  readonly info: ClientInfo;
  /** Where the connection comes from. */
  readonly peer: PeerAddress;
  /** `null` without TLS. */
  readonly tlsVersion: TlsVersion | null;
  /** The client said with `Ideal-Node` that it would rather be elsewhere in the region. */
  readonly notIdeal: boolean;
}

/** A version of TLS. */
export type TlsVersion = '1.2' | '1.3';

/** What an admitted connection may do. */
export interface Admission {
  /** May watch, close peers and forward; has the mesh write deadline, and no receive limit. */
  readonly mesh: boolean;
  /** A limit of its own; `null` for that of the policy. */
  readonly receiveLimit: ReceiveRate | null;
}

/** Why a connection ended. The words of the login are of connections that were never admitted. */
export type CloseReason =
  /** The client closed the connection, or the transport failed. */
  | 'disconnected'
  /** An admitted client sent a frame that the protocol does not permit. */
  | 'protocol_error'
  /** The login was not whole within {@link PlaneDeadlines.clientInfo}. */
  | 'login_timeout'
  /** The login was none, could not be opened, or went beyond {@link PlaneLimits.loginBytes}. */
  | 'login_failed'
  /** Admission did not let the client in, or found later that it may not stay. */
  | 'refused'
  /** Neither `admit` nor `refuse` came within {@link PlaneDeadlines.admission}. */
  | 'admission_timeout'
  /** The client took nothing of what was written to it for as long as a write may stand still. */
  | 'write_timeout'
  /** More than {@link PlaneLimits.controlBytes} of control frames waited for the client. */
  | 'control_overflow'
  /** The plane held more than one of its limits permits over all connections, and this one held the most. */
  | 'over_budget'
  /** A mesh peer asked for it. */
  | 'closed_by_peer'
  /** The control plane or the operator asked for it. */
  | 'closed'
  /** A fault of the plane's own; `fault` tells of it. */
  | 'internal_error'
  /** The relay closes. */
  | 'shutdown';

/** Packets of one key to another that were dropped for one reason, since they were told of last. */
export interface PacketDrop {
  /** The sender. */
  readonly source: NodeKey;
  /** The key that is watched. */
  readonly destination: NodeKey;
  /** Why they were dropped. */
  readonly reason: DropReason;
  /** How many. */
  readonly packets: number;
}

/** A listener to open. */
export interface ListenSpec {
  /** `tls` and `tcp` take connections; `stun` is UDP. */
  readonly kind: 'tls' | 'tcp' | 'stun';
  /** Whether raw DERP upgrades are the plane's; if not, they are the HTTP server's like everything else. */
  readonly derp: boolean;
  /** An address, or empty for all of both families. */
  readonly host: string;
  /** 0 picks one. */
  readonly port: number;
  /**
   * A socket that is open already, by its descriptor; `host` and `port` are then what it has. It is taken for as long as
   * the process lives. Absent: the plane opens one.
   */
  readonly fd?: number | undefined;
}

/** A listener that is open, with the address and the port that it has. */
export interface Listening {
  /** As of `DuplexInfo`. */
  readonly id: ListenerId;
  /** IP text. */
  readonly address: string;
  /** Never 0. */
  readonly port: number;
}

/** What the plane permits. Where a number comes from stands in `../relay/policy.ts`. */
export interface PlanePolicy {
  /** Most of what connections may have. */
  readonly limits: PlaneLimits;
  /** How long things may take. */
  readonly deadlines: PlaneDeadlines;
  /** Packets in each of a connection's two queues. 32 packets of 1400 B are 45 KB a queue, the cost of one slow reader. */
  readonly queueDepth: number;
  /** The same for mesh links, each of which carries the packets of many. */
  readonly linkQueueDepth: number;
  /** A KeepAlive frame leaves `interval` and a random part of `jitter` after the one before. Clients give up at 120 s. */
  readonly keepAlive: {
    /** The least time between two of them. */
    readonly interval: number;
    /** The most that is added to it. */
    readonly jitter: number;
  };
  /** How often one connection is told that a peer is not here. */
  readonly notHere: {
    /** So often at once. */
    readonly burst: number;
    /** So often in the long run. */
    readonly perSecond: number;
  };
  /** What the system is told about sockets. */
  readonly tcp: {
    /** TCP keepalive idle time; 0 is the system's. */
    readonly keepAlive: number;
    /** For how long sent data may go unacknowledged; 0 is the system's. */
    readonly userTimeout: number;
    /** How often the round trip of each connection is counted, where the plane and the system can tell it; 0 is never. */
    readonly roundTrips: number;
  };
  /** Whether `failures` are raised. */
  readonly tellFailures: boolean;
  /** Keys of which it is told when packets to them are dropped. */
  readonly watchedDrops: readonly NodeKey[];
  /** Connections a TLS listener takes per second; more are closed at once. */
  readonly acceptRate: {
    /** Connections in the long run; fractions too. */
    readonly perSecond: number;
    /** Connections at once. */
    readonly burst: number;
  } | null;
  /**
   * What connections without mesh permission may send: each has a bucket of its own, full at first and whenever the rate
   * changes. Every inbound frame is charged by the length of its body, and a whole bucket at most; the one that is too much
   * is read to its end, and while the bucket owes, that connection is not read on, and no other waits for it.
   */
  readonly receiveRate: ReceiveRate | null;
}

/** A limit for what a connection may send. */
export interface ReceiveRate {
  /** Bytes that flow into the bucket each second, more than 0. */
  readonly bytesPerSecond: number;
  /** Bytes, no less than the largest frame. */
  readonly burst: number;
}

/** Most of what one connection, or all of them, may have. */
export interface PlaneLimits {
  /** Request head of a raw DERP upgrade; longer heads are the HTTP server's. */
  readonly headBytes: number;
  /** The body of a ClientInfo frame; longer ones end the login. */
  readonly clientInfoBytes: number;
  /**
   * Descriptors that connections of listeners may have, so that some are left for everything else. A connection has one; on
   * the native plane three, if it is over TLS and the HTTP server's.
   */
  readonly connections: number;
  /**
   * Connections of one listener that have not yet sent a whole request head, TLS handshake included. Beyond that, and beyond
   * `pendingLogins`, the one that has been there longest makes room for a newcomer; where more than half of either is used,
   * newcomers have a quarter of their deadlines.
   */
  readonly handshakes: number;
  /** The same for handshakes of one listener that are parked by `certificateNeeded`: the oldest makes room for a newcomer. */
  readonly parkedHandshakes: number;
  /** Connections of one listener between the greeting and admission. One that waits for admission makes room for nobody. */
  readonly pendingLogins: number;
  /** Bytes of ClientInfo frames that are not whole yet, over all connections. */
  readonly loginBytes: number;
  /** Connections of one listener that are the HTTP server's: the plane bounds those that it has not taken yet. */
  readonly duplexes: number;
  /**
   * Connections of one IPv4 address, or of the /64 of an IPv6 address, that are not admitted, on all listeners. Of a row of
   * newcomers beyond that each takes the place of the oldest one, if that has had a second, and is refused if not. The HTTP
   * server has the same bound for those that are its own.
   */
  readonly perAddress: number;
  /** Networks, `address/bits`, for which `perAddress` does not hold. */
  readonly exempt: readonly string[];
  /** Control frames queued for one connection. */
  readonly controlBytes: number;
  /** Bytes a connection may send ahead while it waits for admission. */
  readonly leftoverBytes: number;
  /** Peers whose leaving one connection is told of: the most recent ones. */
  readonly peerGoneSubscriptions: number;

  // Over all connections. Of each, what any connection needs is free: 2 KiB, 4 KiB and 8 pairs. What goes beyond that is
  // counted (`held:` and `over_budget:` in `counters.ts`), and over the limit the connection that holds the most pays for it.
  /**
   * Bytes of frames and records that have begun and are not whole, and of what waits for an admission or a receive limit.
   * Over it the connection with the most, or of several large ones the one that has held so much for longest, is closed:
   * `over_budget`.
   */
  readonly partialBytes: number;
  /**
   * Bytes on their way out that the system has not taken: control frames, packets in queues, what is written. Over it the
   * connection or link with the most loses its oldest packets, dropped for `over_budget`; if it has none to lose, it is
   * closed, for the same reason.
   */
  readonly queuedBytes: number;
  /**
   * Pairs of a connection and a peer whose leaving it is told of. Over it the connection with the most forgets the oldest
   * of its peers.
   */
  readonly peerGonePairs: number;
}

/** How long things may take. */
export interface PlaneDeadlines {
  /** For a TLS handshake. */
  readonly handshake: number;
  /** How long a handshake may be parked by `certificateNeeded`. When it goes on, it has `handshake` again. */
  readonly certificate: number;
  /** For a whole request head, from the end of the handshake. */
  readonly head: number;
  /** From the greeting until the whole ClientInfo is here. */
  readonly clientInfo: number;
  /** From the login until `admit` or `refuse`. */
  readonly admission: number;
  /** For a frame to leave, without any progress; 0 is none. */
  readonly write: number;
  /** The same for connections with mesh permission, whose dumps are long. */
  readonly meshWrite: number;
  /** The same for mesh links. */
  readonly linkWrite: number;
  /** How long the relay at the other end of a link may be silent. */
  readonly linkSilence: number;
  /**
   * How long a client that says it answers pings may be silent before it is sent one; 0 is for ever. Only the plane that
   * cannot set {@link PlanePolicy.tcp}'s `userTimeout` asks: on the other one the system finds clients that have vanished.
   */
  readonly silence: number;
  /** How long a client that was pinged then has to send anything at all; 0 is for ever. */
  readonly pong: number;
}

/** Where a connection of the HTTP server comes from. */
export interface DuplexInfo {
  /** The listener that took it. */
  readonly listener: ListenerId;
  /** Where it comes from. */
  readonly peer: PeerAddress;
  /** `null` without TLS. */
  readonly tlsVersion: TlsVersion | null;
}

/** How a connection comes back from the HTTP server. */
export interface Adoption {
  /** What its upgrade was to. */
  readonly framing: 'raw' | 'websocket';
  /** Bytes that came behind the request. */
  readonly leftover: Uint8Array;
  /** As of {@link Login}. */
  readonly notIdeal: boolean;
}

/** A relay to dial. */
export interface DialTarget {
  /** Where to connect to. */
  readonly address: PeerAddress;
  /**
   * The name of the relay, or its address without brackets: what its certificate has to be valid for, and what is asked
   * for with SNI if it is a name.
   */
  readonly host: string;
  /** The Host header: `host`, in brackets where it is an IPv6 address, with its port unless that is 443. */
  readonly authority: string;
  /** Certificates to trust, DER; those that cannot be used are passed over. `null` for plain HTTP. */
  readonly roots: readonly Uint8Array[] | null;
  /** 64 lower-case hex digits. */
  readonly meshKey: string;
  /** For all of it, from the first SYN until ServerInfo is here. */
  readonly timeout: number;
}

/** A PeerPresent frame, or a PeerGone frame of whatever reason. */
export interface LinkChange {
  /** The peer. */
  readonly key: NodeKey;
  /** Whether it has come; if not, it has gone. */
  readonly present: boolean;
}
