//! When the next batch is due: a comb of ticks, each of which belongs to one sender.

use std::num::NonZeroU64;

/// Evenly spaced ticks, dealt to the senders in turn. Exact over any time: nothing is added up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Comb {
    /// Packets a second, of all senders together.
    pub(crate) rate: NonZeroU64,
    /// Packets a tick.
    pub(crate) batch: u64,
    pub(crate) senders: u64,
}

impl Comb {
    /// When tick `number` is due, in nanoseconds since the first.
    pub(crate) fn due(&self, number: u64) -> u64 {
        let packets = u128::from(number) * u128::from(self.batch);
        u64::try_from(packets * 1_000_000_000 / u128::from(self.rate.get())).unwrap_or(u64::MAX)
    }

    /// Whose tick it is.
    pub(crate) fn sender(&self, number: u64) -> u64 {
        number % self.senders
    }

    /// When a sender's own tick `number` is due.
    pub(crate) fn due_of(&self, sender: u64, number: u64) -> u64 {
        self.due(number * self.senders + sender)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn comb(rate: u64, batch: u64, senders: u64) -> Comb {
        Comb { rate: NonZeroU64::new(rate).unwrap(), batch, senders }
    }

    #[test]
    fn as_many_packets_as_the_rate_says() {
        for (rate, batch) in [(20_000, 1), (100_000, 8), (3, 1), (7, 2), (1_000_000, 32)] {
            let comb = comb(rate, batch, 10);
            let ticks = (0..).take_while(|&tick| comb.due(tick) < 10_000_000_000).count() as u64;
            assert_eq!(ticks, (10 * rate).div_ceil(batch), "{rate} in batches of {batch}");
        }
    }

    #[test]
    fn ticks_are_even_and_dealt_in_turn() {
        let comb = comb(20_000, 1, 10);
        let steps: Vec<u64> = (0..1000).map(|tick| comb.due(tick + 1) - comb.due(tick)).collect();
        assert!(steps.iter().all(|&step| step == 50_000));
        for tick in 0..100 {
            assert_eq!(comb.due_of(comb.sender(tick), tick / 10), comb.due(tick));
        }
    }

    #[test]
    fn a_year_does_not_overflow() {
        let comb = comb(1_000_000, 1, 1);
        assert_eq!(comb.due(31_536_000 * 1_000_000), 31_536_000 * 1_000_000_000);
    }
}
