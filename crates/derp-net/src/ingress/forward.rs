//! What an admitted client sends, and what becomes of it: a packet's way, top to bottom.

mod look_up;

use std::sync::Arc;
use std::time::{Duration, Instant};

use derp_proto::counters::Counter;
use derp_proto::decode::FrameHeader;
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::frame::{self, KEY_AT};
use derp_proto::frame_rules::{self, Body, ProtocolError};
use derp_proto::key::NodeKey;
use derp_proto::token_bucket::{Rate, TokenBucket};
use derp_proto::wire::{FrameType, HEADER_LENGTH, PeerGoneReason};

use crate::base::close_reason::CloseReason;
use crate::base::faults::Fault;
use crate::conn::Conn;
use crate::conn::Entry;
use crate::egress::PacketInfo;
use crate::hub::ctx::Ctx;
use crate::hub::mail::Mail;
use crate::ingress::fanout::Fanout;
use crate::ingress::packet::{Packet, ReadFrame};
use crate::state::events::Event;
use crate::state::table::Route;
use crate::state::tap::Tapped;

/// Where a connection has sent packets lately. It holds the table's entries, so a change of route needs no word here.
type Cache = [Option<Arc<Entry>>; CACHED];
const CACHED: usize = 2;

/// What mesh peers may have asked for that the control plane has not read of.
const MOST_ASKED: usize = 4096;
/// Of a receive limit.
const LONGEST_WAIT: Duration = Duration::from_secs(3600 * 24 * 365);

/// The way in of one admitted connection. Owned by its worker.
pub(crate) struct Forwarding {
    /// Its own place in the table.
    entry: Arc<Entry>,
    mesh: bool,
    cache: Cache,
    not_here: Option<Box<TokenBucket>>,
    /// For lookups that its packets cause.
    lookups: Option<Box<TokenBucket>>,
    receive: Option<Box<TokenBucket>>,
    /// Of the rate that it was filled by.
    receive_epoch: u32,
    /// A limit of its own, in place of the policy's.
    own_limit: Option<Box<Rate>>,
    held_until: Option<Instant>,
    keep_alive_at: Instant,
    /// When its round trip is to be measured.
    sample_at: Option<Instant>,
}

impl Forwarding {
    pub(crate) fn new(
        entry: Arc<Entry>,
        mesh: bool,
        limit: Option<Rate>,
        keep_alive_at: Instant,
        ctx: Ctx<'_>,
    ) -> Self {
        Self {
            entry,
            mesh,
            cache: Cache::default(),
            not_here: None,
            lookups: None,
            receive: None,
            receive_epoch: 0,
            own_limit: limit.map(Box::new),
            held_until: None,
            keep_alive_at,
            sample_at: next_sample(ctx),
        }
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Instant {
        [self.held_until, self.sample_at].into_iter().flatten().fold(self.keep_alive_at, Instant::min)
    }

    /// Whether it is time to measure the round trip, until the next time.
    pub(crate) fn samples(&mut self, ctx: Ctx<'_>) -> bool {
        let due = self.sample_at.is_some_and(|when| ctx.now >= when);
        if due {
            self.sample_at = next_sample(ctx);
        }
        due
    }

    /// A header has come. Says whether its body is wanted, or that the connection has to end.
    pub(crate) fn header(
        &mut self,
        header: FrameHeader,
        conn: &Arc<Conn>,
        ctx: Ctx<'_>,
    ) -> Result<bool, ProtocolError> {
        self.charge(header.length, ctx);
        self.entry.activity(conn, &ctx.events);
        if header.kind == FrameType::Ping as u8 {
            ctx.counters.add(Counter::GOT_PING, 1);
        }
        Ok(frame_rules::check(header, self.mesh)? == Body::Wanted)
    }

    /// A whole frame. Packets are made ready, everything else is done.
    pub(crate) fn frame(&mut self, frame: ReadFrame<'_>, conn: &Arc<Conn>, fanout: &mut Fanout, ctx: Ctx<'_>) {
        let bytes = &*frame.bytes;
        match FrameType::from_u8(bytes[0]) {
            Some(FrameType::SendPacket) => self.send_packet(frame, conn, fanout, ctx),
            Some(FrameType::ForwardPacket) => self.forward_packet(frame, conn, fanout, ctx),
            Some(FrameType::NotePreferred) => ctx.events.prefer(conn, bytes[HEADER_LENGTH] != 0),
            Some(FrameType::WatchConns) => {
                fanout.reply_now(conn, ctx);
                ask(Event::Watch { id: conn.id }, conn, ctx);
            }
            Some(FrameType::ClosePeer) => {
                if let Some(target) = NodeKey::first_of(&bytes[KEY_AT..]) {
                    fanout.reply_now(conn, ctx);
                    ask(Event::ClosePeer { id: conn.id, target }, conn, ctx);
                }
            }
            Some(FrameType::Ping) => {
                if let Some(ping) = bytes[HEADER_LENGTH..].first_chunk() {
                    fanout.answer(*ping);
                }
            }
            _ => {}
        }
    }

    /// Replaces the limit of its own; without one the policy's holds.
    pub(crate) fn own_limit(&mut self, limit: Option<Rate>) {
        self.own_limit = limit.map(Box::new);
    }

    /// Whether there is a bucket: what is read at once may have to wait for it.
    pub(crate) fn is_limited(&self) -> bool {
        self.receive.is_some()
    }

    /// Nothing more is read until then: what was read was more than the receive limit permits.
    pub(crate) fn held_until(&self) -> Option<Instant> {
        self.held_until
    }

    /// Whether reading goes on, because the time has come or the limit is another one.
    pub(crate) fn release(&mut self, ctx: Ctx<'_>) -> bool {
        let over = self.held_until.is_none_or(|until| ctx.now >= until) || self.is_new_limit(ctx);
        if over {
            self.held_until = None;
        }
        over
    }

    fn is_new_limit(&self, ctx: Ctx<'_>) -> bool {
        self.receive.as_ref().map(|bucket| bucket.rate()) != self.limit(ctx)
            || (self.own_limit.is_none()
                && self.receive.is_some()
                && self.receive_epoch != ctx.policy.load().receive_epoch)
    }

    fn limit(&self, ctx: Ctx<'_>) -> Option<Rate> {
        self.own_limit.as_deref().copied().or(ctx.policy.load().receive)
    }

    /// A frame counts without its header, as derper counts it.
    fn charge(&mut self, length: u32, ctx: Ctx<'_>) {
        if self.mesh || (self.receive.is_none() && self.limit(ctx).is_none()) {
            return;
        }
        let clock = ctx.now.saturating_duration_since(ctx.start);
        if self.is_new_limit(ctx) {
            self.receive = self.limit(ctx).map(|rate| Box::new(TokenBucket::new(rate, clock)));
            self.receive_epoch = ctx.policy.load().receive_epoch;
        }
        let Some(bucket) = &mut self.receive else { return };
        let wait = bucket.charge(length.into(), clock);
        if !wait.is_zero() {
            ctx.counters.add(Counter::RATE_LIMIT_WAITS, 1);
            // As good as for ever, and within what an Instant can be.
            self.held_until = Some(ctx.now + wait.min(LONGEST_WAIT));
        }
    }

    /// Sends a KeepAlive, if it is time.
    pub(crate) fn keep_alive(&mut self, conn: &Arc<Conn>, ctx: Ctx<'_>) {
        if ctx.now >= self.keep_alive_at {
            conn.control(&frame::KEEP_ALIVE, false, ctx);
            self.keep_alive_at = ctx.policy.load().next_keep_alive(ctx.now);
        }
    }

    fn send_packet(&mut self, frame: ReadFrame<'_>, conn: &Arc<Conn>, fanout: &mut Fanout, ctx: Ctx<'_>) {
        let Some(packet) = Packet::sent(frame, self.entry.key) else { return };
        fanout.count_received(&packet.info);
        let route = self.route(&packet.destination, conn, ctx);
        match &*route {
            None => self.look_up(packet, conn, fanout, ctx),
            Some(to) => send(packet, to, fanout, ctx),
        }
    }

    /// From a mesh peer: goes to a connection here or nowhere, never on to another relay.
    fn forward_packet(&mut self, frame: ReadFrame<'_>, conn: &Arc<Conn>, fanout: &mut Fanout, ctx: Ctx<'_>) {
        ctx.counters.add(Counter::PACKETS_FORWARDED_IN, 1);
        let Some(packet) = Packet::forwarded(frame) else { return };
        let route = self.route(&packet.destination, conn, ctx);
        match route.as_ref().filter(|to| !to.is_link()) {
            None => self.unknown(&packet, DropReason::UnknownDestOnFwd, fanout, ctx),
            Some(to) => send(packet, to, fanout, ctx),
        }
    }

    fn route(&mut self, key: &NodeKey, conn: &Arc<Conn>, ctx: Ctx<'_>) -> Route<Conn> {
        if ctx.faults.strikes(Fault::Misroute) {
            return Route::from_inner(Some(conn.clone()));
        }
        let cached = &mut self.cache[key.as_bytes()[0] as usize % CACHED];
        if let Some(known) = cached.as_ref().filter(|entry| entry.key == *key) {
            let route = known.active();
            if route.is_some() {
                return route;
            }
        }
        // An entry whose last connection has left is no longer in the table: another one may be.
        *cached = ctx.table.lookup(key);
        cached.as_ref().map_or_else(|| Route::from_inner(None), |entry| entry.active())
    }

    /// A packet whose destination is nowhere, as far as is known here.
    fn unknown(&mut self, packet: &Packet<'_>, reason: DropReason, fanout: &mut Fanout, ctx: Ctx<'_>) {
        drop_packet(packet, reason, ctx);
        // A relay that finds keys on demand has to be told that its route is stale, whatever it forwards.
        let is_stale = reason == DropReason::UnknownDestOnFwd && ctx.policy.load().lookups.is_some();
        if (packet.info.kind == PacketKind::Disco || is_stale) && may_say_not_here(&mut self.not_here, ctx) {
            fanout.reply(&frame::peer_gone(&packet.destination, PeerGoneReason::NotHere));
        }
    }
}

/// Of a mesh peer. Together they may be so far ahead of the control plane; a peer that asks then is closed.
fn ask(event: Event, conn: &Arc<Conn>, ctx: Ctx<'_>) {
    match ctx.asked.take(1, MOST_ASKED) {
        Some(cached) => ctx.events.push_with(event, cached),
        None => _ = ctx.mail(conn.worker, Mail::Close(conn.clone(), CloseReason::ControlOverflow)),
    }
}

fn next_sample(ctx: Ctx<'_>) -> Option<Instant> {
    let every = ctx.os.round_trip.and(ctx.policy.load().round_trips);
    every.map(|every| ctx.now + every)
}

/// A packet goes to a connection here, or to the relay that has its destination.
fn send(packet: Packet<'_>, to: &Arc<Conn>, fanout: &mut Fanout, ctx: Ctx<'_>) {
    if to.is_link() && !to.is_open() {
        ctx.counters.add(Counter::PACKETS_FORWARDED_OUT, 1);
        return drop_packet(&packet, DropReason::MeshDown, ctx);
    }
    // Not when the whole read goes out: a sender's packets are shown in its order, and some may be dropped in between.
    let Packet { info: PacketInfo { source, kind, .. }, destination, .. } = &packet;
    ctx.show(Tapped { source, destination, kind: *kind, payload: packet.payload(), dropped: None });
    if to.is_link() {
        // Only the other relay can say whether the destination is there.
        fanout.forward(to, packet);
    } else {
        fanout.push(to, packet);
    }
}

fn drop_packet(packet: &Packet<'_>, reason: DropReason, ctx: Ctx<'_>) {
    let Packet { info: PacketInfo { source, kind, .. }, destination, .. } = packet;
    ctx.lost(source, destination, *kind, packet.payload(), reason);
}

/// Takes a token of those that bound how often a connection is told that a peer is not here.
fn may_say_not_here(bucket: &mut Option<Box<TokenBucket>>, ctx: Ctx<'_>) -> bool {
    take(bucket, ctx.policy.load().not_here, ctx)
}

/// Takes a token of a bucket that is made for the first one.
fn take(bucket: &mut Option<Box<TokenBucket>>, rate: Rate, ctx: Ctx<'_>) -> bool {
    let clock = ctx.now.saturating_duration_since(ctx.start);
    bucket.get_or_insert_with(|| Box::new(TokenBucket::new(rate, clock))).take(1, clock)
}
