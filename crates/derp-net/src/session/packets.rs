//! A packet's way: from a frame in the read buffer to the egress of the connection that it is for.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use derp_proto::counters::Counter;
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::frame::{self, FORWARDED_PACKET_AT, KEY_AT, PACKET_AT};
use derp_proto::key::NodeKey;
use derp_proto::limit::TokenBucket;
use derp_proto::wire::PeerGoneReason;

use super::Session;
use crate::conn::Conn;
use crate::egress::{Packet, PacketInfo};
use crate::shared::Shared;

/// The packets of one read, each ready where it lies in the read buffer.
#[derive(Default)]
pub(super) struct Outbox {
    ready: Vec<Ready>,
    destinations: Vec<Arc<Conn>>,
}

struct Ready {
    /// Index into the destinations.
    to: usize,
    at: Range<usize>,
    info: PacketInfo,
}

impl Outbox {
    fn put(&mut self, to: Arc<Conn>, at: Range<usize>, info: PacketInfo) {
        // A read has few destinations, and mostly the one it had last.
        let known = self.destinations.iter().rposition(|known| Arc::ptr_eq(known, &to));
        let to = known.unwrap_or_else(|| {
            self.destinations.push(to);
            self.destinations.len() - 1
        });
        self.ready.push(Ready { to, at, info });
    }
}

impl Session {
    pub(super) fn send_packet(
        &mut self,
        bytes: &mut [u8],
        at: usize,
        outbox: &mut Outbox,
        shared: &Shared,
        now: Instant,
    ) {
        let payload = bytes.len() - PACKET_AT;
        let kind = PacketKind::of(&bytes[PACKET_AT..]);
        shared.counters.add(Counter::packets_received(kind), 1);
        shared.counters.add(Counter::BYTES_RECEIVED, payload as u64);
        self.conn.packets_received.fetch_add(1, Ordering::Relaxed);
        self.conn.bytes_received.fetch_add(payload as u64, Ordering::Relaxed);
        let Some(key) = NodeKey::first_of(&bytes[KEY_AT..]) else { return };
        let (Some(to), Some(source)) = (self.route(&key, shared), self.conn.key()) else {
            self.unknown(&key, kind, payload, DropReason::UnknownDest, shared, now);
            return;
        };
        let info = PacketInfo { source: *source, kind, payload };
        frame::rewrite_send_to_recv(bytes, source);
        outbox.put(to, at..at + bytes.len(), info);
    }

    /// From a mesh peer: goes to a connection here or nowhere, never on to another relay.
    pub(super) fn forward_packet(
        &mut self,
        bytes: &mut [u8],
        at: usize,
        outbox: &mut Outbox,
        shared: &Shared,
        now: Instant,
    ) {
        shared.counters.add(Counter::PACKETS_FORWARDED_IN, 1);
        let payload = bytes.len() - FORWARDED_PACKET_AT;
        let kind = PacketKind::of(&bytes[FORWARDED_PACKET_AT..]);
        let keys = (NodeKey::first_of(&bytes[KEY_AT..]), NodeKey::first_of(&bytes[PACKET_AT..]));
        let (Some(source), Some(key)) = keys else { return };
        let Some(to) = self.route(&key, shared) else {
            self.unknown(&key, kind, payload, DropReason::UnknownDestOnFwd, shared, now);
            return;
        };
        let from = frame::rewrite_forward_to_recv(bytes);
        let info = PacketInfo { source, kind, payload };
        outbox.put(to, at + from..at + bytes.len(), info);
    }

    fn route(&mut self, key: &NodeKey, shared: &Shared) -> Option<Arc<Conn>> {
        let cache = self.cache.get_or_insert_default();
        let place = &mut cache[key.as_bytes()[0] as usize % cache.len()];
        if let Some((_, entry)) = place.as_ref().filter(|(known, _)| known == key)
            && let Some(active) = entry.active()
        {
            return Some(active);
        }
        let entry = shared.table.lookup(key)?;
        let active = entry.active();
        *place = Some((*key, entry));
        active
    }

    fn unknown(
        &mut self,
        key: &NodeKey,
        kind: PacketKind,
        payload: usize,
        reason: DropReason,
        shared: &Shared,
        now: Instant,
    ) {
        shared.counters.dropped(reason, kind, payload);
        if kind != PacketKind::Disco {
            return;
        }
        let policy = shared.policy.load();
        let clock = now.saturating_duration_since(shared.start);
        let bucket = self.not_here.get_or_insert_with(|| TokenBucket::new(policy.not_here, clock));
        if bucket.take(1, clock) {
            let frame = frame::peer_gone(key, PeerGoneReason::NotHere);
            self.conn.control(Box::new(frame), false, shared, now);
        }
    }

    /// Hands the packets of one read on: one write for each destination.
    pub(super) fn deliver(&mut self, bytes: &[u8], outbox: &mut Outbox, shared: &Shared, now: Instant) {
        if outbox.destinations.len() > 1 {
            outbox.ready.sort_by_key(|packet| packet.to);
        }
        for group in outbox.ready.chunk_by(|a, b| a.to == b.to) {
            let to = &outbox.destinations[group[0].to];
            let place = to.id as usize % self.told.len();
            // Packets of mesh peers have many sources.
            let own = !self.conn.mesh.load(Ordering::Relaxed);
            let told = own && self.told[place] == to.id;
            let packets: Vec<Packet<'_>> =
                group.iter().map(|packet| Packet { frame: &bytes[packet.at.clone()], info: packet.info }).collect();
            to.deliver(&packets, told, shared, now);
            if own {
                self.told[place] = to.id;
            }
        }
    }
}
