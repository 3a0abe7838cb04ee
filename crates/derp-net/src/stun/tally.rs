//! How much one turn of the STUN thread may read, and what has become of it.

use std::net::SocketAddr;

use derp_proto::counters::{Counter, Counters};

/// The longest datagram.
pub(super) const ROOM: usize = 64 << 10;
/// Datagrams of one turn.
pub(super) const BATCH: usize = 32;
/// What reading has come to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Turned {
    /// There may be more to read.
    More,
    Empty,
    Failed,
}

/// What has become of the datagrams of one turn.
#[derive(Default)]
pub(super) struct Tally {
    pub(super) success: u64,
    pub(super) not_stun: u64,
    pub(super) write_error: u64,
    pub(super) ipv4: u64,
    pub(super) ipv6: u64,
    pub(super) no_local_addr: u64,
}

impl Tally {
    pub(super) fn request(&mut self, from: SocketAddr) {
        if from.ip().to_canonical().is_ipv4() {
            self.ipv4 += 1;
        } else {
            self.ipv6 += 1;
        }
    }

    pub(super) fn count(self, counters: &Counters) {
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
