//! What the plane bounds over all of its connections, and how the largest holder gives something back.

use std::sync::Arc;

use derp_proto::counters::Counter;

use crate::base::ledger::{Ledger, Rules};
use crate::conn::Conn;
use crate::hub::shared::Ctx;

/// A partial frame of an ordinary packet, which every client has now and then.
const FREE_PARTIAL: usize = 2 << 10;
/// Beyond this a partial frame is as good as full, and its age says more than its size: those of honest clients do not last.
const LARGE_PARTIAL: usize = 32 << 10;
/// A few control frames. More waits only behind a socket buffer of the system's that is full, and far larger.
const FREE_QUEUED: usize = 4 << 10;
/// Most clients talk with a few others. Beyond these, pairs grow with the square of clients.
const FREE_PAIRS: usize = 8;
/// Holders that one visitor has give something back. Whoever brings more comes again.
const ROUNDS: usize = 16;

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

impl Ctx<'_> {
    /// Has the largest queues lose packets until all of them are within their budget. No egress lock may be held.
    pub(crate) fn relieve_queues(self) {
        let limit = self.policy.load().queued_bytes;
        self.relieve(&self.budgets.queued, limit, |conn, excess| conn.shed(excess, self));
    }

    /// Has those that are told of most sources forget some. No egress lock may be held.
    pub(crate) fn relieve_pairs(self) {
        let limit = self.policy.load().peer_gone_pairs;
        self.relieve(&self.budgets.pairs, limit, |conn, excess| conn.forget_sources(excess, self));
    }

    fn relieve(&self, ledger: &Ledger<Holder>, limit: usize, act: impl Fn(&Arc<Conn>, usize)) {
        for _ in 0..ROUNDS {
            let excess = ledger.excess(limit, &self.counters);
            if excess == 0 {
                return;
            }
            // One that is not found is about to let go of everything.
            let Some(conn) = ledger.largest(0).and_then(|(_, holder)| self.holder(holder)) else { return };
            ledger.count(&self.counters);
            act(&conn, excess);
        }
    }

    fn holder(&self, holder: Holder) -> Option<Arc<Conn>> {
        match holder {
            Holder::Conn(id) => self.conn(id).or_else(|| self.leaving.lock().get(&id).cloned()),
            Holder::Link(id) => self.links.lock().get(&id).cloned(),
        }
    }
}
