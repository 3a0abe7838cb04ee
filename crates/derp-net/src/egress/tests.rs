mod budgets;
mod leaving;
mod links;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use derp_proto::counters::{Counter, Counters};
use derp_proto::drop_reason::PacketKind;
use derp_proto::frame::PACKET_AT;
use derp_proto::server_frame::ServerFrame;
use derp_proto::wire::DISCO_MAGIC;
use socket2::SockRef;

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use super::*;

mod sources;
mod web_socket;
use crate::budgets::{Budgets, Holder};
use crate::subscribers::Subscribers;

const DEPTH: usize = 32;
const SOURCE: NodeKey = NodeKey::from_bytes([7; 32]);
const DESTINATION: u64 = 99;

/// An egress with small buffers, and what its client reads.
struct Line {
    egress: Egress,
    client: UnixStream,
    received: Vec<u8>,
    counters: Counters,
    subscribers: Subscribers,
    budgets: Budgets,
    queued_bytes: usize,
    peer_gone_pairs: usize,
    depth: usize,
    control_bytes: usize,
    link: bool,
    now: Instant,
}

impl Line {
    /// Before admission.
    fn new() -> Self {
        Self::over(|line| line)
    }

    fn over(wrap: impl FnOnce(crate::line::Line) -> crate::line::Line) -> Self {
        let (stream, client) = UnixStream::pair().unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nonblocking(true).unwrap();
        SockRef::from(&stream).set_send_buffer_size(16 << 10).unwrap();
        let stream = TcpStream::from(OwnedFd::from(stream));
        Self {
            egress: Egress::new(Some(wrap(crate::line::Line::plain(Arc::new(stream)))), Instant::now()),
            client,
            received: Vec::new(),
            counters: Counters::default(),
            subscribers: Subscribers::default(),
            budgets: Budgets::new(1),
            queued_bytes: usize::MAX,
            peer_gone_pairs: usize::MAX,
            depth: DEPTH,
            control_bytes: 64 << 10,
            link: false,
            now: Instant::now(),
        }
    }

    fn admitted() -> Self {
        let mut line = Self::new();
        line.act(|egress, cx| egress.welcome(&[], cx));
        line
    }

    /// One that takes nothing any more: a large packet is partly out.
    fn stalled() -> Self {
        let mut line = Self::admitted();
        line.send(PacketKind::Other, &[0], 4 << 20);
        assert!(line.outcome().stalled);
        line
    }

    fn act<R>(&mut self, act: impl FnOnce(&mut Egress, &Context<'_>) -> R) -> R {
        let cx = Context {
            link: self.link,
            counters: &self.counters,
            subscribers: &self.subscribers,
            budgets: &self.budgets,
            worker: 0,
            holder: Holder::Conn(DESTINATION),
            queued_bytes: self.queued_bytes,
            peer_gone_pairs: self.peer_gone_pairs,
            queue_depth: self.depth,
            control_bytes: self.control_bytes,
            subscriptions: 100,
            destination: DESTINATION,
            watched: None,
            now: self.now,
        };
        act(&mut self.egress, &cx)
    }

    /// Sends packets that carry their numbers, as those of one read.
    fn send(&mut self, kind: PacketKind, numbers: &[u32], length: usize) {
        let bytes: Vec<Vec<u8>> = numbers.iter().map(|number| packet(kind, *number, length)).collect();
        let info = PacketInfo { source: SOURCE, kind, payload: length };
        let frames: Vec<Frame<'_>> = bytes.iter().map(|bytes| Frame { head: &[], bytes, packet: Some(info) }).collect();
        self.act(|egress, cx| egress.packets(&frames, cx));
    }

    fn outcome(&mut self) -> Outcome {
        self.egress.take_outcome()
    }

    /// Reads until a whole frame is there, and drains the egress meanwhile.
    fn read_frame(&mut self) -> Vec<u8> {
        let mut chunk = [0; 4096];
        loop {
            if let Some(header) = derp_proto::decode::FrameHeader::parse(&self.received) {
                let length = 5 + header.length as usize;
                if self.received.len() >= length {
                    return self.received.drain(..length).collect();
                }
            }
            let count = self.client.read(&mut chunk).unwrap();
            assert!(count > 0, "the end, and not a frame");
            self.received.extend_from_slice(&chunk[..count]);
            self.act(|egress, cx| egress.drain(cx));
        }
    }

    fn read_number(&mut self) -> (PacketKind, u32) {
        let frame = self.read_frame();
        let Some(ServerFrame::RecvPacket { source: SOURCE, packet }) = ServerFrame::read(&frame) else {
            panic!("no packet: {:?}", &frame[..5]);
        };
        let kind = PacketKind::of(packet);
        let at = if kind == PacketKind::Disco { DISCO_MAGIC.len() } else { 0 };
        let number = u32::from_be_bytes(*packet[at..].first_chunk().unwrap());
        assert!(packet[at + 4..].iter().all(|byte| *byte == number as u8), "packet {number} was changed");
        (kind, number)
    }

    fn read_numbers(&mut self, count: usize) -> Vec<(PacketKind, u32)> {
        (0..count).map(|_| self.read_number()).collect()
    }

    fn dropped(&self, reason: DropReason, kind: PacketKind) -> u64 {
        self.counters.read(Counter::packets_dropped(reason, kind))
    }

    /// Packets that have left or were dropped.
    fn accounted(&self) -> u64 {
        let drops = DropReason::ALL.iter().flat_map(|reason| PacketKind::ALL.map(|kind| self.dropped(*reason, kind)));
        let figures = self.egress.figures();
        let dropped: u64 = drops.sum();
        assert_eq!((figures.sent.packets, figures.dropped), (self.counters.read(Counter::PACKETS_SENT), dropped));
        figures.sent.packets + dropped
    }
}

fn packet(kind: PacketKind, number: u32, length: usize) -> Vec<u8> {
    let mut bytes = frame::recv_packet(&SOURCE, length).to_vec();
    if kind == PacketKind::Disco {
        bytes.extend(DISCO_MAGIC);
    }
    bytes.extend(number.to_be_bytes());
    bytes.resize(PACKET_AT + length, number as u8);
    bytes
}

fn numbers(range: std::ops::Range<u32>, kind: PacketKind) -> Vec<(PacketKind, u32)> {
    range.map(|number| (kind, number)).collect()
}

use PacketKind::{Disco, Other};

#[test]
fn what_the_socket_takes_leaves_no_state() {
    let mut line = Line::admitted();
    line.send(Other, &[1, 2, 3], 100);
    line.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, false, cx));
    line.act(|egress, cx| egress.pong(&frame::pong(&[5; 8]), cx));
    assert!(line.egress.backlog.is_none());
    assert_eq!(line.outcome(), Outcome::default());
    assert_eq!(line.egress.figures().sent, Tally { packets: 3, bytes: 300 });
    assert_eq!(line.read_numbers(3), numbers(1..4, Other));
    assert_eq!(line.read_frame(), frame::KEEP_ALIVE);
    assert_eq!(line.read_frame(), frame::pong(&[5; 8]));
    assert_eq!(line.counters.read(Counter::SENT_PONG), 1);
}

#[test]
fn a_row_of_more_packets_than_one_write_takes_arrives() {
    let mut line = Line::admitted();
    line.depth = 1000;
    line.send(Other, &(0..500).collect::<Vec<_>>(), 37);
    assert_eq!(line.read_numbers(500), numbers(0..500, Other));
    assert_eq!(line.accounted(), 500);
}

/// Writes that end anywhere within a frame, again and again.
#[test]
fn frames_are_whole_wherever_the_socket_cuts() {
    let mut line = Line::admitted();
    line.depth = 10_000;
    let mut next = 0;
    let mut read = 0;
    for length in (4..3000).step_by(61).chain([70_000, 5, 65_536]) {
        line.send(Other, &[next, next + 1, next + 2], length);
        next += 3;
        if next % 7 == 0 {
            assert_eq!(line.read_number(), (Other, read));
            read += 1;
        }
    }
    assert!(line.egress.backlog.is_some());
    assert_eq!(line.read_numbers((next - read) as usize), numbers(read..next, Other));
    assert!(line.egress.backlog.is_none());
    assert_eq!(line.accounted(), u64::from(next));
}

#[test]
fn each_queue_drops_its_oldest() {
    let mut line = Line::stalled();
    // The first ones fill what is committed once the queue is full.
    for number in 1..=100 {
        line.send(Other, &[number], 16 << 10);
    }
    for number in 1..=50 {
        line.send(Disco, &[number], 100);
    }
    assert_eq!(line.egress.figures().queued, 2 * DEPTH);
    assert_eq!(line.dropped(DropReason::QueueHead, Other), 100 - DEPTH as u64);
    assert_eq!(line.dropped(DropReason::QueueHead, Disco), 50 - DEPTH as u64);
    assert_eq!(line.counters.read(Counter::bytes_dropped(DropReason::QueueHead, Disco)), 1800);
    assert_eq!(line.read_number(), (Other, 0));
    assert_eq!(line.read_numbers(DEPTH), numbers(19..51, Disco));
    assert_eq!(line.read_numbers(DEPTH), numbers(69..101, Other));
    assert_eq!(line.accounted(), 151);
}

/// A read may bring more small packets than the queue holds: what may be committed is, before anything is dropped.
#[test]
fn what_may_be_committed_is_not_dropped() {
    let mut line = Line::stalled();
    // Nothing is committed behind a frame as large as this one.
    line.send(Other, &(1..=40).collect::<Vec<_>>(), 100);
    assert_eq!(line.dropped(DropReason::QueueHead, Other), 8);
    assert_eq!(line.read_number(), (Other, 0));
    assert_eq!(line.read_numbers(DEPTH), numbers(9..41, Other));

    let mut line = Line::admitted();
    // The small frame that has begun to leave leaves room.
    let mut number = 0;
    while line.egress.backlog.is_none() {
        line.send(Other, &[number], 1400);
        number += 1;
    }
    line.send(Other, &(number..number + 40).collect::<Vec<_>>(), 100);
    assert_eq!(line.dropped(DropReason::QueueHead, Other), 0);
    assert_eq!(line.read_numbers(number as usize + 40), numbers(0..number + 40, Other));
}

#[test]
fn without_a_queue_the_new_one_goes() {
    let mut line = Line::stalled();
    line.depth = 0;
    line.send(Other, &[1], 100);
    line.send(Disco, &[1], 100);
    assert_eq!([Other, Disco].map(|kind| line.dropped(DropReason::QueueTail, kind)), [1, 1]);
    assert_eq!(line.read_number(), (Other, 0));
    assert_eq!(line.accounted(), 3);
}

#[test]
fn control_goes_first_then_a_pong_then_discovery() {
    let mut line = Line::stalled();
    line.send(Other, &[1], 100);
    line.send(Disco, &[2], 100);
    for pong in [[1; 8], [2; 8]] {
        line.act(|egress, cx| egress.pong(&frame::pong(&pong), cx));
    }
    line.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, false, cx));
    assert_eq!(line.counters.read(Counter::SENT_PONG), 0);
    assert_eq!(line.read_number(), (Other, 0));
    assert_eq!(line.read_frame(), frame::KEEP_ALIVE);
    // The second ping came while an answer waited.
    assert_eq!(line.read_frame(), frame::pong(&[1; 8]));
    assert_eq!(line.read_numbers(2), [(Disco, 2), (Other, 1)]);
    assert_eq!(line.counters.read(Counter::SENT_PONG), 1);
    assert!(line.egress.backlog.is_none());
}

#[test]
fn there_is_room_when_less_than_half_is_queued() {
    let mut line = Line::stalled();
    line.control_bytes = 100;
    let keep_alives = |count: usize| frame::KEEP_ALIVE.repeat(count);
    line.act(|egress, cx| egress.control(&keep_alives(9), true, cx));
    assert!(line.outcome().pulled, "45 of 100 bytes");
    line.act(|egress, cx| egress.control(&keep_alives(1), true, cx));
    line.act(|egress, cx| egress.control(&keep_alives(5), true, cx));
    assert!(!line.outcome().pulled, "75 of 100 bytes");
    assert_eq!(line.read_number(), (Other, 0));
    for _ in 0..15 {
        assert_eq!(line.read_frame(), frame::KEEP_ALIVE);
    }
    assert!(line.outcome().pulled);
    // Once for each time it was asked for.
    line.act(|egress, cx| egress.control(&keep_alives(1), false, cx));
    assert!(!line.outcome().pulled);
    line.act(|egress, cx| egress.control(&[], true, cx));
    assert!(line.outcome().pulled);
}

#[test]
fn more_control_than_permitted_is_told() {
    let mut line = Line::stalled();
    line.control_bytes = 12;
    line.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, false, cx));
    line.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, false, cx));
    assert!(!line.outcome().overflow);
    line.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, true, cx));
    let outcome = line.outcome();
    assert!(outcome.overflow && !outcome.pulled);
}

#[test]
fn server_info_is_the_first_frame() {
    let mut line = Line::new();
    let greeting = frame::greeting(&SOURCE);
    line.act(|egress, cx| egress.control(&greeting, false, cx));
    line.send(Other, &[1, 2], 100);
    line.send(Disco, &[3], 100);
    assert_eq!(line.read_frame(), greeting);
    line.act(|egress, cx| egress.drain(cx));
    assert_eq!(line.egress.figures().queued, 3);
    // Its content does not matter here.
    line.act(|egress, cx| egress.welcome(&frame::KEEP_ALIVE, cx));
    assert_eq!(line.read_frame(), frame::KEEP_ALIVE);
    assert_eq!(line.read_numbers(3), [(Disco, 3), (Other, 1), (Other, 2)]);
    assert!(line.egress.backlog.is_none());
}

#[test]
fn a_close_accounts_for_everything() {
    let mut line = Line::stalled();
    line.send(Other, &(1..=40).collect::<Vec<_>>(), 1000);
    line.send(Disco, &[1, 2, 3], 100);
    let sources: Vec<_> = line.act(|egress, cx| egress.close(cx).collect());
    assert_eq!(sources, [SOURCE]);
    assert_eq!(line.dropped(DropReason::WriteError, Other), 1, "it was partly written");
    assert_eq!(line.dropped(DropReason::QueueHead, Other), 8);
    assert_eq!(line.dropped(DropReason::GoneDisconnected, Other), DEPTH as u64);
    assert_eq!(line.dropped(DropReason::GoneDisconnected, Disco), 3);
    assert_eq!(line.accounted(), 44);
    // Whoever comes too late, with whatever.
    line.send(Other, &[5], 100);
    line.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, true, cx));
    line.act(|egress, cx| egress.pong(&frame::pong(&[0; 8]), cx));
    line.act(|egress, cx| egress.drain(cx));
    line.act(|egress, cx| egress.peer_gone(&SOURCE, PeerGoneReason::Disconnected, cx));
    assert_eq!(line.dropped(DropReason::GoneDisconnected, Other), DEPTH as u64 + 1);
    assert_eq!(line.accounted(), 45);
    assert!(line.egress.backlog.is_none());
    assert_eq!(line.counters.read(Counter::SENT_PONG), 0);
    assert!(!line.outcome().pulled);
}

#[test]
fn a_broken_socket_accounts_for_everything() {
    for queued in [false, true] {
        let mut line = if queued { Line::stalled() } else { Line::admitted() };
        line.client.shutdown(Shutdown::Both).unwrap();
        line.send(Other, &[1, 2, 3], 100);
        line.act(|egress, cx| egress.drain(cx));
        assert_eq!(line.dropped(DropReason::WriteError, Other), 1);
        assert_eq!(line.dropped(DropReason::GoneDisconnected, Other), if queued { 3 } else { 2 });
        line.send(Other, &[4], 100);
        assert_eq!(line.accounted(), if queued { 5 } else { 4 });
        assert!(line.egress.line.is_none() && line.egress.backlog.is_none());
    }
}

#[test]
fn only_a_whole_frame_is_progress() {
    let mut line = Line::admitted();
    let start = line.now;
    line.send(Other, &[0, 1], 1 << 20);
    assert!(line.outcome().stalled);
    assert_eq!(line.egress.watch(true), Some(start));
    // The socket takes more and more of the first packet.
    let mut chunk = vec![0; 64 << 10];
    for second in 1..5 {
        line.now = start + Duration::from_secs(second);
        let mut read = 0;
        while read < 100 << 10 {
            let count = line.client.read(&mut chunk).unwrap();
            line.received.extend_from_slice(&chunk[..count]);
            read += count;
            line.act(|egress, cx| egress.drain(cx));
        }
        assert_eq!(line.egress.watch(true), Some(start));
    }
    line.now = start + Duration::from_secs(10);
    assert_eq!(line.read_number(), (Other, 0));
    assert_eq!(line.egress.watch(true), Some(line.now));
    assert_eq!(line.read_number(), (Other, 1));
    assert_eq!(line.egress.watch(true), None);
}

#[test]
fn any_part_of_a_row_of_control_frames_is_progress() {
    let mut line = Line::admitted();
    let start = line.now;
    line.control_bytes = 8 << 20;
    line.act(|egress, cx| egress.control(&frame::KEEP_ALIVE.repeat(1 << 20), false, cx));
    assert_eq!(line.egress.watch(true), Some(start));
    line.now = start + Duration::from_secs(1);
    line.read_frame();
    while line.egress.watch(true) == Some(start) {
        line.client.read_exact(&mut [0; 4096]).unwrap();
        line.act(|egress, cx| egress.drain(cx));
    }
    assert_eq!(line.egress.watch(true), Some(line.now));
}

#[test]
fn a_full_socket_is_told_until_somebody_watches_it() {
    let mut line = Line::stalled();
    line.act(|egress, cx| egress.drain(cx));
    assert!(!line.outcome().stalled, "it was told");
    assert!(line.egress.watch(true).is_some());
    line.act(|egress, cx| egress.drain(cx));
    assert!(!line.outcome().stalled, "it is watched");
    assert!(line.egress.watch(false).is_some());
    line.act(|egress, cx| egress.drain(cx));
    assert!(line.outcome().stalled, "nobody watches any more");
    line.read_number();
    assert_eq!(line.egress.watch(true), None);
    line.send(Other, &[1], 4 << 20);
    assert!(line.outcome().stalled);
}

#[test]
fn an_inbox_is_sent_in_its_order() {
    let mut line = Line::admitted();
    let mut inbox = Inbox::default();
    for (kind, number) in [(Other, 1), (Disco, 2), (Other, 3)] {
        let bytes = packet(kind, number, 100);
        let info = PacketInfo { source: SOURCE, kind, payload: 100 };
        inbox.push(Frame { head: &[], bytes: &bytes, packet: Some(info) }, usize::MAX, |_| panic!("there was room"));
    }
    line.act(|egress, cx| egress.inbox(inbox, cx));
    assert_eq!(line.read_numbers(3), [(Disco, 2), (Other, 1), (Other, 3)]);
    assert_eq!(line.accounted(), 3);
}
