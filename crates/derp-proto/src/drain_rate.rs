//! How fast what waits for a destination leaves, and what follows from that: how long a packet may stand, and how many bytes
//! may be where they cannot be dropped any more. Pure: times are microseconds on a clock that does not go back.

use crate::codel::{INTERVAL, TARGET};

/// A full packet of an ordinary network: what shorter ones count as, where it is about a packet's time.
pub const FULL_PACKET: usize = 1514;
/// A rate is measured over at least so long.
const MEASURED: u64 = 20_000;
/// What stood still for longer was stopped by its reader, and says nothing of the link.
const PAUSE: u64 = 1_000_000;
/// What the link takes in so long may be out of reach: a writer that fills the socket again has half of it to come.
const AHEAD: u64 = 20_000;

/// What has left, while something always waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DrainRate {
    /// Bytes a second; 0 while nothing is known.
    rate: u64,
    /// When the measurement began, when something left last, and how much left between the two.
    begun: u64,
    last: u64,
    bytes: u64,
    /// What left at that last time: sockets take much at once, and then nothing for as long as that lasts.
    at_once: u64,
    /// Packets that came until then stood while nothing moved: their age is not the link's doing.
    moved_again: u64,
}

impl DrainRate {
    /// Nothing is known.
    pub const fn new() -> Self {
        Self { rate: 0, begun: 0, last: 0, bytes: 0, at_once: 0, moved_again: 0 }
    }

    /// From `now` on something waits, and nothing has until then: what has left meanwhile says nothing.
    pub fn begins(&mut self, now: u64) {
        (self.begun, self.last, self.bytes, self.at_once) = (now, now, 0, 0);
    }

    /// Bytes a second; 0 while nothing is known.
    pub fn rate(&self) -> u64 {
        self.rate
    }

    /// The socket takes something: called before packets are taken out for it.
    pub fn moves(&mut self, now: u64) {
        // Threads have each their own turn's time: one may come with an earlier one.
        let now = now.max(self.last);
        let still = now - self.last;
        if still > self.usual() {
            self.moved_again = now;
        }
        if still > PAUSE {
            (self.begun, self.bytes) = (now, 0);
        } else if still > 0 && self.sample(self.bytes, self.last - self.begun) {
            (self.begun, self.bytes) = (self.last, 0);
        }
        if still > 0 {
            self.at_once = 0;
        }
        self.last = now;
    }

    /// The link has taken so many bytes within so many microseconds, in which it was never idle. False if that was too short a
    /// time to say anything.
    pub fn sample(&mut self, bytes: u64, time: u64) -> bool {
        if time < MEASURED {
            return false;
        }
        let sample = bytes * 1_000_000 / time;
        self.rate = if self.rate == 0 { sample } else { (3 * self.rate + sample) / 4 };
        true
    }

    /// For so long nothing may move without being a pause.
    fn usual(&self) -> u64 {
        let taken = (2 * self.at_once * 1_000_000).checked_div(self.rate).unwrap_or(0);
        INTERVAL.max(2 * self.target(FULL_PACKET)).max(taken).min(PAUSE)
    }

    /// So many bytes leave now, after [`DrainRate::moves`]. What leaves at the beginning of a measurement is no part of it.
    pub fn leaves(&mut self, bytes: usize) {
        self.at_once += bytes as u64;
        if self.last > self.begun {
            self.bytes += bytes as u64;
        }
    }

    /// Whether the age of a packet that came at `since` says something of the link. Not if a reader paused since then: it
    /// gets what waits for it.
    pub fn judges(&self, since: u64) -> bool {
        since >= self.moved_again
    }

    /// How long a packet of `bytes` may stand: the time of two, or [`TARGET`] if that is longer.
    pub fn target(&self, bytes: usize) -> u64 {
        let two = 2 * bytes.max(FULL_PACKET) as u64;
        TARGET.max((two * 1_000_000).checked_div(self.rate).unwrap_or(0))
    }

    /// How many bytes may be out of reach, of `most`: as many as the link takes in twenty milliseconds, and four packets
    /// at least. All of them while nothing is known.
    pub fn ahead(&self, most: usize) -> usize {
        if self.rate == 0 {
            return most;
        }
        let taken = self.rate * AHEAD / 1_000_000;
        usize::try_from(taken).unwrap_or(usize::MAX).max(4 * FULL_PACKET).min(most)
    }
}

impl Default for DrainRate {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A link that takes `bytes` each `gap`, for so long.
    fn drained(rate: &mut DrainRate, bytes: usize, gap: u64, from: u64, until: u64) {
        for now in (from..until).step_by(gap as usize) {
            rate.moves(now);
            rate.leaves(bytes);
        }
    }

    #[test]
    fn nothing_is_known_at_first() {
        let rate = DrainRate::new();
        assert_eq!((rate.rate(), rate.target(1400), rate.ahead(65_536)), (0, TARGET, 65_536));
        assert!(rate.judges(0));
    }

    #[test]
    fn what_leaves_at_once_is_no_rate() {
        let mut rate = DrainRate::new();
        rate.begins(5);
        rate.moves(5);
        rate.leaves(1 << 20);
        drained(&mut rate, 1250, 1000, 1005, 200_000);
        assert!((1_200_000..1_300_000).contains(&rate.rate()), "{rate:?}");
    }

    #[test]
    fn ten_megabits_are_twenty_milliseconds_ahead() {
        let mut rate = DrainRate::new();
        drained(&mut rate, 1250, 1000, 0, 500_000);
        assert_eq!(rate.rate(), 1_250_000);
        assert_eq!((rate.target(1400), rate.ahead(65_536)), (TARGET, 25_000));
    }

    #[test]
    fn a_slow_link_has_packets_ahead() {
        let mut rate = DrainRate::new();
        drained(&mut rate, 1250, 100_000, 0, 2_000_000);
        assert_eq!(rate.rate(), 12_500);
        assert_eq!((rate.target(100), rate.ahead(65_536)), (242_240, 4 * FULL_PACKET));
        assert_eq!(rate.target(6250), 1_000_000);
    }

    #[test]
    fn a_while_in_which_nothing_waited_is_no_slow_link() {
        let mut rate = DrainRate::new();
        drained(&mut rate, 1250, 1000, 0, 500_000);
        rate.begins(900_000);
        drained(&mut rate, 1250, 1000, 900_000, 1_000_000);
        assert_eq!(rate.rate(), 1_250_000);
    }

    #[test]
    fn threads_may_be_apart() {
        let mut rate = DrainRate::new();
        drained(&mut rate, 1250, 1000, 0, 500_000);
        rate.begins(600_000);
        for now in [599_000, 598_000, 601_000, 600_500] {
            rate.moves(now);
            rate.leaves(1250);
        }
        assert_eq!(rate.rate(), 1_250_000);
    }

    #[test]
    fn who_takes_much_at_once_has_not_paused() {
        let mut rate = DrainRate::new();
        drained(&mut rate, 150_000, 120_000, 0, 1_200_000);
        assert!(rate.judges(300_000), "{rate:?}");
        rate.moves(1_080_000 + PAUSE + 1);
        assert!(!rate.judges(1_080_000 + PAUSE), "{rate:?}");
    }

    #[test]
    fn who_paused_gets_what_stood_meanwhile() {
        let mut rate = DrainRate::new();
        drained(&mut rate, 1250, 1000, 0, 500_000);
        let before = rate.rate();
        rate.moves(5_000_000);
        assert!(!rate.judges(499_000) && !rate.judges(4_999_999) && rate.judges(5_000_000));
        assert_eq!(rate.rate(), before);
    }

    /// Whether what came just before it moves again, after so long, is not judged.
    fn pauses(rate: &DrainRate, still: u64) -> bool {
        let mut rate = *rate;
        let now = rate.last + still;
        rate.moves(now);
        !rate.judges(now - 1)
    }

    #[test]
    fn it_pauses_when_it_stands_for_longer_than_usual() {
        let at_first = DrainRate::new();
        assert_eq!([INTERVAL, INTERVAL + 1].map(|still| pauses(&at_first, still)), [false, true]);
        let mut slow = DrainRate::new();
        drained(&mut slow, 1250, 100_000, 0, 2_000_000);
        assert_eq!([484_480, 484_481].map(|still| pauses(&slow, still)), [false, true], "four full packets");
        let mut in_gusts = DrainRate::new();
        drained(&mut in_gusts, 150_000, 120_000, 0, 1_200_000);
        assert_eq!([240_000, 240_001].map(|still| pauses(&in_gusts, still)), [false, true], "two gusts");
    }

    #[test]
    fn what_leaves_in_several_turns_of_one_time_leaves_at_once() {
        let mut rate = DrainRate::new();
        for now in (0..1_200_000).step_by(120_000) {
            for _ in 0..3 {
                rate.moves(now);
                rate.leaves(50_000);
            }
        }
        assert_eq!(rate.rate(), 1_250_000);
        assert_eq!([240_000, 240_001].map(|still| pauses(&rate, still)), [false, true]);
    }

    #[test]
    fn a_second_in_which_nothing_moves_is_a_slow_link_and_more_is_a_pause() {
        let rate_after = |still: u64| {
            let mut rate = DrainRate::new();
            drained(&mut rate, 1250, 1000, 0, 500_000);
            let again = 499_000 + still;
            drained(&mut rate, 1250, 1000, again, again + 21_000);
            rate.rate()
        };
        assert!(rate_after(PAUSE) < 1_000_000);
        assert_eq!(rate_after(PAUSE + 1), 1_250_000);
    }

    #[test]
    fn a_sample_is_long_enough_and_counts_for_a_quarter() {
        let mut rate = DrainRate::new();
        assert!(!rate.sample(25_000, MEASURED - 1));
        assert_eq!(rate.rate(), 0);
        assert!(rate.sample(25_000, MEASURED));
        assert_eq!(rate.rate(), 1_250_000);
        assert!(rate.sample(50_000, MEASURED));
        assert_eq!(rate.rate(), 1_562_500);
    }
}
