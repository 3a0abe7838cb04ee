//! What connections have sent that cannot be acted upon yet: how much it is, and whose goes if it is too much.

use super::Connections;
use super::phase::{ConnSlot, Phase};
use crate::base::close_reason::CloseReason;
use crate::hub::ctx::Ctx;
use crate::hub::mail::Mail;

impl Connections {
    /// Notes what is kept of a connection, after it was read.
    pub(super) fn weigh(&mut self, token: usize, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let of_frames = if let Phase::Derp(session) = &slot.phase { session.kept() } else { 0 };
        let kept = of_frames + slot.tls_reader.as_ref().map_or(0, |tls_reader| tls_reader.kept());
        if ctx.budgets.partial.note(self.worker, &mut slot.kept, (token, slot.id), kept, ctx.counters) {
            self.relieve(ctx);
        }
    }

    /// Closes those that hold the most, until all are within their budget. Those of others are the others' to close.
    pub(crate) fn relieve(&mut self, ctx: Ctx<'_>) {
        let ledger = &ctx.budgets.partial;
        ledger.looks(self.worker);
        let limit = ctx.policy.load().partial_bytes;
        while ledger.excess(limit, ctx.counters) > 0 {
            let Some((worker, (token, id))) = ledger.largest(self.worker) else { return };
            if worker != self.worker {
                if ledger.asks(worker) {
                    ctx.mail(worker, Mail::Relieve);
                }
                return;
            }
            if self.slots.get(token).is_none_or(|slot| slot.id != id) {
                return;
            }
            ledger.count(ctx.counters);
            self.remove(token, CloseReason::OverBudget, ctx);
        }
    }

    /// Takes a connection out of its place, and what it keeps out of the books.
    pub(super) fn take(&mut self, token: usize, ctx: Ctx<'_>) -> Option<ConnSlot> {
        let mut slot = self.slots.try_remove(token)?;
        ctx.budgets.partial.note(self.worker, &mut slot.kept, (token, slot.id), 0, ctx.counters);
        Some(slot)
    }
}
