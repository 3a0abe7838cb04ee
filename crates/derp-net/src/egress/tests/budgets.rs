//! What a way out gives back when all of them together hold too much.

use super::*;

impl SocketWriter {
    fn held(&self) -> u64 {
        self.counters.read(Counter::HELD_QUEUED_BYTES)
    }

    fn settle(&mut self) -> Outcome {
        self.act(|egress, cx| egress.settle(cx));
        self.outcome()
    }
}

#[test]
fn what_waits_is_noted_until_it_has_left() {
    let mut wire = SocketWriter::admitted();
    wire.send(Other, &[0], 100);
    wire.settle();
    assert_eq!(wire.held(), 0);
    wire.send(Other, &[1], 200_000);
    wire.send(Other, &[2], 20_000);
    wire.queued_bytes = 1000;
    assert!(wire.settle().crowded);
    assert!(wire.held() > 20_000);
    // It is no more than before.
    assert!(!wire.settle().crowded);
    wire.read_numbers(3);
    assert!(!wire.settle().crowded);
    assert_eq!(wire.held(), 0);
}

#[test]
fn the_oldest_packets_go_and_discovery_last() {
    let mut wire = SocketWriter::stalled();
    wire.send(Disco, &[1], 5000);
    wire.send(Other, &[2, 3, 4], 5000);
    wire.settle();
    let before = wire.held();
    wire.act(|egress, cx| egress.shed(8000, cx));
    wire.settle();
    assert_eq!([wire.dropped(DropReason::OverBudget, Other), wire.dropped(DropReason::OverBudget, Disco)], [2, 0]);
    assert!(wire.held() + 10_000 <= before);
    wire.act(|egress, cx| egress.shed(8000, cx));
    assert_eq!([wire.dropped(DropReason::OverBudget, Other), wire.dropped(DropReason::OverBudget, Disco)], [3, 1]);
    assert!(!wire.settle().condemned);
    wire.read_number();
    assert_eq!(wire.accounted(), 5);
}

#[test]
fn whoever_has_no_packet_to_lose_loses_everything() {
    let mut wire = SocketWriter::stalled();
    wire.act(|egress, cx| egress.control(&[7; 20_000], false, cx));
    wire.act(|egress, cx| egress.shed(1, cx));
    assert!(wire.settle().condemned);
    assert_eq!(wire.held(), 0);
    // The packet that is half out.
    assert_eq!(wire.dropped(DropReason::WriteError, Other), 1);
    wire.send(Other, &[1], 100);
    assert_eq!(wire.accounted(), 2);
}

#[test]
fn whoever_has_sent_everything_meanwhile_is_left_alone() {
    let mut wire = SocketWriter::admitted();
    wire.act(|egress, cx| egress.shed(1000, cx));
    assert!(!wire.settle().condemned);
    wire.send(Other, &[1], 100);
    wire.read_number();
}

#[test]
fn sources_beyond_the_budget_are_forgotten_oldest_first() {
    let mut wire = SocketWriter::admitted();
    wire.peer_gone_pairs = 12;
    let key = |number: u8| NodeKey::from_bytes([number; 32]);
    for number in 1..=13 {
        let info = PacketInfo { source: key(number), kind: Other, payload: 4 };
        let bytes = packet(Other, 0, 4);
        wire.act(|egress, cx| egress.packets(&[Frame { head: &[], bytes: &bytes, packet: Some(info) }], cx));
        assert_eq!(wire.outcome().many_pairs, number == 13);
        wire.read_frame();
    }
    wire.act(|egress, cx| egress.forget_sources(2, cx));
    assert_eq!(wire.counters.read(Counter::HELD_PEER_GONE_PAIRS), 11);
    let subscribed: Vec<_> = (1..=13).filter(|number| wire.subscribers.take(&key(*number)).count() > 0).collect();
    assert_eq!(subscribed, (3..=13).collect::<Vec<_>>());
    let sources = wire.act(|egress, cx| egress.close(cx).count());
    assert_eq!((sources, wire.counters.read(Counter::HELD_PEER_GONE_PAIRS)), (11, 0));
}
