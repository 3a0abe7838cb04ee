//! What gives something back when all connections together hold too much.

use std::sync::Arc;

use crate::base::budgets::Holder;
use crate::base::ledger::Ledger;
use crate::conn::Conn;
use crate::hub::ctx::Ctx;

/// Holders that one visitor has give something back. A visitor that brings more comes again.
const ROUNDS: usize = 16;

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
            let excess = ledger.excess(limit, self.counters);
            if excess == 0 {
                return;
            }
            // One that is not found is about to let go of everything.
            let Some(conn) = ledger.largest(0).and_then(|(_, holder)| self.holder(holder)) else { return };
            ledger.count(self.counters);
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
