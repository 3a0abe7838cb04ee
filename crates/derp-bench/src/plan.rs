//! What is to be sent through a relay, and what came of it.

use std::time::Duration;

use hdrhistogram::Histogram;

use crate::faults::Faults;
use crate::flow::Flow;
use crate::pacing::Comb;
use crate::parts::nanoseconds;
use crate::samples::Samples;

/// How packets are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// When they are due.
    Comb(Comb),
    /// As fast as the sockets take them, so many with each write.
    Flood { batch: u64 },
}

/// One run.
pub(crate) struct Plan {
    pub(crate) flows: Vec<Flow>,
    /// Of a packet.
    pub(crate) size: usize,
    pub(crate) pace: Pace,
    pub(crate) warm_up: Duration,
    /// Of what is measured.
    pub(crate) length: Duration,
    pub(crate) threads: usize,
    /// So many flows, the first ones, have slow receivers: their latency is left out, and being cut off is no fault.
    pub(crate) aside: usize,
    /// Runs on the same clients have different ones, so that what comes late is not taken for this run's.
    pub(crate) phase: u32,
}

impl Plan {
    /// A flood on one thread.
    pub(crate) fn new(flows: Vec<Flow>, size: usize, warm_up: Duration, length: Duration) -> Self {
        Self { flows, size, pace: Pace::Flood { batch: 1 }, warm_up, length, threads: 1, aside: 0, phase: 0 }
    }

    /// Nanoseconds from the run's zero.
    pub(crate) fn window(&self) -> [u64; 2] {
        [self.warm_up, self.warm_up + self.length].map(nanoseconds)
    }
}

/// What came of a run.
pub(crate) struct Outcome {
    /// Due in the window, sent or not.
    pub(crate) offered: u64,
    /// Those of the window that were sent, and those of them that arrived, whenever.
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// Whatever arrived within the window.
    pub(crate) arrived: u64,
    /// In the whole run, warm-up included.
    pub(crate) sent_in_all: u64,
    pub(crate) delivered_in_all: u64,
    /// Nanoseconds from being due to having arrived.
    pub(crate) latency: Histogram<u64>,
    /// Nanoseconds from being due to being written: the generator's own part, or the relay that takes no bytes.
    pub(crate) lateness: Histogram<u64>,
    pub(crate) faults: Faults,
    pub(crate) samples: Samples,
    /// Packets of the window that arrived, by flow.
    pub(crate) shares: Vec<u64>,
    /// Slow receivers that the relay has cut off.
    pub(crate) cut_off: u64,
}

/// From a nanosecond to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are right")
}
