//! One thread with one poll: it reads its own connections, writes to anyone's, and looks after the deadlines of its own.

pub(crate) mod accept_limit;
pub(crate) mod acceptor;
pub(crate) mod connections;

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use mio::{Events, Poll};

use crate::base::close_reason::CloseReason;
use crate::base::faults::Fault;
use crate::hub::ctx::Ctx;
use crate::hub::mail::Mail;
use crate::hub::shared::Shared;
use crate::io::socket::Accepted;
use crate::state::events::Event;
use crate::state::strangers::Stage;
use crate::worker::accept_limit::AcceptLimit;
use crate::worker::acceptor::Acceptor;
use crate::worker::connections::Connections;

/// Deadlines are met less than two ticks late.
const TICK: Duration = Duration::from_millis(20);
/// Events of one turn.
const EVENTS: usize = 1024;

/// The state of one worker thread.
pub(crate) struct Worker {
    index: usize,
    shared: Arc<Shared>,
    mail: Receiver<Mail>,
    connections: Connections,
    acceptor: Acceptor,
    accept_limit: AcceptLimit,
    /// Who got the last connection.
    last_worker: usize,
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, poll: Poll, mail: Receiver<Mail>) -> Self {
        let connections = Connections::new(index, poll, TICK, Instant::now());
        Self {
            index,
            shared,
            mail,
            connections,
            acceptor: Acceptor::default(),
            accept_limit: AcceptLimit::default(),
            last_worker: 0,
        }
    }

    /// Runs until told to end. Returns why.
    pub(crate) fn run(&mut self) -> io::Result<CloseReason> {
        let shared = self.shared.clone();
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = Instant::now();
            let pause = self.pause(&shared, now);
            self.connections.wait(&mut events, pause, now)?;
            let ctx = Ctx::now(&shared);
            if ctx.faults.strikes(Fault::Panic) {
                panic!("a fault was planted");
            }
            while self.index == 0 && ctx.faults.try_to(Fault::Hang).is_err() {
                std::thread::sleep(TICK);
            }
            self.accept(None, ctx);
            self.connections.go_on(ctx);
            for event in &events {
                match self.acceptor.index(event.token()) {
                    Some(listener) => self.accept(Some(listener), ctx),
                    None => self.connections.on_ready(event, ctx),
                }
            }
            while let Ok(mail) = self.mail.try_recv() {
                if let Mail::End(reason) = mail {
                    return Ok(reason);
                }
                self.read_mail(mail, ctx);
            }
            self.connections.on_time(ctx);
            self.connections.cool(ctx);
        }
    }

    /// Closes everything. Mail that comes after this is not read.
    pub(crate) fn close(&mut self, reason: CloseReason) {
        let shared = self.shared.clone();
        self.acceptor.close();
        self.connections.close_all(reason, Ctx::now(&shared));
    }

    /// How long this worker has nothing to do without an event.
    fn pause(&mut self, shared: &Shared, now: Instant) -> Option<Duration> {
        let cooling = self.connections.cooling_pause(&shared.mailboxes[self.index].warmed, now);
        [shared.events.bell.tick(now), self.acceptor.pause(now), cooling].into_iter().flatten().min()
    }

    fn read_mail(&mut self, mail: Mail, ctx: Ctx<'_>) {
        let connections = &mut self.connections;
        match mail {
            Mail::Listen(listener, opened) => {
                // The caller that has asked may have given up.
                let _ = opened.send(self.acceptor.add(listener, connections.poll.registry()));
            }
            Mail::Accepted(accepted, guest, room) => connections.arrive(accepted, guest, room, ctx),
            Mail::Adopted(adopted) => connections.adopt(adopted, ctx),
            Mail::Admitted { conn, limit, keep_alive_at } => connections.admitted(&conn, limit, keep_alive_at, ctx),
            Mail::Limit(conn, limit) => connections.limit(&conn, limit, ctx),
            Mail::Dial(conn, target) => connections.dial(conn, *target, ctx),
            Mail::Heard(conn) => connections.heard(&conn, ctx),
            Mail::Stalled(conn) => connections.stalled(&conn, ctx),
            Mail::Drain(conn) => connections.drain(&conn, ctx),
            Mail::Close(conn, reason) => connections.close(&conn, reason, ctx),
            Mail::Certificates => connections.look_again(ctx),
            Mail::CloseParked(id) => connections.close_parked(id, ctx),
            Mail::Policy => connections.free(ctx),
            Mail::Pulse(id, silent) => {
                if silent.fetch_sub(1, Ordering::SeqCst) == 1 {
                    ctx.events.push(Event::Pulse { id });
                }
            }
            Mail::Relieve => connections.relieve(ctx),
            #[cfg(feature = "fault-injection")]
            Mail::Look => {}
            Mail::End(_) => {}
        }
    }

    /// Spreads what waits, at one listener or where it is time to look again, over the workers in turn.
    fn accept(&mut self, listener: Option<usize>, ctx: Ctx<'_>) {
        let Self { index, connections, acceptor, accept_limit, last_worker, .. } = self;
        let take = |accepted: Accepted| {
            if accepted.tls && !accept_limit.may_accept(accepted.peer, ctx) {
                return;
            }
            let Some(room) = ctx.may_connect(accepted.peer) else { return };
            // Here, so that of several it is the last that is refused.
            let Accepted { listener, peer, ref stream, .. } = accepted;
            let Some(guest) = ctx.enter(listener, Stage::Arriving, peer, stream) else { return };
            *last_worker = (*last_worker + 1) % ctx.mailboxes.len();
            if *last_worker == *index {
                connections.arrive(accepted, guest, room, ctx);
            } else {
                ctx.mail(*last_worker, Mail::Accepted(accepted, guest, room));
            }
        };
        let failed = match listener {
            Some(listener) => acceptor.accept(listener, ctx, take),
            None => acceptor.accept_again(ctx, take),
        };
        if let Err(error) = failed {
            ctx.trouble("accepting connections", error);
        }
    }
}
