//! The listening sockets. One worker has them all, and spreads what comes over the workers.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use derp_proto::counters::Counter;
use derp_proto::token_bucket::TokenBucket;
use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Protocol, Socket, Type};

use crate::base::faults::Fault;
use crate::base::policy::Policy;
use crate::hub::shared::Ctx;

/// Connections of one listener before everything else has its turn.
const ACCEPTS: usize = 256;
/// How long to wait when there are no descriptors: they come back as connections end.
const PAUSE: Duration = Duration::from_millis(100);
/// Listeners are counted down from here.
const FIRST: usize = usize::MAX - 1;

/// A socket of either family, or of both where the address is all of IPv6's; or of IPv4 where the system has no other. With
/// the address to bind it to.
pub(crate) fn socket(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<(Socket, SocketAddr)> {
    let open = |domain| Socket::new(domain, kind, Some(protocol));
    let all = address.ip().is_unspecified();
    let (socket, address) = match (address, open(Domain::for_address(address))) {
        (SocketAddr::V6(_), Err(_)) if all => {
            (open(Domain::IPV4)?, SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        (_, socket) => (socket?, address),
    };
    if address.is_ipv6() {
        socket.set_only_v6(!all)?;
    }
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

pub(crate) struct Listener {
    pub(crate) id: u64,
    /// Raw DERP upgrades are the plane's.
    pub(crate) derp: bool,
    pub(crate) tls: bool,
    pub(crate) socket: std::net::TcpListener,
}

#[derive(Default)]
pub(crate) struct Acceptor {
    listeners: Vec<OpenListener>,
    /// When to accept again from all of them, if they may not be empty.
    again: Option<Instant>,
}

/// The rate at which TLS listeners take connections. Over it they are closed at once: a client that is told so soon tries
/// again, later.
#[derive(Default)]
pub(crate) struct Accepts(Option<TokenBucket>);

impl Accepts {
    pub(crate) fn may_accept(&mut self, ctx: Ctx<'_>) -> bool {
        let clock = ctx.now.saturating_duration_since(ctx.start);
        let limit = ctx.policy.load().accept;
        if self.0.map(|bucket| bucket.rate()) != limit {
            self.0 = limit.map(|rate| TokenBucket::new(rate, clock));
        }
        let may = self.0.as_mut().is_none_or(|bucket| bucket.take(1, clock));
        ctx.counters.add(if may { Counter::TLS_ACCEPTS } else { Counter::TLS_REJECTS }, 1);
        may
    }
}

struct OpenListener {
    id: u64,
    derp: bool,
    tls: bool,
    socket: TcpListener,
}

/// A connection that a listener brought; or what is known of it beside its stream.
pub(crate) struct Accepted<S = Arc<TcpStream>> {
    pub(crate) stream: S,
    pub(crate) peer: SocketAddr,
    pub(crate) listener: u64,
    pub(crate) derp: bool,
    pub(crate) tls: bool,
}

impl Accepted {
    pub(crate) fn split(self) -> (Arc<TcpStream>, Accepted<()>) {
        let Self { stream, peer, listener, derp, tls } = self;
        (stream, Accepted { stream: (), peer, listener, derp, tls })
    }
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

/// Sets a new connection's socket up; an error if it has gone already.
pub(crate) fn prepare(stream: &TcpStream, policy: &Policy) -> io::Result<()> {
    let socket = socket2::SockRef::from(stream);
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
