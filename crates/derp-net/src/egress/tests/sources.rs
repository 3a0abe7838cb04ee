//! Who is told when a source of packets leaves.

use super::*;

#[test]
fn a_source_is_told_of_once_for_each_time_it_was_heard() {
    let mut wire = SocketWriter::admitted();
    let gone = |wire: &mut SocketWriter| {
        wire.act(|egress, cx| egress.peer_gone(&SOURCE, PeerGoneReason::Disconnected, cx));
        wire.counters.read(Counter::PEER_GONE_DISCONNECTED_FRAMES)
    };
    assert_eq!(gone(&mut wire), 0, "nothing was heard of it");
    wire.send(Other, &[1, 2], 100);
    wire.send(Other, &[3], 100);
    assert_eq!(wire.subscribers.take(&SOURCE).collect::<Vec<_>>(), [DESTINATION]);
    assert_eq!(gone(&mut wire), 1);
    assert_eq!(gone(&mut wire), 1, "it was told");
    // It is still there, and sends another one.
    wire.send(Other, &[4], 100);
    assert_eq!(wire.subscribers.take(&SOURCE).count(), 1);
    assert_eq!(gone(&mut wire), 2);
    wire.read_numbers(3);
    assert_eq!(wire.read_frame(), frame::peer_gone(&SOURCE, PeerGoneReason::Disconnected));
}

#[test]
fn what_was_dropped_was_not_heard() {
    let mut wire = SocketWriter::stalled();
    drop(wire.subscribers.take(&SOURCE));
    wire.act(|egress, cx| egress.peer_gone(&SOURCE, PeerGoneReason::Disconnected, cx));
    // This one waits, and is pushed out by others.
    wire.send(Other, &[1], 100);
    assert_eq!(wire.subscribers.take(&SOURCE).count(), 0);
    wire.depth = 1;
    let another = PacketInfo { source: NodeKey::from_bytes([8; 32]), kind: Other, payload: 4 };
    let bytes = packet(Other, 2, 4);
    for _ in 0..DEPTH {
        wire.act(|egress, cx| egress.packets(&[Frame { head: &[], bytes: &bytes, packet: Some(another) }], cx));
    }
    wire.read_number();
    assert_eq!(wire.subscribers.take(&SOURCE).count(), 0);
    assert_eq!(wire.subscribers.take(&another.source).count(), 1);
}

#[test]
fn the_oldest_source_makes_room() {
    let mut wire = SocketWriter::admitted();
    for number in 0..=100 {
        let info = PacketInfo { source: NodeKey::from_bytes([number; 32]), kind: Other, payload: 4 };
        let bytes = packet(Other, 0, 4);
        wire.act(|egress, cx| egress.packets(&[Frame { head: &[], bytes: &bytes, packet: Some(info) }], cx));
        wire.read_frame();
    }
    let subscribed: Vec<_> =
        (0..=100).filter(|number| wire.subscribers.take(&NodeKey::from_bytes([*number; 32])).count() > 0).collect();
    assert_eq!(subscribed, (1..=100).collect::<Vec<_>>());
}
