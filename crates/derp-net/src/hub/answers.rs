//! What the control plane says of keys that it was asked for, and what becomes then of the packets that wait for them.

#[cfg(all(test, not(loom)))]
mod tests;

use std::sync::Arc;

use derp_proto::counters::Counter;
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::frame;
use derp_proto::key::NodeKey;
use derp_proto::wire::PeerGoneReason;

use crate::base::policy::LookupBounds;
use crate::conn::Conn;
use crate::egress::{Frame, PacketInfo};
use crate::hub::ctx::Ctx;
use crate::state::lookups::{Left, WaitingPacket};
use crate::state::tap::Tapped;

impl Ctx<'_> {
    /// A link leads to the key, or none does any more. What waits goes into the link first.
    pub(crate) fn route(self, key: &NodeKey, via: Option<Arc<Conn>>) {
        let Some(link) = via.as_ref().filter(|_| self.policy.load().lookups.is_some()) else {
            return self.table.route(key, via);
        };
        self.lookups.routed(key, |packets| {
            if self.is_here(key) {
                self.drop_waiting(key, &packets, DropReason::UnknownDest);
            } else if !packets.is_empty() {
                self.forward_waiting(key, link, &packets);
            }
            self.table.route(key, via.clone());
        });
        self.keep_time();
    }

    /// The key is nowhere.
    pub(crate) fn missing(self, key: &NodeKey) {
        if self.is_here(key) {
            self.drop_waiting(key, &self.lookups.take(key), DropReason::UnknownDest);
        } else if let Some(packets) = self.lookups.missing(key, self.now) {
            self.deny(key, &packets);
        }
        self.keep_time();
    }

    /// The policy has these bounds. Without any, everything that is asked for is missing.
    pub(crate) fn bound_lookups(self, bounds: Option<LookupBounds>) {
        self.subscribers.heard.turn(bounds.is_some());
        for (key, packets) in self.lookups.bound(bounds) {
            if self.is_here(&key) {
                self.drop_waiting(&key, &packets, DropReason::UnknownDest);
            } else {
                self.deny(&key, &packets);
            }
        }
        self.keep_time();
    }

    /// The plane has ended.
    pub(crate) fn end_lookups(self) {
        for (key, packets) in self.lookups.bound(None) {
            self.drop_waiting(&key, &packets, DropReason::UnknownDest);
        }
    }

    /// Lookups, or single packets, have made room for those of another address.
    pub(crate) fn evict(self, evicted: &[Left]) {
        for (key, packets) in evicted {
            self.counters.add(Counter::LOOKUPS_EVICTED, 1);
            if self.is_here(key) {
                self.drop_waiting(key, packets, DropReason::UnknownDest);
            } else {
                self.refuse(key, packets);
            }
        }
    }

    /// A connection of the key has come here.
    pub(crate) fn is_found(self, key: &NodeKey) {
        if self.policy.load().lookups.is_some() {
            self.lookups.found(key);
        }
    }

    /// New sources have packets for connections that are to be told when they leave.
    pub(crate) fn tell_heard(self) {
        if self.subscribers.heard.settle(|source| self.is_here(source)) {
            self.events.bell.ring_later();
        }
    }

    /// Packets that waited will not go anywhere.
    pub(crate) fn drop_waiting(self, key: &NodeKey, packets: &[WaitingPacket], reason: DropReason) {
        for packet in packets {
            let ctx = if packet.is_uncounted { self.uncounted() } else { self };
            ctx.lost(&packet.source, key, packet.measure.kind, packet.payload(), reason);
        }
    }

    /// A packet is sent to no connection: counts it, and tells those that watch its destination.
    pub(crate) fn lost(
        self,
        source: &NodeKey,
        destination: &NodeKey,
        kind: PacketKind,
        payload: &[u8],
        reason: DropReason,
    ) {
        self.counters.dropped(reason, kind, payload.len());
        if let Some(watched) = self.watched(destination) {
            watched.dropped(*source, reason);
        }
        self.show(Tapped { source, destination, kind, payload, dropped: Some(reason) });
    }

    /// Whether the key has a connection here.
    fn is_here(&self, key: &NodeKey) -> bool {
        let entry = self.table.lookup(key);
        entry.is_some_and(|entry| entry.active().as_ref().is_some_and(|active| !active.is_link()))
    }

    /// Has the control plane woken in time for drops and taps: it is workers that look at the clock, and all may be asleep.
    fn keep_time(&self) {
        if self.events.bell.waits() {
            let _ = self.mailboxes[0].waker.wake();
        }
    }

    /// The key is nowhere.
    fn deny(self, key: &NodeKey, packets: &[WaitingPacket]) {
        self.counters.add(Counter::LOOKUPS_MISSING, 1);
        self.refuse(key, packets);
    }

    /// Packets will not go anywhere, and senders of discovery packets are told.
    fn refuse(self, key: &NodeKey, packets: &[WaitingPacket]) {
        self.drop_waiting(key, packets, DropReason::UnknownDest);
        let not_here = frame::peer_gone(key, PeerGoneReason::NotHere);
        for conn in packets.iter().filter(|packet| packet.is_answered).filter_map(|packet| self.conn(packet.from)) {
            conn.control(&not_here, false, self);
        }
    }

    /// The key is at another relay.
    fn forward_waiting(self, key: &NodeKey, link: &Arc<Conn>, packets: &[WaitingPacket]) {
        for packet in packets {
            let ctx = if packet.is_uncounted { self.uncounted() } else { self };
            ctx.counters.add(Counter::PACKETS_FORWARDED_OUT, 1);
        }
        if !link.is_open() {
            return self.drop_waiting(key, packets, DropReason::MeshDown);
        }
        if self.tap.is_on() {
            let seen = packets.iter().filter(|packet| !packet.is_uncounted);
            self.tap(seen.map(|packet| Tapped {
                source: &packet.source,
                destination: key,
                kind: packet.measure.kind,
                payload: packet.payload(),
                dropped: None,
            }));
        }
        let heads: Vec<_> =
            packets.iter().map(|packet| frame::forward_head(&packet.source, packet.measure.payload)).collect();
        let frames: Vec<_> = packets.iter().zip(&heads).map(|(packet, head)| frame_of(packet, head)).collect();
        link.deliver(&frames, self);
    }
}

fn frame_of<'a>(packet: &'a WaitingPacket, head: &'a [u8]) -> Frame<'a> {
    let WaitingPacket { source, measure, body, .. } = packet;
    let info = PacketInfo { source: *source, kind: measure.kind, payload: measure.payload };
    Frame { head, bytes: body, packet: Some(info) }
}
