//! How connections of DERP end: at once, or with a socket that still has something to send.

use std::mem;
use std::net::Shutdown;
use std::sync::Arc;

use super::Connections;
use super::leaving::Leaving;
use super::phase::Phase;
use crate::base::close_reason::CloseReason;
use crate::conn::Conn;
use crate::hub::ctx::Ctx;

impl Connections {
    /// Ends a connection, but for its socket, if there is more to be done there. False if there is not.
    pub(super) fn leave(&mut self, token: usize, reason: CloseReason, ctx: Ctx<'_>) -> bool {
        let Some(slot) = self.slots.get_mut(token) else { return false };
        let Phase::Derp(session) = &slot.phase else { return false };
        let at_once = matches!(
            reason,
            CloseReason::Shutdown | CloseReason::WriteTimeout | CloseReason::OverBudget | CloseReason::InternalError
        );
        let is_web_socket = session.is_web_socket();
        // A WebSocket ends both ways at once.
        let waits = !is_web_socket && reason == CloseReason::Disconnected && session.conn().waits(ctx);
        if at_once || !(is_web_socket || waits) {
            return false;
        }
        let leaving = Leaving::new(waits.then(|| session.conn().clone()), ctx.now);
        self.wheel.arm((token, slot.id), &mut slot.visit, ctx.now);
        slot.tls_reader = None;
        let Phase::Derp(session) = mem::replace(&mut slot.phase, Phase::Leaving(leaving)) else { return true };
        if waits {
            session.leave(reason, ctx);
            return true;
        }
        // It may have been shut by the peer.
        let stream = slot.stream.clone();
        session.close(reason, ctx);
        let _ = stream.shutdown(Shutdown::Write);
        self.read(token, ctx);
        true
    }

    /// The socket of a connection that leaves takes bytes, or has failed.
    pub(super) fn let_go(&mut self, token: usize, ctx: Ctx<'_>) {
        let Some(Phase::Leaving(leaving)) = self.slots.get(token).map(|slot| &slot.phase) else { return };
        let Some(conn) = leaving.conn().cloned() else { return };
        conn.writable(ctx);
        if !conn.waits(ctx) {
            self.remove(token, CloseReason::Disconnected, ctx);
        }
    }

    /// Packets are left in a connection's inbox.
    pub(crate) fn drain(&mut self, conn: &Arc<Conn>, ctx: Ctx<'_>) {
        conn.writable(ctx);
        if let Some(token) = self.token(conn) {
            self.let_go(token, ctx);
        }
    }
}
