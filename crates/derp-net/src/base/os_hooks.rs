//! What the plane has of the system only through others: it has no `unsafe` of its own.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

/// How far away the other side of a connection is, by TCP's own estimate. Nothing if it is none of TCP's.
pub type RoundTrip = fn(&TcpStream) -> Option<io::Result<Duration>>;

/// Has a TCP socket take no more while it holds so many bytes that it has not sent, or about so many;
/// 0 for what the system has for all sockets.
pub type BoundUnsent = fn(&TcpStream, usize) -> io::Result<()>;

/// How many bytes a TCP socket holds that the other side has not acknowledged.
pub type Unacknowledged = fn(&TcpStream) -> io::Result<usize>;

/// Calls of the system; none where there is no such thing.
#[derive(Clone, Copy, Default)]
pub struct OsHooks {
    /// Counted where it is there.
    pub round_trip: Option<RoundTrip>,
    /// Asked for where it is there; a socket that refuses goes on as the system has it.
    pub bound_unsent: Option<BoundUnsent>,
    /// Asked of bounded sockets, which take nothing for long while the other side still does.
    pub unacknowledged: Option<Unacknowledged>,
    /// Gives memory back that the allocator holds and that is not in use. May take milliseconds; every thread may call it.
    pub give_back: Option<fn()>,
}
