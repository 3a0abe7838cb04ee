//! What the plane has of the system only through others: it has no `unsafe` of its own.

use std::io;
use std::net::TcpStream;
use std::time::Duration;

/// How far away the other side of a connection is, by TCP's own estimate. Nothing if it is none of TCP's.
pub type RoundTrip = fn(&TcpStream) -> Option<io::Result<Duration>>;

/// Calls of the system; none where there is no such thing.
#[derive(Clone, Copy, Default)]
pub struct OsHooks {
    /// Counted where it is there.
    pub round_trip: Option<RoundTrip>,
    /// Gives memory back that the allocator holds and nobody uses. May take milliseconds; every thread may call it.
    pub give_back: Option<fn()>,
}
