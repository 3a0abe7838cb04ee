//! What a client reads after its login: the load generator, and the relay itself where it dials another one.
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use crate::client_info::is_app_name;
use crate::key::NodeKey;
use crate::wire::{FrameType, HEADER_LENGTH, PING_LENGTH, PresenceFlags};

/// A frame from a server, as Go's client understands it: too long is fine, what is missing at the end has a default.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerFrame<'a> {
    /// A packet from `source`.
    RecvPacket {
        /// Who sent it.
        source: NodeKey,
        /// What they sent.
        packet: &'a [u8],
    },
    /// A sign of life.
    KeepAlive,
    /// A peer is not there, or not any more.
    PeerGone {
        /// Which one.
        peer: NodeKey,
        /// A [`PeerGoneReason`](crate::wire::PeerGoneReason), or a number of a later version.
        reason: u8,
    },
    /// A peer is there; for watchers.
    PeerPresent(PeerPresent<'a>),
    /// To be answered with a pong of the same bytes.
    Ping([u8; PING_LENGTH]),
    /// The answer to a ping.
    Pong([u8; PING_LENGTH]),
    /// What is wrong with the connection, as text for people; empty if nothing is any more.
    Health(&'a [u8]),
    /// The server is about to restart.
    Restarting {
        /// When to try to connect again.
        reconnect_in: Duration,
        /// For how long.
        try_for: Duration,
    },
}

/// What a watcher is told of a peer that is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerPresent<'a> {
    /// Who is there.
    pub peer: NodeKey,
    /// Where it connects from, as an IPv4 address if it is one; `None` if the server did not say.
    pub address: Option<SocketAddr>,
    /// None at all from early servers.
    pub flags: PresenceFlags,
    /// Empty for most clients.
    pub app_name: &'a str,
}

impl<'a> ServerFrame<'a> {
    /// Reads a whole frame, header included. `None` for whatever a client passes over: unknown types, and frames too
    /// short for their type. ServerInfo is [`login::open_server_info`](crate::login::open_server_info)'s.
    pub fn read(frame: &'a [u8]) -> Option<Self> {
        let (head, body) = frame.split_at_checked(HEADER_LENGTH)?;
        Some(match FrameType::from_u8(head[0])? {
            FrameType::RecvPacket => {
                let (source, packet) = split_key(body)?;
                Self::RecvPacket { source, packet }
            }
            FrameType::KeepAlive => Self::KeepAlive,
            FrameType::PeerGone => {
                let (peer, rest) = split_key(body)?;
                Self::PeerGone { peer, reason: rest.first().copied().unwrap_or(0) }
            }
            FrameType::PeerPresent => Self::PeerPresent(PeerPresent::read(body)?),
            FrameType::Ping => Self::Ping(*body.first_chunk()?),
            FrameType::Pong => Self::Pong(*body.first_chunk()?),
            FrameType::Health => Self::Health(body),
            FrameType::Restarting => {
                let (reconnect_in, rest) = split_milliseconds(body)?;
                let (try_for, _) = split_milliseconds(rest)?;
                Self::Restarting { reconnect_in, try_for }
            }
            FrameType::ServerKey
            | FrameType::ClientInfo
            | FrameType::ServerInfo
            | FrameType::SendPacket
            | FrameType::NotePreferred
            | FrameType::ForwardPacket
            | FrameType::WatchConns
            | FrameType::ClosePeer => return None,
        })
    }
}

impl<'a> PeerPresent<'a> {
    /// Each version of the protocol has added something at the end.
    fn read(body: &'a [u8]) -> Option<Self> {
        let (peer, rest) = split_key(body)?;
        let mut present = Self { peer, address: None, flags: PresenceFlags(0), app_name: "" };
        let Some((address, rest)) = split_address(rest) else {
            return Some(present);
        };
        present.address = address;
        let Some((&flags, rest)) = rest.split_first() else {
            return Some(present);
        };
        present.flags = PresenceFlags(flags);
        let Some((&length, rest)) = rest.split_first() else {
            return Some(present);
        };
        let name = rest.get(..usize::from(length)).and_then(|name| str::from_utf8(name).ok());
        present.app_name = name.filter(|name| is_app_name(name)).unwrap_or_default();
        Some(present)
    }
}

fn split_key(bytes: &[u8]) -> Option<(NodeKey, &[u8])> {
    let (key, rest) = bytes.split_first_chunk()?;
    Some((NodeKey::from_bytes(*key), rest))
}

/// 16 B IP and 2 B port; all zero where the server does not know.
fn split_address(bytes: &[u8]) -> Option<(Option<SocketAddr>, &[u8])> {
    let (ip, rest) = bytes.split_first_chunk::<16>()?;
    let (port, rest) = rest.split_first_chunk()?;
    let ip = IpAddr::V6(Ipv6Addr::from(*ip)).to_canonical();
    let address = SocketAddr::new(ip, u16::from_be_bytes(*port));
    let known = address.port() != 0 || !ip.is_unspecified();
    Some((known.then_some(address), rest))
}

fn split_milliseconds(bytes: &[u8]) -> Option<(Duration, &[u8])> {
    let (milliseconds, rest) = bytes.split_first_chunk()?;
    Some((Duration::from_millis(u32::from_be_bytes(*milliseconds).into()), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_address_is_unknown_only_if_all_of_it_is_zero() {
        let address = |last: u8, port: u8| {
            let mut bytes = [0; 18];
            bytes[15] = last;
            bytes[17] = port;
            split_address(&bytes).unwrap().0.map(|address| address.to_string())
        };
        assert_eq!(address(0, 0), None);
        assert_eq!(address(1, 0).as_deref(), Some("[::1]:0"));
        assert_eq!(address(0, 9).as_deref(), Some("[::]:9"));
    }

    proptest! {
        #[test]
        fn reading_never_panics(frame in prop::collection::vec(any::<u8>(), 0..120), kind in 0..0x20_u8) {
            let _ = ServerFrame::read(&frame);
            let mut frame = frame;
            if let Some(first) = frame.first_mut() {
                *first = kind;
            }
            let _ = ServerFrame::read(&frame);
        }
    }
}
