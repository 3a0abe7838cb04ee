//! Lets go of the ciphers of connections that have been quiet.

use std::time::{Duration, Instant};

use super::{Connections, Phase};
use crate::shared::Turn;
use crate::warmth::{Name, Warmed};

impl Connections {
    /// How long there is no sweep; `None` for ever.
    pub(crate) fn cooling_pause(&mut self, warmed: &Warmed, now: Instant) -> Option<Duration> {
        self.warmth.pause(warmed, now)
    }

    /// Goes through the connections whose ciphers are expanded, once a second.
    pub(crate) fn cool(&mut self, turn: Turn<'_>) {
        let Some((own, others)) = self.warmth.due(&turn.mailboxes[self.worker].warmed, turn.now) else { return };
        for name in own {
            self.cool_one(name, turn);
        }
        for name in others {
            // One that was in the list already has been looked at.
            if self.locals.get(name.0).is_some_and(|local| local.id == name.1 && !local.is_warm) {
                self.cool_one(name, turn);
            }
        }
        if self.warmth.gives_back(turn.now)
            && let Some(give_back) = turn.system.give_back
        {
            give_back();
        }
    }

    /// Lets go of the ciphers of somebody who has just logged in, and may have nothing to say for long. If all who come
    /// together kept them for a second, there would be holes in memory where they were, between what stays.
    pub(super) fn quiet(&mut self, token: usize, turn: Turn<'_>) {
        let Some(local) = self.locals.get_mut(token) else { return };
        let Some(opening) = &mut local.opening else { return };
        opening.quiet();
        if let Some(conn) = local.phase.conn() {
            conn.quiet(turn);
        }
    }

    /// Keeps it in the list for as long as it has anything to let go of.
    fn cool_one(&mut self, (token, id): Name, turn: Turn<'_>) {
        // One that has ended has let go of them, too.
        let Some(local) = self.locals.get_mut(token).filter(|local| local.id == id) else {
            return self.warmth.cooled();
        };
        let mut is_warm = local.opening.as_mut().is_some_and(|opening| opening.cool());
        match &mut local.phase {
            Phase::Bridge(bridge) => is_warm |= bridge.cool(),
            phase => is_warm |= phase.conn().is_some_and(|conn| conn.cool(turn)),
        }
        local.is_warm = is_warm;
        if is_warm {
            self.warmth.add((token, id));
        } else {
            self.warmth.cooled();
        }
    }
}
