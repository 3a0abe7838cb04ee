//! The way out of one connection. Whoever has a packet for it takes its lock and writes, whichever worker that is; state
//! appears only when the socket is full.

use std::collections::{HashSet, VecDeque};
use std::io::{self, IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use derp_proto::counters::{Counter, Counters};
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::frame;
use derp_proto::key::NodeKey;
use derp_proto::queue::Queue;
use derp_proto::wire::{self, PeerGoneReason};

use crate::table::Subscribers;

/// Committed ahead of knowing that the socket takes it; what is committed is no longer dropped.
const COMMIT: usize = 16 << 10;
/// A `writev` takes no more slices than this anywhere we run.
const SLICES: usize = 64;

/// What has to be known of a packet on its way out.
#[derive(Clone, Copy)]
pub(crate) struct PacketInfo {
    pub(crate) source: NodeKey,
    pub(crate) kind: PacketKind,
    /// Bytes of the packet alone.
    pub(crate) payload: usize,
}

/// A RecvPacket frame that lies in somebody's read buffer.
#[derive(Clone, Copy)]
pub(crate) struct Packet<'a> {
    pub(crate) frame: &'a [u8],
    pub(crate) info: PacketInfo,
}

/// A frame of our own making, or a packet that had to wait.
pub(crate) struct OwnedFrame {
    pub(crate) bytes: Box<[u8]>,
    /// `None` for control frames.
    pub(crate) packet: Option<PacketInfo>,
}

/// What waits for a full socket.
struct Backlog {
    /// In the order they leave, the first one from `offset` on. Not empty unless there is nothing at all.
    committed: VecDeque<OwnedFrame>,
    offset: usize,
    committed_bytes: usize,
    control: VecDeque<OwnedFrame>,
    control_bytes: usize,
    /// A mailbox: while a pong waits, further pings get none.
    pong: Option<OwnedFrame>,
    disco: Queue<OwnedFrame>,
    regular: Queue<OwnedFrame>,
    /// When a frame last left in full, or the socket was found full.
    progress: Instant,
}

/// Figures of one connection's way out.
#[derive(Clone, Copy, Default)]
pub(crate) struct Sent {
    pub(crate) packets: u64,
    pub(crate) bytes: u64,
    pub(crate) dropped: u64,
}

/// Guarded by the connection's egress lock.
pub(crate) struct Egress {
    /// `None` once the owning worker has closed the connection: nothing is written any more.
    stream: Option<Arc<TcpStream>>,
    backlog: Option<Box<Backlog>>,
    /// Until ServerInfo is out, packets wait: it is the client's first frame.
    admitted: bool,
    /// The sources whose packets were written here: their leaving is told.
    sources: HashSet<NodeKey>,
    /// The same, oldest first, and some that are there no more.
    by_age: VecDeque<NodeKey>,
    pulling: bool,
    pub(crate) sent: Sent,
}

/// What became of a write, for whoever made it.
#[derive(Default)]
pub(crate) struct Outcome {
    /// The socket became full: its owner has to watch the write deadline.
    pub(crate) stalled: bool,
    /// The socket failed; it has been shut down, and its owner will see that.
    pub(crate) failed: bool,
    /// There is room for what is sent with `pull`.
    pub(crate) pulled: bool,
    /// More control frames wait than are permitted.
    pub(crate) overflow: bool,
}

/// What every write needs of the plane.
pub(crate) struct Limits<'a> {
    pub(crate) counters: &'a Counters,
    pub(crate) queue_depth: usize,
    pub(crate) control_bytes: usize,
    pub(crate) subscriptions: usize,
    pub(crate) subscribers: &'a Subscribers,
    /// The connection that is written to.
    pub(crate) destination: u64,
}

impl Egress {
    pub(crate) fn new(stream: Arc<TcpStream>) -> Self {
        Self {
            stream: Some(stream),
            backlog: None,
            admitted: false,
            sources: HashSet::new(),
            by_age: VecDeque::new(),
            pulling: false,
            sent: Sent::default(),
        }
    }

    /// Since when no frame has left; `None` if none waits.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.backlog.as_ref().map(|backlog| backlog.progress)
    }

    /// Packets in the two queues.
    pub(crate) fn queued(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.disco.len() + backlog.regular.len())
    }

    /// Writes packets, in order, straight from where they lie; what the socket does not take is kept, within bounds.
    /// `told`: the destination is known to be subscribed to these packets' source.
    pub(crate) fn packets(&mut self, packets: &[Packet<'_>], told: bool, limits: &Limits<'_>, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(stream) = self.stream.clone() else {
            for packet in packets {
                self.drop_packet(DropReason::GoneDisconnected, &packet.info, limits);
            }
            return outcome;
        };
        if !self.admitted {
            self.stall(now);
        }
        let mut rest = packets;
        while self.backlog.is_none() && !rest.is_empty() {
            let batch = &rest[..rest.len().min(SLICES)];
            let slices: Vec<IoSlice<'_>> = batch.iter().map(|packet| IoSlice::new(packet.frame)).collect();
            match (&*stream).write_vectored(&slices) {
                Ok(mut written) => {
                    let mut done = 0;
                    for packet in batch {
                        if written < packet.frame.len() {
                            break;
                        }
                        written -= packet.frame.len();
                        done += 1;
                        self.on_sent(&packet.info, told, limits);
                    }
                    rest = &rest[done..];
                    if done < batch.len() && written > 0 {
                        // Part of a frame is out: the rest of it is committed.
                        let frame = OwnedFrame { bytes: rest[0].frame.into(), packet: Some(rest[0].info) };
                        let backlog = self.stall(now);
                        backlog.commit(frame);
                        backlog.offset = written;
                        outcome.stalled = true;
                        rest = &rest[1..];
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stall(now);
                    outcome.stalled = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.fail(&mut outcome);
                    self.drop_packet(DropReason::WriteError, &rest[0].info, limits);
                    for packet in &rest[1..] {
                        self.drop_packet(DropReason::GoneDisconnected, &packet.info, limits);
                    }
                    return outcome;
                }
            }
        }
        for packet in rest {
            self.enqueue(packet.frame.into(), packet.info, limits);
        }
        outcome
    }

    /// Queues one packet of which nobody holds the bytes any more, and writes what can be written.
    pub(crate) fn owned_packet(&mut self, frame: OwnedFrame, limits: &Limits<'_>, now: Instant) -> Outcome {
        let Some(info) = frame.packet else {
            return self.control(frame.bytes, false, limits, now);
        };
        if self.stream.is_none() {
            self.drop_packet(DropReason::GoneDisconnected, &info, limits);
            return Outcome::default();
        }
        if self.backlog.is_none() {
            return self.packets(&[Packet { frame: &frame.bytes, info }], false, limits, now);
        }
        self.enqueue(frame.bytes, info, limits);
        Outcome::default()
    }

    /// Sends whole control frames, ahead of queued packets.
    pub(crate) fn control(&mut self, bytes: Box<[u8]>, pull: bool, limits: &Limits<'_>, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        if self.stream.is_none() {
            return outcome;
        }
        self.pulling |= pull;
        let idle = self.backlog.is_none();
        let backlog = self.stall(now);
        if backlog.control_bytes + bytes.len() > limits.control_bytes {
            outcome.overflow = true;
            return outcome;
        }
        backlog.control_bytes += bytes.len();
        backlog.control.push_back(OwnedFrame { bytes, packet: None });
        // A socket that was full before is written to again when it says so.
        if idle { self.drain(limits, now) } else { outcome }
    }

    /// The connection is admitted: sends ServerInfo, then whatever packets have come already.
    pub(crate) fn welcome(&mut self, server_info: Box<[u8]>, limits: &Limits<'_>, now: Instant) -> Outcome {
        self.admitted = true;
        let outcome = self.control(server_info, false, limits, now);
        if outcome.stalled || outcome.failed { outcome } else { self.drain(limits, now) }
    }

    /// Answers a ping, unless an answer to an earlier one still waits.
    pub(crate) fn pong(&mut self, frame: Box<[u8]>, limits: &Limits<'_>, now: Instant) -> Outcome {
        if self.stream.is_none() {
            return Outcome::default();
        }
        let idle = self.backlog.is_none();
        let backlog = self.stall(now);
        if backlog.pong.is_none() {
            backlog.pong = Some(OwnedFrame { bytes: frame, packet: None });
        }
        if idle { self.drain(limits, now) } else { Outcome::default() }
    }

    /// Writes until the socket is full or nothing is left. Called by the owner when the socket takes bytes again.
    pub(crate) fn drain(&mut self, limits: &Limits<'_>, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        let Some(stream) = self.stream.clone() else {
            return outcome;
        };
        while let Some(backlog) = &mut self.backlog {
            backlog.refill(self.admitted, limits.counters);
            if backlog.committed.is_empty() {
                if backlog.disco.is_empty() && backlog.regular.is_empty() {
                    self.backlog = None;
                }
                break;
            }
            let mut slices = Vec::with_capacity(backlog.committed.len().min(SLICES));
            for (index, frame) in backlog.committed.iter().take(SLICES).enumerate() {
                slices.push(IoSlice::new(if index == 0 { &frame.bytes[backlog.offset..] } else { &frame.bytes }));
            }
            match (&*stream).write_vectored(&slices) {
                Ok(written) => {
                    let done = backlog.advance(written);
                    if !done.is_empty() {
                        backlog.progress = now;
                    }
                    for info in done {
                        self.on_sent(&info, false, limits);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    outcome.stalled = true;
                    break;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.fail(&mut outcome);
                    return outcome;
                }
            }
        }
        let waiting = self.backlog.as_ref().map_or(0, |backlog| backlog.control_bytes);
        if self.pulling && waiting < limits.control_bytes / 2 {
            self.pulling = false;
            outcome.pulled = true;
        }
        outcome
    }

    /// Tells the client that a source of packets has left, if it had packets of it and was not told already.
    pub(crate) fn peer_gone(
        &mut self,
        source: &NodeKey,
        reason: PeerGoneReason,
        limits: &Limits<'_>,
        now: Instant,
    ) -> Outcome {
        if !self.sources.remove(source) {
            return Outcome::default();
        }
        self.control(Box::new(frame::peer_gone(source, reason)), false, limits, now)
    }

    /// Ends writing. Everything that waits is counted; the sources are handed back, to be unsubscribed.
    pub(crate) fn close(&mut self, limits: &Limits<'_>) -> HashSet<NodeKey> {
        self.stream = None;
        if let Some(mut backlog) = self.backlog.take() {
            for (index, frame) in backlog.committed.drain(..).enumerate() {
                // The frame that was under way, and those that had not begun to leave.
                let reason = if index == 0 && backlog.offset > 0 {
                    DropReason::WriteError
                } else {
                    DropReason::GoneDisconnected
                };
                if let Some(info) = frame.packet {
                    self.drop_packet(reason, &info, limits);
                }
            }
            for queue in [&mut backlog.disco, &mut backlog.regular] {
                while let Some(frame) = queue.pop() {
                    if let Some(info) = frame.packet {
                        self.drop_packet(DropReason::GoneDisconnected, &info, limits);
                    }
                }
            }
        }
        std::mem::take(&mut self.sources)
    }

    /// Makes the peer's end, and the owner's next look at it, fail. Only the owner closes.
    pub(crate) fn shutdown(&self) {
        if let Some(stream) = &self.stream {
            // It may be shut already.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn enqueue(&mut self, bytes: Box<[u8]>, info: PacketInfo, limits: &Limits<'_>) {
        let Some(backlog) = &mut self.backlog else { return };
        let queue = if info.kind == PacketKind::Disco { &mut backlog.disco } else { &mut backlog.regular };
        let frame = OwnedFrame { bytes, packet: Some(info) };
        let evicted = queue.push(frame, limits.queue_depth);
        if let Some((reason, OwnedFrame { packet: Some(info), .. })) = evicted {
            self.drop_packet(reason, &info, limits);
        }
    }

    fn stall(&mut self, now: Instant) -> &mut Backlog {
        self.backlog.get_or_insert_with(|| {
            Box::new(Backlog {
                committed: VecDeque::new(),
                offset: 0,
                committed_bytes: 0,
                control: VecDeque::new(),
                control_bytes: 0,
                pong: None,
                disco: Queue::new(),
                regular: Queue::new(),
                progress: now,
            })
        })
    }

    fn on_sent(&mut self, info: &PacketInfo, told: bool, limits: &Limits<'_>) {
        self.sent.packets += 1;
        self.sent.bytes += info.payload as u64;
        limits.counters.add(Counter::PACKETS_SENT, 1);
        limits.counters.add(Counter::BYTES_SENT, info.payload as u64);
        if !told && self.sources.insert(info.source) {
            limits.subscribers.add(&info.source, limits.destination);
            self.by_age.push_back(info.source);
            self.forget_oldest(limits);
        }
    }

    /// Keeps to the number of sources that are remembered.
    fn forget_oldest(&mut self, limits: &Limits<'_>) {
        while self.sources.len() > limits.subscriptions {
            // Those that have been told of are in the row still, and not in the set.
            let Some(oldest) = self.by_age.pop_front() else { return };
            if self.sources.remove(&oldest) {
                limits.subscribers.remove(&oldest, limits.destination);
            }
        }
        if self.by_age.len() > 2 * limits.subscriptions.max(16) {
            self.by_age.retain(|source| self.sources.contains(source));
        }
    }

    fn drop_packet(&mut self, reason: DropReason, info: &PacketInfo, limits: &Limits<'_>) {
        self.sent.dropped += 1;
        limits.counters.dropped(reason, info.kind, info.payload);
    }

    fn fail(&mut self, outcome: &mut Outcome) {
        outcome.failed = true;
        self.shutdown();
    }
}

impl Backlog {
    fn commit(&mut self, frame: OwnedFrame) {
        self.committed_bytes += frame.bytes.len();
        self.committed.push_back(frame);
    }

    /// Moves frames to where they are no longer dropped: control, a pong, discovery (it ends the need for relaying), the rest.
    fn refill(&mut self, packets: bool, counters: &Counters) {
        while self.committed_bytes < COMMIT {
            let frame = if let Some(frame) = self.control.pop_front() {
                self.control_bytes -= frame.bytes.len();
                count_control(&frame.bytes, counters);
                frame
            } else if let Some(frame) = self.pong.take() {
                counters.add(Counter::SENT_PONG, 1);
                frame
            } else if let Some(frame) = packets.then(|| self.disco.pop().or_else(|| self.regular.pop())).flatten() {
                frame
            } else {
                return;
            };
            self.commit(frame);
        }
    }

    /// `written` bytes have left. Returns the packets that are out in full.
    fn advance(&mut self, mut written: usize) -> Vec<PacketInfo> {
        let mut done = Vec::new();
        while let Some(frame) = self.committed.front() {
            let left = frame.bytes.len() - self.offset;
            if written < left {
                self.offset += written;
                break;
            }
            written -= left;
            self.offset = 0;
            self.committed_bytes -= frame.bytes.len();
            done.extend(frame.packet);
            self.committed.pop_front();
        }
        done
    }
}

/// Control bytes are whole frames; the PeerGone ones among them are counted as they leave.
fn count_control(mut bytes: &[u8], counters: &Counters) {
    while let Some((header, rest)) = bytes.split_first_chunk::<{ wire::HEADER_LENGTH }>() {
        let length = u32::from_be_bytes([header[1], header[2], header[3], header[4]]) as usize;
        let (body, next) = rest.split_at(length.min(rest.len()));
        if header[0] == wire::FrameType::PeerGone as u8 {
            let not_here = body.get(wire::KEY_LENGTH) == Some(&(PeerGoneReason::NotHere as u8));
            counters.add(
                if not_here { Counter::PEER_GONE_NOT_HERE_FRAMES } else { Counter::PEER_GONE_DISCONNECTED_FRAMES },
                1,
            );
        }
        bytes = next;
    }
}
