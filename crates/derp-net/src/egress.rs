//! The way out of one connection. A worker that has a packet for it takes its lock and writes, whether it owns the connection or not; state
//! appears only when the socket is full.

mod backlog;
pub(crate) mod context;
mod inbox;
mod narrow;
mod outbound;
pub(crate) mod outcome;
mod shedding;
mod subscribing;
#[cfg(all(test, not(loom)))]
mod tests;
mod watching;

use std::time::Instant;

use derp_proto::counters::{Counter, Waits};
use derp_proto::drop_reason::DropReason;
use derp_proto::key::NodeKey;
use derp_tls::Alert;

use self::backlog::{Backlog, Tally, count_control};
use self::narrow::Narrow;
use self::outbound::OwnedFrame;
use crate::base::ledger::Note;
use crate::io::writer::{SLICES, SocketWriter, Written};
use crate::state::peer_gone::Sources;

use self::context::EgressContext;
pub(crate) use self::inbox::Inbox;
pub(crate) use self::narrow::QueueFigures;
pub(crate) use self::outbound::{Frame, PacketInfo};
use self::outcome::Outcome;

/// Guarded by the connection's egress lock.
pub(crate) struct Egress {
    /// `None` before a link is open, and once it has failed, or its owner has closed the connection: nothing is written
    /// then.
    writer: Option<SocketWriter>,
    /// Until ServerInfo is out, packets wait: it is the client's first frame.
    admitted: bool,
    /// What waits may still leave, and nothing else: the connection has ended.
    leaving: bool,
    /// The owner looks after the write deadline of the backlog.
    watched: bool,
    pulling: bool,
    outcome: Outcome,
    /// None while the socket takes everything.
    backlog: Option<Box<Backlog>>,
    /// There while something waits, and for a minute after that.
    narrow: Option<Box<Narrow>>,
    sources: Sources,
    /// What is noted of what waits, and of the sources.
    queued: Note,
    pairs: Note,
    sent: Tally,
    dropped: u64,
}

/// Figures of one connection's way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct EgressFigures {
    pub(crate) sent: Tally,
    pub(crate) dropped: u64,
    pub(crate) queued: usize,
    pub(crate) queue: QueueFigures,
}

impl Egress {
    /// Without a line until it is connected.
    pub(crate) fn new(writer: Option<SocketWriter>, now: Instant) -> Self {
        let backlog = writer.as_ref().filter(|writer| writer.has_tail()).map(|_| Box::new(Backlog::new(now)));
        Self {
            writer,
            admitted: false,
            leaving: false,
            watched: false,
            pulling: false,
            outcome: Outcome::default(),
            narrow: backlog.as_ref().map(|_| Box::new(Narrow::new(now))),
            backlog,
            sources: Sources::default(),
            queued: Note::default(),
            pairs: Note::default(),
            sent: Tally::default(),
            dropped: 0,
        }
    }

    /// The link is open: there is nothing to be said before its packets.
    pub(crate) fn open(&mut self, writer: SocketWriter, cx: &EgressContext<'_>) {
        self.admitted = true;
        self.connect(writer, cx);
    }

    /// The line is there.
    pub(crate) fn connect(&mut self, writer: SocketWriter, cx: &EgressContext<'_>) {
        self.writer = Some(writer);
        self.watch_tail(cx);
    }

    /// Writes packets, in order, straight from where they lie; what the socket does not take is kept, within bounds.
    pub(crate) fn packets(&mut self, packets: &[Frame<'_>], cx: &EgressContext<'_>) {
        let rest = if self.admitted && !self.leaving { self.write(packets, cx) } else { packets };
        for packet in rest {
            self.enqueue(packet.owned(), cx);
        }
    }

    /// The same for packets that others have left.
    pub(crate) fn inbox(&mut self, inbox: Inbox, cx: &EgressContext<'_>) {
        cx.counters.subtract(Counter::HELD_QUEUED_BYTES, inbox.bytes as u64);
        self.dropped += inbox.dropped;
        if inbox.dropped > 0 {
            self.narrow(cx).dropped(DropReason::QueueHead, inbox.dropped);
        }
        let frames: Vec<OwnedFrame> = inbox.into_frames().collect();
        let packets: Vec<Frame<'_>> = frames.iter().map(OwnedFrame::borrow).collect();
        let rest = if self.admitted && !self.leaving { self.write(&packets, cx).len() } else { packets.len() };
        let written = frames.len() - rest;
        for frame in frames.into_iter().skip(written) {
            self.enqueue(frame, cx);
        }
    }

    /// Sends whole control frames, ahead of queued packets.
    pub(crate) fn control(&mut self, bytes: &[u8], pull: bool, cx: &EgressContext<'_>) {
        if self.writer.is_none() || self.leaving {
            return;
        }
        self.pulling |= pull;
        if self.control_bytes() + bytes.len() > cx.control_bytes {
            self.outcome.overflow = true;
            return;
        }
        if !bytes.is_empty() {
            let frame = Frame::control(bytes);
            if !self.write(&[frame], cx).is_empty() {
                self.waiting(cx).push_control(frame.owned());
            }
        }
        self.pull(cx);
    }

    /// The connection is admitted: sends ServerInfo, then whatever packets have come already.
    pub(crate) fn welcome(&mut self, server_info: &[u8], cx: &EgressContext<'_>) {
        self.control(server_info, false, cx);
        self.admitted = true;
        self.drain(cx);
    }

    /// Answers a ping, unless an answer to an earlier one still waits.
    pub(crate) fn pong(&mut self, bytes: &[u8], cx: &EgressContext<'_>) {
        if self.writer.is_none() || self.leaving {
            return;
        }
        let frame = Frame::control(bytes);
        if self.write(&[frame], cx).is_empty() {
            cx.counters.add(Counter::SENT_PONG, 1);
        } else {
            self.waiting(cx).push_pong(frame.owned());
        }
    }

    /// Writes until the socket is full or nothing is left. Called by the owner when the socket takes bytes again.
    pub(crate) fn drain(&mut self, cx: &EgressContext<'_>) {
        while let (Some(writer), Some(backlog)) = (&mut self.writer, &mut self.backlog) {
            let waited = writer.waiting();
            let flushed = writer.flush();
            if writer.waiting() < waited {
                backlog.moved(cx.now);
            }
            match flushed {
                Written::Bytes(_) => {}
                Written::Full => {
                    self.stalled();
                    break;
                }
                Written::Failed => {
                    self.fail(cx);
                    break;
                }
            }
            self.refill(cx);
            let (Some(writer), Some(backlog)) = (&mut self.writer, &mut self.backlog) else {
                break;
            };
            if backlog.is_empty() {
                self.backlog = None;
                break;
            }
            let mut parts = backlog.parts().peekable();
            // What is left waits for admission.
            if parts.peek().is_none() {
                break;
            }
            match writer.write(parts) {
                Written::Bytes(written) => {
                    let (sent, frames) = backlog.advance(written, cx.now);
                    self.count(sent, cx);
                    self.count_write(frames, cx);
                }
                Written::Full => {
                    self.stalled();
                    break;
                }
                Written::Failed => {
                    self.fail(cx);
                    break;
                }
            }
        }
        self.pull(cx);
    }

    /// Ends writing. Everything that waits is counted; the sources are handed back, to be unsubscribed.
    pub(crate) fn close(&mut self, cx: &EgressContext<'_>) -> impl Iterator<Item = NodeKey> + use<> {
        if let Some(mut writer) = self.writer.take() {
            writer.end(Alert::CLOSE_NOTIFY);
        }
        self.give_up(cx);
        let sources = std::mem::take(&mut self.sources);
        self.note_pairs(cx);
        sources.into_keys()
    }

    /// Takes nothing more; what waits is drained as before. The sources are handed back, to be unsubscribed.
    pub(crate) fn leave(&mut self, cx: &EgressContext<'_>) -> impl Iterator<Item = NodeKey> + use<> {
        self.leaving = true;
        self.pulling = false;
        self.drain(cx);
        let sources = std::mem::take(&mut self.sources);
        self.note_pairs(cx);
        sources.into_keys()
    }

    /// Whether anything waits for the socket.
    pub(crate) fn waits(&self) -> bool {
        self.writer.is_some() && self.backlog.is_some()
    }

    /// The client has asked for new keys.
    pub(crate) fn owe_key_update(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.owe_key_update();
        }
    }

    /// The last word, unless [`Egress::close`] has said it already.
    pub(crate) fn alert(&mut self, alert: Alert) {
        if let Some(writer) = &mut self.writer {
            writer.end(alert);
        }
    }

    /// Lets go of the cipher; the next record expands it again.
    pub(crate) fn quiet(&mut self) {
        if let Some(writer) = &mut self.writer {
            writer.quiet();
        }
    }

    /// Lets go of the cipher, unless it has been used since this was called last. False once it is gone.
    pub(crate) fn cool(&mut self) -> bool {
        self.writer.as_mut().is_some_and(SocketWriter::cool)
    }

    /// Answers a ping of the WebSocket itself: at once, or when the socket has taken what was begun.
    pub(crate) fn web_socket_pong(&mut self, payload: &[u8], cx: &EgressContext<'_>) {
        let Some(writer) = &mut self.writer else { return };
        if writer.pong(payload) {
            self.watch_tail(cx);
        } else {
            self.fail(cx);
        }
    }

    /// What the close frame of the WebSocket will say, unless it has been sent.
    pub(crate) fn owe_close(&mut self, payload: &[u8]) {
        if let Some(writer) = &mut self.writer {
            writer.owe_close(payload);
        }
    }

    /// What has come of all writes since this was asked last.
    pub(crate) fn take_outcome(&mut self) -> Outcome {
        let warmed = self.writer.as_mut().is_some_and(SocketWriter::take_warmed);
        Outcome { warmed, ..std::mem::take(&mut self.outcome) }
    }

    pub(crate) fn figures(&self) -> EgressFigures {
        let queued = self.backlog.as_ref().map_or(0, |backlog| backlog.queued());
        let queue = self.narrow.as_ref().map_or(QueueFigures::default(), |narrow| narrow.figures);
        EgressFigures { sent: self.sent, dropped: self.dropped, queued, queue }
    }

    /// Writes as much as the socket takes, if nothing waits. Returns the frames of which not a byte is out.
    fn write<'p, 'a>(&mut self, mut frames: &'p [Frame<'a>], cx: &EgressContext<'_>) -> &'p [Frame<'a>] {
        if let (Some(narrow), Some(writer)) = (&mut self.narrow, &mut self.writer) {
            narrow.widen(writer, cx);
        }
        while self.writer.is_some() && self.backlog.is_none() {
            let added = self.subscribe_all(frames, cx);
            let (Some(writer), [first, others @ ..]) = (&mut self.writer, frames) else {
                break;
            };
            // Those of one call are of one kind.
            let most = if first.head.is_empty() { SLICES } else { SLICES / 2 };
            match writer.write(frames.iter().take(most).flat_map(Frame::parts)) {
                Written::Bytes(written) => {
                    frames = self.on_written(frames, written, cx);
                    self.watch_tail(cx);
                    if self.backlog.is_some() && self.writer.as_ref().is_some_and(SocketWriter::is_cut) {
                        self.drain(cx);
                    }
                }
                Written::Full => {
                    self.unsubscribe(&added, cx);
                    self.waiting(cx);
                    self.stalled();
                }
                Written::Failed => {
                    if let Some(info) = &first.packet {
                        self.drop_packet(DropReason::WriteError, info, cx);
                    }
                    self.fail(cx);
                    frames = others;
                }
            }
        }
        frames
    }

    /// So many bytes of `frames` are out. Of a frame that is out in part the rest is committed. Returns the others.
    fn on_written<'p, 'a>(
        &mut self,
        mut frames: &'p [Frame<'a>],
        mut written: usize,
        cx: &EgressContext<'_>,
    ) -> &'p [Frame<'a>] {
        let mut sent = Tally::default();
        let mut whole = 0;
        while let [frame, others @ ..] = frames
            && written > 0
        {
            if frame.packet.is_none() {
                count_control(frame.bytes, cx.counters);
            }
            if written < frame.len() {
                self.waiting(cx).commit_rest(frame.owned(), written);
                self.stalled();
            } else {
                whole += 1;
                if let Some(info) = &frame.packet {
                    sent.add(info);
                }
            }
            written = written.saturating_sub(frame.len());
            frames = others;
        }
        self.count(sent, cx);
        self.count_write(whole, cx);
        // None of these has waited in a queue.
        cx.waited(Waits::none(sent.packets));
        frames
    }

    /// Keeps a packet for later.
    fn enqueue(&mut self, frame: OwnedFrame, cx: &EgressContext<'_>) {
        let Some(info) = frame.packet else { return };
        if self.writer.is_none() || self.leaving {
            self.drop_packet(DropReason::GoneDisconnected, &info, cx);
            return;
        }
        if self.waiting(cx).is_full(info.kind, cx.queue_depth) {
            // What may be committed is, before anything is dropped.
            self.refill(cx);
        }
        self.waiting(cx);
        let (Some(backlog), Some(narrow)) = (&mut self.backlog, &mut self.narrow) else { return };
        let evicted = backlog.push_packet(frame, &info, narrow, cx);
        if let Some((reason, OwnedFrame { packet: Some(info), .. })) = evicted {
            self.drop_packet(reason, &info, cx);
        }
    }

    /// Commits what is next, as far as there is room.
    fn refill(&mut self, cx: &EgressContext<'_>) {
        let mut waits = Waits::none(0);
        let mut late = Vec::new();
        while let (Some(backlog), Some(narrow)) = (&mut self.backlog, &mut self.narrow)
            && let Some(frame) = backlog.next(self.admitted, narrow, &mut waits, &mut late, cx)
        {
            let packet = frame.packet;
            backlog.commit(frame);
            if let Some(info) = packet {
                self.subscribe(&info.source, cx);
            }
        }
        cx.waited(waits);
        for info in late.into_iter().filter_map(|frame| frame.packet) {
            self.drop_packet(DropReason::QueueAge, &info, cx);
        }
        if let (Some(narrow), Some(writer)) = (&mut self.narrow, &mut self.writer) {
            narrow.follow(writer, cx);
        }
    }

    /// The room for what waits; from here on something does.
    fn waiting(&mut self, cx: &EgressContext<'_>) -> &mut Backlog {
        let (sent, is_new) = (self.sent.bytes, self.backlog.is_none());
        let narrow = self.narrow(cx);
        narrow.waits(cx.now);
        if is_new {
            narrow.is_full(sent, cx.now);
        }
        self.backlog.get_or_insert_with(|| Box::new(Backlog::new(cx.now)))
    }

    /// What is known of its queues; from here on something is.
    fn narrow(&mut self, cx: &EgressContext<'_>) -> &mut Narrow {
        self.narrow.get_or_insert_with(|| Box::new(Narrow::new(cx.now)))
    }

    /// What is sealed and not out has to leave in time, as everything that waits.
    fn watch_tail(&mut self, cx: &EgressContext<'_>) {
        if self.has_tail() {
            self.waiting(cx);
            self.stalled();
        }
    }

    fn pull(&mut self, cx: &EgressContext<'_>) {
        if self.pulling && self.writer.is_some() && self.control_bytes() < cx.control_bytes / 2 {
            self.pulling = false;
            self.outcome.pulled = true;
        }
    }

    fn count(&mut self, sent: Tally, cx: &EgressContext<'_>) {
        self.sent.packets += sent.packets;
        self.sent.bytes += sent.bytes;
        if sent.packets > 0 && !cx.link {
            cx.counters.add(Counter::PACKETS_SENT, sent.packets);
            cx.counters.add(Counter::BYTES_SENT, sent.bytes);
        }
    }

    /// Those of the login are no part of the figures.
    fn count_write(&self, frames: usize, cx: &EgressContext<'_>) {
        if self.admitted && !cx.link {
            cx.counters.wrote(frames);
        }
    }

    fn drop_packet(&mut self, reason: DropReason, info: &PacketInfo, cx: &EgressContext<'_>) {
        self.dropped += 1;
        if let Some(narrow) = &mut self.narrow {
            narrow.dropped(reason, 1);
        }
        cx.dropped(reason, info);
    }

    /// The socket does not take anything any more. Its owner sees that, and closes it; no other worker does.
    fn fail(&mut self, cx: &EgressContext<'_>) {
        if let Some(writer) = self.writer.take() {
            writer.shutdown();
        }
        self.give_up(cx);
    }

    fn give_up(&mut self, cx: &EgressContext<'_>) {
        let waiting = self.backlog.take().into_iter().flat_map(|backlog| backlog.into_packets());
        for (reason, info) in waiting {
            self.drop_packet(reason, &info, cx);
        }
    }
}
