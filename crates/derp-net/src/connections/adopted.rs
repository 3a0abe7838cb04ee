//! Connections that were the HTTP server's: how they come back, and how the WebSockets among them end.

use std::mem;
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Connections, Phase};
use crate::budget::Share;
use crate::conn::Conn;
use crate::line::Line;
use crate::reason::CloseReason;
use crate::secure::Opening;
use crate::session::Session;
use crate::shared::Turn;

/// How long the peer of a WebSocket that has ended may go on sending, and how much: what it was told last is lost to it if
/// its socket is closed meanwhile.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 1 << 20;

/// A connection that comes back, and begins with the greeting.
pub(crate) struct Adopted {
    pub(crate) conn: Arc<Conn>,
    pub(crate) place: Share,
    pub(crate) not_ideal: bool,
    pub(crate) web_socket: bool,
    /// What was read of it beyond the request.
    pub(crate) leftover: Vec<u8>,
    /// The connection itself; or, of one over TLS, the HTTP server's end of the bridge that has this place.
    pub(crate) stream: Arc<TcpStream>,
    pub(crate) bridge: Option<usize>,
}

/// A WebSocket that has said its last word.
pub(crate) struct Leaving {
    pub(crate) ends: Instant,
    left: usize,
}

impl Leaving {
    /// So many more bytes have come. False if those were too many.
    pub(crate) fn bear(&mut self, count: usize) -> bool {
        self.left = self.left.saturating_sub(count);
        self.left > 0
    }
}

impl Connections {
    pub(crate) fn adopt(&mut self, adopted: Adopted, turn: Turn<'_>) {
        let Adopted { conn, place, not_ideal, web_socket, mut leftover, stream, bridge } = adopted;
        if let Some(token) = bridge {
            let Some((line, opening, ended)) = self.take_bridge(token, conn.id, &stream, &mut leftover) else {
                return conn.end(CloseReason::Disconnected, Some(place), turn);
            };
            let session = adopted_session(&conn, not_ideal, web_socket, place, turn);
            conn.connect(if web_socket { line.into_web_socket() } else { line }, turn);
            conn.token.store(token, Ordering::Relaxed);
            let Some(local) = self.locals.get_mut(token) else { return };
            local.phase = Phase::Derp(session);
            local.opening = Some(Box::new(opening));
            self.begin(token, &[], leftover, turn);
            if ended {
                return self.remove(token, CloseReason::Disconnected, turn);
            }
            return self.read(token, turn);
        }
        let session = adopted_session(&conn, not_ideal, web_socket, place, turn);
        match self.insert(conn.id, stream, Phase::Derp(session)) {
            Ok(token) => {
                conn.token.store(token, Ordering::Relaxed);
                self.begin(token, &[], leftover, turn);
                self.read(token, turn);
            }
            Err(Phase::Derp(session)) => session.close(CloseReason::InternalError, turn),
            Err(_) => {}
        }
    }

    /// Takes a bridge down: its client's socket stays in its place. `leftover` gets what the HTTP server has not read. True
    /// if nothing more comes of the client; `None` if it has gone.
    fn take_bridge(
        &mut self,
        token: usize,
        id: u64,
        node: &TcpStream,
        leftover: &mut Vec<u8>,
    ) -> Option<(Line, Opening, bool)> {
        let local = self.locals.get_mut(token).filter(|local| local.id == id)?;
        if !matches!(local.phase, Phase::Bridge(_)) {
            return None;
        }
        let Phase::Bridge(bridge) = mem::replace(&mut local.phase, Phase::Pair(usize::MAX)) else { return None };
        self.remove_pair(bridge.pair_token);
        let taken = bridge.take_down(node, leftover, &mut self.scratch);
        if taken.is_none()
            && let Some(local) = self.locals.try_remove(token)
        {
            self.deregister(&local.stream);
        }
        taken
    }

    pub(super) fn remove_pair(&mut self, pair_token: usize) {
        if let Some(pair) = self.locals.try_remove(pair_token) {
            self.deregister(&pair.stream);
        }
    }

    /// Ends a WebSocket, but for its socket, whose peer may be in the middle of something. False if there is no such thing.
    pub(super) fn leave(&mut self, token: usize, reason: CloseReason, turn: Turn<'_>) -> bool {
        let Some(local) = self.locals.get_mut(token) else { return false };
        let at_once = matches!(reason, CloseReason::Shutdown | CloseReason::WriteTimeout | CloseReason::InternalError);
        if at_once || !matches!(&local.phase, Phase::Derp(session) if session.is_web_socket()) {
            return false;
        }
        let leaving = Leaving { ends: turn.now + LINGER, left: LINGER_BYTES };
        self.wheel.arm((token, local.id), &mut local.visit, leaving.ends);
        local.opening = None;
        let phase = mem::replace(&mut local.phase, Phase::Leaving(leaving));
        // It may have been shut by the peer.
        let stream = local.stream.clone();
        if let Phase::Derp(session) = phase {
            session.close(reason, turn);
        }
        let _ = stream.shutdown(Shutdown::Write);
        self.read(token, turn);
        true
    }
}

fn adopted_session(conn: &Arc<Conn>, not_ideal: bool, web_socket: bool, place: Share, turn: Turn<'_>) -> Box<Session> {
    let session = Session::new(conn.clone(), not_ideal, place, turn);
    Box::new(if web_socket { session.into_web_socket() } else { session })
}
