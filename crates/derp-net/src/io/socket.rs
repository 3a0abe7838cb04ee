//! Sockets that listen, sockets that were accepted, and how both are set up.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::base::policy::Policy;

/// Connections that wait to be accepted, as many as the system permits.
const BACKLOG: i32 = 4096;

/// A socket that listens, before a worker has it.
pub(crate) struct Listener {
    pub(crate) id: u64,
    /// Raw DERP upgrades are the plane's.
    pub(crate) derp: bool,
    pub(crate) tls: bool,
    pub(crate) socket: TcpListener,
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

/// A socket of either family, or of both where the address is all of IPv6's; or of IPv4 where the system has no other. With
/// the address to bind it to.
pub(crate) fn open(address: SocketAddr, kind: Type, protocol: Protocol) -> io::Result<(Socket, SocketAddr)> {
    let socket = |domain| Socket::new(domain, kind, Some(protocol));
    let all = address.ip().is_unspecified();
    let (socket, address) = match (address, socket(Domain::for_address(address))) {
        (SocketAddr::V6(_), Err(_)) if all => {
            (socket(Domain::IPV4)?, SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port())))
        }
        (_, socket) => (socket?, address),
    };
    if address.is_ipv6() {
        socket.set_only_v6(!all)?;
    }
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

/// A TCP listener of our own.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let (socket, address) = open(address, Type::STREAM, Protocol::TCP)?;
    // Restarts find the port free; a second instance still does not.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// The same of a socket that another process has bound.
pub(crate) fn inherited_listener(socket: OwnedFd) -> io::Result<TcpListener> {
    let socket = inherited(socket, Type::STREAM).and_then(|socket| socket.listen(BACKLOG).map(|()| socket));
    socket.map(Into::into).map_err(|_| io::Error::other("is no TCP socket that listens"))
}

/// A socket of this kind that another process has bound; it does not block from here on.
pub(crate) fn inherited(socket: OwnedFd, kind: Type) -> io::Result<Socket> {
    let socket = Socket::from(socket);
    let is_bound = socket.local_addr()?.as_socket().is_some();
    if !is_bound || socket.r#type()? != kind {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    socket.set_nonblocking(true)?;
    Ok(socket)
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
