//! The connections of one worker, from accept to their end: reading them in turn, and their deadlines. `phase` says what a
//! connection may be, and what its read side and its write side can do then.

mod adopted;
mod cipher_cooling;
mod ending;
mod failing;
mod handshake;
mod held_bytes;
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
use derp_proto::token_bucket::Rate;
use derp_tls::{Alert, Version};
use mio::event::Event as Readiness;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use self::handshake::TlsAccept;
use self::phase::{ConnSlot, Late, Phase};
use crate::base::budget::Share;
use crate::base::close_reason::CloseReason;
use crate::base::faults::Fault;
use crate::base::ledger::Note;
use crate::base::timer_wheel::{Visit, Wheel};
use crate::conn::Conn;
use crate::hub::ctx::Ctx;
use crate::ingress::fanout::Fanout;
use crate::ingress::request_head::RequestHead;
use crate::ingress::session::Session;
use crate::io::cipher_sweep::CipherSweep;
use crate::io::socket::{Accepted, prepare};
use crate::io::tls::TlsWriter;
use crate::io::writer::send;
use crate::state::events::Event;
use crate::state::strangers::{Full, Guest, Stage};

/// Larger than the largest frame; every read goes here, so an idle connection owns no buffer.
const SCRATCH: usize = 128 << 10;

pub(crate) struct Connections {
    worker: usize,
    pub(crate) poll: Poll,
    slots: Slab<ConnSlot>,
    wheel: Wheel<(usize, u64)>,
    /// Stopped by their budget, not by an empty socket.
    ready: Vec<(usize, u64)>,
    /// Handshakes that wait for a certificate, by id.
    parked: HashMap<u64, usize>,
    cipher_sweep: CipherSweep,
    scratch: Vec<u8>,
    fanout: Fanout,
}

impl Connections {
    pub(crate) fn new(worker: usize, poll: Poll, tick: Duration, now: Instant) -> Self {
        Self {
            worker,
            poll,
            slots: Slab::new(),
            wheel: Wheel::new(tick, now),
            ready: Vec::new(),
            parked: HashMap::new(),
            cipher_sweep: CipherSweep::default(),
            scratch: vec![0; SCRATCH],
            fanout: Fanout::default(),
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

    /// Goes on with those that were stopped by their budget. Before any connection is read, so that each has one turn.
    pub(crate) fn go_on(&mut self, ctx: Ctx<'_>) {
        for (token, id) in std::mem::take(&mut self.ready) {
            if let Some(slot) = self.slots.get_mut(token).filter(|slot| slot.id == id) {
                slot.is_ready = false;
                if matches!(slot.phase, Phase::Bridge(_)) {
                    self.cross(token, ctx);
                } else {
                    self.read(token, ctx);
                }
            }
        }
    }

    pub(crate) fn on_ready(&mut self, readiness: &Readiness, ctx: Ctx<'_>) {
        let Token(token) = readiness.token();
        let Some(slot) = self.slots.get_mut(token) else { return };
        match &mut slot.phase {
            Phase::Derp(session) if readiness.is_writable() => session.conn().writable(ctx),
            Phase::TlsHandshake(handshake) if readiness.is_writable() => send(&slot.stream, &mut handshake.tls.out),
            Phase::Bridge(_) => return self.cross(token, ctx),
            Phase::Pair(bridge) => {
                let bridge = *bridge;
                if readiness.is_write_closed() {
                    self.left_by_node(bridge, ctx);
                }
                return self.cross(bridge, ctx);
            }
            Phase::MeshDial(_) => return self.on_dialled(token, readiness, ctx),
            Phase::MeshLink(link) if readiness.is_writable() => link.conn().writable(ctx),
            Phase::Leaving(leaving) if leaving.conn().is_some() => return self.let_go(token, ctx),
            Phase::Derp(_)
            | Phase::TlsHandshake(_)
            | Phase::RequestHead(_)
            | Phase::MeshLink(_)
            | Phase::Leaving(_) => {}
        }
        self.on_readable(token, readiness, ctx);
    }

    fn on_readable(&mut self, token: usize, readiness: &Readiness, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let hung_up = readiness.is_read_closed() || readiness.is_error();
        slot.hung_up |= hung_up;
        // Who was stopped by their budget is read in the next turn.
        if (readiness.is_readable() || hung_up) && !slot.is_ready {
            self.read(token, ctx);
        }
    }

    /// Does what is due.
    pub(crate) fn on_time(&mut self, ctx: Ctx<'_>) {
        for ((token, id), due) in self.wheel.due(ctx.now) {
            if let Some(slot) = self.slots.get_mut(token).filter(|slot| slot.id == id)
                && slot.visit.is_due(due)
            {
                self.visit(token, ctx);
            }
        }
    }

    /// A new connection.
    pub(crate) fn arrive(&mut self, accepted: Accepted, guest: Guest, room: Share, ctx: Ctx<'_>) {
        let policy = ctx.policy.load();
        if prepare(&accepted.stream, &policy).is_err() {
            // It has gone already.
            return;
        }
        let (stream, accepted) = accepted.split();
        let phase = if accepted.tls {
            let deadline = ctx.now + guest.patience(policy.handshake_deadline);
            Phase::TlsHandshake(Box::new(TlsAccept::new(accepted, guest, deadline)))
        } else {
            let deadline = ctx.now + guest.patience(policy.head_deadline);
            Phase::RequestHead(Box::new(RequestHead::new(&accepted, None, guest, deadline)))
        };
        if let Ok(token) = self.insert(ctx.new_id(), stream, phase, room, ctx) {
            self.visit(token, ctx);
        }
    }

    /// The control plane has let it in.
    pub(crate) fn admitted(&mut self, conn: &Conn, limit: Option<Rate>, keep_alive_at: Instant, ctx: Ctx<'_>) {
        if let Some(token) = self.token(conn) {
            self.step(token, ctx, |session, _, fanout| session.admitted(limit, keep_alive_at, fanout, ctx));
            self.quiet(token, ctx);
            self.read(token, ctx);
        }
    }

    /// It has another receive limit: what has waited for the old one goes on.
    pub(crate) fn limit(&mut self, conn: &Conn, limit: Option<Rate>, ctx: Ctx<'_>) {
        let Some(token) = self.token(conn) else { return };
        if let Some(ConnSlot { phase: Phase::Derp(session), .. }) = self.slots.get_mut(token) {
            session.limit(limit);
            self.read_on(token, ctx);
        }
    }

    /// The policy is another one: who is held back may not be any more.
    pub(crate) fn free(&mut self, ctx: Ctx<'_>) {
        let held = |slot: &ConnSlot| matches!(&slot.phase, Phase::Derp(session) if session.is_over_limit());
        let held: Vec<usize> = self.slots.iter().filter(|(_, slot)| held(slot)).map(|(token, _)| token).collect();
        for token in held {
            self.read_on(token, ctx);
        }
        self.relieve(ctx);
    }

    /// Goes on with a connection that was held back, if its time has come.
    fn read_on(&mut self, token: usize, ctx: Ctx<'_>) {
        self.step(token, ctx, |session, _, fanout| session.read_on(fanout, ctx));
        self.read(token, ctx);
    }

    pub(crate) fn stalled(&mut self, conn: &Conn, ctx: Ctx<'_>) {
        if let Some(token) = self.token(conn) {
            self.visit(token, ctx);
        }
    }

    pub(crate) fn close(&mut self, conn: &Conn, reason: CloseReason, ctx: Ctx<'_>) {
        if let Some(token) = self.token(conn) {
            self.remove(token, reason, ctx);
        }
    }

    pub(crate) fn close_all(&mut self, reason: CloseReason, ctx: Ctx<'_>) {
        let tokens: Vec<usize> = self.slots.iter().map(|(token, _)| token).collect();
        for token in tokens {
            self.remove(token, reason, ctx);
        }
    }

    fn token(&self, conn: &Conn) -> Option<usize> {
        let token = conn.token.load(Ordering::Relaxed);
        self.slots.get(token).filter(|slot| slot.id == conn.id).map(|_| token)
    }

    /// Registers for everything, once, edge-triggered.
    fn insert(
        &mut self,
        id: u64,
        stream: Arc<TcpStream>,
        phase: Phase,
        room: Share,
        ctx: Ctx<'_>,
    ) -> Result<usize, Phase> {
        let entry = self.slots.vacant_entry();
        let token = entry.key();
        let fd = stream.as_raw_fd();
        let interest = Interest::READABLE | Interest::WRITABLE;
        let registry = self.poll.registry();
        let registered = ctx
            .faults
            .try_to(Fault::Register)
            .and_then(|()| registry.register(&mut SourceFd(&fd), Token(token), interest));
        if let Err(error) = registered {
            ctx.trouble("watching a socket", error);
            return Err(phase);
        }
        let visit = Visit::default();
        entry.insert(ConnSlot {
            id,
            stream,
            phase,
            room,
            tls_reader: None,
            visit,
            kept: Note::default(),
            is_ready: false,
            is_warm: false,
            hung_up: false,
        });
        Ok(token)
    }

    /// The head was a raw DERP upgrade.
    fn upgrade(&mut self, token: usize, upgrade: &DerpUpgrade, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Phase::RequestHead(head) = &mut slot.phase else { return };
        if let Err(full) = head.guest().advance(Stage::LoggingIn, &ctx.policy.load(), ctx.now) {
            return self.turn_away(token, full, ctx);
        }
        let guest = head.guest().take();
        let rest = head.rest(upgrade);
        let (writer, tls) = TlsWriter::socket_writer(head.secure.take(), &slot.stream);
        match tls {
            Some(Version::Tls12) => ctx.counters.add(Counter::TLS_12_UPGRADES, 1),
            Some(Version::Tls13) => ctx.counters.add(Counter::TLS_13_UPGRADES, 1),
            None => {}
        }
        let conn = Conn::new(slot.id, self.worker, head.peer, Some(writer), tls, ctx.now);
        conn.token.store(token, Ordering::Relaxed);
        let conn = Arc::new(conn);
        conn.count_tls(ctx.counters);
        ctx.conns.lock().insert(conn.id, conn.clone());
        slot.phase = Phase::Derp(Box::new(Session::new(conn, upgrade.not_ideal, guest, ctx)));
        let answer: &[u8] = if upgrade.fast_start { &[] } else { &ctx.switching };
        self.begin(token, answer, rest, ctx);
    }

    /// Greets, and goes on with what came behind the request.
    fn begin(&mut self, token: usize, answer: &[u8], mut rest: Vec<u8>, ctx: Ctx<'_>) {
        self.step(token, ctx, |session, _, fanout| {
            let hello = [answer, &ctx.greeting].concat();
            session.conn().control(&hello, false, ctx);
            session.receive(&mut rest, fanout, ctx)
        });
    }

    /// Runs one step of a session, and ends the connection if the step says so.
    fn step(
        &mut self,
        token: usize,
        ctx: Ctx<'_>,
        act: impl FnOnce(&mut Session, &mut [u8], &mut Fanout) -> Result<(), CloseReason>,
    ) {
        let Some(ConnSlot { id, phase: Phase::Derp(session), visit, .. }) = self.slots.get_mut(token) else {
            return;
        };
        match act(session, &mut self.scratch, &mut self.fanout) {
            // It may have another deadline by now.
            Ok(()) => self.wheel.arm((token, *id), visit, session.deadline()),
            Err(reason) => self.remove(token, reason, ctx),
        }
    }

    /// Does what is due for one connection, and arranges its next visit.
    fn visit(&mut self, token: usize, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        if let Phase::Derp(session) = &mut slot.phase {
            session.sample(&slot.stream, ctx);
            if session.is_over_limit() {
                self.read_on(token, ctx);
            }
        }
        let Some(slot) = self.slots.get_mut(token) else { return };
        match slot.phase.on_time(ctx) {
            Ok(None) => {}
            Ok(Some(next)) => self.settle(token, Ok(next), ctx),
            Err(Late::Failed(fault)) => self.fail(token, fault, ctx),
            Err(Late::Ended(reason)) => self.settle(token, Err(reason), ctx),
        }
    }

    /// Arms the next visit, or ends the connection.
    fn settle(&mut self, token: usize, next: Result<Instant, CloseReason>, ctx: Ctx<'_>) {
        match next {
            Ok(next) => {
                if let Some(slot) = self.slots.get_mut(token) {
                    self.wheel.arm((token, slot.id), &mut slot.visit, next);
                }
            }
            Err(reason) => self.remove(token, reason, ctx),
        }
    }

    /// Gives the socket to the HTTP server.
    fn hand_over(&mut self, token: usize, ctx: Ctx<'_>) {
        if self.slots.get(token).is_some_and(|slot| slot.tls_reader.is_some()) {
            return self.bridge(token, ctx);
        }
        if let Err(full) = self.leaves_for_http(token, ctx) {
            return self.turn_away(token, full, ctx);
        }
        let Some(ConnSlot { id, stream, phase: Phase::RequestHead(mut head), room, .. }) = self.take(token, ctx) else {
            return;
        };
        self.deregister(&stream);
        ctx.given.lock().insert(id, room);
        // No other thread knows it yet.
        if let Ok(stream) = Arc::try_unwrap(stream) {
            let (peer, listener) = (head.peer, head.listener);
            let guest = head.guest().take();
            let received = head.into_received();
            ctx.events.push_guest(Event::Duplex { id, listener, peer, tls: None, stream, received }, guest);
        }
    }

    /// Finds a place among those that wait to be the HTTP server's. From then on the connection makes no room.
    fn leaves_for_http(&mut self, token: usize, ctx: Ctx<'_>) -> Result<(), Option<Full>> {
        let Some(Phase::RequestHead(head)) = self.slots.get_mut(token).map(|slot| &mut slot.phase) else {
            return Err(None);
        };
        let guest = head.guest();
        // A connection in this pool makes no room: the control plane takes them all, soon.
        guest.hold();
        guest.advance(Stage::Http, &ctx.policy.load(), ctx.now)
    }

    fn remove(&mut self, token: usize, reason: CloseReason, ctx: Ctx<'_>) {
        if self.leave(token, reason, ctx) {
            return;
        }
        let Some(slot) = self.take(token, ctx) else {
            return;
        };
        self.deregister(&slot.stream);
        match slot.phase {
            Phase::Derp(session) => session.close(reason, ctx),
            Phase::MeshDial(dial) => dial.close(reason, ctx),
            Phase::MeshLink(link) => link.close(reason, ctx),
            Phase::Bridge(bridge) => {
                ctx.bridges.lock().remove(&slot.id);
                self.remove_pair(bridge.pair_token);
            }
            Phase::TlsHandshake(handshake) if handshake.parked.is_some() => _ = self.parked.remove(&slot.id),
            Phase::RequestHead(mut head) => head.alert(Alert::CLOSE_NOTIFY, &slot.stream),
            Phase::Leaving(leaving) => leaving.close(ctx),
            Phase::TlsHandshake(_) | Phase::Pair(_) => {}
        }
        // An adopted socket may have another descriptor.
        let _ = slot.stream.shutdown(Shutdown::Both);
    }

    fn deregister(&self, stream: &TcpStream) {
        let fd = stream.as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
    }
}
