mod budgets;
mod leaving;
mod links;
mod narrow;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use derp_proto::counters::{Counter, Counters};
use derp_proto::drop_reason::PacketKind;
use derp_proto::frame::{self, PACKET_AT};
use derp_proto::server_frame::ServerFrame;
use derp_proto::wire::{DISCO_MAGIC, PeerGoneReason};
use socket2::SockRef;

use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use super::*;

mod sources;
mod web_socket;
use crate::base::budgets::{Budgets, Holder};
use crate::base::os_hooks::OsHooks;
use crate::state::peer_gone::Subscribers;

const DEPTH: usize = 32;
const SOURCE: NodeKey = NodeKey::from_bytes([7; 32]);
const DESTINATION: u64 = 99;

/// An egress with small buffers, and what its client reads.
struct SocketWriter {
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
    os: OsHooks,
    now: Instant,
}

impl SocketWriter {
    /// Before admission.
    fn new() -> Self {
        Self::over(|wire| wire)
    }

    fn over(wrap: impl FnOnce(crate::io::writer::SocketWriter) -> crate::io::writer::SocketWriter) -> Self {
        let (stream, client) = UnixStream::pair().unwrap();
        client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.set_nonblocking(true).unwrap();
        SockRef::from(&stream).set_send_buffer_size(16 << 10).unwrap();
        let stream = TcpStream::from(OwnedFd::from(stream));
        Self {
            egress: Egress::new(Some(wrap(crate::io::writer::SocketWriter::plain(Arc::new(stream)))), Instant::now()),
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
            os: OsHooks::default(),
            now: Instant::now(),
        }
    }

    fn admitted() -> Self {
        let mut wire = Self::new();
        wire.act(|egress, cx| egress.welcome(&[], cx));
        wire
    }

    /// One that takes nothing any more: a large packet is partly out.
    fn stalled() -> Self {
        let mut wire = Self::admitted();
        wire.send(PacketKind::Other, &[0], 4 << 20);
        assert!(wire.outcome().stalled);
        wire
    }

    fn act<R>(&mut self, act: impl FnOnce(&mut Egress, &EgressContext<'_>) -> R) -> R {
        let cx = EgressContext {
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
            os: &self.os,
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

    fn watch(&mut self, watched: bool) -> Option<Instant> {
        self.act(|egress, cx| egress.watch(watched, cx))
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
    let mut wire = SocketWriter::admitted();
    wire.send(Other, &[1, 2, 3], 100);
    wire.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, false, cx));
    wire.act(|egress, cx| egress.pong(&frame::pong(&[5; 8]), cx));
    assert!(wire.egress.backlog.is_none());
    assert_eq!(wire.outcome(), Outcome::default());
    assert_eq!(wire.egress.figures().sent, Tally { packets: 3, bytes: 300 });
    assert_eq!(wire.read_numbers(3), numbers(1..4, Other));
    assert_eq!(wire.read_frame(), frame::KEEP_ALIVE);
    assert_eq!(wire.read_frame(), frame::pong(&[5; 8]));
    assert_eq!(wire.counters.read(Counter::SENT_PONG), 1);
}

#[test]
fn a_row_of_more_packets_than_one_write_takes_arrives() {
    let mut wire = SocketWriter::admitted();
    wire.depth = 1000;
    wire.send(Other, &(0..500).collect::<Vec<_>>(), 37);
    assert_eq!(wire.read_numbers(500), numbers(0..500, Other));
    assert_eq!(wire.accounted(), 500);
}

/// Writes that end anywhere within a frame, again and again.
#[test]
fn frames_are_whole_wherever_the_socket_cuts() {
    let mut wire = SocketWriter::admitted();
    wire.depth = 10_000;
    let mut next = 0;
    let mut read = 0;
    for length in (4..3000).step_by(61).chain([70_000, 5, 65_536]) {
        wire.send(Other, &[next, next + 1, next + 2], length);
        next += 3;
        if next % 7 == 0 {
            assert_eq!(wire.read_number(), (Other, read));
            read += 1;
        }
    }
    assert!(wire.egress.backlog.is_some());
    assert_eq!(wire.read_numbers((next - read) as usize), numbers(read..next, Other));
    assert!(wire.egress.backlog.is_none());
    assert_eq!(wire.accounted(), u64::from(next));
}

#[test]
fn each_queue_drops_its_oldest() {
    let mut wire = SocketWriter::stalled();
    // The first ones fill what is committed once the queue is full.
    for number in 1..=100 {
        wire.send(Other, &[number], 16 << 10);
    }
    for number in 1..=50 {
        wire.send(Disco, &[number], 100);
    }
    assert_eq!(wire.egress.figures().queued, 2 * DEPTH);
    assert_eq!(wire.dropped(DropReason::QueueHead, Other), 100 - DEPTH as u64);
    assert_eq!(wire.dropped(DropReason::QueueHead, Disco), 50 - DEPTH as u64);
    assert_eq!(wire.counters.read(Counter::bytes_dropped(DropReason::QueueHead, Disco)), 1800);
    assert_eq!(wire.read_number(), (Other, 0));
    assert_eq!(wire.read_numbers(DEPTH), numbers(19..51, Disco));
    assert_eq!(wire.read_numbers(DEPTH), numbers(69..101, Other));
    assert_eq!(wire.accounted(), 151);
}

/// A read may bring more small packets than the queue holds: what may be committed is, before anything is dropped.
#[test]
fn what_may_be_committed_is_not_dropped() {
    let mut wire = SocketWriter::stalled();
    // Nothing is committed behind a frame as large as this one.
    wire.send(Other, &(1..=40).collect::<Vec<_>>(), 100);
    assert_eq!(wire.dropped(DropReason::QueueHead, Other), 8);
    assert_eq!(wire.read_number(), (Other, 0));
    assert_eq!(wire.read_numbers(DEPTH), numbers(9..41, Other));

    let mut wire = SocketWriter::admitted();
    // The small frame that has begun to leave leaves room.
    let mut number = 0;
    while wire.egress.backlog.is_none() {
        wire.send(Other, &[number], 1400);
        number += 1;
    }
    wire.send(Other, &(number..number + 40).collect::<Vec<_>>(), 100);
    assert_eq!(wire.dropped(DropReason::QueueHead, Other), 0);
    assert_eq!(wire.read_numbers(number as usize + 40), numbers(0..number + 40, Other));
}

#[test]
fn without_a_queue_the_new_one_goes() {
    let mut wire = SocketWriter::stalled();
    wire.depth = 0;
    wire.send(Other, &[1], 100);
    wire.send(Disco, &[1], 100);
    assert_eq!([Other, Disco].map(|kind| wire.dropped(DropReason::QueueTail, kind)), [1, 1]);
    assert_eq!(wire.read_number(), (Other, 0));
    assert_eq!(wire.accounted(), 3);
}

#[test]
fn control_goes_first_then_a_pong_then_discovery() {
    let mut wire = SocketWriter::stalled();
    wire.send(Other, &[1], 100);
    wire.send(Disco, &[2], 100);
    for pong in [[1; 8], [2; 8]] {
        wire.act(|egress, cx| egress.pong(&frame::pong(&pong), cx));
    }
    wire.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, false, cx));
    assert_eq!(wire.counters.read(Counter::SENT_PONG), 0);
    assert_eq!(wire.read_number(), (Other, 0));
    assert_eq!(wire.read_frame(), frame::KEEP_ALIVE);
    // The second ping came while an answer waited.
    assert_eq!(wire.read_frame(), frame::pong(&[1; 8]));
    assert_eq!(wire.read_numbers(2), [(Disco, 2), (Other, 1)]);
    assert_eq!(wire.counters.read(Counter::SENT_PONG), 1);
    assert!(wire.egress.backlog.is_none());
}

#[test]
fn there_is_room_when_less_than_half_is_queued() {
    let mut wire = SocketWriter::stalled();
    wire.control_bytes = 100;
    let keep_alives = |count: usize| frame::KEEP_ALIVE.repeat(count);
    wire.act(|egress, cx| egress.control(&keep_alives(9), true, cx));
    assert!(wire.outcome().pulled, "45 of 100 bytes");
    wire.act(|egress, cx| egress.control(&keep_alives(1), true, cx));
    wire.act(|egress, cx| egress.control(&keep_alives(5), true, cx));
    assert!(!wire.outcome().pulled, "75 of 100 bytes");
    assert_eq!(wire.read_number(), (Other, 0));
    for _ in 0..15 {
        assert_eq!(wire.read_frame(), frame::KEEP_ALIVE);
    }
    assert!(wire.outcome().pulled);
    // Once for each time it was asked for.
    wire.act(|egress, cx| egress.control(&keep_alives(1), false, cx));
    assert!(!wire.outcome().pulled);
    wire.act(|egress, cx| egress.control(&[], true, cx));
    assert!(wire.outcome().pulled);
}

#[test]
fn more_control_than_permitted_is_told() {
    let mut wire = SocketWriter::stalled();
    wire.control_bytes = 12;
    wire.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, false, cx));
    wire.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, false, cx));
    assert!(!wire.outcome().overflow);
    wire.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, true, cx));
    let outcome = wire.outcome();
    assert!(outcome.overflow && !outcome.pulled);
}

#[test]
fn server_info_is_the_first_frame() {
    let mut wire = SocketWriter::new();
    let greeting = frame::greeting(&SOURCE);
    wire.act(|egress, cx| egress.control(&greeting, false, cx));
    wire.send(Other, &[1, 2], 100);
    wire.send(Disco, &[3], 100);
    assert_eq!(wire.read_frame(), greeting);
    wire.act(|egress, cx| egress.drain(cx));
    assert_eq!(wire.egress.figures().queued, 3);
    // Its content does not matter here.
    wire.act(|egress, cx| egress.welcome(&frame::KEEP_ALIVE, cx));
    assert_eq!(wire.read_frame(), frame::KEEP_ALIVE);
    assert_eq!(wire.read_numbers(3), [(Disco, 3), (Other, 1), (Other, 2)]);
    assert!(wire.egress.backlog.is_none());
}

#[test]
fn a_close_accounts_for_everything() {
    let mut wire = SocketWriter::stalled();
    wire.send(Other, &(1..=40).collect::<Vec<_>>(), 1000);
    wire.send(Disco, &[1, 2, 3], 100);
    let sources: Vec<_> = wire.act(|egress, cx| egress.close(cx).collect());
    assert_eq!(sources, [SOURCE]);
    assert_eq!(wire.dropped(DropReason::WriteError, Other), 1, "it was partly written");
    assert_eq!(wire.dropped(DropReason::QueueHead, Other), 8);
    assert_eq!(wire.dropped(DropReason::GoneDisconnected, Other), DEPTH as u64);
    assert_eq!(wire.dropped(DropReason::GoneDisconnected, Disco), 3);
    assert_eq!(wire.accounted(), 44);
    // Whoever comes too late, with whatever.
    wire.send(Other, &[5], 100);
    wire.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, true, cx));
    wire.act(|egress, cx| egress.pong(&frame::pong(&[0; 8]), cx));
    wire.act(|egress, cx| egress.drain(cx));
    wire.act(|egress, cx| egress.peer_gone(&SOURCE, PeerGoneReason::Disconnected, cx));
    assert_eq!(wire.dropped(DropReason::GoneDisconnected, Other), DEPTH as u64 + 1);
    assert_eq!(wire.accounted(), 45);
    assert!(wire.egress.backlog.is_none());
    assert_eq!(wire.counters.read(Counter::SENT_PONG), 0);
    assert!(!wire.outcome().pulled);
}

#[test]
fn a_broken_socket_accounts_for_everything() {
    for queued in [false, true] {
        let mut wire = if queued { SocketWriter::stalled() } else { SocketWriter::admitted() };
        wire.client.shutdown(Shutdown::Both).unwrap();
        wire.send(Other, &[1, 2, 3], 100);
        wire.act(|egress, cx| egress.drain(cx));
        assert_eq!(wire.dropped(DropReason::WriteError, Other), 1);
        assert_eq!(wire.dropped(DropReason::GoneDisconnected, Other), if queued { 3 } else { 2 });
        wire.send(Other, &[4], 100);
        assert_eq!(wire.accounted(), if queued { 5 } else { 4 });
        assert!(wire.egress.writer.is_none() && wire.egress.backlog.is_none());
    }
}

#[test]
fn only_a_whole_frame_is_progress() {
    let mut wire = SocketWriter::admitted();
    let start = wire.now;
    wire.send(Other, &[0, 1], 1 << 20);
    assert!(wire.outcome().stalled);
    assert_eq!(wire.watch(true), Some(start));
    // The socket takes more and more of the first packet.
    let mut chunk = vec![0; 64 << 10];
    for second in 1..5 {
        wire.now = start + Duration::from_secs(second);
        let mut read = 0;
        while read < 100 << 10 {
            let count = wire.client.read(&mut chunk).unwrap();
            wire.received.extend_from_slice(&chunk[..count]);
            read += count;
            wire.act(|egress, cx| egress.drain(cx));
        }
        assert_eq!(wire.watch(true), Some(start));
    }
    wire.now = start + Duration::from_secs(10);
    assert_eq!(wire.read_number(), (Other, 0));
    assert_eq!(wire.watch(true), Some(wire.now));
    assert_eq!(wire.read_number(), (Other, 1));
    assert_eq!(wire.watch(true), None);
}

#[test]
fn any_part_of_a_row_of_control_frames_is_progress() {
    let mut wire = SocketWriter::admitted();
    let start = wire.now;
    wire.control_bytes = 8 << 20;
    wire.act(|egress, cx| egress.control(&frame::KEEP_ALIVE.repeat(1 << 20), false, cx));
    assert_eq!(wire.watch(true), Some(start));
    wire.now = start + Duration::from_secs(1);
    wire.read_frame();
    while wire.watch(true) == Some(start) {
        wire.client.read_exact(&mut [0; 4096]).unwrap();
        wire.act(|egress, cx| egress.drain(cx));
    }
    assert_eq!(wire.watch(true), Some(wire.now));
}

#[test]
fn a_full_socket_is_told_until_somebody_watches_it() {
    let mut wire = SocketWriter::stalled();
    wire.act(|egress, cx| egress.drain(cx));
    assert!(!wire.outcome().stalled, "it was told");
    assert!(wire.watch(true).is_some());
    wire.act(|egress, cx| egress.drain(cx));
    assert!(!wire.outcome().stalled, "it is watched");
    assert!(wire.watch(false).is_some());
    wire.act(|egress, cx| egress.drain(cx));
    assert!(wire.outcome().stalled, "nobody watches any more");
    wire.read_number();
    assert_eq!(wire.watch(true), None);
    wire.send(Other, &[1], 4 << 20);
    assert!(wire.outcome().stalled);
}

#[test]
fn an_inbox_is_sent_in_its_order() {
    let mut wire = SocketWriter::admitted();
    let mut inbox = Inbox::default();
    for (kind, number) in [(Other, 1), (Disco, 2), (Other, 3)] {
        let bytes = packet(kind, number, 100);
        let info = PacketInfo { source: SOURCE, kind, payload: 100 };
        inbox.push(Frame { head: &[], bytes: &bytes, packet: Some(info) }, usize::MAX, |_| panic!("there was room"));
    }
    wire.act(|egress, cx| egress.inbox(inbox, cx));
    assert_eq!(wire.read_numbers(3), [(Disco, 2), (Other, 1), (Other, 3)]);
    assert_eq!(wire.accounted(), 3);
}
