//! One thread with one poll: it accepts (the first one does), reads, and looks after the deadlines of its connections.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use derp_proto::counters::Counter;
use mio::net::TcpListener;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use slab::Slab;
use std::os::fd::AsRawFd;

use crate::arrival::{Arriving, Progress};
use crate::conn::Conn;
use crate::events::{CloseReason, Event};
use crate::session::{Session, Step};
use crate::shared::Shared;
use crate::timer::Wheel;

/// Larger than the largest frame; every read goes here, so an idle connection owns no buffer.
pub(crate) const SCRATCH: usize = 128 << 10;
/// Reads of one connection before the others have their turn.
const READS: usize = 4;
/// What may change with every frame is told at most so often.
const COALESCE: Duration = Duration::from_millis(10);
const TICK: Duration = Duration::from_millis(20);
const WAKE: Token = Token(usize::MAX);
/// Listeners are counted down from here, connections up from 0.
const FIRST_LISTENER: usize = usize::MAX - 1;

/// What others leave for a worker.
pub(crate) enum Mail {
    Listen {
        id: u64,
        derp: bool,
        listener: std::net::TcpListener,
    },
    Accepted {
        stream: TcpStream,
        peer: SocketAddr,
        listener: u64,
        derp: bool,
    },
    /// A connection that came some other way, and begins with the greeting.
    Adopted {
        id: u64,
        stream: TcpStream,
        peer: SocketAddr,
        leftover: Vec<u8>,
        not_ideal: bool,
    },
    /// The control plane has let it in.
    Admitted(usize, u64, Instant),
    /// Its socket is full: watch the write deadline.
    Stalled(usize, u64),
    Close(usize, u64, CloseReason),
    Shutdown,
}

enum Phase {
    Arriving(Box<Arriving>),
    Derp(Box<Session>),
}

struct Local {
    /// Guards against mail and timers for a connection that had this place before.
    id: u64,
    stream: Arc<TcpStream>,
    phase: Phase,
}

struct Listener {
    id: u64,
    derp: bool,
    socket: TcpListener,
}

/// The state of one worker thread.
pub(crate) struct Worker {
    index: usize,
    shared: Arc<Shared>,
    poll: Poll,
    mail: Receiver<Mail>,
    locals: Slab<Local>,
    listeners: Vec<Listener>,
    accept_again: Option<Instant>,
    next_worker: usize,
    wheel: Wheel<(usize, u64)>,
    scratch: Vec<u8>,
    /// Stopped by their budget, not by an empty socket.
    ready: Vec<(usize, u64)>,
    next_tick: Instant,
}

impl Worker {
    pub(crate) fn new(index: usize, shared: Arc<Shared>, poll: Poll, mail: Receiver<Mail>) -> Self {
        Self {
            index,
            shared,
            poll,
            mail,
            locals: Slab::new(),
            listeners: Vec::new(),
            accept_again: None,
            next_worker: 0,
            wheel: Wheel::new(TICK, Instant::now()),
            scratch: vec![0; SCRATCH],
            ready: Vec::new(),
            next_tick: Instant::now(),
        }
    }

    /// The token that a poll's waker is to have.
    pub(crate) fn wake_token() -> Token {
        WAKE
    }

    /// Runs until told to shut down.
    pub(crate) fn run(mut self) -> io::Result<()> {
        let mut events = Events::with_capacity(1024);
        loop {
            let timeout = if self.ready.is_empty() { TICK } else { Duration::ZERO };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
                _ => {}
            }
            let now = Instant::now();
            for event in &events {
                let token = event.token();
                if token == WAKE {
                    continue;
                }
                if token.0 > FIRST_LISTENER - self.listeners.len() {
                    self.accept(FIRST_LISTENER - token.0);
                    continue;
                }
                if event.is_writable() {
                    self.writable(token.0, now);
                }
                if event.is_readable() || event.is_read_closed() || event.is_error() {
                    self.readable(token.0, now);
                }
            }
            for (token, id) in std::mem::take(&mut self.ready) {
                if self.is(token, id) {
                    self.readable(token, now);
                }
            }
            while let Ok(mail) = self.mail.try_recv() {
                if matches!(mail, Mail::Shutdown) {
                    self.close_all(now);
                    return Ok(());
                }
                self.read_mail(mail, now);
            }
            for (token, id) in self.wheel.due(now) {
                self.on_time(token, id, now);
            }
            if self.accept_again.is_some_and(|when| now >= when) {
                self.accept_again = None;
                for index in 0..self.listeners.len() {
                    self.accept(index);
                }
            }
            if self.index == 0 && now >= self.next_tick {
                self.next_tick = now + COALESCE;
                self.shared.events.tick();
            }
        }
    }

    fn read_mail(&mut self, mail: Mail, now: Instant) {
        match mail {
            Mail::Listen { id, derp, listener } => self.listen(id, derp, listener),
            Mail::Accepted { stream, peer, listener, derp } => self.arrive(stream, peer, listener, derp, now),
            Mail::Adopted { id, stream, peer, leftover, not_ideal } => {
                self.adopt(id, stream, peer, &leftover, not_ideal, now);
            }
            Mail::Admitted(token, id, keep_alive) => {
                if self.is(token, id) {
                    self.step(token, now, |session, scratch, shared| {
                        session.admitted(keep_alive, scratch, shared, now)
                    });
                    self.readable(token, now);
                }
            }
            Mail::Stalled(token, id) => {
                if let Some(when) = self.session(token, id).and_then(|session| session.write_deadline()) {
                    self.wheel.arm((token, id), when);
                }
            }
            Mail::Close(token, id, reason) => {
                if self.is(token, id) {
                    self.close(token, reason, now);
                }
            }
            Mail::Shutdown => {}
        }
    }

    fn listen(&mut self, id: u64, derp: bool, listener: std::net::TcpListener) {
        let mut socket = TcpListener::from_std(listener);
        let token = Token(FIRST_LISTENER - self.listeners.len());
        if self.poll.registry().register(&mut socket, token, Interest::READABLE).is_ok() {
            self.listeners.push(Listener { id, derp, socket });
            self.accept(self.listeners.len() - 1);
        }
    }

    /// Takes all that wait, and spreads them over the workers in turn.
    fn accept(&mut self, index: usize) {
        loop {
            let Listener { id, derp, socket } = &self.listeners[index];
            match socket.accept() {
                Ok((stream, peer)) => {
                    let mail = Mail::Accepted { stream: stream.into(), peer, listener: *id, derp: *derp };
                    self.next_worker = (self.next_worker + 1) % self.shared.mailboxes.len();
                    if self.next_worker == self.index {
                        self.read_mail(mail, Instant::now());
                    } else {
                        self.shared.mail(self.next_worker, mail);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_out_of_descriptors(&error) => {
                    // They come back as connections end.
                    self.accept_again = Some(Instant::now() + Duration::from_millis(100));
                    return;
                }
                // The peer has given up between its SYN and our accept.
                Err(_) => {}
            }
        }
    }

    fn arrive(&mut self, stream: TcpStream, peer: SocketAddr, listener: u64, derp: bool, now: Instant) {
        let policy = self.shared.policy.load_full();
        // No place is taken for the login yet, but where there is none it is not worth reading a head.
        let full = self.shared.pending_logins.load(Ordering::Relaxed) >= policy.pending_logins;
        if full || prepare(&stream, &policy).is_err() || !take_place(&self.shared.arriving, policy.handshakes) {
            self.shared.counters.add(Counter::CONNECTIONS_REFUSED, 1);
            return;
        }
        let id = self.shared.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let arriving = Arriving::new(peer, listener, derp, now + policy.head_deadline);
        let deadline = arriving.deadline();
        let local = Local { id, stream: Arc::new(stream), phase: Phase::Arriving(Box::new(arriving)) };
        if let Some(token) = self.insert(local, now) {
            self.wheel.arm((token, id), deadline);
        }
    }

    fn adopt(&mut self, id: u64, stream: TcpStream, peer: SocketAddr, leftover: &[u8], not_ideal: bool, now: Instant) {
        if !self.may_log_in() {
            return;
        }
        let stream = Arc::new(stream);
        let token = self.locals.vacant_entry().key();
        let conn = Arc::new(Conn::new(id, self.index, token, peer, stream.clone()));
        let session = Session::new(conn, not_ideal, &self.shared, now);
        let local = Local { id, stream, phase: Phase::Derp(Box::new(session)) };
        let Some(token) = self.insert(local, now) else { return };
        self.begin(token, &[], leftover, now);
        self.readable(token, now);
    }

    /// Gives the connection a place, and has the poll look at it; ends it where that cannot be.
    fn insert(&mut self, local: Local, now: Instant) -> Option<usize> {
        let fd = local.stream.as_raw_fd();
        let token = self.locals.insert(local);
        let interest = Interest::READABLE | Interest::WRITABLE;
        if self.poll.registry().register(&mut SourceFd(&fd), Token(token), interest).is_err() {
            self.close(token, CloseReason::InternalError, now);
            return None;
        }
        Some(token)
    }

    fn writable(&mut self, token: usize, now: Instant) {
        if let Some(Local { phase: Phase::Derp(session), .. }) = self.locals.get(token) {
            session.conn().writable(&self.shared, now);
        }
    }

    fn readable(&mut self, token: usize, now: Instant) {
        for _ in 0..READS {
            let Some(local) = self.locals.get_mut(token) else {
                return;
            };
            match &mut local.phase {
                Phase::Arriving(arriving) => match arriving.read(&local.stream, &mut self.scratch, &self.shared) {
                    Progress::More => {}
                    Progress::Empty => return,
                    Progress::Closed => return self.close(token, CloseReason::Disconnected, now),
                    Progress::Http => return self.hand_over(token),
                    Progress::Derp { fast_start, not_ideal, rest } => {
                        self.upgrade(token, fast_start, not_ideal, &rest, now);
                    }
                },
                Phase::Derp(session) => {
                    if session.is_paused(&self.shared) {
                        return;
                    }
                    match (&*local.stream).read(session.buffer(&mut self.scratch)) {
                        Ok(0) => return self.close(token, CloseReason::Disconnected, now),
                        Ok(count) => {
                            self.step(token, now, |session, scratch, shared| session.read(count, scratch, shared, now))
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                        Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                        Err(_) => return self.close(token, CloseReason::Disconnected, now),
                    }
                }
            }
        }
        if let Some(local) = self.locals.get(token) {
            self.ready.push((token, local.id));
        }
    }

    /// The head was a raw DERP upgrade.
    fn upgrade(&mut self, token: usize, fast_start: bool, not_ideal: bool, rest: &[u8], now: Instant) {
        // Whoever was accepted then may since have taken the last place.
        if !self.may_log_in() {
            return self.close(token, CloseReason::Disconnected, now);
        }
        let Some(local) = self.locals.get_mut(token) else {
            return;
        };
        let Phase::Arriving(arriving) = &local.phase else {
            return;
        };
        self.shared.arriving.fetch_sub(1, Ordering::Relaxed);
        let conn = Arc::new(Conn::new(local.id, self.index, token, arriving.peer(), local.stream.clone()));
        local.phase = Phase::Derp(Box::new(Session::new(conn, not_ideal, &self.shared, now)));
        let switching: Box<[u8]> = if fast_start { Box::default() } else { self.shared.switching.clone() };
        self.begin(token, &switching, rest, now);
    }

    /// Greets, and goes on with what came behind the request.
    fn begin(&mut self, token: usize, answer: &[u8], rest: &[u8], now: Instant) {
        let Some(Local { id, phase: Phase::Derp(session), .. }) = self.locals.get_mut(token) else {
            return;
        };
        self.wheel.arm((token, *id), session.deadline());
        let hello = [answer, &self.shared.greeting].concat();
        session.conn().control(hello.into(), false, &self.shared, now);
        for chunk in rest.chunks(SCRATCH) {
            self.step(token, now, |session, scratch, shared| session.feed(chunk, scratch, shared, now));
        }
    }

    /// Runs one step of a session, and ends the connection if the step says so.
    fn step(&mut self, token: usize, now: Instant, act: impl FnOnce(&mut Session, &mut [u8], &Shared) -> Step) {
        let Some(Local { id, phase: Phase::Derp(session), .. }) = self.locals.get_mut(token) else {
            return;
        };
        let step = act(session, &mut self.scratch, &self.shared);
        if let Some(when) = session.take_rearm() {
            self.wheel.arm((token, *id), when);
        }
        if let Step::Close(reason) = step {
            self.close(token, reason, now);
        }
    }

    fn on_time(&mut self, token: usize, id: u64, now: Instant) {
        let Some(local) = self.locals.get_mut(token).filter(|local| local.id == id) else {
            return;
        };
        match &mut local.phase {
            Phase::Arriving(arriving) => {
                let deadline = arriving.deadline();
                if now >= deadline {
                    self.close(token, CloseReason::Disconnected, now);
                } else {
                    self.wheel.arm((token, id), deadline);
                }
            }
            Phase::Derp(session) => match session.on_time(&self.shared, now) {
                Ok(next) => self.wheel.arm((token, id), next),
                Err(reason) => self.close(token, reason, now),
            },
        }
    }

    /// Gives the socket to the HTTP server.
    fn hand_over(&mut self, token: usize) {
        let Some(local) = self.locals.try_remove(token) else {
            return;
        };
        let fd = local.stream.as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        self.shared.arriving.fetch_sub(1, Ordering::Relaxed);
        let Phase::Arriving(arriving) = local.phase else { return };
        // Nobody else knows it yet.
        if let Ok(stream) = Arc::try_unwrap(local.stream) {
            let (peer, listener) = (arriving.peer(), arriving.listener());
            let received = arriving.into_received();
            self.shared.events.push(Event::Duplex { id: local.id, listener, peer, stream, received });
        }
    }

    fn close(&mut self, token: usize, reason: CloseReason, now: Instant) {
        let Some(local) = self.locals.try_remove(token) else {
            return;
        };
        let fd = local.stream.as_raw_fd();
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        match local.phase {
            Phase::Arriving(_) => {
                self.shared.arriving.fetch_sub(1, Ordering::Relaxed);
            }
            Phase::Derp(session) => session.close(reason, &self.shared, now),
        }
        // A full receive buffer would turn the close into a reset, which can eat what was sent last.
        let _ = local.stream.shutdown(std::net::Shutdown::Both);
    }

    fn close_all(&mut self, now: Instant) {
        self.listeners.clear();
        let tokens: Vec<usize> = self.locals.iter().map(|(token, _)| token).collect();
        for token in tokens {
            self.close(token, CloseReason::Shutdown, now);
        }
    }

    /// Takes a place among the logins that wait, for the session that is made next.
    fn may_log_in(&self) -> bool {
        let may = take_place(&self.shared.pending_logins, self.shared.policy.load().pending_logins);
        if !may {
            self.shared.counters.add(Counter::CONNECTIONS_REFUSED, 1);
        }
        may
    }

    fn is(&self, token: usize, id: u64) -> bool {
        self.locals.get(token).is_some_and(|local| local.id == id)
    }

    fn session(&self, token: usize, id: u64) -> Option<&Session> {
        match self.locals.get(token) {
            Some(Local { id: known, phase: Phase::Derp(session), .. }) if *known == id => Some(session),
            _ => None,
        }
    }
}

/// Adds one to a count that has a limit. Several workers do so at once.
fn take_place(count: &AtomicUsize, limit: usize) -> bool {
    count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| (taken < limit).then_some(taken + 1)).is_ok()
}

fn prepare(stream: &TcpStream, policy: &crate::policy::Policy) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(idle) = policy.tcp_keep_alive {
        // The interval and count that derper leaves at its runtime's defaults.
        let keep_alive =
            socket2::TcpKeepalive::new().with_time(idle).with_interval(Duration::from_secs(15)).with_retries(9);
        socket.set_tcp_keepalive(&keep_alive)?;
    }
    #[cfg(target_os = "linux")]
    socket.set_tcp_user_timeout(policy.tcp_user_timeout)?;
    Ok(())
}

fn is_out_of_descriptors(error: &io::Error) -> bool {
    // EMFILE and ENFILE, the same everywhere we run.
    matches!(error.raw_os_error(), Some(23 | 24))
}
