//! Links to other relays: from the dial to what they say.

use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use derp_proto::frame;
use mio::event::Event as Readiness;

use super::Connections;
use super::phase::Phase;
use crate::base::close_reason::CloseReason;
use crate::conn::Conn;
use crate::hub::ctx::Ctx;
use crate::hub::mail::Target;
use crate::ingress::mesh_dial::{self, DialSecured, Dialled, MeshDial};
use crate::ingress::mesh_link::MeshLink;
use crate::io::tls::TlsReader;
use crate::state::events::Event;

impl Connections {
    /// Begins to connect.
    pub(crate) fn dial(&mut self, conn: Arc<Conn>, target: Target, ctx: Ctx<'_>) {
        let stream = match mesh_dial::connect(target.address, &ctx.policy.load()) {
            Ok(stream) => stream,
            Err(error) => return conn.end_link(error.to_string(), ctx),
        };
        let dial = MeshDial::new(conn.clone(), target, ctx);
        match self.insert(conn.id, Arc::new(stream), Phase::MeshDial(Box::new(dial)), ctx.room.nothing(), ctx) {
            Ok(token) => {
                conn.token.store(token, Ordering::Relaxed);
                self.visit(token, ctx);
            }
            Err(Phase::MeshDial(dial)) => dial.close(CloseReason::InternalError, ctx),
            Err(_) => {}
        }
    }

    /// The socket of a dial is connected, has failed, takes bytes, or has some.
    pub(super) fn on_dialled(&mut self, token: usize, readiness: &Readiness, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Phase::MeshDial(dial) = &mut slot.phase else { return };
        match dial.writable(&slot.stream, ctx) {
            Ok(true) => self.on_readable(token, readiness, ctx),
            Ok(false) => {}
            Err(reason) => self.remove(token, reason, ctx),
        }
    }

    /// Goes on with a handshake.
    pub(super) fn dial_on(&mut self, token: usize, count: usize, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Phase::MeshDial(dial) = &mut slot.phase else { return };
        match dial.shake(&self.scratch[..count], &slot.stream, ctx) {
            Err(reason) => self.remove(token, reason, ctx),
            Ok(None) => {}
            Ok(Some(DialSecured { receiver, used })) => {
                slot.tls_reader = Some(Box::new(TlsReader::new(receiver)));
                if used < count {
                    self.scratch.copy_within(used..count, 0);
                    self.received(token, count - used, ctx);
                }
            }
        }
    }

    /// Goes on with a login.
    pub(super) fn log_in(&mut self, token: usize, bytes: Range<usize>, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Phase::MeshDial(dial) = &mut slot.phase else { return };
        let conn = dial.conn().clone();
        let Dialled { writer, server, watch, rest } = match dial.feed(&self.scratch[bytes], &slot.stream, ctx) {
            Ok(None) => return,
            Ok(Some(dialled)) => dialled,
            Err(reason) => return self.remove(token, reason, ctx),
        };
        conn.open(writer, ctx);
        // The control plane may have packets for it at once.
        ctx.events.push(Event::LinkOpen { link: conn.link_id(), server });
        let mut link = MeshLink::new(conn.clone(), watch, ctx);
        if watch && server != ctx.public {
            conn.control(&frame::WATCH_CONNS, false, ctx);
        }
        let fed = link.feed(&rest, ctx);
        drop(mem::replace(&mut slot.phase, Phase::MeshLink(Box::new(link))));
        self.settle(token, fed, ctx);
    }

    /// The control plane has taken what a link has said: it is read on.
    pub(crate) fn heard(&mut self, conn: &Conn, ctx: Ctx<'_>) {
        let Some(token) = self.token(conn) else { return };
        let Some(Phase::MeshLink(link)) = self.slots.get_mut(token).map(|slot| &mut slot.phase) else { return };
        link.heard(ctx);
        self.read(token, ctx);
    }
}
