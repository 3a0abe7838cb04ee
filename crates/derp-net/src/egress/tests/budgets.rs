//! What a way out gives back when all of them together hold too much.

use super::*;

impl Line {
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
    let mut line = Line::admitted();
    line.send(Other, &[0], 100);
    line.settle();
    assert_eq!(line.held(), 0);
    line.send(Other, &[1], 200_000);
    line.send(Other, &[2], 20_000);
    line.queued_bytes = 1000;
    assert!(line.settle().crowded);
    assert!(line.held() > 20_000);
    // It is no more than before.
    assert!(!line.settle().crowded);
    line.read_numbers(3);
    assert!(!line.settle().crowded);
    assert_eq!(line.held(), 0);
}

#[test]
fn the_oldest_packets_go_and_discovery_last() {
    let mut line = Line::stalled();
    line.send(Disco, &[1], 5000);
    line.send(Other, &[2, 3, 4], 5000);
    line.settle();
    let before = line.held();
    line.act(|egress, cx| egress.shed(8000, cx));
    line.settle();
    assert_eq!([line.dropped(DropReason::OverBudget, Other), line.dropped(DropReason::OverBudget, Disco)], [2, 0]);
    assert!(line.held() + 10_000 <= before);
    line.act(|egress, cx| egress.shed(8000, cx));
    assert_eq!([line.dropped(DropReason::OverBudget, Other), line.dropped(DropReason::OverBudget, Disco)], [3, 1]);
    assert!(!line.settle().condemned);
    line.read_number();
    assert_eq!(line.accounted(), 5);
}

#[test]
fn whoever_has_no_packet_to_lose_loses_everything() {
    let mut line = Line::stalled();
    line.act(|egress, cx| egress.control(&[7; 20_000], false, cx));
    line.act(|egress, cx| egress.shed(1, cx));
    assert!(line.settle().condemned);
    assert_eq!(line.held(), 0);
    // The packet that is half out.
    assert_eq!(line.dropped(DropReason::WriteError, Other), 1);
    line.send(Other, &[1], 100);
    assert_eq!(line.accounted(), 2);
}

#[test]
fn whoever_has_sent_everything_meanwhile_is_left_alone() {
    let mut line = Line::admitted();
    line.act(|egress, cx| egress.shed(1000, cx));
    assert!(!line.settle().condemned);
    line.send(Other, &[1], 100);
    line.read_number();
}

#[test]
fn sources_beyond_the_budget_are_forgotten_oldest_first() {
    let mut line = Line::admitted();
    line.peer_gone_pairs = 12;
    let key = |number: u8| NodeKey::from_bytes([number; 32]);
    for number in 1..=13 {
        let info = PacketInfo { source: key(number), kind: Other, payload: 4 };
        let bytes = packet(Other, 0, 4);
        line.act(|egress, cx| egress.packets(&[Frame { head: &[], bytes: &bytes, packet: Some(info) }], cx));
        assert_eq!(line.outcome().many_pairs, number == 13);
        line.read_frame();
    }
    line.act(|egress, cx| egress.forget_sources(2, cx));
    assert_eq!(line.counters.read(Counter::HELD_PEER_GONE_PAIRS), 11);
    let subscribed: Vec<_> = (1..=13).filter(|number| line.subscribers.take(&key(*number)).count() > 0).collect();
    assert_eq!(subscribed, (3..=13).collect::<Vec<_>>());
    let sources = line.act(|egress, cx| egress.close(cx).count());
    assert_eq!((sources, line.counters.read(Counter::HELD_PEER_GONE_PAIRS)), (11, 0));
}
