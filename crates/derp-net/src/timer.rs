//! One wheel of deadlines per worker. An entry may stand in several slots: whoever is visited looks at its own deadlines,
//! does what is due, and says when to come again. So arming is a push, and disarming is nothing at all.

use std::time::{Duration, Instant};

const SLOTS: usize = 512;

/// Deadlines of things named by `T`.
pub(crate) struct Wheel<T> {
    slots: Vec<Vec<T>>,
    start: Instant,
    tick: Duration,
    /// The last slot number that was visited.
    cursor: u64,
}

impl<T> Wheel<T> {
    /// Deadlines are met at most `tick` late.
    pub(crate) fn new(tick: Duration, now: Instant) -> Self {
        Self { slots: (0..SLOTS).map(|_| Vec::new()).collect(), start: now, tick, cursor: 0 }
    }

    /// Has `entry` visited at `when`, or soon after. Beyond the horizon it is visited early, to be armed again from there.
    pub(crate) fn arm(&mut self, entry: T, when: Instant) {
        let number = (self.number(when) + 1).clamp(self.cursor + 1, self.cursor + SLOTS as u64 - 1);
        self.slots[number as usize % SLOTS].push(entry);
    }

    /// Takes whatever is due at `now`.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<T> {
        let end = self.number(now);
        // After a stall longer than the horizon every slot is visited once.
        self.cursor = self.cursor.max(end.saturating_sub(SLOTS as u64));
        let mut due = Vec::new();
        while self.cursor < end {
            self.cursor += 1;
            due.append(&mut self.slots[self.cursor as usize % SLOTS]);
        }
        due
    }

    fn number(&self, when: Instant) -> u64 {
        (when.saturating_duration_since(self.start).as_nanos() / self.tick.as_nanos()) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_early_and_at_most_two_ticks_late() {
        let start = Instant::now();
        let tick = Duration::from_millis(10);
        for millis in [0, 1, 9, 10, 11, 500, 4000] {
            let mut wheel = Wheel::new(tick, start);
            let when = start + Duration::from_millis(millis);
            wheel.arm(millis, when);
            let mut now = start;
            let fired = loop {
                now += Duration::from_millis(1);
                if !wheel.due(now).is_empty() {
                    break now;
                }
            };
            assert!(fired >= when && fired <= when + 2 * tick, "{millis} ms fired at {:?}", fired - start);
        }
    }

    #[test]
    fn beyond_the_horizon_is_visited_early_and_a_stall_loses_nothing() {
        let start = Instant::now();
        let mut wheel = Wheel::new(Duration::from_millis(1), start);
        wheel.arm('a', start + Duration::from_secs(60));
        assert_eq!(wheel.due(start + Duration::from_secs(1)), ['a']);
        wheel.arm('b', start + Duration::from_millis(1100));
        assert_eq!(wheel.due(start + Duration::from_secs(50)), ['b']);
    }
}
