//! Wakes the control plane: at once, or at the next tick for what may change with every packet.

use std::time::{Duration, Instant};

use crate::base::wakeup::Wakeup;

/// How long the control plane need not know of what may change with every packet: clones that fight over a key wake it
/// fifty times a second, not once for each packet.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// Wakes the control plane; must not block.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// One pending wake-up of the control plane, however often it is rung for.
pub(crate) struct Bell {
    wakeup: Wakeup,
    wake: Wake,
    /// The zero of the clock of what waits for the tick.
    start: Instant,
}

impl Bell {
    pub(crate) fn new(wake: Wake) -> Self {
        Self { wakeup: Wakeup::new(), wake, start: Instant::now() }
    }

    /// Wakes the control plane, unless it is about to look anyway.
    pub(crate) fn ring(&self) {
        self.wakeup.ring(&self.wake);
    }

    /// Wakes the control plane at the next tick.
    pub(crate) fn ring_later(&self) {
        self.wakeup.ring_later(|| self.clock(Instant::now() + TICK));
    }

    /// There is something to be taken from the tap: at once if it is a whole slab, at the next tick otherwise.
    pub(crate) fn tapped(&self, full: bool) {
        if full {
            self.ring();
        } else {
            self.ring_later();
        }
    }

    /// Wakes the control plane, if it is time for what waits. Returns how long that is away; nothing waits if `None`.
    pub(crate) fn tick(&self, now: Instant) -> Option<Duration> {
        self.wakeup.tick(self.clock(now), &self.wake);
        self.wakeup.due().map(|due| Duration::from_micros(due.saturating_sub(self.clock(now))))
    }

    /// Whether something waits for the next tick.
    pub(crate) fn waits(&self) -> bool {
        self.wakeup.due().is_some()
    }

    /// Runs `take` for the control plane, which has been woken. What comes after it wakes again.
    pub(crate) fn answer<T>(&self, take: impl FnOnce() -> T) -> T {
        self.wakeup.answer(take)
    }

    /// Microseconds, rounded down, and never 0.
    fn clock(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.start).as_micros() as u64 + 1
    }
}
