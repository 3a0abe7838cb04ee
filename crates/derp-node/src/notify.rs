//! What a service manager such as systemd is told: datagrams to a Unix socket, which Node cannot send.

use std::io;
#[cfg(target_os = "linux")]
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends one datagram, and never waits for room in the manager's queue.
pub(crate) fn notify(socket: &str, state: &str) -> io::Result<()> {
    let sender = UnixDatagram::unbound()?;
    sender.set_nonblocking(true)?;
    sender.send_to_addr(state.as_bytes(), &address(socket)?).map(drop)
}

fn address(socket: &str) -> io::Result<SocketAddr> {
    #[cfg(target_os = "linux")]
    if let Some(name) = socket.strip_prefix('@') {
        return SocketAddr::from_abstract_name(name);
    }
    if !socket.starts_with('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "neither a path nor an abstract name"));
    }
    SocketAddr::from_pathname(socket)
}
