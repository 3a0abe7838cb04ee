//! STUN, on a thread of its own: however many datagrams come, the system gives the workers their share of time.

#[cfg(target_os = "linux")]
mod many;
#[cfg(any(test, not(target_os = "linux")))]
mod single;

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

use derp_proto::counters::{Counter, Counters};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

#[cfg(target_os = "linux")]
use self::many::Datagrams;
#[cfg(not(target_os = "linux"))]
use self::single::Datagrams;
use crate::base::close_reason::CloseReason;
use crate::hub::shared::Shared;
use crate::plane::outcome;
use crate::state::events::Event;
use crate::worker::acceptor;

/// The longest datagram.
const ROOM: usize = 64 << 10;
/// Datagrams of one turn.
const BATCH: usize = 32;
/// How long to wait when reading fails.
const PAUSE: Duration = Duration::from_secs(1);

/// What reading has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Turned {
    /// There may be more to read.
    More,
    Empty,
    Failed,
}

/// What has become of the datagrams of one turn.
#[derive(Default)]
struct Tally {
    success: u64,
    not_stun: u64,
    write_error: u64,
    ipv4: u64,
    ipv6: u64,
    no_local_addr: u64,
}

pub(crate) fn bind(address: SocketAddr) -> io::Result<UdpSocket> {
    let (socket, address) = acceptor::socket(address, socket2::Type::DGRAM, socket2::Protocol::UDP)?;
    socket.bind(&address.into())?;
    Ok(socket.into())
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

impl Tally {
    fn request(&mut self, from: SocketAddr) {
        if from.ip().to_canonical().is_ipv4() {
            self.ipv4 += 1;
        } else {
            self.ipv6 += 1;
        }
    }

    fn count(self, counters: &Counters) {
        for (counter, count) in [
            (Counter::STUN_IPV4, self.ipv4),
            (Counter::STUN_IPV6, self.ipv6),
            (Counter::STUN_NO_LOCAL_ADDR, self.no_local_addr),
            (Counter::STUN_NOT_STUN, self.not_stun),
            (Counter::STUN_WRITE_ERROR, self.write_error),
            (Counter::STUN_SUCCESS, self.success),
        ] {
            if count > 0 {
                counters.add(counter, count);
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
