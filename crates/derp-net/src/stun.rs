//! STUN, on a thread of its own: however many datagrams come, the system gives the workers their share of time.

#[cfg(target_os = "linux")]
mod many;
#[cfg(any(test, not(target_os = "linux")))]
mod single;
mod tally;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

use derp_proto::counters::Counter;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

#[cfg(target_os = "linux")]
use self::many::Datagrams;
#[cfg(not(target_os = "linux"))]
use self::single::Datagrams;
use self::tally::Turned;
use crate::base::close_reason::CloseReason;
use crate::base::thread::outcome;
use crate::hub::shared::Shared;
use crate::io::socket;
use crate::state::events::Event;

/// How long to wait when reading fails.
const PAUSE: Duration = Duration::from_secs(1);

pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let (socket, address) = socket::open(address, socket2::Type::DGRAM, socket2::Protocol::UDP)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
}

/// A socket that another process has bound.
pub(crate) fn inherited(socket: OwnedFd) -> io::Result<UdpSocket> {
    let socket = socket::inherited(socket, socket2::Type::DGRAM);
    socket.map(Into::into).map_err(|_| io::Error::other("is no UDP socket"))
}

/// Has the poll of the thread wake it when there are requests.
pub(crate) fn watch(socket: &UdpSocket, poll: &Poll) -> io::Result<()> {
    let fd = socket.as_raw_fd();
    poll.registry().register(&mut SourceFd(&fd), Token(0), Interest::READABLE)
}

/// The thread. If it fails, so does the plane, as with the workers.
pub(crate) fn run(socket: &UdpSocket, poll: Poll, shared: &Shared) {
    if let Err(message) = outcome("the STUN thread", || serve(socket, poll, shared)) {
        shared.end_workers(CloseReason::InternalError);
        shared.events.push(Event::Fault { message });
    }
}

/// Answers requests until the plane ends.
fn serve(socket: &UdpSocket, mut poll: Poll, shared: &Shared) -> io::Result<()> {
    let mut datagrams = Datagrams::new(socket);
    let mut events = Events::with_capacity(2);
    let mut pause = None;
    loop {
        match poll.poll(&mut events, pause) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        pause = loop {
            if shared.closing.load(Ordering::Relaxed) {
                return Ok(());
            }
            match datagrams.turn(&shared.counters) {
                Turned::More => {}
                Turned::Empty => break None,
                Turned::Failed => {
                    shared.counters.add(Counter::STUN_READ_ERROR, 1);
                    break Some(PAUSE);
                }
            }
        };
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
