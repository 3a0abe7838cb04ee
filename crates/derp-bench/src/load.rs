//! Packets through a relay: what to send, who sends it, and what came of it.

use std::io;
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::driver::connect_all;
use crate::faults::Faults;
use crate::flow::{self, Flow};
use crate::pacing::Comb;
use crate::parts::{self, nanoseconds};
use crate::samples::Samples;
use crate::target::Target;
use crate::traffic::{Traffic, merge};

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

/// Connects the plan's clients, on as many threads as it says, and runs it.
pub(crate) fn run(target: &Target, plan: &Plan) -> io::Result<Outcome> {
    let clients = flow::clients(&plan.flows);
    let identities = target.identities(clients)?;
    let barrier = Barrier::new(plan.threads);
    let zero = OnceLock::new();
    let thread = |index: usize| -> io::Result<(Traffic<'_>, Samples)> {
        let mut traffic = Traffic::new(plan, &identities, 0, [index, plan.threads]);
        let own: Vec<_> = identities.iter().cloned().enumerate().skip(index).step_by(plan.threads).collect();
        let connected = target.driver().and_then(|mut driver| {
            let at_once = (target.at_once / plan.threads).max(1);
            let tokens = connect_all(&mut driver, &own, at_once, target.deadline(), &mut traffic)?;
            Ok((driver, tokens))
        });
        // Whoever failed still has to come here, or the others would wait for ever.
        barrier.wait();
        let (mut driver, tokens) = connected?;
        let zero = *zero.get_or_init(|| Instant::now() + Duration::from_millis(100));
        traffic.start(&tokens, zero);
        let samples = parts::run(&mut driver, &mut [&mut traffic], zero, plan.window(), target.process)?;
        traffic.take_back_unsent(&driver);
        Ok((traffic, samples))
    };
    let parts = std::thread::scope(|scope| {
        let others: Vec<_> = (1..plan.threads).map(|index| scope.spawn(move || thread(index))).collect();
        let mut parts = vec![thread(0)];
        parts.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(io::Error::other("panic")))));
        parts.into_iter().collect::<io::Result<Vec<_>>>()
    })?;
    let spun = parts.iter().map(|(_, samples)| samples.spun).sum();
    let (parts, samples): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    // All threads look at the same processes; one's eyes are enough.
    let seen = samples.into_iter().next().unwrap_or_default();
    Ok(merge(plan, parts, Samples { spun, ..seen }))
}

/// From a nanosecond to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are right")
}
