//! Many clients on one thread: connects them, logs them in, reads and writes. What the frames mean is a [`Handler`]'s.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Token};
use slab::Slab;

use crate::session::{Identity, Session};
use crate::timer::{Timer, wait};
use crate::transport::{Security, Transport};

/// Told of what happens to clients. `number` is the one that the client was connected with.
pub(crate) trait Handler {
    /// The login is complete.
    fn opened(&mut self, number: usize, now: Instant);
    /// A frame after the login.
    fn frame(&mut self, number: usize, frame: &[u8], now: Instant);
    /// Not by [`Driver::close`]. The client is forgotten.
    fn closed(&mut self, number: usize, why: &str);
}

/// Takes most of what waits in a socket at once, and still fits into the second cache.
const READ: usize = 256 << 10;
/// The longest frame that a session lets through, begun in an earlier read.
const SCRATCH: usize = READ + (1 << 20) + 5;
const TIMER: Token = Token(usize::MAX);
const OTHER: Token = Token(usize::MAX - 1);

struct Client {
    number: usize,
    identity: Arc<Identity>,
    transport: Transport,
    session: Session,
    /// A frame that is not whole.
    partial: Vec<u8>,
    out: Vec<u8>,
    written: usize,
    connected: bool,
    readable: bool,
    writable: bool,
    hung_up: bool,
    /// It stands in the list of those to be looked at.
    queued: bool,
    /// How many bytes it may still read; as many as there are if `None`.
    allowance: Option<usize>,
}

impl Client {
    fn flush(&mut self) -> io::Result<()> {
        while self.connected && self.writable && (self.written < self.out.len() || self.transport.owes()) {
            match self.transport.write(&self.out[self.written..]) {
                // The handshake goes on when the relay has answered.
                Ok((0, false)) => break,
                Ok((count, full)) => {
                    self.written += count;
                    // The poll tells when there is room.
                    self.writable = !full;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.written == self.out.len() {
            self.out.clear();
            self.written = 0;
        }
        Ok(())
    }
}

/// The clients of one thread. A client's token is valid until it is closed.
pub(crate) struct Driver {
    target: SocketAddr,
    fast_start: bool,
    security: Security,
    poll: Poll,
    events: Events,
    timer: Timer,
    clients: Slab<Client>,
    ready: VecDeque<usize>,
    scratch: Vec<u8>,
    sealed: Vec<u8>,
}

impl Driver {
    pub(crate) fn new(target: SocketAddr, fast_start: bool, security: Security) -> io::Result<Self> {
        let poll = Poll::new()?;
        let timer = Timer::new(&poll, TIMER)?;
        Ok(Self {
            target,
            fast_start,
            sealed: if security.is_some() { vec![0; READ] } else { Vec::new() },
            security,
            poll,
            events: Events::with_capacity(1024),
            timer,
            clients: Slab::new(),
            ready: VecDeque::new(),
            scratch: vec![0; SCRATCH],
        })
    }

    /// Clients connect there from now on.
    pub(crate) fn aim(&mut self, target: SocketAddr) {
        self.target = target;
    }

    /// Begins to connect a client.
    pub(crate) fn connect(&mut self, number: usize, identity: Arc<Identity>) -> io::Result<usize> {
        let entry = self.clients.vacant_entry();
        let token = entry.key();
        let transport = Transport::connect(self.target, &self.security, self.poll.registry(), Token(token))?;
        let mut out = Vec::new();
        let session = Session::begin(&identity, self.target, self.fast_start, &mut out);
        entry.insert(Client {
            number,
            identity,
            transport,
            session,
            partial: Vec::new(),
            out,
            written: 0,
            connected: false,
            readable: false,
            writable: false,
            hung_up: false,
            queued: false,
            allowance: None,
        });
        Ok(token)
    }

    /// Ends a client, if it is still there.
    pub(crate) fn close(&mut self, token: usize) {
        self.clients.try_remove(token);
    }

    /// Waits until something happens, but not longer than until then, and looks after the connection that it happened to.
    pub(crate) fn turn(&mut self, until: Instant, handler: &mut (impl Handler + ?Sized)) -> io::Result<()> {
        let until = self.ready.is_empty().then_some(until);
        match wait(&mut self.poll, &mut self.events, &mut self.timer, until) {
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &self.events {
            let Some(client) = self.clients.get_mut(event.token().0) else {
                continue;
            };
            client.writable |= event.is_writable() || event.is_error();
            client.hung_up |= event.is_read_closed() || event.is_error();
            client.readable |= event.is_readable() || client.hung_up;
            if !client.queued {
                client.queued = true;
                self.ready.push_back(event.token().0);
            }
        }
        for _ in 0..self.ready.len() {
            // A connection that has more comes to the list's end, and has its turn after the others.
            if let Some(token) = self.ready.pop_front() {
                self.serve(token, handler);
            }
        }
        Ok(())
    }

    /// Where a client's next frames may be put; `None` while earlier ones wait, or when it is no longer there.
    pub(crate) fn room(&mut self, token: usize) -> Option<&mut Vec<u8>> {
        let client = self.clients.get_mut(token)?;
        (client.writable && client.out.is_empty() && !client.transport.owes()).then_some(&mut client.out)
    }

    /// Writes what was put into [`Driver::room`], now or as the socket takes it.
    pub(crate) fn send(&mut self, token: usize) {
        if let Some(client) = self.clients.get_mut(token)
            && client.flush().is_err()
        {
            // Reading says what has happened.
            client.readable = true;
            client.hung_up = true;
            if !std::mem::replace(&mut client.queued, true) {
                self.ready.push_back(token);
            }
        }
    }

    /// CPU time that was spent on waiting.
    pub(crate) fn spun(&self) -> Duration {
        self.timer.spun()
    }

    /// Bytes that were put into [`Driver::room`] and have not left. None for a client that is gone.
    pub(crate) fn unsent(&self, token: usize) -> usize {
        self.clients.get(token).map_or(0, |client| client.out.len() - client.written + client.transport.unsent())
    }

    /// From now on the client reads only what it is allowed to, and its kernel keeps little for it.
    pub(crate) fn ration(&mut self, token: usize, buffer: usize) -> io::Result<()> {
        let Some(client) = self.clients.get_mut(token) else {
            return Ok(());
        };
        client.allowance = Some(0);
        client.transport.receive_buffer(buffer)
    }

    /// Lets a client read so many bytes more, or, if `None`, as many as there are.
    pub(crate) fn allow(&mut self, token: usize, bytes: Option<usize>) {
        if let Some(client) = self.clients.get_mut(token) {
            client.allowance = bytes;
            if client.readable && !std::mem::replace(&mut client.queued, true) {
                self.ready.push_back(token);
            }
        }
    }

    /// Has the poll wake the driver for something that is no client.
    pub(crate) fn watch(&self, source: &mut impl mio::event::Source) -> io::Result<()> {
        self.poll.registry().register(source, OTHER, mio::Interest::READABLE)
    }

    fn serve(&mut self, token: usize, handler: &mut (impl Handler + ?Sized)) {
        let Some(client) = self.clients.get_mut(token) else {
            return;
        };
        client.queued = false;
        match serve(client, &mut self.scratch, &mut self.sealed, handler) {
            Ok(()) => {
                if client.connected && client.readable && client.allowance != Some(0) {
                    client.queued = true;
                    self.ready.push_back(token);
                }
            }
            Err(why) => {
                let client = self.clients.remove(token);
                handler.closed(client.number, &why);
            }
        }
    }
}

fn serve(
    client: &mut Client,
    scratch: &mut [u8],
    sealed: &mut [u8],
    handler: &mut (impl Handler + ?Sized),
) -> Result<(), String> {
    if !client.connected {
        client.connected = client.transport.established().map_err(|error| format!("cannot connect: {error}"))?;
        if !client.connected {
            client.writable = false;
            return Ok(());
        }
    }
    client.flush().map_err(|error| format!("cannot write: {error}"))?;
    if !client.readable || client.allowance == Some(0) {
        return Ok(());
    }
    let kept = client.partial.len();
    scratch[..kept].copy_from_slice(&client.partial);
    let limit = client.allowance.unwrap_or(READ);
    let arrived = match client.transport.read(&mut scratch[kept..kept + READ], limit, sealed) {
        Ok(arrived) => arrived,
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            client.readable = false;
            return Ok(());
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
        Err(error) => return Err(format!("cannot read: {error}")),
    };
    if arrived.ended && arrived.count == 0 {
        return Err("the relay closed the connection".into());
    }
    // A short read has emptied the socket: the next byte is an event again. The end of the stream is none.
    client.readable = arrived.more || arrived.ended || client.hung_up;
    client.allowance = client.allowance.map(|left| left.saturating_sub(arrived.count.max(1)));
    let count = arrived.count;
    let now = Instant::now();
    let number = client.number;
    let bytes = &mut scratch[..kept + count];
    let sink = |frame: &[u8]| handler.frame(number, frame, now);
    let handled = client.session.handle(bytes, &client.identity, &mut client.out, sink).map_err(|f| f.to_string())?;
    client.partial.clear();
    client.partial.extend_from_slice(&bytes[handled.used..]);
    if handled.opened {
        handler.opened(number, now);
    }
    client.flush().map_err(|error| format!("cannot write: {error}"))
}

/// Connects numbered clients, a few at a time, and waits until all are logged in. Returns their tokens, in the same order.
pub(crate) fn connect_all(
    driver: &mut Driver,
    identities: &[(usize, Arc<Identity>)],
    at_once: usize,
    deadline: Instant,
    handler: &mut impl Handler,
) -> io::Result<Vec<usize>> {
    let mut arrivals = Arrivals { opened: 0, closed: None, inner: handler };
    let mut tokens = Vec::with_capacity(identities.len());
    while arrivals.opened < identities.len() {
        while tokens.len() < identities.len() && tokens.len() - arrivals.opened < at_once {
            let (number, identity) = &identities[tokens.len()];
            tokens.push(driver.connect(*number, identity.clone())?);
        }
        driver.turn(deadline, &mut arrivals)?;
        if let Some(why) = arrivals.closed.take() {
            return Err(io::Error::other(format!("a client was not let in: {why}")));
        }
        if Instant::now() >= deadline {
            let message = format!("{} of {} clients are logged in after all that time", arrivals.opened, tokens.len());
            return Err(io::Error::new(io::ErrorKind::TimedOut, message));
        }
    }
    Ok(tokens)
}

struct Arrivals<'a, H> {
    opened: usize,
    closed: Option<String>,
    inner: &'a mut H,
}

impl<H: Handler> Handler for Arrivals<'_, H> {
    fn opened(&mut self, number: usize, now: Instant) {
        self.opened += 1;
        self.inner.opened(number, now);
    }

    fn frame(&mut self, number: usize, frame: &[u8], now: Instant) {
        self.inner.frame(number, frame, now);
    }

    fn closed(&mut self, _number: usize, why: &str) {
        self.closed = Some(why.to_owned());
    }
}
