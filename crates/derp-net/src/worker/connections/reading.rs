//! Reading a connection: as much as is its turn, and what becomes of it by what the connection is.

use std::io::{ErrorKind, Read};
use std::ops::Range;

use derp_proto::http_head::Head;
use derp_tls::Alert;

use super::Connections;
use super::SCRATCH;
use super::phase::{ConnSlot, Phase};
use crate::base::close_reason::CloseReason;
use crate::hub::ctx::Ctx;
use crate::io::tls::{Decrypted, HandshakeFault};

/// Reads of one connection before the others have their turn.
const READS: usize = 4;

impl Connections {
    /// Reads until the socket is empty, or others have to have their turn.
    pub(super) fn read(&mut self, token: usize, ctx: Ctx<'_>) {
        self.read_in_turn(token, ctx);
        self.weigh(token, ctx);
    }

    fn read_in_turn(&mut self, token: usize, ctx: Ctx<'_>) {
        for _ in 0..READS {
            if !self.read_once(token, ctx) {
                return;
            }
        }
        if let Some(slot) = self.slots.get_mut(token) {
            slot.is_ready = true;
            self.ready.push((token, slot.id));
        }
    }

    /// True if there may be more to read.
    fn read_once(&mut self, token: usize, ctx: Ctx<'_>) -> bool {
        let Some(slot) = self.slots.get_mut(token) else {
            return false;
        };
        let Some(room) = slot.phase.room(ctx) else { return false };
        let kept = slot.tls_reader.as_ref().map_or(0, |tls_reader| tls_reader.put_back(&mut self.scratch));
        let room = room.min(SCRATCH - kept);
        let hung_up = slot.hung_up;
        if room == 0 {
            // A handshake that waits has sent nothing that could be lost. What a client of DERP has sent waits, for its
            // admission or its receive limit, and a hang-up is seen behind it.
            if hung_up && !matches!(slot.phase, Phase::Derp(_)) {
                self.fail(token, HandshakeFault::HungUp, ctx);
            }
            return false;
        }
        match (&*slot.stream).read(&mut self.scratch[kept..kept + room]) {
            Ok(count) if count > 0 => {
                self.received(token, kept + count, ctx);
                // A short read has emptied the socket: what comes next is announced. The end has been, if so.
                count == room || hung_up
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // What has ended reads as ended: that word was of a connection that had this place before.
                if let Some(slot) = self.slots.get_mut(token) {
                    slot.hung_up = false;
                }
                false
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Ok(_) | Err(_) => {
                self.hang_up(token, Alert::CLOSE_NOTIFY, ctx);
                false
            }
        }
    }

    /// So many bytes of the scratch have come.
    pub(super) fn received(&mut self, token: usize, count: usize, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Some(tls_reader) = &mut slot.tls_reader else { return self.arrived(token, 0..count, ctx) };
        let Decrypted { plaintext, key_update_requested, end } = tls_reader.open(&mut self.scratch[..count]);
        if !slot.is_warm {
            slot.is_warm = true;
            self.cipher_sweep.add((token, slot.id));
        }
        if key_update_requested {
            match &mut slot.phase {
                Phase::RequestHead(head) => head.owe_key_update(),
                phase => _ = phase.conn().map(|conn| conn.owe_key_update(ctx)),
            }
        }
        if !plaintext.is_empty() {
            self.arrived(token, plaintext, ctx);
        }
        // Whatever comes before the end has been done, or waits.
        if let Some(alert) = end {
            self.hang_up(token, alert, ctx);
        }
    }

    /// Nothing more comes of the peer. Over TLS it is told why by this alert.
    pub(super) fn hang_up(&mut self, token: usize, alert: Alert, ctx: Ctx<'_>) {
        self.count_failure(token, HandshakeFault::HungUp, ctx);
        let Some(ConnSlot { stream, phase, .. }) = self.slots.get_mut(token) else { return };
        match phase {
            Phase::Derp(session) => {
                if session.ends_later(alert) {
                    return;
                }
                if alert != Alert::CLOSE_NOTIFY {
                    session.conn().alert(alert, ctx);
                }
            }
            // Its request was in the same read.
            Phase::Bridge(bridge) if alert == Alert::CLOSE_NOTIFY => {
                bridge.client_ends();
                return self.cross(token, ctx);
            }
            Phase::Bridge(bridge) => bridge.alert(alert),
            Phase::RequestHead(head) => head.alert(alert, stream),
            Phase::MeshLink(link) => link.conn().alert(alert, ctx),
            Phase::TlsHandshake(_) | Phase::MeshDial(_) | Phase::Leaving(_) | Phase::Pair(_) => {}
        }
        self.remove(token, CloseReason::Disconnected, ctx);
    }

    /// These bytes of the scratch have come, decrypted if the connection has its keys: what they mean is the phase's to say.
    fn arrived(&mut self, token: usize, bytes: Range<usize>, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        match &mut slot.phase {
            Phase::TlsHandshake(_) => self.shake(token, bytes.len(), ctx),
            Phase::RequestHead(head) => match head.feed(&self.scratch[bytes], ctx.policy.load().head_bytes) {
                Head::More => {}
                Head::Http | Head::Bad => self.hand_over(token, ctx),
                Head::Derp(upgrade) => self.upgrade(token, &upgrade, ctx),
            },
            Phase::Derp(_) => {
                self.step(token, ctx, |session, scratch, fanout| session.receive(&mut scratch[bytes], fanout, ctx));
            }
            Phase::MeshDial(dial) if dial.is_handshaking() => self.dial_on(token, bytes.len(), ctx),
            Phase::MeshDial(_) => self.log_in(token, bytes, ctx),
            Phase::MeshLink(link) => {
                let next = link.feed(&self.scratch[bytes], ctx);
                self.settle(token, next, ctx);
            }
            Phase::Leaving(leaving) => {
                if !leaving.bear(bytes.len()) {
                    self.remove(token, CloseReason::Disconnected, ctx);
                }
            }
            // Both are read by their bridge.
            Phase::Bridge(_) | Phase::Pair(_) => {}
        }
    }
}
