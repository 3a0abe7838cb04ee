/**
 * The constants of the DERP wire protocol, each beside its byte layout. All integers are big-endian.
 *
 * A frame is a 5-byte header, `type: u8` and `length: u32` (the header not included), and `length` bytes of body.
 * `__test__/vectors/protocol.json` holds the same facts, taken from upstream; a test compares the two both ways.
 */

export const FrameType = {
  /** Server to client, first: 8 B magic, 32 B server key. Receivers ignore further bytes. */
  ServerKey: 0x01,
  /** Client to server, first: 32 B client key, 24 B nonce, box of the ClientInfo JSON. */
  ClientInfo: 0x02,
  /** Server to client, second: 24 B nonce, box of the ServerInfo JSON. */
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
  /** Mesh peer to server: 32 B key whose connections are to be closed. */
  ClosePeer: 0x11,
  /** Both ways: 8 B to be echoed. */
  Ping: 0x12,
  /** Both ways: the 8 B of the ping. */
  Pong: 0x13,
  /** Server to client: UTF-8 text, empty clears. The relay never sends it. */
  Health: 0x14,
  /** Server to client: u32 reconnect-in ms, u32 try-for ms. The relay never sends it. */
  Restarting: 0x15,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];

export const PeerGoneReason = {
  /** The peer's last connection to the region ended. */
  Disconnected: 0x00,
  /** The relay does not know the peer. */
  NotHere: 0x01,
  /** A mesh link broke; used between the relay's own parts, never on the wire. */
  MeshConnBroke: 0xf0,
} as const;
export type PeerGoneReason = (typeof PeerGoneReason)[keyof typeof PeerGoneReason];

export const PresenceFlag = {
  /** None of the others: an ordinary client. */
  Regular: 0x01,
  MeshPeer: 0x02,
  Prober: 0x04,
  /** The client told us (`Ideal-Node`) that it would rather be on another node of the region. */
  NotIdeal: 0x08,
} as const;

/** "DERP" and the key emoji U+1F511. */
export const MAGIC = Buffer.from('44455250f09f9491', 'hex');
export const PROTOCOL_VERSION = 2;

export const HEADER_LENGTH = 5;
export const KEY_LENGTH = 32;
export const NONCE_LENGTH = 24;
/** The Poly1305 tag that leads a box. */
export const BOX_OVERHEAD = 16;

/** Largest packet that is relayed, keys and header not included. */
export const MAX_PACKET_LENGTH = 64 << 10;
/** Longest body of any frame but ClientInfo and ForwardPacket; longer ones end the connection at the header. */
export const MAX_BODY_LENGTH = KEY_LENGTH + MAX_PACKET_LENGTH;
export const MAX_FORWARD_LENGTH = 2 * KEY_LENGTH + MAX_PACKET_LENGTH;

/** The shortest conceivable ClientInfo body: key and nonce. (A box that opens needs 16 more.) */
export const MIN_CLIENT_INFO_LENGTH = KEY_LENGTH + NONCE_LENGTH;
export const MAX_CLIENT_INFO_LENGTH = 256 << 10;
/** A client takes no greeting body longer than this, and a server info no longer than the other. */
export const MAX_GREETING_LENGTH = 1024;
export const MAX_SERVER_INFO_LENGTH = 1 << 20;

export const PING_LENGTH = 8;
export const MAX_PING_LENGTH = 1000;

/** Body of a PeerPresent without an app name. */
export const PEER_PRESENT_LENGTH = KEY_LENGTH + 16 + 2 + 1 + 1;
export const PEER_GONE_LENGTH = KEY_LENGTH + 1;

/** App names are 1 to 32 printable ASCII characters. */
export const MAX_APP_NAME_LENGTH = 32;

/** "TS" and the speech-balloon emoji: what a Tailscale discovery packet begins with. */
export const DISCO_MAGIC = Buffer.from('5453f09f92ac', 'hex');
/** Magic, 32 B sender key, 24 B nonce. */
export const MIN_DISCO_LENGTH = DISCO_MAGIC.length + KEY_LENGTH + NONCE_LENGTH;

const DISCO_HEAD = DISCO_MAGIC.readUInt32BE(0);
const DISCO_TAIL = DISCO_MAGIC.readUInt16BE(4);

/** Whether the packet at `bytes[start..end)` looks like a discovery packet. Its contents are not checked. */
export function looksLikeDisco(bytes: Buffer, start: number, end: number): boolean {
  return (
    end - start >= MIN_DISCO_LENGTH &&
    bytes.readUInt32BE(start) === DISCO_HEAD &&
    bytes.readUInt16BE(start + 4) === DISCO_TAIL
  );
}
