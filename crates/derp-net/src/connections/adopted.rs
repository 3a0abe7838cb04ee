//! Connections that were the HTTP server's: how they come back.

use std::mem;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use derp_tls::Alert;

use super::{Connections, Phase};
use crate::budget::Share;
use crate::conn::Conn;
use crate::line::Line;
use crate::reason::CloseReason;
use crate::secure::Opening;
use crate::session::Session;
use crate::shared::Turn;
use crate::strangers::Guest;

/// A connection that comes back, and begins with the greeting.
pub(crate) struct Adopted {
    pub(crate) conn: Arc<Conn>,
    pub(crate) place: Guest,
    /// For its descriptor, if it had any.
    pub(crate) room: Share,
    pub(crate) not_ideal: bool,
    pub(crate) web_socket: bool,
    /// What was read of it beyond the request.
    pub(crate) leftover: Vec<u8>,
    /// The connection itself; or, of one over TLS, the HTTP server's end of the bridge that has this place.
    pub(crate) stream: Arc<TcpStream>,
    pub(crate) bridge: Option<usize>,
}

impl Connections {
    pub(crate) fn adopt(&mut self, adopted: Adopted, turn: Turn<'_>) {
        let Adopted { conn, place, room, not_ideal, web_socket, mut leftover, stream, bridge } = adopted;
        if let Some(token) = bridge {
            let Some((line, opening, ended)) = self.take_bridge(token, conn.id, &stream, &mut leftover) else {
                return conn.end(CloseReason::Disconnected, Some(place), turn);
            };
            if let Some(local) = self.locals.get(token) {
                place.rename(&local.stream);
            }
            let session = adopted_session(&conn, not_ideal, web_socket, place, turn);
            conn.connect(if web_socket { line.into_web_socket() } else { line }, turn);
            conn.token.store(token, Ordering::Relaxed);
            let Some(local) = self.locals.get_mut(token) else { return };
            // The pair is gone.
            local.room.set(1, usize::MAX);
            local.phase = Phase::Derp(session);
            local.opening = Some(Box::new(opening));
            self.begin(token, &[], leftover, turn);
            if ended {
                return self.hang_up(token, Alert::CLOSE_NOTIFY, turn);
            }
            return self.read(token, turn);
        }
        let session = adopted_session(&conn, not_ideal, web_socket, place, turn);
        match self.insert(conn.id, stream, Phase::Derp(session), room, turn) {
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
}

fn adopted_session(conn: &Arc<Conn>, not_ideal: bool, web_socket: bool, place: Guest, turn: Turn<'_>) -> Box<Session> {
    let session = Session::new(conn.clone(), not_ideal, place, turn);
    Box::new(if web_socket { session.into_web_socket() } else { session })
}
