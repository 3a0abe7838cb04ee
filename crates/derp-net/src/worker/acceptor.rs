//! The listening sockets. One worker has them all, and spreads what comes over the workers.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};

use crate::base::faults::Fault;
use crate::hub::ctx::Ctx;
use crate::io::socket::{Accepted, Listener};

/// Connections of one listener before everything else has its turn.
const ACCEPTS: usize = 256;
/// How long to wait when there are no descriptors: they come back as connections end.
const PAUSE: Duration = Duration::from_millis(100);
/// Listeners are counted down from here.
const FIRST: usize = usize::MAX - 1;

#[derive(Default)]
pub(crate) struct Acceptor {
    listeners: Vec<OpenListener>,
    /// When to accept again from all of them, if they may not be empty.
    again: Option<Instant>,
}

struct OpenListener {
    id: u64,
    derp: bool,
    tls: bool,
    socket: TcpListener,
}

impl Acceptor {
    pub(crate) fn add(&mut self, listener: Listener, registry: &Registry) -> io::Result<()> {
        let Listener { id, derp, tls, socket } = listener;
        let mut socket = TcpListener::from_std(socket);
        registry.register(&mut socket, Token(FIRST - self.listeners.len()), Interest::READABLE)?;
        self.listeners.push(OpenListener { id, derp, tls, socket });
        Ok(())
    }

    /// The listener that this token belongs to.
    pub(crate) fn index(&self, token: Token) -> Option<usize> {
        FIRST.checked_sub(token.0).filter(|index| *index < self.listeners.len())
    }

    /// Takes what waits at one listener. An error is why the rest has to wait for a moment.
    pub(crate) fn accept(&mut self, index: usize, ctx: Ctx<'_>, mut take: impl FnMut(Accepted)) -> io::Result<()> {
        let now = ctx.now;
        if self.again.is_some_and(|when| now < when) {
            return Ok(());
        }
        let OpenListener { id, derp, tls, socket } = &self.listeners[index];
        for _ in 0..ACCEPTS {
            match ctx.faults.try_to(Fault::Accept).and_then(|()| socket.accept()) {
                Ok((stream, peer)) => {
                    take(Accepted { stream: Arc::new(stream.into()), peer, listener: *id, derp: *derp, tls: *tls });
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // The peer has given up between its SYN and our accept.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // Out of descriptors or memory. The edge that brought us here does not come again.
                    self.again = Some(now + PAUSE);
                    return Err(error);
                }
            }
        }
        self.again = Some(now);
        Ok(())
    }

    /// The same at all listeners, if it is time for it.
    pub(crate) fn accept_again(&mut self, ctx: Ctx<'_>, mut take: impl FnMut(Accepted)) -> io::Result<()> {
        if self.again.take_if(|when| ctx.now >= *when).is_some() {
            for index in 0..self.listeners.len() {
                self.accept(index, ctx, &mut take)?;
            }
        }
        Ok(())
    }

    /// How long there is nothing to do without an event; `None` for ever.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        self.again.map(|when| when.saturating_duration_since(now))
    }

    pub(crate) fn close(&mut self) {
        self.listeners.clear();
        self.again = None;
    }
}
