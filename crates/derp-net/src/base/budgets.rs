//! What the plane bounds over all of its connections, and how the largest holder gives something back.

use derp_proto::counters::Counter;

use crate::base::ledger::{Ledger, Rules};

/// A partial frame of an ordinary packet, which every client has now and then.
const FREE_PARTIAL: usize = 2 << 10;
/// Beyond this a partial frame is as good as full, and its age says more than its size: those of honest clients do not last.
const LARGE_PARTIAL: usize = 32 << 10;
/// A few control frames. More waits only behind a socket buffer of the system's that is full, and far larger.
const FREE_QUEUED: usize = 4 << 10;
/// Most clients talk with a few others. Beyond these, pairs grow with the square of clients.
const FREE_PAIRS: usize = 8;

/// Who holds what.
pub(crate) struct Budgets {
    /// Bytes that were read and cannot be acted upon: partial frames and records, and what waits for an admission or a
    /// receive limit. Held by a worker's connections, by their places there.
    pub(crate) partial: Ledger<(usize, u64)>,
    /// Bytes on their way out that the system has not taken.
    pub(crate) queued: Ledger<Holder>,
    /// Sources that connections are told the leaving of.
    pub(crate) pairs: Ledger<Holder>,
}

/// A way out, by the number under which its connection is found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Holder {
    Conn(u64),
    /// By what the control plane calls it.
    Link(u64),
}

impl Budgets {
    pub(crate) fn new(workers: usize) -> Self {
        let alike = usize::MAX;
        Self {
            partial: Ledger::new(
                workers,
                Rules {
                    free: FREE_PARTIAL,
                    alike: LARGE_PARTIAL,
                    held: Counter::HELD_PARTIAL_BYTES,
                    over: Counter::OVER_BUDGET_PARTIAL_BYTES,
                },
            ),
            queued: Ledger::new(
                workers,
                Rules {
                    free: FREE_QUEUED,
                    alike,
                    held: Counter::HELD_QUEUED_BYTES,
                    over: Counter::OVER_BUDGET_QUEUED_BYTES,
                },
            ),
            pairs: Ledger::new(
                workers,
                Rules {
                    free: FREE_PAIRS,
                    alike,
                    held: Counter::HELD_PEER_GONE_PAIRS,
                    over: Counter::OVER_BUDGET_PEER_GONE_PAIRS,
                },
            ),
        }
    }
}
