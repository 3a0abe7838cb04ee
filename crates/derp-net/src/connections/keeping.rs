//! What connections have sent that cannot be acted upon yet: how much it is, and whose goes if it is too much.

use super::{Connections, Local, Phase};
use crate::reason::CloseReason;
use crate::shared::Turn;
use crate::worker::Mail;

impl Connections {
    /// Notes what is kept of a connection, after it was read.
    pub(super) fn weigh(&mut self, token: usize, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let of_frames = if let Phase::Derp(session) = &local.phase { session.kept() } else { 0 };
        let kept = of_frames + local.opening.as_ref().map_or(0, |opening| opening.kept());
        if turn.budgets.partial.note(self.worker, &mut local.kept, (token, local.id), kept, &turn.counters) {
            self.relieve(turn);
        }
    }

    /// Closes those that hold the most, until all are within their budget. Those of others are the others' to close.
    pub(crate) fn relieve(&mut self, turn: Turn<'_>) {
        let ledger = &turn.budgets.partial;
        ledger.looks(self.worker);
        let limit = turn.policy.load().partial_bytes;
        while ledger.excess(limit, &turn.counters) > 0 {
            let Some((worker, (token, id))) = ledger.largest(self.worker) else { return };
            if worker != self.worker {
                if ledger.asks(worker) {
                    turn.mail(worker, Mail::Relieve);
                }
                return;
            }
            if self.locals.get(token).is_none_or(|local| local.id != id) {
                return;
            }
            ledger.count(&turn.counters);
            self.remove(token, CloseReason::OverBudget, turn);
        }
    }

    /// Takes a connection out of its place, and what it keeps out of the books.
    pub(super) fn take(&mut self, token: usize, turn: Turn<'_>) -> Option<Local> {
        let mut local = self.locals.try_remove(token)?;
        turn.budgets.partial.note(self.worker, &mut local.kept, (token, local.id), 0, &turn.counters);
        Some(local)
    }
}
