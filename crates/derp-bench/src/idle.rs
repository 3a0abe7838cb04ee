//! Clients that are logged in and quiet: what they cost in memory.
//!
//! The zero is taken with a few clients logged in, so that what the first ones load and compile is not charged to the rest.

use std::io;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::driver::{Driver, Handler, connect_all};
use crate::flow;
use crate::load::{self, Pace};
use crate::pacing::Comb;
use crate::process::{Memory, Sample, Usage};
use crate::target::Target;

pub(crate) struct Plan {
    pub(crate) clients: usize,
    /// Logged in before the first look at the memory.
    pub(crate) primer: usize,
    pub(crate) settle: Duration,
    /// Packets that each client then sends to the next one, before all are quiet again.
    pub(crate) touch: u64,
    pub(crate) size: usize,
}

/// The relay's memory: before, with all clients just logged in, after a while, and after they have carried traffic and
/// been quiet for that while again.
pub(crate) struct Outcome {
    pub(crate) before: Option<Memory>,
    pub(crate) at_once: Option<Memory>,
    pub(crate) settled: Option<Memory>,
    pub(crate) touched: Option<Memory>,
    /// While the clients were quiet.
    pub(crate) usage: Option<Usage>,
    pub(crate) faults: load::Faults,
}

/// Gentle: this is about what is left of the traffic, not about the traffic.
const TOUCH_RATE: NonZeroU64 = NonZeroU64::new(10_000).expect("it is not zero");

pub(crate) fn run(target: &Target, plan: &Plan) -> io::Result<Outcome> {
    let mut driver = target.driver()?;
    let mut quiet = Quiet::default();
    let memory = || target.process.and_then(Memory::of);

    let primer: Vec<_> = target.identities(plan.primer)?.into_iter().enumerate().collect();
    connect_all(&mut driver, &primer, target.at_once, target.deadline(), &mut quiet)?;
    hold(&mut driver, Duration::from_secs(1), &mut quiet)?;
    let before = memory();

    let identities = target.identities(plan.clients)?;
    let numbered: Vec<_> = identities.iter().cloned().enumerate().collect();
    let tokens = connect_all(&mut driver, &numbered, target.at_once, target.deadline(), &mut quiet)?;
    let at_once = memory();

    let first = target.process.and_then(Sample::of);
    hold(&mut driver, plan.settle, &mut quiet)?;
    let last = target.process.and_then(Sample::of);
    let usage = first.zip(last).map(|(first, last)| last.since(&first));
    let settled = memory();

    let mut faults = quiet.faults.clone();
    let mut touched = None;
    if plan.touch > 0 && plan.clients > 1 {
        let packets = plan.touch * plan.clients as u64;
        let comb = Comb { rate: TOUCH_RATE, batch: 1, senders: plan.clients as u64 };
        let traffic = load::Plan {
            flows: flow::ring(plan.clients),
            size: plan.size,
            pace: Pace::Comb(comb),
            warm_up: Duration::ZERO,
            length: Duration::from_nanos(comb.due(packets)),
            threads: 1,
        };
        let outcome = load::run_on(&mut driver, target, &traffic, &identities, &tokens)?;
        hold(&mut driver, plan.settle, &mut quiet)?;
        touched = memory();
        faults = outcome.faults;
        faults.disconnected += quiet.faults.disconnected;
    }
    Ok(Outcome { before, at_once, settled, touched, usage, faults })
}

fn hold(driver: &mut Driver, time: Duration, quiet: &mut Quiet) -> io::Result<()> {
    let end = Instant::now() + time;
    while Instant::now() < end {
        driver.turn(end, quiet)?;
    }
    Ok(())
}

#[derive(Default)]
struct Quiet {
    faults: load::Faults,
}

impl Handler for Quiet {
    fn opened(&mut self, _number: usize, _now: Instant) {}

    fn frame(&mut self, _number: usize, _frame: &[u8], _now: Instant) {}

    fn closed(&mut self, number: usize, why: &str) {
        self.faults.disconnected += 1;
        self.faults.first.get_or_insert_with(|| format!("client {number} was lost: {why}"));
    }
}
