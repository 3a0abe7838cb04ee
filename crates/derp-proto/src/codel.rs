//! Which packets are too old (CoDel, RFC 8289): where packets of one source have stood for longer than a target for a whole
//! interval, one is dropped at the head, and more and more often until they do not. Pure: times are microseconds on a clock
//! that does not go back.

/// Packets may stand this long. A slow link has two packets' time instead, see [`DrainRate::target`].
///
/// [`DrainRate::target`]: crate::drain_rate::DrainRate::target
pub const TARGET: u64 = 5_000;
/// How long packets have to stand too long before one is dropped.
pub const INTERVAL: u64 = 100_000;
/// A queue that begins to drop again so soon goes on nearly as fast as before.
const MEMORY: u64 = 16 * INTERVAL;

/// The state of one source's packets.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Codel {
    /// When a packet may be dropped, if they stand too long until then; 0 while they do not.
    above_from: u64,
    /// Set while packets are dropped: when the next one is.
    drop_next: u64,
    dropping: bool,
    /// Drops since that began, and what it was before the last one that began it.
    count: u64,
    last_count: u64,
}

impl Codel {
    /// Judges the packet at the head, that has stood since `since`. `is_last`: no packet stands behind it.
    fn stands_too_long(&mut self, since: u64, is_last: bool, target: u64, now: u64) -> bool {
        if is_last || now.saturating_sub(since) < target {
            self.above_from = 0;
            return false;
        }
        if self.above_from == 0 {
            self.above_from = now + INTERVAL;
            return false;
        }
        now >= self.above_from
    }

    /// Whether the packet at the head has to go. Called again for the next one if it has.
    pub fn drops(&mut self, since: u64, is_last: bool, target: u64, now: u64) -> bool {
        let is_late = self.stands_too_long(since, is_last, target, now);
        if self.dropping {
            self.dropping = is_late;
            let is_due = is_late && now >= self.drop_next;
            if is_due {
                self.count += 1;
                self.drop_next = spaced(self.drop_next, self.count);
            }
            return is_due;
        }
        if is_late {
            let since_then = self.count.saturating_sub(self.last_count);
            let is_soon = now.saturating_sub(self.drop_next) < MEMORY;
            self.count = if is_soon { since_then.max(1) } else { 1 };
            self.last_count = self.count;
            self.drop_next = spaced(now, self.count);
            self.dropping = true;
        }
        is_late
    }

    /// Nothing stands, or what stands is not judged.
    pub fn rest(&mut self) {
        self.above_from = 0;
        self.dropping = false;
    }
}

/// The more have been dropped, the sooner the next one is.
fn spaced(after: u64, count: u64) -> u64 {
    after + (INTERVAL as f64 / (count as f64).sqrt()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A packet each `gap`, which has always stood for `age`: when those are dropped.
    fn dropped(codel: &mut Codel, age: u64, from: u64, until: u64, gap: u64) -> Vec<u64> {
        (from..until).step_by(gap as usize).filter(|now| codel.drops(now - age, false, TARGET, *now)).collect()
    }

    #[test]
    fn what_does_not_stand_is_not_dropped() {
        assert!(dropped(&mut Codel::default(), TARGET - 1, 1_000_000, 9_000_000, 1000).is_empty());
    }

    #[test]
    fn the_first_goes_after_an_interval_and_each_next_one_sooner() {
        let drops = dropped(&mut Codel::default(), 2 * TARGET, 1_000_000, 1_500_000, 100);
        assert_eq!(drops[0], 1_000_000 + INTERVAL);
        let gaps: Vec<u64> = drops.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(gaps[..4], [100_000, 70_800, 57_700, 50_000]);
    }

    #[test]
    fn one_packet_in_time_ends_it() {
        let mut codel = Codel::default();
        assert!(
            codel.drops(0, false, TARGET, 1_000_000)
                || !dropped(&mut codel, TARGET, 1_000_000, 1_200_000, 100).is_empty()
        );
        assert!(!codel.drops(1_200_000, false, TARGET, 1_200_000));
        assert!(dropped(&mut codel, TARGET, 1_200_100, 1_300_000, 100).is_empty());
    }

    #[test]
    fn the_last_packet_stays_however_old() {
        let mut codel = Codel::default();
        for now in (1_000_000..3_000_000).step_by(1000) {
            assert!(!codel.drops(0, true, TARGET, now));
        }
    }

    #[test]
    fn soon_after_it_goes_on_as_fast_as_before() {
        let mut codel = Codel::default();
        let before = dropped(&mut codel, TARGET, 1_000_000, 3_000_000, 100).len();
        codel.rest();
        let again = dropped(&mut codel, TARGET, 3_000_000, 3_200_000, 100);
        let first_time = dropped(&mut Codel::default(), TARGET, 3_000_000, 3_200_000, 100);
        assert!(before > 10 && again.len() > 2 * first_time.len(), "{again:?}");
        codel.rest();
        let late = 3_200_000 + 2 * MEMORY;
        assert_eq!(dropped(&mut codel, TARGET, late, late + 200_000, 100).len(), first_time.len());
    }

    #[test]
    fn it_goes_on_as_before_within_sixteen_intervals_of_the_next_drop() {
        // From the drop that begins it again to the next one.
        let gap_after = |pause: u64| {
            let mut codel = Codel::default();
            dropped(&mut codel, TARGET, 1_000_000, 3_000_000, 100);
            codel.rest();
            let begun = codel.drop_next + pause;
            assert!(!codel.drops(0, false, TARGET, begun - INTERVAL));
            assert!(codel.drops(0, false, TARGET, begun));
            dropped(&mut codel, TARGET, begun, begun + 2 * INTERVAL, 1)[0] - begun
        };
        assert!(gap_after(16 * INTERVAL - 1) < INTERVAL / 3);
        assert_eq!(gap_after(16 * INTERVAL), INTERVAL);
    }
}
