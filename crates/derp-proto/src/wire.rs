//! The constants of the DERP wire protocol, each beside its byte layout. All integers are big-endian.
//!
//! A frame is a 5-byte header, `type: u8` and `length: u32` (the header not included), and `length` bytes of body.
//! `__test__/vectors/protocol.json` holds the same facts, taken from upstream; a test compares the two both ways.

/// What a frame is. A reader passes over types that are not here.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum FrameType {
    /// Server to client, first: 8 B magic, 32 B server key. Receivers ignore further bytes.
    ServerKey = 0x01,
    /// Client to server, first: 32 B client key, 24 B nonce, box of the ClientInfo JSON.
    ClientInfo = 0x02,
    /// Server to client, second: 24 B nonce, box of the ServerInfo JSON.
    ServerInfo = 0x03,
    /// Client to server: 32 B destination key, then the packet.
    SendPacket = 0x04,
    /// Server to client: 32 B source key, then the packet.
    RecvPacket = 0x05,
    /// Server to client: empty.
    KeepAlive = 0x06,
    /// Client to server: 1 B, non-zero when this relay is the client's home.
    NotePreferred = 0x07,
    /// Server to client: 32 B key of the peer that left, 1 B [`PeerGoneReason`].
    PeerGone = 0x08,
    /// Server to watcher: 32 B key, 16 B IP (IPv4 mapped), 2 B port, 1 B [`PresenceFlags`], 1 B length, app name.
    PeerPresent = 0x09,
    /// Mesh peer to server: 32 B source key, 32 B destination key, then the packet.
    ForwardPacket = 0x0a,
    /// Mesh peer to server: empty. Subscribes to PeerPresent and PeerGone.
    WatchConns = 0x10,
    /// Mesh peer to server: 32 B key whose connections are to be closed.
    ClosePeer = 0x11,
    /// Both ways: 8 B to be echoed.
    Ping = 0x12,
    /// Both ways: the 8 B of the ping.
    Pong = 0x13,
    /// Server to client: UTF-8 text, empty clears. The relay never sends it.
    Health = 0x14,
    /// Server to client: u32 reconnect-in ms, u32 try-for ms. The relay never sends it.
    Restarting = 0x15,
}

impl FrameType {
    /// Every type, by number.
    pub const ALL: [Self; 16] = [
        Self::ServerKey,
        Self::ClientInfo,
        Self::ServerInfo,
        Self::SendPacket,
        Self::RecvPacket,
        Self::KeepAlive,
        Self::NotePreferred,
        Self::PeerGone,
        Self::PeerPresent,
        Self::ForwardPacket,
        Self::WatchConns,
        Self::ClosePeer,
        Self::Ping,
        Self::Pong,
        Self::Health,
        Self::Restarting,
    ];

    /// The type with this number, if we know one.
    #[inline]
    pub const fn from_u8(number: u8) -> Option<Self> {
        Some(match number {
            0x01 => Self::ServerKey,
            0x02 => Self::ClientInfo,
            0x03 => Self::ServerInfo,
            0x04 => Self::SendPacket,
            0x05 => Self::RecvPacket,
            0x06 => Self::KeepAlive,
            0x07 => Self::NotePreferred,
            0x08 => Self::PeerGone,
            0x09 => Self::PeerPresent,
            0x0a => Self::ForwardPacket,
            0x10 => Self::WatchConns,
            0x11 => Self::ClosePeer,
            0x12 => Self::Ping,
            0x13 => Self::Pong,
            0x14 => Self::Health,
            0x15 => Self::Restarting,
            _ => return None,
        })
    }
}

/// Why a peer is gone.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum PeerGoneReason {
    /// The peer's last connection to the region ended.
    Disconnected = 0x00,
    /// The relay does not know the peer.
    NotHere = 0x01,
    /// A mesh link broke; used between the relay's own parts, never on the wire.
    MeshConnBroke = 0xf0,
}

/// What a watcher is told of a peer: one byte of flags. Bits that are not here are kept and mean nothing to us.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct PresenceFlags(pub u8);

impl PresenceFlags {
    /// None of the others: an ordinary client.
    pub const REGULAR: Self = Self(0x01);
    /// The peer holds the mesh key.
    pub const MESH_PEER: Self = Self(0x02);
    /// The peer said that it is a prober.
    pub const PROBER: Self = Self(0x04);
    /// The client told us (`Ideal-Node`) that it would rather be on another node of the region.
    pub const NOT_IDEAL: Self = Self(0x08);

    /// Whether every bit of `flags` is set.
    pub const fn contains(self, flags: Self) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, flags: Self) -> Self {
        Self(self.0 | flags.0)
    }
}

/// "DERP" and the key emoji U+1F511.
pub const MAGIC: [u8; 8] = *b"DERP\xf0\x9f\x94\x91";
/// Of the protocol: in the greeting's HTTP answer, in ServerInfo, and as serial number of the meta certificate.
pub const PROTOCOL_VERSION: u8 = 2;

/// Type and length.
pub const HEADER_LENGTH: usize = 5;
/// Of any key, in bytes.
pub const KEY_LENGTH: usize = 32;
/// Of a box's nonce, in bytes.
pub const NONCE_LENGTH: usize = 24;
/// The Poly1305 tag that leads a box.
pub const BOX_OVERHEAD: usize = 16;

/// Largest packet that is relayed, keys and header not included.
pub const MAX_PACKET_LENGTH: usize = 64 << 10;
/// Longest body of any frame but ClientInfo and ForwardPacket; longer ones end the connection at the header.
pub const MAX_BODY_LENGTH: usize = KEY_LENGTH + MAX_PACKET_LENGTH;
/// Longest body of a ForwardPacket.
pub const MAX_FORWARD_LENGTH: usize = 2 * KEY_LENGTH + MAX_PACKET_LENGTH;

/// The shortest conceivable ClientInfo body: key and nonce. (A box that opens needs 16 more.)
pub const MIN_CLIENT_INFO_LENGTH: usize = KEY_LENGTH + NONCE_LENGTH;
/// The longest ClientInfo body that a relay takes.
pub const MAX_CLIENT_INFO_LENGTH: usize = 256 << 10;
/// A client takes no greeting body longer than this.
pub const MAX_GREETING_LENGTH: usize = 1024;
/// A client takes no ServerInfo body longer than this, nor any other frame.
pub const MAX_SERVER_INFO_LENGTH: usize = 1 << 20;

/// What a ping carries, and a pong brings back.
pub const PING_LENGTH: usize = 8;
/// Longer pings end the connection. Of longer ones than 8 bytes the first 8 come back.
pub const MAX_PING_LENGTH: usize = 1000;

/// Body of a PeerPresent without an app name.
pub const PEER_PRESENT_LENGTH: usize = KEY_LENGTH + 16 + 2 + 1 + 1;
/// Body of a PeerGone.
pub const PEER_GONE_LENGTH: usize = KEY_LENGTH + 1;

/// App names are 1 to 32 printable ASCII characters.
pub const MAX_APP_NAME_LENGTH: usize = 32;

/// "TS" and the speech-balloon emoji: what a Tailscale discovery packet begins with.
pub const DISCO_MAGIC: [u8; 6] = *b"TS\xf0\x9f\x92\xac";
/// Magic, 32 B sender key, 24 B nonce.
pub const MIN_DISCO_LENGTH: usize = DISCO_MAGIC.len() + KEY_LENGTH + NONCE_LENGTH;

/// Whether a packet looks like a discovery packet. Its contents are not checked.
#[inline]
pub fn looks_like_disco(packet: &[u8]) -> bool {
    packet.len() >= MIN_DISCO_LENGTH && packet.starts_with(&DISCO_MAGIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_are_a_set() {
        let both = PresenceFlags::PROBER.union(PresenceFlags::NOT_IDEAL);
        assert_eq!(both.union(PresenceFlags::PROBER), both);
        assert!(both.contains(PresenceFlags::PROBER) && both.contains(both));
        assert!(!both.contains(PresenceFlags::REGULAR) && !PresenceFlags::PROBER.contains(both));
        assert!(!both.contains(PresenceFlags::PROBER.union(PresenceFlags::REGULAR)));
    }
}
