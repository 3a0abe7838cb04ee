//! Connections that were the HTTP server's: how they come back.

use std::mem;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use derp_tls::Alert;

use super::Connections;
use super::phase::Phase;
use crate::base::close_reason::CloseReason;
use crate::conn::Conn;
use crate::hub::ctx::Ctx;
use crate::hub::mail::Adopted;
use crate::ingress::session::Session;
use crate::io::tls::TlsReader;
use crate::io::writer::SocketWriter;
use crate::state::strangers::Guest;

impl Connections {
    pub(crate) fn adopt(&mut self, adopted: Adopted, ctx: Ctx<'_>) {
        let Adopted { conn, guest, room, not_ideal, web_socket, mut leftover, stream, bridge } = adopted;
        if let Some(token) = bridge {
            let Some((writer, tls_reader, ended)) = self.take_bridge(token, conn.id, &stream, &mut leftover) else {
                return conn.end(CloseReason::Disconnected, Some(guest), ctx);
            };
            if let Some(slot) = self.slots.get(token) {
                guest.rename(&slot.stream);
            }
            let session = adopted_session(&conn, not_ideal, web_socket, guest, ctx);
            conn.connect(if web_socket { writer.into_web_socket() } else { writer }, ctx);
            conn.token.store(token, Ordering::Relaxed);
            let Some(slot) = self.slots.get_mut(token) else { return };
            // The pair is gone.
            slot.room.set(1, usize::MAX);
            slot.phase = Phase::Derp(session);
            slot.tls_reader = Some(Box::new(tls_reader));
            self.begin(token, &[], leftover, ctx);
            if ended {
                return self.hang_up(token, Alert::CLOSE_NOTIFY, ctx);
            }
            return self.read(token, ctx);
        }
        let session = adopted_session(&conn, not_ideal, web_socket, guest, ctx);
        match self.insert(conn.id, stream, Phase::Derp(session), room, ctx) {
            Ok(token) => {
                conn.token.store(token, Ordering::Relaxed);
                self.begin(token, &[], leftover, ctx);
                self.read(token, ctx);
            }
            Err(Phase::Derp(session)) => session.close(CloseReason::InternalError, ctx),
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
    ) -> Option<(SocketWriter, TlsReader, bool)> {
        let slot = self.slots.get_mut(token).filter(|slot| slot.id == id)?;
        if !matches!(slot.phase, Phase::Bridge(_)) {
            return None;
        }
        let Phase::Bridge(bridge) = mem::replace(&mut slot.phase, Phase::Pair(usize::MAX)) else { return None };
        self.remove_pair(bridge.pair_token);
        let taken = bridge.take_down(node, leftover, &mut self.scratch);
        if taken.is_none()
            && let Some(slot) = self.slots.try_remove(token)
        {
            self.deregister(&slot.stream);
        }
        taken
    }

    pub(super) fn remove_pair(&mut self, pair_token: usize) {
        if let Some(pair) = self.slots.try_remove(pair_token) {
            self.deregister(&pair.stream);
        }
    }
}

fn adopted_session(conn: &Arc<Conn>, not_ideal: bool, web_socket: bool, guest: Guest, ctx: Ctx<'_>) -> Box<Session> {
    let session = Session::new(conn.clone(), not_ideal, guest, ctx);
    Box::new(if web_socket { session.into_web_socket() } else { session })
}
