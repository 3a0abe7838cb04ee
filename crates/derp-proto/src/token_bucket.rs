//! A token bucket. Pure: `now` is the time since any fixed moment, on a clock that does not go back.
use std::time::Duration;

/// How fast a bucket fills, and how far.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Rate {
    /// Tokens that come in a second; more than 0.
    pub per_second: f64,
    /// Tokens that it holds.
    pub burst: f64,
}

/// A token bucket that starts full.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct TokenBucket {
    rate: Rate,
    /// Below 0 while what was [`TokenBucket::charge`]d has not come in yet.
    tokens: f64,
    at: Duration,
}

impl TokenBucket {
    /// A full bucket.
    pub fn new(rate: Rate, now: Duration) -> Self {
        Self { rate, tokens: rate.burst, at: now }
    }

    /// How it fills.
    pub fn rate(&self) -> Rate {
        self.rate
    }

    /// Takes `count` tokens if there are as many.
    pub fn take(&mut self, count: u64, now: Duration) -> bool {
        self.refill(now);
        let enough = self.tokens >= count as f64;
        if enough {
            self.tokens -= count as f64;
        }
        enough
    }

    /// Takes `count` tokens whether there are as many or not, and says how long to wait until there have been. No more
    /// than a whole burst is charged at once, so that the wait is never longer than filling the bucket takes, on top of
    /// what was still owed.
    pub fn charge(&mut self, count: u64, now: Duration) -> Duration {
        self.refill(now);
        self.tokens -= (count as f64).min(self.rate.burst);
        let owed = (-self.tokens).max(0.0);
        Duration::try_from_secs_f64(owed / self.rate.per_second).unwrap_or(Duration::MAX)
    }

    fn refill(&mut self, now: Duration) {
        let come = now.saturating_sub(self.at).as_secs_f64() * self.rate.per_second;
        self.tokens = (self.tokens + come).min(self.rate.burst);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bucket(per_second: u64, burst: u64) -> TokenBucket {
        TokenBucket::new(Rate { per_second: per_second as f64, burst: burst as f64 }, Duration::ZERO)
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn it_fills_at_its_rate_in_parts_too() {
        let mut bucket = bucket(2, 4);
        assert!(bucket.take(4, ms(0)));
        assert_eq!([499, 500, 501, 1000].map(|at| bucket.take(1, ms(at))), [false, true, false, true]);
    }

    #[test]
    fn it_takes_all_or_nothing() {
        let mut bucket = bucket(1, 10);
        assert_eq!([11, 10].map(|count| bucket.take(count, ms(0))), [false, true]);
        assert!(!bucket.take(1, ms(999)));
    }

    #[test]
    fn it_is_what_upstream_limits_peer_gone_with() {
        // Three at once, then one a second.
        let mut bucket = bucket(1, 3);
        let passed: Vec<_> = (0..100).map(|tenth| tenth * 100).filter(|&at| bucket.take(1, ms(at))).collect();
        assert_eq!(passed[..4], [0, 100, 200, 1000]);
        assert_eq!(passed.len(), 3 + 9);
    }

    #[test]
    fn a_charge_is_waited_for() {
        let mut bucket = bucket(1000, 100);
        assert_eq!(bucket.charge(100, ms(0)), ms(0));
        assert_eq!(bucket.charge(50, ms(0)), ms(50));
        assert_eq!(bucket.charge(10, ms(20)), ms(40));
        assert_eq!(bucket.charge(0, ms(60)), ms(0));
        // Clamped to the burst.
        assert_eq!(bucket.charge(1_000_000, ms(60)), ms(100));
    }

    #[test]
    fn no_rate_makes_it_panic() {
        for per_second in [0, 1, u64::MAX] {
            for burst in [0, 1, u64::MAX] {
                let mut bucket = bucket(per_second, burst);
                for now in [Duration::ZERO, Duration::MAX, ms(5)] {
                    bucket.take(u64::MAX, now);
                    bucket.charge(u64::MAX, now);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn no_more_passes_than_the_burst_and_what_has_come(
            per_second in 1..1000_u64,
            burst in 1..500_u64,
            steps in prop::collection::vec((0..200_u64, 0..300_u64), 0..100),
        ) {
            let mut bucket = bucket(per_second, burst);
            let (mut now, mut passed) = (0, 0);
            for (pause, count) in steps {
                now += pause;
                if bucket.take(count, ms(now)) {
                    passed += count;
                }
                prop_assert!(passed as f64 <= burst as f64 + (per_second * now) as f64 / 1000.0 + 1e-6);
            }
        }

        #[test]
        fn who_waits_as_told_keeps_to_the_rate_and_reaches_it(
            per_second in 1..100_000_u64, burst in 1..5000_u64, frames in prop::collection::vec(1..3000_u64, 1..100),
        ) {
            let mut bucket = bucket(per_second, burst);
            let (mut now, mut passed) = (Duration::ZERO, 0);
            for frame in frames {
                now += bucket.charge(frame, now);
                passed += frame.min(burst);
                let bound = burst as f64 + per_second as f64 * now.as_secs_f64();
                prop_assert!(passed as f64 <= bound + 0.01);
                // It has waited only as long as it had to.
                prop_assert!(now == Duration::ZERO || passed as f64 >= bound - 0.01);
            }
        }
    }
}
