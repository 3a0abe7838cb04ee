//! Connections over TLS: from the handshake to what is known of any other connection, and the bridges of those that are
//! Node's.

use std::mem;
use std::net::TcpStream;
use std::ops::Range;
use std::sync::Arc;

use derp_proto::counters::Counter;
use derp_tls::{Need, Version};

use super::{Connections, Local, Phase};
use crate::arriving::Arriving;
use crate::bridge::{Bridge, Crossed};
use crate::events::Event;
use crate::faults::Fault;
use crate::line::{Line, Written, write_to};
use crate::reason::CloseReason;
use crate::secure::{Opening, Parked, Secured, Shaken, Shaking, WayOut};
use crate::shared::{Place, Turn};

/// Descriptors of a connection that is the HTTP server's: its own, and both ends of the pair.
const BRIDGED: usize = 3;

impl Connections {
    /// Goes on with a handshake.
    pub(super) fn shake(&mut self, token: usize, count: usize, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Phase::Shaking(shaking) = &mut local.phase else { return };
        let shaken = match (&*turn.certificates.load(), local.stream.local_addr()) {
            (Some(certificates), Ok(address)) => shaking.feed(&self.scratch[..count], address.ip(), certificates),
            _ => Err(()),
        };
        send(&local.stream, &mut shaking.out);
        let Secured { receiver, mut way_out, used } = match shaken {
            Ok(Shaken::Reads) => return,
            Ok(Shaken::Asks(need, used)) => return self.park(token, need, used..count, turn),
            Ok(Shaken::Done(secured)) => secured,
            Err(()) => return self.remove(token, CloseReason::Disconnected, turn),
        };
        send(&local.stream, &mut way_out.tail);
        local.opening = Some(Box::new(Opening::new(receiver)));
        // The place is dropped with the old phase, and this one is taken from it.
        let Phase::Shaking(shaking) = mem::replace(&mut local.phase, Phase::Pair(usize::MAX)) else { return };
        let Shaking { accepted, place, .. } = *shaking;
        let deadline = turn.now + place.patience(turn.policy.load().head_deadline);
        local.phase = Phase::Arriving(Box::new(Arriving::new(&accepted, Some(way_out), place, deadline)));
        self.wheel.arm((token, local.id), &mut local.visit, deadline);
        if used < count {
            self.scratch.copy_within(used..count, 0);
            self.received(token, count - used, turn);
        }
    }

    /// Has a handshake wait for a certificate, if not too many do. It is read no more, but for its end.
    fn park(&mut self, token: usize, need: Need, unread: Range<usize>, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Phase::Shaking(shaking) = &mut local.phase else { return };
        let policy = turn.policy.load();
        let place = turn.parked.take(1, policy.parked_handshakes);
        let (Some(place), Ok(address)) = (place, local.stream.local_addr()) else {
            turn.counters.add(Counter::CONNECTIONS_REFUSED, 1);
            shaking.refuse();
            send(&local.stream, &mut shaking.out);
            return self.remove(token, CloseReason::Refused, turn);
        };
        let place = Arc::new(place);
        turn.events.certificate_needed(local.id, need, address.ip(), &place);
        shaking.parked = Some(Parked { _place: place, unread: self.scratch[unread].to_vec() });
        shaking.deadline = turn.now + policy.certificate_deadline;
        self.wheel.arm((token, local.id), &mut local.visit, shaking.deadline);
        self.parked.insert(local.id, token);
    }

    /// There are other certificates: goes on with the handshakes that have waited for one of them.
    pub(crate) fn look_again(&mut self, turn: Turn<'_>) {
        let tokens: Vec<usize> = self.parked.values().copied().collect();
        for token in tokens {
            self.go_on_shaking(token, turn);
        }
    }

    fn go_on_shaking(&mut self, token: usize, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Phase::Shaking(shaking) = &mut local.phase else { return };
        let certified = match (&*turn.certificates.load(), local.stream.local_addr()) {
            (Some(certificates), Ok(address)) => shaking.certify(address.ip(), certificates),
            _ => Err(()),
        };
        match certified {
            Ok(Some(_)) => {}
            Ok(None) => {
                self.parked.remove(&local.id);
                let unread = shaking.parked.take().map(|parked| parked.unread).unwrap_or_default();
                shaking.deadline = turn.now + turn.policy.load().handshake_deadline;
                self.wheel.arm((token, local.id), &mut local.visit, shaking.deadline);
                self.scratch[..unread.len()].copy_from_slice(&unread);
                self.shake(token, unread.len(), turn);
                self.read(token, turn);
            }
            Err(()) => {
                send(&local.stream, &mut shaking.out);
                self.remove(token, CloseReason::Disconnected, turn);
            }
        }
    }

    /// Ends a handshake that waits for a certificate, if it is one of these.
    pub(crate) fn close_parked(&mut self, id: u64, turn: Turn<'_>) {
        if let Some(&token) = self.parked.get(&id) {
            self.remove(token, CloseReason::Closed, turn);
        }
    }

    /// Carries bytes over a bridge.
    pub(super) fn cross(&mut self, token: usize, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Phase::Bridge(bridge) = &mut local.phase else { return };
        if !local.is_warm {
            local.is_warm = true;
            self.warmth.add((token, local.id));
        }
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

    /// Node has closed its end of a bridge's pair.
    pub(super) fn left_by_node(&mut self, token: usize, turn: Turn<'_>) {
        if let Some(Local { id, phase: Phase::Bridge(bridge), visit, .. }) = self.locals.get_mut(token) {
            self.wheel.arm((token, *id), visit, bridge.left_by_node(turn.now));
        }
    }

    /// Gives the plaintext of a TLS connection to the HTTP server.
    pub(super) fn bridge(&mut self, token: usize, turn: Turn<'_>) {
        if !self.leaves_for_http(token, turn) {
            return self.remove(token, CloseReason::Refused, turn);
        }
        let Some(local) = self.locals.get_mut(token) else { return };
        if !local.room.set(BRIDGED, turn.policy.load().connections) {
            turn.counters.add(Counter::CONNECTIONS_REFUSED, 1);
            return self.remove(token, CloseReason::Refused, turn);
        }
        let Some(opening) = local.opening.take() else { return };
        let Phase::Arriving(mut arriving) = mem::replace(&mut local.phase, Phase::Pair(usize::MAX)) else {
            return;
        };
        let id = local.id;
        let (line, tls) = line(&local.stream, arriving.secure.take());
        let (peer, listener) = (arriving.peer, arriving.listener);
        let place = arriving.place().take();
        let received = arriving.into_received();
        let bridge = turn.faults.try_to(Fault::Pair).and_then(|()| Bridge::new(line, *opening));
        let (mut bridge, stream) = match bridge {
            Ok(bridge) => bridge,
            Err(error) => {
                turn.trouble("a pair of sockets", error);
                return self.remove(token, CloseReason::InternalError, turn);
            }
        };
        let pair = bridge.pair().clone();
        let Ok(pair_token) = self.insert(id, pair, Phase::Pair(token), turn.room.nothing(), turn) else {
            return self.remove(token, CloseReason::InternalError, turn);
        };
        bridge.pair_token = pair_token;
        if let Some(local) = self.locals.get_mut(token) {
            local.phase = Phase::Bridge(Box::new(bridge));
        }
        // Before anybody can ask for it.
        turn.bridges.lock().insert(id, Place { worker: self.worker, token, tls });
        turn.events.push_guest(Event::Duplex { id, listener, peer, tls, stream, received }, place);
        self.cross(token, turn);
    }
}

/// The way out of a connection of which it is known what it is.
pub(super) fn line(stream: &Arc<TcpStream>, secure: Option<WayOut>) -> (Line, Option<Version>) {
    match secure {
        None => (Line::plain(stream.clone()), None),
        Some(WayOut { sender, version, tail }) => (Line::tls(stream.clone(), sender, tail), Some(version)),
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
