//! Connections over TLS: from the handshake to what is known of any other connection, and the bridges of those that are
//! Node's.

use std::mem;
use std::net::TcpStream;

use super::{Connections, Phase, line};
use crate::arriving::Arriving;
use crate::bridge::{Bridge, Crossed};
use crate::events::Event;
use crate::line::{Written, write_to};
use crate::reason::CloseReason;
use crate::secure::{Opening, Secured, Shaking};
use crate::shared::Turn;

impl Connections {
    /// Goes on with a handshake.
    pub(super) fn shake(&mut self, token: usize, count: usize, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Phase::Shaking(shaking) = &mut local.phase else { return };
        let certificates = turn.certificates.load();
        let secured = match &*certificates {
            Some(certificates) => shaking.feed(&self.scratch[..count], &local.stream, certificates),
            None => Err(()),
        };
        send(&local.stream, &mut shaking.out);
        let Ok(secured) = secured else {
            return self.remove(token, CloseReason::Disconnected, turn);
        };
        let Some(Secured { receiver, mut way_out, used }) = secured else { return };
        send(&local.stream, &mut way_out.tail);
        local.opening = Some(Box::new(Opening::new(receiver)));
        // The place is dropped with the old phase, and this one is taken from it.
        let deadline = turn.now + turn.policy.load().head_deadline;
        let Phase::Shaking(shaking) = mem::replace(&mut local.phase, Phase::Pair(usize::MAX)) else { return };
        let Shaking { accepted, place, .. } = *shaking;
        local.phase = Phase::Arriving(Box::new(Arriving::new(&accepted, Some(way_out), place, deadline)));
        self.wheel.arm((token, local.id), &mut local.visit, deadline);
        if used < count {
            self.scratch.copy_within(used..count, 0);
            self.received(token, count - used, turn);
        }
    }

    /// Carries bytes over a bridge.
    pub(super) fn cross(&mut self, token: usize, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Phase::Bridge(bridge) = &mut local.phase else { return };
        match bridge.cross(&local.stream, &mut self.scratch) {
            Crossed::Waits => {}
            Crossed::More if !local.is_ready => {
                local.is_ready = true;
                self.ready.push((token, local.id));
            }
            Crossed::More => {}
            Crossed::Over => self.remove(token, CloseReason::Disconnected, turn),
        }
    }

    /// Gives the plaintext of a TLS connection to the HTTP server.
    pub(super) fn bridge(&mut self, token: usize, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Some(opening) = local.opening.take() else { return };
        let Phase::Arriving(mut arriving) = mem::replace(&mut local.phase, Phase::Pair(usize::MAX)) else {
            return;
        };
        let id = local.id;
        let (line, tls) = line(&local.stream, arriving.secure.take());
        let (peer, listener) = (arriving.peer, arriving.listener);
        let received = arriving.into_received();
        let Ok((mut bridge, stream)) = Bridge::new(line, *opening) else {
            return self.remove(token, CloseReason::InternalError, turn);
        };
        let pair = bridge.pair().clone();
        let Ok(pair_token) = self.insert(id, pair, Phase::Pair(token)) else {
            return self.remove(token, CloseReason::InternalError, turn);
        };
        bridge.pair_token = pair_token;
        if let Some(local) = self.locals.get_mut(token) {
            local.phase = Phase::Bridge(Box::new(bridge));
        }
        turn.events.push(Event::Duplex { id, listener, peer, tls, stream, received });
        self.cross(token, turn);
    }
}

/// Sends what the socket takes, and keeps the rest.
pub(super) fn send(stream: &TcpStream, bytes: &mut Vec<u8>) {
    // A failure is seen by whoever reads.
    while !bytes.is_empty()
        && let Written::Bytes(count) = write_to(stream, bytes)
    {
        bytes.drain(..count);
    }
}
