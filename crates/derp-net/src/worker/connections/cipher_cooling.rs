//! Lets go of the ciphers of connections that have been quiet.

use std::time::{Duration, Instant};

use super::Connections;
use super::phase::Phase;
use crate::hub::ctx::Ctx;
use crate::io::cipher_sweep::{SlotName, WarmList};

impl Connections {
    /// How long there is no sweep; `None` for ever.
    pub(crate) fn cooling_pause(&mut self, warmed: &WarmList, now: Instant) -> Option<Duration> {
        self.cipher_sweep.pause(warmed, now)
    }

    /// Goes through the connections whose ciphers are expanded, once a second.
    pub(crate) fn cool(&mut self, ctx: Ctx<'_>) {
        let Some((own, others)) = self.cipher_sweep.due(&ctx.mailboxes[self.worker].warmed, ctx.now) else { return };
        for name in own {
            self.cool_one(name, ctx);
        }
        for name in others {
            // One that was in the list already has been looked at.
            if self.slots.get(name.0).is_some_and(|slot| slot.id == name.1 && !slot.is_warm) {
                self.cool_one(name, ctx);
            }
        }
        if self.cipher_sweep.gives_back(ctx.now)
            && let Some(give_back) = ctx.os.give_back
        {
            give_back();
        }
    }

    /// Lets go of the ciphers of somebody who has just logged in, and may have nothing to say for long. If all who come
    /// together kept them for a second, there would be holes in memory where they were, between what stays.
    pub(super) fn quiet(&mut self, token: usize, ctx: Ctx<'_>) {
        let Some(slot) = self.slots.get_mut(token) else { return };
        let Some(tls_reader) = &mut slot.tls_reader else { return };
        tls_reader.quiet();
        if let Some(conn) = slot.phase.conn() {
            conn.quiet(ctx);
        }
    }

    /// Keeps it in the list for as long as it has anything to let go of.
    fn cool_one(&mut self, (token, id): SlotName, ctx: Ctx<'_>) {
        // One that has ended has let go of them, too.
        let Some(slot) = self.slots.get_mut(token).filter(|slot| slot.id == id) else {
            return self.cipher_sweep.cooled();
        };
        let mut is_warm = slot.tls_reader.as_mut().is_some_and(|tls_reader| tls_reader.cool());
        match &mut slot.phase {
            Phase::Bridge(bridge) => is_warm |= bridge.cool(),
            phase => is_warm |= phase.conn().is_some_and(|conn| conn.cool(ctx)),
        }
        slot.is_warm = is_warm;
        if is_warm {
            self.cipher_sweep.add((token, id));
        } else {
            self.cipher_sweep.cooled();
        }
    }
}
