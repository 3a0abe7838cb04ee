/**
 * The constants of the DERP wire protocol, each with its byte layout. All integers are big-endian.
 *
 * A frame is a 5-byte header, `type: u8` and `length: u32` (which does not count the header), and `length` bytes of
 * body. `__test__/vectors/protocol.json` holds these facts as upstream states them; a test compares both ways.
 */

export const FrameType = {
  /** Server to client, first frame: 8 B magic, 32 B server key. Receivers ignore further bytes. */
  ServerKey: 0x01,
  /** Client to server, first frame: 32 B client key, 24 B nonce, box of the ClientInfo JSON. */
  ClientInfo: 0x02,
  /** Server to client, second frame: 24 B nonce, box of the ServerInfo JSON. */
  ServerInfo: 0x03,
  /** Client to server: 32 B destination key, then the packet. */
  SendPacket: 0x04,
  /** Server to client: 32 B source key, then the packet. */
  RecvPacket: 0x05,
  /** Server to client: empty. */
  KeepAlive: 0x06,
  /** Client to server: 1 B, non-zero when this relay is the client's home. */
  NotePreferred: 0x07,
  /** Server to client: 32 B key of the peer that left, 1 B {@link PeerGoneReason}. */
  PeerGone: 0x08,
  /** Server to watcher: 32 B key, 16 B IP (IPv4 mapped), 2 B port, 1 B {@link PresenceFlag}s, 1 B length, app name. */
  PeerPresent: 0x09,
  /** Mesh peer to server: 32 B source key, 32 B destination key, then the packet. */
  ForwardPacket: 0x0a,
  /** Mesh peer to server: empty. Subscribes to PeerPresent and PeerGone. */
  WatchConns: 0x10,
  /** Mesh peer to server: 32 B key; the server closes the connections of this key. */
  ClosePeer: 0x11,
  /** Both ways: 8 B that the receiver echoes. */
  Ping: 0x12,
  /** Both ways: the 8 B of the ping that it answers. */
  Pong: 0x13,
  /** Server to client: UTF-8 text; empty clears it. This relay never sends it. */
  Health: 0x14,
  /** Server to client: u32 reconnect-in ms, u32 try-for ms. This relay never sends it. */
  Restarting: 0x15,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

export const PeerGoneReason = {
  /** The peer's last connection to the region ended. */
  Disconnected: 0x00,
  /** The relay does not know the peer. */
  NotHere: 0x01,
  /** A mesh link broke. Only the relay's own parts use it; it never appears on the wire. */
  MeshConnBroke: 0xf0,
} as const;
export type PeerGoneReason = (typeof PeerGoneReason)[keyof typeof PeerGoneReason];

export const PresenceFlag = {
  /** An ordinary client: no other flag is set. */
  Regular: 0x01,
  MeshPeer: 0x02,
  Prober: 0x04,
  /** The client sent `Ideal-Node`: it prefers another node of the region. */
  NotIdeal: 0x08,
} as const;

/** The magic of the greeting: "DERP" and the key emoji U+1F511. */
export const MAGIC = Buffer.from('44455250f09f9491', 'hex');
export const PROTOCOL_VERSION = 2;

export const HEADER_LENGTH = 5;
export const KEY_LENGTH = 32;
export const NONCE_LENGTH = 24;
/** The Poly1305 tag at the start of a box. */
export const BOX_OVERHEAD = 16;

/** Largest packet that the relay forwards, keys and header excluded. */
export const MAX_PACKET_LENGTH = 64 << 10;
/**
 * Longest body of any frame but ClientInfo and ForwardPacket. A longer one ends the connection as soon as its header
 * arrives.
 */
export const MAX_BODY_LENGTH = KEY_LENGTH + MAX_PACKET_LENGTH;
export const MAX_FORWARD_LENGTH = 2 * KEY_LENGTH + MAX_PACKET_LENGTH;

/** Shortest ClientInfo body that is read: key and nonce. (A box that opens has at least 16 bytes more.) */
export const MIN_CLIENT_INFO_LENGTH = KEY_LENGTH + NONCE_LENGTH;
export const MAX_CLIENT_INFO_LENGTH = 256 << 10;
/** Longest bodies that a client accepts: of the greeting, and of ServerInfo. */
export const MAX_GREETING_LENGTH = 1024;
export const MAX_SERVER_INFO_LENGTH = 1 << 20;

export const PING_LENGTH = 8;
export const MAX_PING_LENGTH = 1000;

/** Length of a PeerPresent body without an app name. */
export const PEER_PRESENT_LENGTH = KEY_LENGTH + 16 + 2 + 1 + 1;
export const PEER_GONE_LENGTH = KEY_LENGTH + 1;

/** App names are 1 to 32 printable ASCII characters. */
export const MAX_APP_NAME_LENGTH = 32;

/** The start of every Tailscale discovery packet: "TS" and the speech-balloon emoji. */
export const DISCO_MAGIC = Buffer.from('5453f09f92ac', 'hex');
/** Length of the shortest discovery packet: magic, 32 B sender key, 24 B nonce. */
export const MIN_DISCO_LENGTH = DISCO_MAGIC.length + KEY_LENGTH + NONCE_LENGTH;

const DISCO_HEAD = DISCO_MAGIC.readUInt32BE(0);
const DISCO_TAIL = DISCO_MAGIC.readUInt16BE(4);

/** Whether the packet at `bytes[start..end)` begins like a discovery packet. Its contents are not checked. */
export function looksLikeDisco(bytes: Buffer, start: number, end: number): boolean {
  return (
    end - start >= MIN_DISCO_LENGTH &&
    bytes.readUInt32BE(start) === DISCO_HEAD &&
    bytes.readUInt16BE(start + 4) === DISCO_TAIL
  );
}
