//! Connections that come to nothing before they are DERP: counted and told of, by why, and ended.

use derp_proto::counters::Counter;

use super::Connections;
use super::phase::Phase;
use crate::base::close_reason::CloseReason;
use crate::hub::ctx::Ctx;
use crate::io::tls::HandshakeFault;
use crate::state::strangers::Full;

impl Connections {
    /// Counts why a connection ends, if it is a handshake or waits for its request.
    pub(super) fn count_failure(&self, token: usize, fault: HandshakeFault, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get(token) else { return };
        match &slot.phase {
            Phase::TlsHandshake(handshake) => {
                let name = handshake.tls.server_name();
                // To those who made room their end looks like a hang-up.
                let what = match fault {
                    HandshakeFault::HungUp if handshake.guest.is_evicted() => Counter::HANDSHAKES_FAILED_EVICTED,
                    // The certificate that it has waited for has not come.
                    HandshakeFault::Timeout if handshake.parked.is_some() => Counter::HANDSHAKES_FAILED_NO_CERTIFICATE,
                    _ => fault.counter(!name.is_empty()),
                };
                ctx.handshake_failed(what, handshake.accepted.peer, name, fault.alert());
            }
            Phase::RequestHead(head) => {
                let what = match fault {
                    HandshakeFault::Timeout => Counter::REQUESTS_FAILED_TIMEOUT,
                    _ if head.is_evicted() => Counter::REQUESTS_FAILED_EVICTED,
                    _ => Counter::REQUESTS_FAILED_HUNG_UP,
                };
                ctx.failed(what, head.peer);
            }
            Phase::Derp(_)
            | Phase::MeshDial(_)
            | Phase::MeshLink(_)
            | Phase::Bridge(_)
            | Phase::Pair(_)
            | Phase::Leaving(_) => {}
        }
    }

    /// Ends a connection that has failed.
    pub(super) fn fail(&mut self, token: usize, fault: HandshakeFault, ctx: Ctx<'_>) {
        self.count_failure(token, fault, ctx);
        self.remove(token, CloseReason::Disconnected, ctx);
    }

    /// Ends a connection for which there is no place where its request leads; or that has made room meanwhile.
    pub(super) fn turn_away(&mut self, token: usize, full: Option<Full>, ctx: Ctx<'_>) {
        match (full, self.slots.get(token).map(|slot| &slot.phase)) {
            (Some(full), Some(Phase::RequestHead(head))) => ctx.turned_away(full, head.peer),
            (Some(full), Some(Phase::TlsHandshake(handshake))) => ctx.turned_away(full, handshake.accepted.peer),
            _ => self.count_failure(token, HandshakeFault::HungUp, ctx),
        }
        self.remove(token, CloseReason::Refused, ctx);
    }
}
