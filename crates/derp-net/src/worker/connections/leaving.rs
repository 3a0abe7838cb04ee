//! Connections that have ended for all other clients, and whose socket has not: the peer still gets what it is to get.

use std::sync::Arc;
use std::time::Instant;

use crate::base::close_reason::CloseReason;
use crate::base::linger::{FLUSH, LINGER};
use crate::conn::Conn;
use crate::hub::ctx::Ctx;

/// How many bytes the peer of a connection that has ended may still send.
const LINGER_BYTES: usize = 1 << 20;

/// What is left of a connection: a WebSocket that has said its last word, or a client that sends no more and reads on.
pub(crate) struct Leaving {
    ends: Instant,
    /// Bytes that may still come.
    left: usize,
    /// Set while something waits for the socket.
    conn: Option<Arc<Conn>>,
}

impl Leaving {
    /// With the connection whose bytes wait for the socket, if any do.
    pub(crate) fn new(waits: Option<Arc<Conn>>, now: Instant) -> Self {
        Self { ends: now + if waits.is_some() { FLUSH } else { LINGER }, left: LINGER_BYTES, conn: waits }
    }

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
