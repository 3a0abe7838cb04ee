//! Links to other relays: from the dial to what they say.

use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use derp_proto::frame;
use mio::event::Event as Readiness;

use super::{Connections, Phase};
use crate::conn::Conn;
use crate::dial::{self, Dialled, Dialling, Shaken, Target};
use crate::events::Event;
use crate::link::Link;
use crate::reason::CloseReason;
use crate::secure::Opening;
use crate::shared::Turn;

impl Connections {
    /// Begins to connect.
    pub(crate) fn dial(&mut self, conn: Arc<Conn>, target: Target, turn: Turn<'_>) {
        let stream = match dial::connect(target.address, &turn.policy.load()) {
            Ok(stream) => stream,
            Err(error) => return conn.end_link(error.to_string(), turn),
        };
        let dialling = Dialling::new(conn.clone(), target, turn);
        match self.insert(conn.id, Arc::new(stream), Phase::Dialling(Box::new(dialling)), turn.room.nothing(), turn) {
            Ok(token) => {
                conn.token.store(token, Ordering::Relaxed);
                self.visit(token, turn);
            }
            Err(Phase::Dialling(dialling)) => dialling.close(CloseReason::InternalError, turn),
            Err(_) => {}
        }
    }

    /// The socket of a dial is connected, has failed, takes bytes, or has some.
    pub(super) fn on_dialled(&mut self, token: usize, readiness: &Readiness, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Phase::Dialling(dialling) = &mut local.phase else { return };
        match dialling.writable(&local.stream, turn) {
            Ok(true) => self.on_readable(token, readiness, turn),
            Ok(false) => {}
            Err(reason) => self.remove(token, reason, turn),
        }
    }

    /// Goes on with a handshake.
    pub(super) fn dial_on(&mut self, token: usize, count: usize, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Phase::Dialling(dialling) = &mut local.phase else { return };
        match dialling.shake(&self.scratch[..count], &local.stream, turn) {
            Err(reason) => self.remove(token, reason, turn),
            Ok(None) => {}
            Ok(Some(Shaken { receiver, used })) => {
                local.opening = Some(Box::new(Opening::new(receiver)));
                if used < count {
                    self.scratch.copy_within(used..count, 0);
                    self.received(token, count - used, turn);
                }
            }
        }
    }

    /// Goes on with a login.
    pub(super) fn log_in(&mut self, token: usize, bytes: Range<usize>, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Phase::Dialling(dialling) = &mut local.phase else { return };
        let conn = dialling.conn().clone();
        let Dialled { line, server, rest } = match dialling.feed(&self.scratch[bytes], &local.stream, turn) {
            Ok(None) => return,
            Ok(Some(dialled)) => dialled,
            Err(reason) => return self.remove(token, reason, turn),
        };
        turn.events.push(Event::LinkOpen { link: conn.link_id(), server });
        conn.open(line, turn);
        let mut link = Link::new(conn.clone(), turn);
        if server != turn.public {
            conn.control(&frame::WATCH_CONNS, false, turn);
        }
        let fed = link.feed(&rest, turn);
        drop(mem::replace(&mut local.phase, Phase::Link(Box::new(link))));
        self.settle(token, fed, turn);
    }

    /// The control plane has taken what a link has said: it is read on.
    pub(crate) fn heard(&mut self, conn: &Conn, turn: Turn<'_>) {
        let Some(token) = self.token(conn) else { return };
        let Some(Phase::Link(link)) = self.locals.get_mut(token).map(|local| &mut local.phase) else { return };
        link.heard(turn);
        self.read(token, turn);
    }
}
