//! The packets of one read, ready where they lie: one write for each destination, once the whole read has been looked at.

use std::sync::Arc;

use derp_proto::counters::Counter;
use derp_proto::drop_reason::PacketKind;
use derp_proto::frame;
use derp_proto::frame::PACKET_AT;
use derp_proto::wire::PING_LENGTH;

use crate::base::faults::Fault;
use crate::conn::Conn;
use crate::egress::{Frame, PacketInfo};
use crate::hub::ctx::Ctx;
use crate::ingress::packet::{Buffer, Located, Packet};

/// What has been seen in one read. Kept for its memory: empty between reads.
#[derive(Default)]
pub(crate) struct Fanout {
    ready: Vec<Ready>,
    destinations: Vec<Arc<Conn>>,
    /// Of packets that go on to another relay.
    heads: Vec<[u8; PACKET_AT]>,
    received: Received,
    /// Control frames for the connection that is read.
    replies: Vec<u8>,
    /// As in a mailbox, the first ping of a read is answered.
    pong: Option<[u8; PING_LENGTH]>,
}

/// A RecvPacket frame, or what follows the head of a ForwardPacket.
struct Ready {
    /// Index into the destinations.
    to: usize,
    /// Index into the heads.
    head: Option<usize>,
    located: Located,
    info: PacketInfo,
}

/// SendPacket frames.
#[derive(Default)]
struct Received {
    disco: u64,
    other: u64,
    bytes: u64,
}

impl Fanout {
    /// Counts a packet that a client has sent.
    pub(crate) fn count_received(&mut self, info: &PacketInfo) {
        match info.kind {
            PacketKind::Disco => self.received.disco += 1,
            PacketKind::Other => self.received.other += 1,
        }
        self.received.bytes += info.payload as u64;
    }

    /// Makes a packet ready for a connection here.
    pub(crate) fn push(&mut self, to: &Arc<Conn>, packet: Packet<'_>) {
        let (located, info) = packet.into_recv();
        self.add(to, None, located, info);
    }

    /// Makes a packet ready for a link: it is sent on as it lies, behind another head.
    pub(crate) fn forward(&mut self, link: &Arc<Conn>, packet: Packet<'_>) {
        let (located, info) = packet.into_forward();
        self.heads.push(frame::forward_head(&info.source, info.payload));
        self.add(link, Some(self.heads.len() - 1), located, info);
    }

    fn add(&mut self, to: &Arc<Conn>, head: Option<usize>, located: Located, info: PacketInfo) {
        // A read has few destinations, and mostly the one it had last.
        let known = self.destinations.iter().rposition(|known| Arc::ptr_eq(known, to));
        let to = known.unwrap_or_else(|| {
            self.destinations.push(to.clone());
            self.destinations.len() - 1
        });
        self.ready.push(Ready { to, head, located, info });
    }

    pub(crate) fn reply(&mut self, frame: &[u8]) {
        self.replies.extend_from_slice(frame);
    }

    /// Sends the answers so far. What the control plane is asked next it may answer before the whole read has been looked at.
    pub(crate) fn reply_now(&mut self, from: &Arc<Conn>, ctx: Ctx<'_>) {
        if !self.replies.is_empty() {
            from.control(&self.replies, false, ctx);
            self.replies.clear();
        }
    }

    pub(crate) fn answer(&mut self, ping: [u8; PING_LENGTH]) {
        self.pong.get_or_insert(ping);
    }

    /// Counts and sends everything. `from` is the connection that was read: its answers go last, so that a client that has one
    /// to a ping knows that everything before it has been seen to.
    pub(crate) fn deliver(&mut self, from: &Arc<Conn>, gathered: &[u8], read: &[u8], ctx: Ctx<'_>) {
        self.settle_received(from, ctx);
        if !self.heads.is_empty() {
            ctx.counters.add(Counter::PACKETS_FORWARDED_OUT, self.heads.len() as u64);
        }
        if self.destinations.len() > 1 {
            // Stable: packets of one destination stay in order.
            self.ready.sort_by_key(|packet| packet.to);
        }
        let mut packets: Vec<Frame<'_>> = Vec::with_capacity(self.ready.len());
        packets.extend(self.ready.iter().map(|packet| {
            let memory = if packet.located.buffer == Buffer::Gathered { gathered } else { read };
            let head: &[u8] = packet.head.map_or(&[], |head| &self.heads[head]);
            Frame { head, bytes: &memory[packet.located.range.clone()], packet: Some(packet.info) }
        }));
        let mut rest = &mut packets[..];
        for group in self.ready.chunk_by(|a, b| a.to == b.to) {
            let (same, others) = rest.split_at_mut(group.len());
            rest = others;
            if same.len() > 1 && ctx.faults.strikes(Fault::Reorder) {
                same.reverse();
            }
            self.destinations[group[0].to].deliver(same, ctx);
        }
        self.ready.clear();
        self.destinations.clear();
        self.heads.clear();
        self.reply_now(from, ctx);
        if let Some(ping) = self.pong.take() {
            from.pong(&frame::pong(&ping), ctx);
        }
    }

    fn settle_received(&mut self, from: &Conn, ctx: Ctx<'_>) {
        let Received { disco, other, bytes } = std::mem::take(&mut self.received);
        if disco + other == 0 {
            return;
        }
        for (counter, count) in [
            (Counter::PACKETS_RECEIVED_DISCO, disco),
            (Counter::PACKETS_RECEIVED_OTHER, other),
            (Counter::BYTES_RECEIVED, bytes),
        ] {
            if count > 0 {
                ctx.counters.add(counter, count);
            }
        }
        from.count_received(disco + other, bytes);
    }
}
