//! Connections that have ended for everybody else, and whose socket has not: the peer still gets what it is to get.

use std::mem;
use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Connections, Phase};
use crate::base::close_reason::CloseReason;
use crate::conn::Conn;
use crate::hub::shared::Ctx;

/// How long the peer of a WebSocket that has ended may go on sending, and how much: what it was told last is lost to it if
/// its socket is closed meanwhile.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;
/// How long a client that sends no more may take for what waits for it, however steadily it reads.
const FLUSH: Duration = Duration::from_secs(30);

/// What is left of a connection: a WebSocket that has said its last word, or a client that sends no more and reads on.
pub(crate) struct Leaving {
    ends: Instant,
    /// Bytes that may still come.
    left: usize,
    /// Set while something waits for the socket.
    conn: Option<Arc<Conn>>,
}

impl Leaving {
    /// What still writes.
    pub(crate) fn conn(&self) -> Option<&Arc<Conn>> {
        self.conn.as_ref()
    }

    /// So many more bytes have come. False if those were too many.
    pub(crate) fn bear(&mut self, count: usize) -> bool {
        self.left = self.left.saturating_sub(count);
        self.left > 0
    }

    /// When to come again, or that it is over.
    pub(crate) fn on_time(&self, ctx: Ctx<'_>) -> Result<Instant, CloseReason> {
        if ctx.now >= self.ends {
            return Err(CloseReason::Disconnected);
        }
        let Some(conn) = &self.conn else { return Ok(self.ends) };
        let policy = ctx.policy.load();
        let limit = if conn.is_mesh() { policy.mesh_write_deadline } else { policy.write_deadline };
        match (conn.stalled_since(limit.is_some(), ctx), limit) {
            (None, _) => Err(CloseReason::Disconnected),
            (Some(since), Some(limit)) if ctx.now >= since + limit => Err(CloseReason::WriteTimeout),
            (Some(since), Some(limit)) => Ok(self.ends.min(since + limit)),
            (Some(_), None) => Ok(self.ends),
        }
    }

    /// The end of its socket, too. What still waits is dropped, and counted.
    pub(crate) fn close(self, ctx: Ctx<'_>) {
        if let Some(conn) = self.conn {
            conn.let_go(ctx);
        }
    }
}

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
        let leaving = Leaving {
            ends: ctx.now + if waits { FLUSH } else { LINGER },
            left: LINGER_BYTES,
            conn: waits.then(|| session.conn().clone()),
        };
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
