//! A connection of which nothing is known: its bytes are kept until they are a request head, within bounds.

use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use derp_proto::http_head::{Head, read_head};

use crate::shared::Shared;

/// What one read brought.
pub(crate) enum Progress {
    /// Not enough yet; there may be more to read.
    More,
    /// Nothing to read for now.
    Empty,
    Closed,
    /// Anything that is not a raw DERP upgrade.
    Http,
    Derp {
        fast_start: bool,
        not_ideal: bool,
        rest: Vec<u8>,
    },
}

/// From accept until it is known what the connection is.
pub(crate) struct Arriving {
    peer: SocketAddr,
    listener: u64,
    derp: bool,
    deadline: Instant,
    received: Vec<u8>,
}

impl Arriving {
    pub(crate) fn new(peer: SocketAddr, listener: u64, derp: bool, deadline: Instant) -> Self {
        Self { peer, listener, derp, deadline, received: Vec::new() }
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    pub(crate) fn listener(&self) -> u64 {
        self.listener
    }

    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    pub(crate) fn into_received(self) -> Vec<u8> {
        self.received
    }

    pub(crate) fn read(&mut self, mut stream: &TcpStream, scratch: &mut [u8], shared: &Shared) -> Progress {
        match stream.read(scratch) {
            Ok(0) => return Progress::Closed,
            Ok(count) => self.received.extend_from_slice(&scratch[..count]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Progress::Empty,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Progress::More,
            Err(_) => return Progress::Closed,
        }
        if !self.derp {
            return Progress::Http;
        }
        match read_head(&self.received, shared.policy.load().head_bytes) {
            Head::More => Progress::More,
            Head::Http => Progress::Http,
            Head::Derp(upgrade) => Progress::Derp {
                fast_start: upgrade.fast_start,
                not_ideal: upgrade.not_ideal,
                rest: self.received.split_off(upgrade.end),
            },
        }
    }
}
