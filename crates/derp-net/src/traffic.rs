//! What an admitted client sends, and what becomes of it: a packet's way, top to bottom.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use derp_proto::counters::Counter;
use derp_proto::decode::FrameHeader;
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::frame::{self, FORWARDED_PACKET_AT, KEY_AT, PACKET_AT};
use derp_proto::inbound::{self, Body, ProtocolError};
use derp_proto::key::NodeKey;
use derp_proto::limit::{Rate, TokenBucket};
use derp_proto::wire::{FrameType, HEADER_LENGTH, PeerGoneReason};

use crate::batch::{Batch, Lies};
use crate::conn::Conn;
use crate::egress::PacketInfo;
use crate::events::Event;
use crate::faults::Fault;
use crate::reason::CloseReason;
use crate::shared::Turn;
use crate::table::{Entry, Route};
use crate::tap::Tapped;
use crate::worker::Mail;

/// Where a connection has sent packets lately. It holds the table's entries, so a change of route needs no word here.
type Cache = [Option<Arc<Entry>>; CACHED];
const CACHED: usize = 2;

/// What mesh peers may have asked for that the control plane has not read of.
const MOST_ASKED: usize = 4096;
/// Of a receive limit.
const LONGEST_WAIT: Duration = Duration::from_secs(3600 * 24 * 365);

/// The way in of one admitted connection. Owned by its worker.
pub(crate) struct Traffic {
    /// Its own place in the table.
    entry: Arc<Entry>,
    mesh: bool,
    cache: Cache,
    not_here: Option<Box<TokenBucket>>,
    receive: Option<Box<TokenBucket>>,
    /// Of the rate that it was filled by.
    receive_epoch: u32,
    /// A limit of its own, in place of the policy's.
    own_limit: Option<Box<Rate>>,
    held_until: Option<Instant>,
    keep_alive_at: Instant,
    /// When its round trip is to be counted.
    sample_at: Option<Instant>,
}

impl Traffic {
    pub(crate) fn new(
        entry: Arc<Entry>,
        mesh: bool,
        limit: Option<Rate>,
        keep_alive_at: Instant,
        turn: Turn<'_>,
    ) -> Self {
        Self {
            entry,
            mesh,
            cache: Cache::default(),
            not_here: None,
            receive: None,
            receive_epoch: 0,
            own_limit: limit.map(Box::new),
            held_until: None,
            keep_alive_at,
            sample_at: next_sample(turn),
        }
    }

    /// When something is due.
    pub(crate) fn deadline(&self) -> Instant {
        [self.held_until, self.sample_at].into_iter().flatten().fold(self.keep_alive_at, Instant::min)
    }

    /// Whether it is time to count the round trip, until the next time.
    pub(crate) fn samples(&mut self, turn: Turn<'_>) -> bool {
        let due = self.sample_at.is_some_and(|when| turn.now >= when);
        if due {
            self.sample_at = next_sample(turn);
        }
        due
    }

    /// A header has come. Says whether its body is wanted, or that the connection has to end.
    pub(crate) fn header(
        &mut self,
        header: FrameHeader,
        conn: &Arc<Conn>,
        turn: Turn<'_>,
    ) -> Result<bool, ProtocolError> {
        self.charge(header.length, turn);
        self.entry.activity(conn, &turn.events);
        if header.kind == FrameType::Ping as u8 {
            turn.counters.add(Counter::GOT_PING, 1);
        }
        Ok(inbound::check(header, self.mesh)? == Body::Wanted)
    }

    /// A whole frame, at `at` in the memory where it lies. Packets are made ready, everything else is done.
    pub(crate) fn frame(
        &mut self,
        bytes: &mut [u8],
        lies: Lies,
        at: usize,
        conn: &Arc<Conn>,
        batch: &mut Batch,
        turn: Turn<'_>,
    ) {
        match FrameType::from_u8(bytes[0]) {
            Some(FrameType::SendPacket) => self.send_packet(bytes, lies, at, conn, batch, turn),
            Some(FrameType::ForwardPacket) => self.forward_packet(bytes, lies, at, conn, batch, turn),
            Some(FrameType::NotePreferred) => turn.events.prefer(conn, bytes[HEADER_LENGTH] != 0),
            Some(FrameType::WatchConns) => ask(Event::Watch { id: conn.id }, conn, turn),
            Some(FrameType::ClosePeer) => {
                if let Some(target) = NodeKey::first_of(&bytes[KEY_AT..]) {
                    ask(Event::ClosePeer { id: conn.id, target }, conn, turn);
                }
            }
            Some(FrameType::Ping) => {
                if let Some(ping) = bytes[HEADER_LENGTH..].first_chunk() {
                    batch.answer(*ping);
                }
            }
            _ => {}
        }
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
    pub(crate) fn release(&mut self, turn: Turn<'_>) -> bool {
        let over = self.held_until.is_none_or(|until| turn.now >= until) || self.is_new_limit(turn);
        if over {
            self.held_until = None;
        }
        over
    }

    fn is_new_limit(&self, turn: Turn<'_>) -> bool {
        self.receive.as_ref().map(|bucket| bucket.rate()) != self.limit(turn)
            || (self.own_limit.is_none()
                && self.receive.is_some()
                && self.receive_epoch != turn.policy.load().receive_epoch)
    }

    fn limit(&self, turn: Turn<'_>) -> Option<Rate> {
        self.own_limit.as_deref().copied().or(turn.policy.load().receive)
    }

    /// A frame counts without its header, as derper counts it.
    fn charge(&mut self, length: u32, turn: Turn<'_>) {
        if self.mesh || (self.receive.is_none() && self.limit(turn).is_none()) {
            return;
        }
        let clock = turn.now.saturating_duration_since(turn.start);
        if self.is_new_limit(turn) {
            self.receive = self.limit(turn).map(|rate| Box::new(TokenBucket::new(rate, clock)));
            self.receive_epoch = turn.policy.load().receive_epoch;
        }
        let Some(bucket) = &mut self.receive else { return };
        let wait = bucket.charge(length.into(), clock);
        if !wait.is_zero() {
            turn.counters.add(Counter::RATE_LIMIT_WAITS, 1);
            // As good as for ever, and within what an Instant can be.
            self.held_until = Some(turn.now + wait.min(LONGEST_WAIT));
        }
    }

    /// Sends a KeepAlive, if it is time.
    pub(crate) fn keep_alive(&mut self, conn: &Arc<Conn>, turn: Turn<'_>) {
        if turn.now >= self.keep_alive_at {
            conn.control(&frame::KEEP_ALIVE, false, turn);
            self.keep_alive_at = next_keep_alive(turn);
        }
    }

    fn send_packet(
        &mut self,
        bytes: &mut [u8],
        lies: Lies,
        at: usize,
        conn: &Arc<Conn>,
        batch: &mut Batch,
        turn: Turn<'_>,
    ) {
        let payload = bytes.len() - PACKET_AT;
        let kind = PacketKind::of(&bytes[PACKET_AT..]);
        batch.count_received(kind, payload);
        let Some(key) = NodeKey::first_of(&bytes[KEY_AT..]) else { return };
        let info = PacketInfo { source: self.entry.key, kind, payload };
        let route = self.route(&key, conn, turn);
        let Some(to) = &*route else {
            return self.unknown(&key, &info, &bytes[PACKET_AT..], DropReason::UnknownDest, batch, turn);
        };
        if to.is_link() {
            return self.forward_on(to, &key, info, &bytes[PACKET_AT..], (lies, at..at + bytes.len()), batch, turn);
        }
        frame::rewrite_send_to_recv(bytes, &self.entry.key);
        batch.push(to, lies, at..at + bytes.len(), info);
    }

    /// To another relay, which alone can say whether the destination is there.
    #[expect(clippy::too_many_arguments, reason = "what is known of one packet")]
    fn forward_on(
        &self,
        link: &Arc<Conn>,
        destination: &NodeKey,
        info: PacketInfo,
        payload: &[u8],
        (lies, range): (Lies, Range<usize>),
        batch: &mut Batch,
        turn: Turn<'_>,
    ) {
        if link.is_open() {
            return batch.forward(link, lies, range, info);
        }
        turn.counters.add(Counter::PACKETS_FORWARDED_OUT, 1);
        drop_packet(DropReason::MeshDown, &info, destination, payload, turn);
    }

    /// From a mesh peer: goes to a connection here or nowhere, never on to another relay.
    fn forward_packet(
        &mut self,
        bytes: &mut [u8],
        lies: Lies,
        at: usize,
        conn: &Arc<Conn>,
        batch: &mut Batch,
        turn: Turn<'_>,
    ) {
        turn.counters.add(Counter::PACKETS_FORWARDED_IN, 1);
        let payload = bytes.len() - FORWARDED_PACKET_AT;
        let kind = PacketKind::of(&bytes[FORWARDED_PACKET_AT..]);
        let keys = (NodeKey::first_of(&bytes[KEY_AT..]), NodeKey::first_of(&bytes[PACKET_AT..]));
        let (Some(source), Some(key)) = keys else { return };
        let info = PacketInfo { source, kind, payload };
        let route = self.route(&key, conn, turn);
        let Some(to) = route.as_ref().filter(|to| !to.is_link()) else {
            return self.unknown(&key, &info, &bytes[FORWARDED_PACKET_AT..], DropReason::UnknownDestOnFwd, batch, turn);
        };
        let start = frame::rewrite_forward_to_recv(bytes);
        batch.push(to, lies, at + start..at + bytes.len(), info);
    }

    fn route(&mut self, key: &NodeKey, conn: &Arc<Conn>, turn: Turn<'_>) -> Route {
        if turn.faults.strikes(Fault::Misroute) {
            return Route::from_inner(Some(conn.clone()));
        }
        let place = &mut self.cache[key.as_bytes()[0] as usize % CACHED];
        if let Some(known) = place.as_ref().filter(|entry| entry.key == *key) {
            let route = known.active();
            if route.is_some() {
                return route;
            }
        }
        // An entry whose last connection has left is no longer in the table: another one may be.
        *place = turn.table.lookup(key);
        place.as_ref().map_or_else(|| Route::from_inner(None), |entry| entry.active())
    }

    fn unknown(
        &mut self,
        key: &NodeKey,
        info: &PacketInfo,
        payload: &[u8],
        reason: DropReason,
        batch: &mut Batch,
        turn: Turn<'_>,
    ) {
        drop_packet(reason, info, key, payload, turn);
        if info.kind != PacketKind::Disco {
            return;
        }
        let rate = turn.policy.load().not_here;
        let clock = turn.now.saturating_duration_since(turn.start);
        let bucket = self.not_here.get_or_insert_with(|| Box::new(TokenBucket::new(rate, clock)));
        if bucket.take(1, clock) {
            batch.reply(&frame::peer_gone(key, PeerGoneReason::NotHere));
        }
    }
}

/// Of a mesh peer. Together they may be so far ahead of the control plane; whoever asks then is closed.
fn ask(event: Event, conn: &Arc<Conn>, turn: Turn<'_>) {
    match turn.asked.take(1, MOST_ASKED) {
        Some(place) => turn.events.push_with(event, place),
        None => _ = turn.mail(conn.worker, Mail::Close(conn.clone(), CloseReason::ControlOverflow)),
    }
}

fn next_sample(turn: Turn<'_>) -> Option<Instant> {
    let every = turn.system.round_trip.and(turn.policy.load().round_trips);
    every.map(|every| turn.now + every)
}

/// A packet that nobody is sent.
fn drop_packet(reason: DropReason, info: &PacketInfo, destination: &NodeKey, payload: &[u8], turn: Turn<'_>) {
    turn.counters.dropped(reason, info.kind, info.payload);
    if let Some(watched) = turn.watched(destination) {
        watched.dropped(info.source, reason);
    }
    if turn.tap.is_on() {
        let PacketInfo { source, kind, .. } = info;
        turn.tap([Tapped { source, destination, kind: *kind, payload, dropped: Some(reason) }]);
    }
}

/// A while from now, and a random part of another: clients that came together are kept alive apart.
pub(crate) fn next_keep_alive(turn: Turn<'_>) -> Instant {
    let policy = turn.policy.load();
    let mut random = [0; 4];
    // Without randomness all clients would be kept alive at once, which hurts nobody but the relay.
    let _ = getrandom::fill(&mut random);
    let share = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
    turn.now + policy.keep_alive + policy.keep_alive_jitter.mul_f64(share)
}
