//! Encodes frames, and turns the ones that are relayed into what their receiver gets, within their own bytes.
//!
//! Frames with a packet are given as their head: header and keys, with the packet to follow from wherever it lies.
use crate::key::NodeKey;
use crate::wire::{FrameType, HEADER_LENGTH, KEY_LENGTH, MAGIC, PEER_GONE_LENGTH, PING_LENGTH, PeerGoneReason};

/// Where the only or first key of a frame begins.
pub const KEY_AT: usize = HEADER_LENGTH;
/// Where the packet of a SendPacket or RecvPacket begins, and the destination of a ForwardPacket.
pub const PACKET_AT: usize = HEADER_LENGTH + KEY_LENGTH;
/// Where the packet of a ForwardPacket begins.
pub const FORWARDED_PACKET_AT: usize = HEADER_LENGTH + 2 * KEY_LENGTH;

/// Server to client, now and then.
pub const KEEP_ALIVE: [u8; HEADER_LENGTH] = header(FrameType::KeepAlive, 0);
/// Client to server, to become a watcher.
pub const WATCH_CONNS: [u8; HEADER_LENGTH] = header(FrameType::WatchConns, 0);

/// The header of a frame with `length` bytes of body.
#[inline]
pub const fn header(kind: FrameType, length: u32) -> [u8; HEADER_LENGTH] {
    let [a, b, c, d] = length.to_be_bytes();
    [kind as u8, a, b, c, d]
}

/// What a server says first.
pub fn greeting(server_key: &NodeKey) -> [u8; HEADER_LENGTH + MAGIC.len() + KEY_LENGTH] {
    concat(FrameType::ServerKey, &[&MAGIC, server_key.as_bytes()], 0)
}

/// The head of a SendPacket of `packet` bytes.
pub fn send_packet(destination: &NodeKey, packet: usize) -> [u8; PACKET_AT] {
    concat(FrameType::SendPacket, &[destination.as_bytes()], packet)
}

/// The head of a RecvPacket of `packet` bytes.
pub fn recv_packet(source: &NodeKey, packet: usize) -> [u8; PACKET_AT] {
    concat(FrameType::RecvPacket, &[source.as_bytes()], packet)
}

/// The head of a ForwardPacket of `packet` bytes.
pub fn forward_packet(source: &NodeKey, destination: &NodeKey, packet: usize) -> [u8; FORWARDED_PACKET_AT] {
    concat(FrameType::ForwardPacket, &[source.as_bytes(), destination.as_bytes()], packet)
}

/// The same without the destination: what stands in front of a SendPacket's key, and the `packet` bytes behind it, where
/// they lie.
#[inline]
pub fn forward_head(source: &NodeKey, packet: usize) -> [u8; PACKET_AT] {
    concat(FrameType::ForwardPacket, &[source.as_bytes()], KEY_LENGTH + packet)
}

/// Tells a relay whether it is the client's home.
pub fn note_preferred(home: bool) -> [u8; HEADER_LENGTH + 1] {
    concat(FrameType::NotePreferred, &[&[u8::from(home)]], 0)
}

/// Asks a relay to close all connections of `target`.
pub fn close_peer(target: &NodeKey) -> [u8; HEADER_LENGTH + KEY_LENGTH] {
    concat(FrameType::ClosePeer, &[target.as_bytes()], 0)
}

/// Asks for a [`pong`].
pub fn ping(data: &[u8; PING_LENGTH]) -> [u8; HEADER_LENGTH + PING_LENGTH] {
    concat(FrameType::Ping, &[data], 0)
}

/// Answers a ping with the first 8 bytes of its body.
pub fn pong(data: &[u8; PING_LENGTH]) -> [u8; HEADER_LENGTH + PING_LENGTH] {
    concat(FrameType::Pong, &[data], 0)
}

/// Tells a client that a peer it had packets of, or sent some to, is not there.
pub fn peer_gone(peer: &NodeKey, reason: PeerGoneReason) -> [u8; HEADER_LENGTH + PEER_GONE_LENGTH] {
    concat(FrameType::PeerGone, &[peer.as_bytes(), &[reason as u8]], 0)
}

/// Turns a whole SendPacket into the RecvPacket that its destination gets. The two have the same length: with another
/// type and key the frame is ready, where it lies.
///
/// # Panics
/// If `frame` is shorter than header and key; such a frame does not pass [`frame_rules::check`](crate::frame_rules::check).
#[inline]
pub fn rewrite_send_to_recv(frame: &mut [u8], source: &NodeKey) {
    frame[0] = FrameType::RecvPacket as u8;
    frame[KEY_AT..PACKET_AT].copy_from_slice(source.as_bytes());
}

/// Turns a whole ForwardPacket into the RecvPacket that its destination gets; says where in `frame` it begins. It ends
/// where the frame ends. The destination's key is overwritten: read it first.
///
/// # Panics
/// If `frame` is shorter than header and two keys; such a frame does not pass
/// [`frame_rules::check`](crate::frame_rules::check).
#[inline]
pub fn rewrite_forward_to_recv(frame: &mut [u8]) -> usize {
    let (head, _) = frame.split_first_chunk_mut::<FORWARDED_PACKET_AT>().expect("a ForwardPacket has two keys");
    // A zero source has no place in RecvPacket: what is left is the frame's first version, which had no key at all.
    let start = if head[KEY_AT..PACKET_AT] == [0; KEY_LENGTH] { 2 * KEY_LENGTH } else { KEY_LENGTH };
    if start == KEY_LENGTH {
        head.copy_within(KEY_AT..PACKET_AT, PACKET_AT);
    }
    let body = frame.len() - start - HEADER_LENGTH;
    frame[start..start + HEADER_LENGTH].copy_from_slice(&header(FrameType::RecvPacket, body as u32));
    start
}

/// A header and `parts`, for a frame that has `more` bytes behind them. `N` is the sum of their lengths.
fn concat<const N: usize>(kind: FrameType, parts: &[&[u8]], more: usize) -> [u8; N] {
    let mut frame = [0; N];
    frame[..HEADER_LENGTH].copy_from_slice(&header(kind, (N - HEADER_LENGTH + more) as u32));
    let mut at = HEADER_LENGTH;
    for part in parts {
        frame[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    debug_assert_eq!(at, N);
    frame
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::server_frame::ServerFrame;

    fn packet() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..300)
    }

    proptest! {
        #[test]
        fn a_sent_packet_arrives_with_its_source(source: [u8; 32], destination: [u8; 32], packet in packet()) {
            let source = NodeKey::from_bytes(source);
            let mut frame = send_packet(&NodeKey::from_bytes(destination), packet.len()).to_vec();
            frame.extend(&packet);
            rewrite_send_to_recv(&mut frame, &source);
            prop_assert_eq!(&frame[..PACKET_AT], recv_packet(&source, packet.len()));
            prop_assert_eq!(ServerFrame::read(&frame), Some(ServerFrame::RecvPacket { source, packet: &packet }));
        }

        #[test]
        fn a_forwarded_packet_arrives_with_its_source(source: [u8; 32], destination: [u8; 32], packet in packet()) {
            let source = NodeKey::from_bytes(source);
            let mut frame = forward_packet(&source, &NodeKey::from_bytes(destination), packet.len()).to_vec();
            frame.extend(&packet);
            let start = rewrite_forward_to_recv(&mut frame);
            prop_assert_eq!(start, KEY_LENGTH);
            prop_assert_eq!(&frame[start..][..PACKET_AT], recv_packet(&source, packet.len()));
            let arrived = ServerFrame::RecvPacket { source, packet: &packet };
            prop_assert_eq!(ServerFrame::read(&frame[start..]), Some(arrived));
        }

        #[test]
        fn a_sent_packet_is_forwarded_from_where_it_lies(source: [u8; 32], destination: [u8; 32], packet in packet()) {
            let (source, destination) = (NodeKey::from_bytes(source), NodeKey::from_bytes(destination));
            let sent = [&send_packet(&destination, packet.len())[..], &packet].concat();
            let forwarded = [&forward_head(&source, packet.len())[..], &sent[KEY_AT..]].concat();
            prop_assert_eq!(forwarded, [&forward_packet(&source, &destination, packet.len())[..], &packet].concat());
        }

        #[test]
        fn a_zero_source_leaves_the_packet_alone(destination: [u8; 32], packet in packet()) {
            let mut frame = forward_packet(&NodeKey::ZERO, &NodeKey::from_bytes(destination), packet.len()).to_vec();
            frame.extend(&packet);
            let start = rewrite_forward_to_recv(&mut frame);
            prop_assert_eq!(&frame[start..][..HEADER_LENGTH], header(FrameType::RecvPacket, packet.len() as u32));
            prop_assert_eq!(&frame[start + HEADER_LENGTH..], packet);
        }
    }
}
