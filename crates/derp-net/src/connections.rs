//! The connections of one worker, from accept to their end: reading them in turn, and their deadlines.

mod adopted;
mod cooling;
mod keeping;
mod leaving;
mod links;
mod phase;
mod reading;
mod tls;

use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use derp_proto::counters::Counter;
use derp_proto::http_head::DerpUpgrade;
use derp_proto::limit::Rate;
use derp_tls::{Alert, Version};
use mio::event::Event as Readiness;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use self::phase::{Local, Phase};
use crate::acceptor::{Accepted, prepare};
use crate::arriving::Arriving;
use crate::batch::Batch;
use crate::budget::Share;
use crate::conn::Conn;
use crate::events::Event;
use crate::faults::Fault;
use crate::ledger::Note;
use crate::reason::CloseReason;
use crate::secure::Shaking;
use crate::session::Session;
use crate::shared::Turn;
use crate::strangers::{Guest, Stage};
use crate::timer::{Visit, Wheel};
use crate::warmth::Warmth;

pub(crate) use self::adopted::Adopted;

/// Larger than the largest frame; every read goes here, so an idle connection owns no buffer.
const SCRATCH: usize = 128 << 10;

pub(crate) struct Connections {
    worker: usize,
    pub(crate) poll: Poll,
    locals: Slab<Local>,
    wheel: Wheel<(usize, u64)>,
    /// Stopped by their budget, not by an empty socket.
    ready: Vec<(usize, u64)>,
    /// Handshakes that wait for a certificate, by id.
    parked: HashMap<u64, usize>,
    warmth: Warmth,
    scratch: Vec<u8>,
    batch: Batch,
}

impl Connections {
    pub(crate) fn new(worker: usize, poll: Poll, tick: Duration, now: Instant) -> Self {
        Self {
            worker,
            poll,
            locals: Slab::new(),
            wheel: Wheel::new(tick, now),
            ready: Vec::new(),
            parked: HashMap::new(),
            warmth: Warmth::default(),
            scratch: vec![0; SCRATCH],
            batch: Batch::default(),
        }
    }

    /// Waits for something to do, at most for `pause`.
    pub(crate) fn wait(&mut self, events: &mut Events, pause: Option<Duration>, now: Instant) -> io::Result<()> {
        let pause = if self.ready.is_empty() {
            [pause, self.wheel.pause(now)].into_iter().flatten().min()
        } else {
            Some(Duration::ZERO)
        };
        match self.poll.poll(events, pause) {
            Err(error) if error.kind() != ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }

    /// Goes on with those that were stopped by their budget. Before anybody is read, so that each has one turn.
    pub(crate) fn go_on(&mut self, turn: Turn<'_>) {
        for (token, id) in std::mem::take(&mut self.ready) {
            if let Some(local) = self.locals.get_mut(token).filter(|local| local.id == id) {
                local.is_ready = false;
                if matches!(local.phase, Phase::Bridge(_)) {
                    self.cross(token, turn);
                } else {
                    self.read(token, turn);
                }
            }
        }
    }

    pub(crate) fn on_ready(&mut self, readiness: &Readiness, turn: Turn<'_>) {
        let Token(token) = readiness.token();
        let Some(local) = self.locals.get_mut(token) else { return };
        match &mut local.phase {
            Phase::Derp(session) if readiness.is_writable() => session.conn().writable(turn),
            Phase::Shaking(shaking) if readiness.is_writable() => tls::send(&local.stream, &mut shaking.out),
            Phase::Bridge(_) => return self.cross(token, turn),
            Phase::Pair(bridge) => {
                let bridge = *bridge;
                if readiness.is_write_closed() {
                    self.left_by_node(bridge, turn);
                }
                return self.cross(bridge, turn);
            }
            Phase::Dialling(_) => return self.on_dialled(token, readiness, turn),
            Phase::Link(link) if readiness.is_writable() => link.conn().writable(turn),
            Phase::Leaving(leaving) if leaving.conn().is_some() => return self.let_go(token, turn),
            Phase::Derp(_) | Phase::Shaking(_) | Phase::Arriving(_) | Phase::Link(_) | Phase::Leaving(_) => {}
        }
        self.on_readable(token, readiness, turn);
    }

    fn on_readable(&mut self, token: usize, readiness: &Readiness, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let hung_up = readiness.is_read_closed() || readiness.is_error();
        local.hung_up |= hung_up;
        // Who was stopped by their budget is read in the next turn.
        if (readiness.is_readable() || hung_up) && !local.is_ready {
            self.read(token, turn);
        }
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, turn: Turn<'_>) {
        for ((token, id), slot) in self.wheel.due(turn.now) {
            if let Some(local) = self.locals.get_mut(token).filter(|local| local.id == id)
                && local.visit.is_due(slot)
            {
                self.visit(token, turn);
            }
        }
    }

    /// A new connection.
    pub(crate) fn arrive(&mut self, accepted: Accepted, place: Guest, room: Share, turn: Turn<'_>) {
        let policy = turn.policy.load();
        if prepare(&accepted.stream, &policy).is_err() {
            // It has gone already.
            return;
        }
        let (stream, accepted) = accepted.split();
        let phase = if accepted.tls {
            let deadline = turn.now + place.patience(policy.handshake_deadline);
            Phase::Shaking(Box::new(Shaking::new(accepted, place, deadline)))
        } else {
            let deadline = turn.now + place.patience(policy.head_deadline);
            Phase::Arriving(Box::new(Arriving::new(&accepted, None, place, deadline)))
        };
        if let Ok(token) = self.insert(turn.new_id(), stream, phase, room, turn) {
            self.visit(token, turn);
        }
    }

    /// The control plane has let it in.
    pub(crate) fn admitted(&mut self, conn: &Conn, limit: Option<Rate>, keep_alive_at: Instant, turn: Turn<'_>) {
        if let Some(token) = self.token(conn) {
            self.step(token, turn, |session, _, batch| session.admitted(limit, keep_alive_at, batch, turn));
            self.quiet(token, turn);
            self.read(token, turn);
        }
    }

    /// The policy is another one: who is held back may not be any more.
    pub(crate) fn free(&mut self, turn: Turn<'_>) {
        let held = |local: &Local| matches!(&local.phase, Phase::Derp(session) if session.is_over_limit());
        let held: Vec<usize> = self.locals.iter().filter(|(_, local)| held(local)).map(|(token, _)| token).collect();
        for token in held {
            self.read_on(token, turn);
        }
        self.relieve(turn);
    }

    /// Goes on with a connection that was held back, if its time has come.
    fn read_on(&mut self, token: usize, turn: Turn<'_>) {
        self.step(token, turn, |session, _, batch| session.read_on(batch, turn));
        self.read(token, turn);
    }

    pub(crate) fn stalled(&mut self, conn: &Conn, turn: Turn<'_>) {
        if let Some(token) = self.token(conn) {
            self.visit(token, turn);
        }
    }

    pub(crate) fn close(&mut self, conn: &Conn, reason: CloseReason, turn: Turn<'_>) {
        if let Some(token) = self.token(conn) {
            self.remove(token, reason, turn);
        }
    }

    pub(crate) fn close_all(&mut self, reason: CloseReason, turn: Turn<'_>) {
        let tokens: Vec<usize> = self.locals.iter().map(|(token, _)| token).collect();
        for token in tokens {
            self.remove(token, reason, turn);
        }
    }

    fn token(&self, conn: &Conn) -> Option<usize> {
        let token = conn.token.load(Ordering::Relaxed);
        self.locals.get(token).filter(|local| local.id == conn.id).map(|_| token)
    }

    /// Registers for everything, once, edge-triggered.
    fn insert(
        &mut self,
        id: u64,
        stream: Arc<TcpStream>,
        phase: Phase,
        room: Share,
        turn: Turn<'_>,
    ) -> Result<usize, Phase> {
        let entry = self.locals.vacant_entry();
        let token = entry.key();
        let fd = stream.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered = turn
            .faults
            .try_to(Fault::Register)
            .and_then(|()| registry.register(&mut SourceFd(&fd), Token(token), interest));
        if let Err(error) = registered {
            turn.trouble("watching a socket", error);
            return Err(phase);
        }
        let visit = Visit::default();
        entry.insert(Local {
            id,
            stream,
            phase,
            room,
            opening: None,
            visit,
            kept: Note::default(),
            is_ready: false,
            is_warm: false,
            hung_up: false,
        });
        Ok(token)
    }

    /// The head was a raw DERP upgrade.
    fn upgrade(&mut self, token: usize, upgrade: &DerpUpgrade, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Phase::Arriving(arriving) = &mut local.phase else { return };
        if !arriving.place().advance(Stage::LoggingIn, &turn.policy.load(), turn.now) {
            return self.remove(token, CloseReason::Refused, turn);
        }
        let place = arriving.place().take();
        let rest = arriving.rest(upgrade);
        let (line, tls) = tls::line(&local.stream, arriving.secure.take());
        match tls {
            Some(Version::Tls12) => turn.counters.add(Counter::TLS_12_UPGRADES, 1),
            Some(Version::Tls13) => turn.counters.add(Counter::TLS_13_UPGRADES, 1),
            None => {}
        }
        let conn = Conn::new(local.id, self.worker, arriving.peer, Some(line), tls, turn.now);
        conn.token.store(token, Ordering::Relaxed);
        let conn = Arc::new(conn);
        conn.count_tls(&turn.counters);
        turn.conns.lock().insert(conn.id, conn.clone());
        local.phase = Phase::Derp(Box::new(Session::new(conn, upgrade.not_ideal, place, turn)));
        let answer: &[u8] = if upgrade.fast_start { &[] } else { &turn.switching };
        self.begin(token, answer, rest, turn);
    }

    /// Greets, and goes on with what came behind the request.
    fn begin(&mut self, token: usize, answer: &[u8], mut rest: Vec<u8>, turn: Turn<'_>) {
        self.step(token, turn, |session, _, batch| {
            let hello = [answer, &turn.greeting].concat();
            session.conn().control(&hello, false, turn);
            session.receive(&mut rest, batch, turn)
        });
    }

    /// Runs one step of a session, and ends the connection if the step says so.
    fn step(
        &mut self,
        token: usize,
        turn: Turn<'_>,
        act: impl FnOnce(&mut Session, &mut [u8], &mut Batch) -> Result<(), CloseReason>,
    ) {
        let Some(Local { id, phase: Phase::Derp(session), visit, .. }) = self.locals.get_mut(token) else {
            return;
        };
        match act(session, &mut self.scratch, &mut self.batch) {
            // It may have another deadline by now.
            Ok(()) => self.wheel.arm((token, *id), visit, session.deadline()),
            Err(reason) => self.remove(token, reason, turn),
        }
    }

    /// Does what is due for one connection, and arranges its next visit.
    fn visit(&mut self, token: usize, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let next = match &mut local.phase {
            Phase::Shaking(shaking) if turn.now >= shaking.deadline => Err(CloseReason::Disconnected),
            Phase::Shaking(shaking) => Ok(shaking.deadline),
            Phase::Arriving(arriving) if turn.now >= arriving.deadline => Err(CloseReason::Disconnected),
            Phase::Arriving(arriving) => Ok(arriving.deadline),
            Phase::Derp(session) => {
                if session.samples(turn) {
                    turn.sample(&local.stream);
                }
                if session.is_over_limit() {
                    self.read_on(token, turn);
                    let Some(Local { phase: Phase::Derp(session), .. }) = self.locals.get_mut(token) else { return };
                    let next = session.on_time(turn);
                    return self.settle(token, next, turn);
                }
                session.on_time(turn)
            }
            Phase::Dialling(dialling) => dialling.on_time(turn),
            Phase::Link(link) => link.on_time(turn),
            Phase::Leaving(leaving) => leaving.on_time(turn),
            Phase::Bridge(bridge) => match bridge.on_time(turn.now) {
                Ok(Some(next)) => Ok(next),
                Ok(None) => return,
                Err(()) => Err(CloseReason::Disconnected),
            },
            Phase::Pair(_) => return,
        };
        self.settle(token, next, turn);
    }

    /// Arms the next visit, or ends the connection.
    fn settle(&mut self, token: usize, next: Result<Instant, CloseReason>, turn: Turn<'_>) {
        match next {
            Ok(next) => {
                if let Some(local) = self.locals.get_mut(token) {
                    self.wheel.arm((token, local.id), &mut local.visit, next);
                }
            }
            Err(reason) => self.remove(token, reason, turn),
        }
    }

    /// Gives the socket to the HTTP server.
    fn hand_over(&mut self, token: usize, turn: Turn<'_>) {
        if self.locals.get(token).is_some_and(|local| local.opening.is_some()) {
            return self.bridge(token, turn);
        }
        if !self.leaves_for_http(token, turn) {
            return self.remove(token, CloseReason::Refused, turn);
        }
        let Some(Local { id, stream, phase: Phase::Arriving(mut arriving), room, .. }) = self.take(token, turn) else {
            return;
        };
        self.deregister(&stream);
        turn.given.lock().insert(id, room);
        // Nobody else knows it yet.
        if let Ok(stream) = Arc::try_unwrap(stream) {
            let (peer, listener) = (arriving.peer, arriving.listener);
            let place = arriving.place().take();
            let received = arriving.into_received();
            turn.events.push_guest(Event::Duplex { id, listener, peer, tls: None, stream, received }, place);
        }
    }

    /// Finds a place among those that wait to be the HTTP server's. From then on the connection makes no room.
    fn leaves_for_http(&mut self, token: usize, turn: Turn<'_>) -> bool {
        let Some(Phase::Arriving(arriving)) = self.locals.get_mut(token).map(|local| &mut local.phase) else {
            return false;
        };
        let place = arriving.place();
        // Whoever is in this pool makes no room: the control plane takes them all, soon.
        place.hold();
        place.advance(Stage::Http, &turn.policy.load(), turn.now)
    }

    fn remove(&mut self, token: usize, reason: CloseReason, turn: Turn<'_>) {
        if self.leave(token, reason, turn) {
            return;
        }
        let Some(local) = self.take(token, turn) else {
            return;
        };
        self.deregister(&local.stream);
        match local.phase {
            Phase::Derp(session) => session.close(reason, turn),
            Phase::Dialling(dialling) => dialling.close(reason, turn),
            Phase::Link(link) => link.close(reason, turn),
            Phase::Bridge(bridge) => {
                turn.bridges.lock().remove(&local.id);
                self.remove_pair(bridge.pair_token);
            }
            Phase::Shaking(shaking) if shaking.parked.is_some() => _ = self.parked.remove(&local.id),
            Phase::Arriving(mut arriving) => arriving.alert(Alert::CLOSE_NOTIFY, &local.stream),
            Phase::Leaving(leaving) => leaving.close(turn),
            Phase::Shaking(_) | Phase::Pair(_) => {}
        }
        // An adopted socket may have another descriptor.
        let _ = local.stream.shutdown(Shutdown::Both);
    }

    fn deregister(&self, stream: &TcpStream) {
        let fd = stream.as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
    }
}
