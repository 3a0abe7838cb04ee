//! Reading a connection: as much as is its turn, and what becomes of it by what the connection is.

use std::io::{ErrorKind, Read};
use std::ops::Range;

use derp_proto::http_head::Head;
use derp_tls::Alert;

use super::phase::{Local, Phase};
use super::{Connections, SCRATCH};
use crate::reason::CloseReason;
use crate::secure::Opened;
use crate::shared::Turn;

/// Reads of one connection before the others have their turn.
const READS: usize = 4;
/// As much as is read at a time of who has not sent a request.
const FIRST_READ: usize = 16 << 10;

impl Connections {
    /// Reads until the socket is empty, or others have to have their turn.
    pub(super) fn read(&mut self, token: usize, turn: Turn<'_>) {
        self.read_in_turn(token, turn);
        self.weigh(token, turn);
    }

    fn read_in_turn(&mut self, token: usize, turn: Turn<'_>) {
        for _ in 0..READS {
            if !self.read_once(token, turn) {
                return;
            }
        }
        if let Some(local) = self.locals.get_mut(token) {
            local.is_ready = true;
            self.ready.push((token, local.id));
        }
    }

    /// True if there may be more to read.
    fn read_once(&mut self, token: usize, turn: Turn<'_>) -> bool {
        let Some(local) = self.locals.get_mut(token) else {
            return false;
        };
        let room = match &local.phase {
            Phase::Shaking(shaking) if shaking.parked.is_some() => 0,
            Phase::Shaking(_) | Phase::Arriving(_) => FIRST_READ,
            // It has said all that it had to say.
            Phase::Leaving(leaving) if leaving.conn().is_some() => return false,
            Phase::Leaving(_) => FIRST_READ,
            Phase::Derp(session) => session.room(turn),
            Phase::Dialling(dialling) => dialling.room(),
            // What it has said is still to be heard; a hang-up is seen then.
            Phase::Link(link) if link.is_unheard() => return false,
            Phase::Link(_) => usize::MAX,
            Phase::Bridge(_) | Phase::Pair(_) => return false,
        };
        let kept = local.opening.as_ref().map_or(0, |opening| opening.put_back(&mut self.scratch));
        let room = room.min(SCRATCH - kept);
        let hung_up = local.hung_up;
        if room == 0 {
            // A handshake that waits has sent nothing that could be lost. What a client of DERP has sent waits, for its
            // admission or its receive limit, and a hang-up is seen behind it.
            if hung_up && !matches!(local.phase, Phase::Derp(_)) {
                self.remove(token, CloseReason::Disconnected, turn);
            }
            return false;
        }
        match (&*local.stream).read(&mut self.scratch[kept..kept + room]) {
            Ok(count) if count > 0 => {
                self.received(token, kept + count, turn);
                // A short read has emptied the socket: what comes next is announced. The end has been, if so.
                count == room || hung_up
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // What has ended reads as ended: that word was of a connection that had this place before.
                if let Some(local) = self.locals.get_mut(token) {
                    local.hung_up = false;
                }
                false
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => true,
            Ok(_) | Err(_) => {
                self.hang_up(token, Alert::CLOSE_NOTIFY, turn);
                false
            }
        }
    }

    /// So many bytes of the scratch have come.
    pub(super) fn received(&mut self, token: usize, count: usize, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Some(opening) = &mut local.opening else {
            return match local.phase {
                Phase::Shaking(_) => self.shake(token, count, turn),
                Phase::Dialling(ref dialling) if dialling.is_shaking() => self.dial_on(token, count, turn),
                _ => self.plaintext(token, 0..count, turn),
            };
        };
        let Opened { plaintext, key_update_requested, end } = opening.open(&mut self.scratch[..count]);
        if !local.is_warm {
            local.is_warm = true;
            self.warmth.add((token, local.id));
        }
        if key_update_requested {
            match &mut local.phase {
                Phase::Arriving(arriving) => arriving.owe_key_update(),
                phase => _ = phase.conn().map(|conn| conn.owe_key_update(turn)),
            }
        }
        if !plaintext.is_empty() {
            self.plaintext(token, plaintext, turn);
        }
        // Whatever comes before the end has been done, or waits.
        if let Some(alert) = end {
            self.hang_up(token, alert, turn);
        }
    }

    /// Nothing more comes of the peer. Over TLS it is told why by this alert.
    pub(super) fn hang_up(&mut self, token: usize, alert: Alert, turn: Turn<'_>) {
        let Some(Local { stream, phase, .. }) = self.locals.get_mut(token) else { return };
        match phase {
            Phase::Derp(session) => {
                if session.ends_later(alert) {
                    return;
                }
                if alert != Alert::CLOSE_NOTIFY {
                    session.conn().alert(alert, turn);
                }
            }
            // Its request was in the same read.
            Phase::Bridge(bridge) if alert == Alert::CLOSE_NOTIFY => {
                bridge.client_ends();
                return self.cross(token, turn);
            }
            Phase::Bridge(bridge) => bridge.alert(alert),
            Phase::Arriving(arriving) => arriving.alert(alert, stream),
            Phase::Link(link) => link.conn().alert(alert, turn),
            Phase::Shaking(_) | Phase::Dialling(_) | Phase::Leaving(_) | Phase::Pair(_) => {}
        }
        self.remove(token, CloseReason::Disconnected, turn);
    }

    fn plaintext(&mut self, token: usize, bytes: Range<usize>, turn: Turn<'_>) {
        match self.locals.get_mut(token).map(|local| &mut local.phase) {
            Some(Phase::Arriving(arriving)) => {
                match arriving.feed(&self.scratch[bytes], turn.policy.load().head_bytes) {
                    Head::More => {}
                    Head::Http | Head::Bad => self.hand_over(token, turn),
                    Head::Derp(upgrade) => self.upgrade(token, &upgrade, turn),
                }
            }
            Some(Phase::Derp(_)) => {
                self.step(token, turn, |session, scratch, batch| session.receive(&mut scratch[bytes], batch, turn));
            }
            Some(Phase::Leaving(leaving)) => {
                let within = leaving.bear(bytes.len());
                if !within {
                    self.remove(token, CloseReason::Disconnected, turn);
                }
            }
            Some(Phase::Dialling(_)) => self.log_in(token, bytes, turn),
            Some(Phase::Link(link)) => {
                let fed = link.feed(&self.scratch[bytes], turn);
                self.settle(token, fed, turn);
            }
            _ => {}
        }
    }
}
