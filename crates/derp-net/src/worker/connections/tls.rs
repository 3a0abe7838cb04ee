//! Connections over TLS: from the handshake to what is known of any other connection, and the bridges of those that are
//! Node's.

use std::mem;
use std::ops::Range;

use derp_proto::counters::Counter;
use derp_tls::Need;

use super::Connections;
use super::handshake::{ParkedHandshake, TlsAccept};
use super::phase::{ConnSlot, Phase};
use crate::base::close_reason::CloseReason;
use crate::base::faults::Fault;
use crate::hub::ctx::Ctx;
use crate::hub::shared::BridgeAddress;
use crate::ingress::request_head::RequestHead;
use crate::io::bridge::{Bridge, Crossed};
use crate::io::tls::{HandshakeFault, HandshakeOutcome, HandshakeProgress, TlsReader, TlsWriter};
use crate::io::writer::send;
use crate::state::events::Event;
use crate::state::strangers::Stage;

/// Descriptors of a connection that is the HTTP server's: its own, and both ends of the pair.
const BRIDGED: usize = 3;

impl Connections {
    /// Goes on with a handshake.
    pub(super) fn shake(&mut self, token: usize, count: usize, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Phase::TlsHandshake(handshake) = &mut slot.phase else { return };
        let shaken = match (&*ctx.certificates.load(), slot.stream.local_addr()) {
            (Some(certificates), Ok(address)) => handshake.tls.feed(&self.scratch[..count], address.ip(), certificates),
            _ => Err(HandshakeFault::NoCertificate),
        };
        send(&slot.stream, &mut handshake.tls.out);
        let HandshakeOutcome { receiver, mut tls_writer, used } = match shaken {
            Ok(HandshakeProgress::Reading) => return,
            Ok(HandshakeProgress::NeedsCertificate(need, used)) => return self.park(token, need, used..count, ctx),
            Ok(HandshakeProgress::Done(secured)) => secured,
            Err(fault) => return self.fail(token, fault, ctx),
        };
        send(&slot.stream, &mut tls_writer.tail);
        slot.tls_reader = Some(Box::new(TlsReader::new(receiver)));
        // The place is dropped with the old phase, and this one is taken from it.
        let Phase::TlsHandshake(handshake) = mem::replace(&mut slot.phase, Phase::Pair(usize::MAX)) else { return };
        let TlsAccept { accepted, guest, .. } = *handshake;
        let deadline = ctx.now + guest.patience(ctx.policy.load().head_deadline);
        slot.phase = Phase::RequestHead(Box::new(RequestHead::new(&accepted, Some(tls_writer), guest, deadline)));
        self.wheel.arm((token, slot.id), &mut slot.visit, deadline);
        if used < count {
            self.scratch.copy_within(used..count, 0);
            self.received(token, count - used, ctx);
        }
    }

    /// Has a handshake wait for a certificate, in the place of the oldest one if many do. It is read no more, but for its end.
    fn park(&mut self, token: usize, need: Need, unread: Range<usize>, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Phase::TlsHandshake(handshake) = &mut slot.phase else { return };
        let policy = ctx.policy.load();
        // Those that have not been read of may have made room already, and are in the queue of events all the same.
        let (Some(share), Ok(address)) = (ctx.needs.take(1, policy.handshakes), slot.stream.local_addr()) else {
            ctx.failed(Counter::CONNECTIONS_REFUSED, handshake.accepted.peer);
            return self.refuse_handshake(token, ctx);
        };
        if let Err(full) = handshake.guest.advance(Stage::Parked, &policy, ctx.now) {
            handshake.tls.refuse();
            send(&slot.stream, &mut handshake.tls.out);
            return self.turn_away(token, full, ctx);
        }
        ctx.events.certificate_needed(slot.id, need, address.ip(), share);
        let one = ctx.parked.take(1, usize::MAX);
        handshake.parked = Some(ParkedHandshake { _one: one, unread: self.scratch[unread].to_vec() });
        handshake.deadline = ctx.now + handshake.guest.patience(policy.certificate_deadline);
        self.wheel.arm((token, slot.id), &mut slot.visit, handshake.deadline);
        self.parked.insert(slot.id, token);
    }

    /// There is no certificate for it, and it may not wait for one.
    fn refuse_handshake(&mut self, token: usize, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        if let Phase::TlsHandshake(handshake) = &mut slot.phase {
            handshake.tls.refuse();
            send(&slot.stream, &mut handshake.tls.out);
        }
        self.remove(token, CloseReason::Refused, ctx);
    }

    /// There are other certificates: goes on with the handshakes that have waited for one of them.
    pub(crate) fn look_again(&mut self, ctx: Ctx<'_>) {
        let tokens: Vec<usize> = self.parked.values().copied().collect();
        for token in tokens {
            self.go_on_with_handshake(token, ctx);
        }
    }

    fn go_on_with_handshake(&mut self, token: usize, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Phase::TlsHandshake(handshake) = &mut slot.phase else { return };
        let certified = match (&*ctx.certificates.load(), slot.stream.local_addr()) {
            (Some(certificates), Ok(address)) => handshake.tls.certify(address.ip(), certificates),
            _ => Err(HandshakeFault::NoCertificate),
        };
        match certified {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.parked.remove(&slot.id);
                let unread = handshake.parked.take().map(|parked| parked.unread).unwrap_or_default();
                let policy = ctx.policy.load();
                if let Err(full) = handshake.guest.advance(Stage::Arriving, &policy, ctx.now) {
                    return self.turn_away(token, full, ctx);
                }
                handshake.deadline = ctx.now + handshake.guest.patience(policy.handshake_deadline);
                self.wheel.arm((token, slot.id), &mut slot.visit, handshake.deadline);
                self.scratch[..unread.len()].copy_from_slice(&unread);
                self.shake(token, unread.len(), ctx);
                self.read(token, ctx);
            }
            Err(fault) => {
                send(&slot.stream, &mut handshake.tls.out);
                self.fail(token, fault, ctx);
            }
        }
    }

    /// Ends a handshake that waits for a certificate, if it is one of these.
    pub(crate) fn close_parked(&mut self, id: u64, ctx: Ctx<'_>) {
        if let Some(&token) = self.parked.get(&id) {
            self.fail(token, HandshakeFault::NoCertificate, ctx);
        }
    }

    /// Carries bytes over a bridge.
    pub(super) fn cross(&mut self, token: usize, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Phase::Bridge(bridge) = &mut slot.phase else { return };
        if !slot.is_warm {
            slot.is_warm = true;
            self.cipher_sweep.add((token, slot.id));
        }
        match bridge.cross(&slot.stream, &mut self.scratch) {
            Crossed::Waits => {}
            Crossed::More if !slot.is_ready => {
                slot.is_ready = true;
                self.ready.push((token, slot.id));
            }
            Crossed::More => {}
            Crossed::Over => self.remove(token, CloseReason::Disconnected, ctx),
        }
    }

    /// Node has closed its end of a bridge's pair.
    pub(super) fn left_by_node(&mut self, token: usize, ctx: Ctx<'_>) {
        if let Some(ConnSlot { id, phase: Phase::Bridge(bridge), visit, .. }) = self.slots.get_mut(token) {
            self.wheel.arm((token, *id), visit, bridge.left_by_node(ctx.now));
        }
    }

    /// Gives the plaintext of a TLS connection to the HTTP server.
    pub(super) fn bridge(&mut self, token: usize, ctx: Ctx<'_>) {
        if let Err(full) = self.leaves_for_http(token, ctx) {
            return self.turn_away(token, full, ctx);
        }
        let Some(slot) = self.slots.get_mut(token) else { return };
        if !slot.room.set(BRIDGED, ctx.policy.load().connections) {
            if let Phase::RequestHead(head) = &slot.phase {
                ctx.failed(Counter::CONNECTIONS_REFUSED, head.peer);
            }
            return self.remove(token, CloseReason::Refused, ctx);
        }
        let Some(tls_reader) = slot.tls_reader.take() else { return };
        let Phase::RequestHead(mut head) = mem::replace(&mut slot.phase, Phase::Pair(usize::MAX)) else {
            return;
        };
        let id = slot.id;
        let (writer, tls) = TlsWriter::socket_writer(head.secure.take(), &slot.stream);
        let (peer, listener) = (head.peer, head.listener);
        let guest = head.guest().take();
        let received = head.into_received();
        let bridge = ctx.faults.try_to(Fault::Pair).and_then(|()| Bridge::new(writer, *tls_reader));
        let (mut bridge, stream) = match bridge {
            Ok(bridge) => bridge,
            Err(error) => {
                ctx.trouble("a pair of sockets", error);
                return self.remove(token, CloseReason::InternalError, ctx);
            }
        };
        let pair = bridge.pair().clone();
        let Ok(pair_token) = self.insert(id, pair, Phase::Pair(token), ctx.room.nothing(), ctx) else {
            return self.remove(token, CloseReason::InternalError, ctx);
        };
        bridge.pair_token = pair_token;
        if let Some(slot) = self.slots.get_mut(token) {
            slot.phase = Phase::Bridge(Box::new(bridge));
        }
        // Before another thread can ask for it.
        ctx.bridges.lock().insert(id, BridgeAddress { worker: self.worker, token, tls });
        ctx.events.push_guest(Event::Duplex { id, listener, peer, tls, stream, received }, guest);
        self.cross(token, ctx);
    }
}
