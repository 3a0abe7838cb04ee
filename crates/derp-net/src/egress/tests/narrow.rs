//! Receivers that take less than is sent to them.

use std::cell::Cell;

use super::*;
use crate::base::os_hooks::{BoundUnsent, Unacknowledged};

thread_local! {
    /// What the system says that the socket holds.
    static UNACKNOWLEDGED: Cell<usize> = const { Cell::new(1 << 20) };
}

const SPARSE: NodeKey = NodeKey::from_bytes([8; 32]);

impl SocketWriter {
    fn send_sparse(&mut self, number: u32) {
        let bytes = packet(Other, number, 100);
        let info = PacketInfo { source: SPARSE, kind: Other, payload: 100 };
        self.act(|egress, cx| egress.packets(&[Frame { head: &[], bytes: &bytes, packet: Some(info) }], cx));
    }

    /// A second of a client that takes one packet each ten milliseconds and is sent two.
    fn overload(&mut self, number: &mut u32) {
        for _ in 0..100 {
            self.now += Duration::from_millis(10);
            self.send(Other, &[*number, *number + 1], 1400);
            *number += 2;
            let mut chunk = [0; PACKET_AT + 1400];
            self.client.read_exact(&mut chunk).unwrap();
            self.received.extend_from_slice(&chunk);
            self.act(|egress, cx| egress.drain(cx));
        }
    }
}

#[test]
fn a_few_packets_pass_the_bulk_of_another_source() {
    let mut wire = SocketWriter::stalled();
    wire.send(Other, &(1..=100).collect::<Vec<_>>(), 16 << 10);
    let evicted = wire.dropped(DropReason::QueueHead, Other);
    for number in 1000..1003 {
        wire.send_sparse(number);
    }
    // The bulk makes room.
    assert_eq!(wire.dropped(DropReason::QueueHead, Other), evicted + 3);
    let order: Vec<u32> = std::iter::from_fn(|| {
        let waits = wire.egress.backlog.is_some() || !wire.received.is_empty();
        waits.then(|| wire.read_number().1)
    })
    .collect();
    let few: Vec<usize> = (0..order.len()).filter(|at| order[*at] >= 1000).collect();
    assert_eq!(few.iter().map(|at| order[*at]).collect::<Vec<_>>(), [1000, 1001, 1002]);
    assert!(few[2] < 6, "{order:?}");
}

#[test]
fn what_stands_for_too_long_is_dropped_and_counted_once() {
    let mut wire = SocketWriter::admitted();
    let mut number = 0;
    while wire.egress.backlog.is_none() {
        wire.send(Other, &[number], 1400);
        number += 1;
    }
    for _ in 0..8 {
        wire.overload(&mut number);
    }
    let late = wire.dropped(DropReason::QueueAge, Other);
    assert!(late > 200, "{late}");
    let figures = wire.egress.figures().queue;
    assert_eq!((figures.dropped_age, figures.dropped_head), (late, wire.dropped(DropReason::QueueHead, Other)));
    assert!(figures.longest_wait > Duration::from_millis(100) && figures.waited > 300, "{figures:?}");
    assert!(wire.egress.figures().queued < DEPTH / 2);
    while wire.egress.backlog.is_some() {
        wire.read_number();
    }
    assert_eq!(wire.accounted(), u64::from(number));
}

#[test]
fn on_a_narrow_link_little_is_committed() {
    let mut wire = SocketWriter::admitted();
    let mut number = 0;
    while wire.egress.backlog.is_none() {
        wire.send(Other, &[number], 1400);
        number += 1;
    }
    let committed = |wire: &SocketWriter| wire.egress.backlog.as_ref().map_or(0, |backlog| backlog.parts().count());
    wire.send(Other, &(number..number + 60).collect::<Vec<_>>(), 1400);
    number += 60;
    wire.act(|egress, cx| egress.drain(cx));
    assert!(committed(&wire) > 8, "nothing is known of it yet");
    wire.overload(&mut number);
    assert!(committed(&wire) <= 2, "{}", committed(&wire));
}

#[test]
fn a_socket_that_takes_all_that_waits_at_once_shows_the_link_when_it_is_full_again() {
    let mut wire = SocketWriter::admitted();
    let mut number = 0;
    let mut bytes = 0;
    for _ in 0..8 {
        let first = number;
        while wire.egress.backlog.is_none() {
            wire.send(Other, &[number], 1400);
            number += 1;
        }
        bytes = 1400 * (number - first);
        wire.now += Duration::from_millis(50);
        while wire.egress.backlog.is_some() || !wire.received.is_empty() {
            wire.read_number();
        }
    }
    let rate = wire.egress.narrow.as_ref().map_or(0, |narrow| narrow.rate.rate());
    assert!((10..40).contains(&(rate / u64::from(bytes))), "{rate} of {bytes} in 50 ms");
}

#[test]
fn a_minute_after_the_last_has_waited_nothing_is_left_of_it() {
    let mut wire = SocketWriter::stalled();
    wire.send(Other, &[1], 100);
    assert_eq!(wire.read_numbers(2), numbers(0..2, Other));
    assert_eq!(wire.egress.figures().queue.waited, 1);
    wire.now += Duration::from_secs(59);
    wire.egress.forget(wire.now);
    assert!(wire.egress.narrow.is_some());
    wire.now += Duration::from_secs(2);
    wire.egress.forget(wire.now);
    assert!(wire.egress.narrow.is_none());
    assert_eq!(wire.egress.figures().queue, QueueFigures::default());
}

#[test]
fn a_socket_that_was_filled_before_it_was_bounded_is_not_stuck_while_the_other_side_takes_something() {
    let mut wire = SocketWriter::admitted();
    let (bound_unsent, unacknowledged) =
        (Some((|_, _| Ok(())) as BoundUnsent), Some((|_| Ok(UNACKNOWLEDGED.get())) as Unacknowledged));
    wire.os = OsHooks { bound_unsent, unacknowledged, ..OsHooks::default() };
    let mut number = 0;
    while wire.egress.backlog.is_none() {
        wire.send(Other, &[number], 1400);
        number += 1;
    }
    let since = wire.now;
    wire.now += Duration::from_secs(1);
    UNACKNOWLEDGED.set(1000);
    assert_eq!(wire.watch(true), Some(since), "it is not bounded: a reader that takes little is as slow as it was");
    wire.overload(&mut number);
    let since = wire.now;
    assert_eq!(wire.watch(true), Some(since));
    wire.now += Duration::from_secs(1);
    assert_eq!(wire.watch(true), Some(since), "nothing was taken");
    UNACKNOWLEDGED.set(999);
    assert_eq!(wire.watch(true), Some(wire.now));
    let since = wire.now;
    wire.now += Duration::from_secs(1);
    UNACKNOWLEDGED.set(1001);
    assert_eq!(wire.watch(true), Some(since), "more was written, and nothing was taken");
}
