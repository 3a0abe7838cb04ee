//! One wheel of deadlines per worker. A connection that is visited looks at its own deadlines, does what is due, and says when to
//! come again. So arming is a push, and disarming is nothing at all.

use std::time::{Duration, Instant};

const SLOTS: usize = 512;
const WORD: usize = u64::BITS as usize;

/// Deadlines of things named by `T`.
pub(crate) struct Wheel<T> {
    slots: Vec<Vec<T>>,
    /// One bit for each slot that has entries.
    occupied: [u64; SLOTS / WORD],
    start: Instant,
    /// In nanoseconds.
    tick: u64,
    /// The last slot number that was visited.
    cursor: u64,
}

/// The next visit of one thing, which the thing itself keeps: of entries in several slots only the earliest counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Visit(Option<u16>);

impl Visit {
    /// Whether a visit from this slot is the one that was arranged, and not one that an earlier visit has overtaken.
    pub(crate) fn is_due(&mut self, slot: u16) -> bool {
        let due = self.0 == Some(slot);
        if due {
            self.0 = None;
        }
        due
    }
}

impl<T> Wheel<T> {
    pub(crate) fn new(tick: Duration, now: Instant) -> Self {
        let slots = (0..SLOTS).map(|_| Vec::new()).collect();
        Self { slots, occupied: [0; SLOTS / WORD], start: now, tick: tick.as_nanos() as u64, cursor: 0 }
    }

    /// Has `entry` visited at `when`, or less than two ticks later, unless an earlier visit is arranged. Beyond the horizon
    /// it is visited early, to be armed again from there.
    pub(crate) fn arm(&mut self, entry: T, visit: &mut Visit, when: Instant) {
        let number = (self.number(when) + 1).clamp(self.cursor + 1, self.cursor + SLOTS as u64 - 1);
        if visit.0.is_some_and(|slot| self.distance(slot) <= number - self.cursor) {
            return;
        }
        let slot = number as usize % SLOTS;
        *visit = Visit(Some(slot as u16));
        self.occupied[slot / WORD] |= 1 << (slot % WORD);
        self.slots[slot].push(entry);
    }

    /// Takes whatever is due at `now`, each with the slot that it was in.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(T, u16)> {
        let end = self.number(now);
        // After a stall longer than the horizon every slot is visited once.
        self.cursor = self.cursor.max(end.saturating_sub(SLOTS as u64));
        let mut due = Vec::new();
        while self.cursor < end {
            self.cursor += 1;
            let slot = self.cursor as usize % SLOTS;
            self.occupied[slot / WORD] &= !(1 << (slot % WORD));
            due.extend(std::mem::take(&mut self.slots[slot]).into_iter().map(|entry| (entry, slot as u16)));
        }
        due
    }

    /// How long nothing is due; `None` if there is nothing at all.
    pub(crate) fn pause(&self, now: Instant) -> Option<Duration> {
        let number = self.cursor + self.distance(self.next_occupied()?);
        let when = self.start + Duration::from_nanos(self.tick * number);
        Some(when.saturating_duration_since(now))
    }

    /// The first slot behind the cursor that has entries.
    fn next_occupied(&self) -> Option<u16> {
        let first = (self.cursor as usize + 1) % SLOTS;
        let behind = !0 << (first % WORD);
        let words = self.occupied.len();
        (0..=words).find_map(|step| {
            let word = (first / WORD + step) % words;
            let mask = match step {
                0 => behind,
                _ if step == words => !behind,
                _ => !0,
            };
            let bits = self.occupied[word] & mask;
            (bits != 0).then(|| (word * WORD + bits.trailing_zeros() as usize) as u16)
        })
    }

    /// How many slots ahead of the cursor this one is.
    fn distance(&self, slot: u16) -> u64 {
        let ahead = u64::from(slot).wrapping_sub(self.cursor) % SLOTS as u64;
        if ahead == 0 { SLOTS as u64 } else { ahead }
    }

    fn number(&self, when: Instant) -> u64 {
        when.saturating_duration_since(self.start).as_nanos() as u64 / self.tick
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    fn wheel() -> (Wheel<u64>, Instant) {
        let start = Instant::now();
        (Wheel::new(TICK, start), start)
    }

    #[test]
    fn nobody_is_early_or_more_than_two_ticks_late() {
        for millis in [0, 1, 9, 10, 11, 500, 4000, 5090] {
            let (mut wheel, start) = wheel();
            let when = start + Duration::from_millis(millis);
            wheel.arm(millis, &mut Visit::default(), when);
            let mut now = start;
            let fired = loop {
                now += Duration::from_millis(1);
                if !wheel.due(now).is_empty() {
                    break now;
                }
            };
            assert!(fired >= when && fired <= when + 2 * TICK, "{millis} ms fired at {:?}", fired - start);
        }
    }

    #[test]
    fn beyond_the_horizon_is_visited_early_and_a_stall_loses_nothing() {
        let (mut wheel, start) = wheel();
        let mut visit = Visit::default();
        wheel.arm(1, &mut visit, start + Duration::from_secs(60));
        let due = wheel.due(start + Duration::from_secs(10));
        assert_eq!(due.len(), 1);
        assert!(visit.is_due(due[0].1));
        wheel.arm(2, &mut visit, start + Duration::from_secs(11));
        let due = wheel.due(start + Duration::from_secs(500));
        assert_eq!(due.len(), 1);
        assert!(visit.is_due(due[0].1));
    }

    #[test]
    fn only_an_earlier_visit_takes_a_place_of_its_own() {
        let (mut wheel, start) = wheel();
        let mut visit = Visit::default();
        for millis in [300, 300, 400, 1000, 200] {
            wheel.arm(millis, &mut visit, start + Duration::from_millis(millis));
        }
        let due = wheel.due(start + Duration::from_secs(2));
        assert_eq!(due.iter().map(|(entry, _)| *entry).collect::<Vec<_>>(), [200, 300]);
        // The one that was overtaken is no visit.
        assert_eq!(due.iter().map(|(_, slot)| visit.is_due(*slot)).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn an_empty_wheel_waits_for_ever() {
        let (mut wheel, start) = wheel();
        assert_eq!(wheel.pause(start), None);
        wheel.arm(1, &mut Visit::default(), start + Duration::from_millis(95));
        assert_eq!(wheel.pause(start), Some(Duration::from_millis(100)));
        assert_eq!(wheel.pause(start + Duration::from_secs(1)), Some(Duration::ZERO));
        wheel.due(start + Duration::from_secs(1));
        assert_eq!(wheel.pause(start + Duration::from_secs(1)), None);
    }

    proptest! {
        #[test]
        fn whoever_sleeps_for_the_pause_visits_everybody_in_time(
            deadlines in prop::collection::vec((0..20_000_u64, 0..3000_u64), 1..60),
        ) {
            let (mut wheel, start) = wheel();
            let mut now = start;
            let mut visits = vec![Visit::default(); deadlines.len()];
            let mut whens = vec![None; deadlines.len()];
            for (entry, (after, pause)) in deadlines.into_iter().enumerate() {
                let when = now + Duration::from_millis(after);
                whens[entry] = Some(when);
                wheel.arm(entry as u64, &mut visits[entry], when);
                let until = now + Duration::from_millis(pause);
                loop {
                    let wake = wheel.pause(now).map_or(until, |pause| (now + pause).min(until));
                    now = wake;
                    for (entry, slot) in wheel.due(now) {
                        let entry = entry as usize;
                        prop_assert!(visits[entry].is_due(slot));
                        let when = whens[entry].unwrap();
                        if now < when {
                            wheel.arm(entry as u64, &mut visits[entry], when);
                        } else {
                            prop_assert!(now <= when + 2 * TICK);
                            whens[entry] = None;
                        }
                    }
                    if now == until {
                        break;
                    }
                }
                for when in whens.iter().flatten() {
                    prop_assert!(now < *when + 2 * TICK);
                }
            }
        }
    }
}
