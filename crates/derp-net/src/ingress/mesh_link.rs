//! A link to another relay, whose mesh peer we are: what it says of others. Packets only leave here; they come over the
//! connection that the other relay has made.

use std::sync::Arc;
use std::time::Instant;

use derp_proto::decode::{Decoder, FrameHeader, Step};
use derp_proto::frame;
use derp_proto::server_frame::ServerFrame;
use derp_proto::wire::{FrameType, KEY_LENGTH, MAX_PING_LENGTH, PING_LENGTH};

use crate::base::close_reason::CloseReason;
use crate::conn::Conn;
use crate::hub::ctx::Ctx;
use crate::state::events::{Event, LinkChange};

/// Go's client takes no longer frame.
const LONGEST_FRAME: u32 = 1 << 20;
/// Far beyond any presence; whatever is longer is of another version, and passed over.
const LONGEST_PEER: u32 = 1024;

/// Owned by its worker.
pub(crate) struct MeshLink {
    conn: Arc<Conn>,
    /// The relay is to announce its clients.
    watches: bool,
    decoder: Decoder,
    /// A frame that is not whole.
    partial: Vec<u8>,
    /// When the relay has last said anything.
    heard: Instant,
    /// The control plane has not taken what the relay has said: until then it is not read.
    unheard: bool,
    why: Option<String>,
}

impl MeshLink {
    pub(crate) fn new(conn: Arc<Conn>, watches: bool, ctx: Ctx<'_>) -> Self {
        let (decoder, partial) = (Decoder::default(), Vec::new());
        Self { conn, watches, decoder, partial, heard: ctx.now, unheard: false, why: None }
    }

    pub(crate) fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    /// Whether it must not be read now.
    pub(crate) fn is_unheard(&self) -> bool {
        self.unheard
    }

    /// The control plane has taken what there was.
    pub(crate) fn heard(&mut self, ctx: Ctx<'_>) {
        self.unheard = false;
        // The control plane has not listened meanwhile.
        self.heard = ctx.now;
    }

    /// Bytes have come. When to come again, or why the link has to end.
    pub(crate) fn feed(&mut self, read: &[u8], ctx: Ctx<'_>) -> Result<Instant, CloseReason> {
        self.heard = ctx.now;
        let mut changes = Vec::new();
        let mut ping = None;
        let end = if self.partial.is_empty() {
            self.cut(read, &mut changes, &mut ping)
        } else {
            let mut gathered = std::mem::take(&mut self.partial);
            gathered.extend_from_slice(read);
            self.cut(&gathered, &mut changes, &mut ping)
        };
        if let Some(ping) = ping {
            self.conn.control(&frame::pong(&ping), false, ctx);
        }
        if !changes.is_empty() {
            self.conn.count_received(changes.len() as u64, 0);
            self.unheard = true;
            ctx.events.push(Event::LinkPeers { link: self.conn.link_id(), changes });
        }
        end?;
        self.on_time(ctx)
    }

    /// When to come again, or why the link has to end.
    pub(crate) fn on_time(&mut self, ctx: Ctx<'_>) -> Result<Instant, CloseReason> {
        let policy = ctx.policy.load();
        let limit = policy.link_write_deadline;
        let mut next = self.heard + policy.link_silence;
        if self.unheard {
            next = ctx.now + policy.link_silence;
        } else if ctx.now >= next {
            return Err(self.because("the relay is silent".into()));
        }
        match (self.conn.stalled_since(limit.is_some(), ctx), limit) {
            (Some(since), Some(limit)) if ctx.now >= since + limit => Err(CloseReason::WriteTimeout),
            (Some(since), Some(limit)) => Ok(next.min(since + limit)),
            _ => Ok(next),
        }
    }

    pub(crate) fn close(self, reason: CloseReason, ctx: Ctx<'_>) {
        let why = self.why.filter(|_| reason == CloseReason::ProtocolError);
        self.conn.end_link(why.unwrap_or_else(|| reason.of_link().into()), ctx);
    }

    /// Takes what the whole frames of `bytes` say, and keeps the rest.
    fn cut(
        &mut self,
        bytes: &[u8],
        changes: &mut Vec<LinkChange>,
        ping: &mut Option<[u8; PING_LENGTH]>,
    ) -> Result<(), CloseReason> {
        let mut at = 0;
        loop {
            match self.decoder.next(&bytes[at..]) {
                Step::Header(FrameHeader { kind, length }) if length > LONGEST_FRAME => {
                    return Err(self.because(format!("a frame of type {kind} has {length} bytes")));
                }
                Step::Header(header) => {
                    if !self.wants(header) {
                        self.decoder.skip();
                    }
                }
                Step::Frame(length) => {
                    match ServerFrame::read(&bytes[at..at + length]) {
                        Some(ServerFrame::PeerPresent(present)) => {
                            changes.push(LinkChange { key: present.peer, present: true });
                        }
                        Some(ServerFrame::PeerGone { peer, .. }) => {
                            changes.push(LinkChange { key: peer, present: false });
                        }
                        Some(ServerFrame::Ping(data)) => _ = ping.get_or_insert(data),
                        _ => {}
                    }
                    at += length;
                }
                Step::Skipped(length) => at += length,
                Step::More => break,
            }
        }
        self.partial = bytes[at..].to_vec();
        Ok(())
    }

    fn because(&mut self, why: String) -> CloseReason {
        self.why = Some(why);
        CloseReason::ProtocolError
    }

    /// Whether a frame says something that a relay has to know. RecvPacket does not: packets come over the other connection.
    fn wants(&self, FrameHeader { kind, length }: FrameHeader) -> bool {
        match FrameType::from_u8(kind) {
            Some(FrameType::PeerPresent) if !self.watches => false,
            Some(FrameType::PeerPresent | FrameType::PeerGone) => (KEY_LENGTH as u32..=LONGEST_PEER).contains(&length),
            Some(FrameType::Ping) => (PING_LENGTH..=MAX_PING_LENGTH).contains(&(length as usize)),
            _ => false,
        }
    }
}
