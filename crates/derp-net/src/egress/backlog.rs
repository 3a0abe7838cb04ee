//! What waits for a full socket.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use derp_proto::counters::{Counter, Counters, Waits};
use derp_proto::decode::FrameHeader;
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::fair_queue::{FairQueue, Left};
use derp_proto::wire::{FrameType, HEADER_LENGTH, KEY_LENGTH, PeerGoneReason};

use super::context::EgressContext;
use super::narrow::Narrow;
use super::outbound::{OwnedFrame, PacketInfo};

pub(crate) struct Backlog {
    /// In the order they leave, the first one from `offset` on.
    committed: VecDeque<OwnedFrame>,
    offset: usize,
    committed_bytes: usize,
    control: VecDeque<OwnedFrame>,
    control_bytes: usize,
    /// A mailbox: while a pong waits, further pings get none.
    pong: Option<OwnedFrame>,
    disco: FairQueue<OwnedFrame>,
    regular: FairQueue<OwnedFrame>,
    /// What the packets in both take.
    queued_bytes: usize,
    /// When a frame last left in full, or the socket was found full.
    progress: Instant,
}

/// Packets that left.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Tally {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
}

impl Tally {
    pub(crate) fn add(&mut self, info: &PacketInfo) {
        self.packets += 1;
        self.bytes += info.payload as u64;
    }
}

impl Backlog {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            committed: VecDeque::new(),
            offset: 0,
            committed_bytes: 0,
            control: VecDeque::new(),
            control_bytes: 0,
            pong: None,
            disco: FairQueue::new(),
            regular: FairQueue::new(),
            queued_bytes: 0,
            progress: now,
        }
    }

    pub(crate) fn progress(&self) -> Instant {
        self.progress
    }

    /// Something has left.
    pub(crate) fn moved(&mut self, now: Instant) {
        self.progress = now;
    }

    /// Of control frames that may still be overtaken.
    pub(crate) fn control_bytes(&self) -> usize {
        self.control_bytes
    }

    /// Packets that may still be dropped.
    pub(crate) fn queued(&self) -> usize {
        self.disco.len() + self.regular.len()
    }

    /// What all of it takes.
    pub(crate) fn bytes(&self) -> usize {
        self.committed_bytes + self.control_bytes + self.queued_bytes
    }

    /// Takes the oldest packet of the source that has the most; discovery last.
    pub(crate) fn shed(&mut self, narrow: &Narrow, cx: &EgressContext<'_>) -> Option<OwnedFrame> {
        let evicted = self.regular.evict().or_else(|| self.disco.evict())?;
        Some(self.evicted(evicted, narrow, cx))
    }

    fn evicted(&mut self, (frame, since): Left<OwnedFrame>, narrow: &Narrow, cx: &EgressContext<'_>) -> OwnedFrame {
        self.queued_bytes -= frame.cost();
        let mut waits = Waits::none(0);
        waits.add(waited(since, narrow.clock(cx.now)));
        cx.waited(waits);
        frame
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.committed.is_empty() && self.control.is_empty() && self.pong.is_none() && self.queued() == 0
    }

    pub(crate) fn push_control(&mut self, frame: OwnedFrame) {
        self.control_bytes += frame.bytes.len();
        self.control.push_back(frame);
    }

    pub(crate) fn push_pong(&mut self, frame: OwnedFrame) {
        self.pong.get_or_insert(frame);
    }

    /// Whether a packet of this kind would push another one out.
    pub(crate) fn is_full(&self, kind: PacketKind, depth: usize) -> bool {
        let queue = if kind == PacketKind::Disco { &self.disco } else { &self.regular };
        queue.len() >= depth
    }

    /// Appends a packet to its queue. Returns the one that had to go.
    pub(crate) fn push_packet(
        &mut self,
        frame: OwnedFrame,
        info: &PacketInfo,
        narrow: &mut Narrow,
        cx: &EgressContext<'_>,
    ) -> Option<(DropReason, OwnedFrame)> {
        let now = narrow.clock(cx.now);
        if self.queued() == 0 {
            narrow.rate.begins(now);
        }
        let queue = if info.kind == PacketKind::Disco { &mut self.disco } else { &mut self.regular };
        self.queued_bytes += frame.cost();
        let (reason, evicted) = queue.push(&info.source, frame.bytes.len(), frame, cx.queue_depth, now)?;
        Some((reason, self.evicted(evicted, narrow, cx)))
    }

    /// The next to be committed, if there is room: control, a pong, discovery (it ends the need for relaying), the rest.
    /// `waits` is told how long a packet has waited; what has stood for too long is added to `late`.
    pub(crate) fn next(
        &mut self,
        packets: bool,
        narrow: &mut Narrow,
        waits: &mut Waits,
        late: &mut Vec<OwnedFrame>,
        cx: &EgressContext<'_>,
    ) -> Option<OwnedFrame> {
        if self.committed_bytes >= narrow.commit() {
            return None;
        }
        if let Some(frame) = self.control.pop_front() {
            self.control_bytes -= frame.bytes.len();
            count_control(&frame.bytes, cx.counters);
            return Some(frame);
        }
        if let Some(frame) = self.pong.take() {
            cx.counters.add(Counter::SENT_PONG, 1);
            return Some(frame);
        }
        if !packets || self.queued() == 0 {
            return None;
        }
        let now = narrow.clock(cx.now);
        narrow.rate.moves(now);
        let before = late.len();
        let mut dropped = |(frame, since): Left<OwnedFrame>| {
            waits.add(waited(since, now));
            late.push(frame);
        };
        let popped = self.disco.pop(&mut narrow.rate, now, &mut dropped);
        let popped = popped.or_else(|| self.regular.pop(&mut narrow.rate, now, &mut dropped));
        self.queued_bytes -= late[before..].iter().map(OwnedFrame::cost).sum::<usize>();
        popped.map(|(frame, since)| {
            let wait = waited(since, now);
            waits.add(wait);
            narrow.left(wait);
            self.queued_bytes -= frame.cost();
            frame
        })
    }

    pub(crate) fn commit(&mut self, frame: OwnedFrame) {
        self.committed_bytes += frame.bytes.len();
        self.committed.push_back(frame);
    }

    /// The same for one that is out in part, before any other.
    pub(crate) fn commit_rest(&mut self, frame: OwnedFrame, offset: usize) {
        debug_assert!(self.committed.is_empty() && offset < frame.bytes.len());
        self.offset = offset;
        self.commit(frame);
    }

    /// What is to be written next, in order.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &[u8]> {
        self.committed.iter().enumerate().map(
            |(index, frame)| {
                if index == 0 { &frame.bytes[self.offset..] } else { &frame.bytes[..] }
            },
        )
    }

    /// `written` bytes of what is committed have left. Returns the packets that are out in full, and how many frames are.
    pub(crate) fn advance(&mut self, mut written: usize, now: Instant) -> (Tally, usize) {
        let mut sent = Tally::default();
        let waiting = self.committed.len();
        while let Some(frame) = self.committed.front() {
            let left = frame.bytes.len() - self.offset;
            // Control frames stand together in one buffer, and are small: with any of their bytes, some of them have left.
            if written >= left || (written > 0 && frame.packet.is_none()) {
                self.progress = now;
            }
            if written < left {
                self.offset += written;
                break;
            }
            written -= left;
            self.offset = 0;
            self.committed_bytes -= frame.bytes.len();
            if let Some(info) = &frame.packet {
                sent.add(info);
            }
            self.committed.pop_front();
        }
        (sent, waiting - self.committed.len())
    }

    /// Every packet that will not leave any more, and why. Those that were committed were being written.
    pub(crate) fn into_packets(mut self) -> impl Iterator<Item = (DropReason, PacketInfo)> {
        let written = self.committed.into_iter().map(|frame| (DropReason::WriteError, frame));
        let queued = self.disco.drain().chain(self.regular.drain());
        let queued = queued.map(|frame| (DropReason::GoneDisconnected, frame));
        written.chain(queued).filter_map(|(reason, frame)| Some((reason, frame.packet?)))
    }
}

/// In microseconds, of one clock.
fn waited(since: u64, now: u64) -> Duration {
    Duration::from_micros(now.saturating_sub(since))
}

/// Control bytes are whole frames; the PeerGone ones among them are counted as they leave.
pub(crate) fn count_control(mut bytes: &[u8], counters: &Counters) {
    while let Some(header) = FrameHeader::parse(bytes) {
        let length = (HEADER_LENGTH + header.length as usize).min(bytes.len());
        let (frame, next) = bytes.split_at(length);
        if header.kind == FrameType::PeerGone as u8 {
            let not_here = frame.get(HEADER_LENGTH + KEY_LENGTH) == Some(&(PeerGoneReason::NotHere as u8));
            let counter =
                if not_here { Counter::PEER_GONE_NOT_HERE_FRAMES } else { Counter::PEER_GONE_DISCONNECTED_FRAMES };
            counters.add(counter, 1);
        }
        bytes = next;
    }
}
