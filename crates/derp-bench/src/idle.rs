//! Clients that are logged in and quiet: what they cost in memory, fresh, after a burst, and after a storm of logins.
//!
//! The zero is taken with a few clients logged in, so that what the first ones load and compile is not charged to the rest.

use std::io;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::crew::{self, Crew};
use crate::driver::{Driver, Handler};
use crate::faults::Faults;
use crate::load::{self, Pace};
use crate::pacing::Comb;
use crate::process::{KernelMemory, Memory, Sample, Usage};
use crate::target::Target;
use crate::{flow, storm};

pub(crate) struct Plan {
    pub(crate) clients: usize,
    /// Logged in before the first look at the memory.
    pub(crate) primer: usize,
    pub(crate) settle: Duration,
    /// Packets that each client then sends to the next one, before all are quiet again.
    pub(crate) touch: u64,
    /// Others that then log in and leave, before all is quiet again.
    pub(crate) storm: u64,
    pub(crate) size: usize,
}

/// One look at the relay's memory, and at the kernel's.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Look {
    pub(crate) process: Memory,
    pub(crate) kernel: Option<KernelMemory>,
}

/// Before, with all clients just logged in, after a while, after they have carried traffic and been quiet for that while
/// again, and after others have come and gone.
pub(crate) struct Outcome {
    pub(crate) before: Option<Look>,
    pub(crate) at_once: Option<Look>,
    pub(crate) settled: Option<Look>,
    pub(crate) touched: Option<Look>,
    pub(crate) stormed: Option<Look>,
    /// While the clients were quiet.
    pub(crate) usage: Option<Usage>,
    pub(crate) faults: Faults,
}

/// Gentle: this is about what is left of the traffic, not about the traffic.
const TOUCH_RATE: NonZeroU64 = NonZeroU64::new(10_000).expect("it is not zero");

pub(crate) fn run(target: &Target, plan: &Plan) -> io::Result<Outcome> {
    let mut driver = target.driver()?;
    let mut quiet = Quiet::default();
    let look = || {
        let process = target.process.and_then(Memory::of)?;
        Some(Look { process, kernel: KernelMemory::now() })
    };

    Crew::connect(&mut driver, target, 0, plan.primer)?;
    hold(&mut driver, plan.settle.min(Duration::from_secs(1)), &mut quiet)?;
    let before = look();

    let crew = Crew::connect(&mut driver, target, plan.primer, plan.clients)?;
    let at_once = look();

    let first = target.process.and_then(Sample::of);
    hold(&mut driver, plan.settle, &mut quiet)?;
    let last = target.process.and_then(Sample::of);
    let usage = first.zip(last).map(|(first, last)| last.since(&first));
    let settled = look();

    let (mut touched, mut stormed) = (None, None);
    if plan.touch > 0 && plan.clients > 1 {
        let packets = plan.touch * plan.clients as u64;
        let comb = Comb { rate: TOUCH_RATE, batch: 1, senders: plan.clients as u64 };
        let length = Duration::from_nanos(comb.due(packets));
        let traffic = load::Plan {
            pace: Pace::Comb(comb),
            ..load::Plan::new(flow::ring(plan.clients), plan.size, Duration::ZERO, length)
        };
        let (outcomes, _) = crew::run(&mut driver, target, &[(&crew, &traffic)], &mut [], Instant::now())?;
        outcomes.iter().for_each(|outcome| quiet.faults.add(&outcome.faults));
        hold(&mut driver, plan.settle, &mut quiet)?;
        touched = look();
    }
    if plan.storm > 0 {
        storm::pass(&mut driver, target, plan.primer + plan.clients, plan.storm)?;
        hold(&mut driver, plan.settle, &mut quiet)?;
        stormed = look();
    }
    Ok(Outcome { before, at_once, settled, touched, stormed, usage, faults: quiet.faults })
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
    faults: Faults,
}

impl Handler for Quiet {
    fn opened(&mut self, _number: usize, _now: Instant) {}

    fn frame(&mut self, _number: usize, _frame: &[u8], _now: Instant) {}

    fn closed(&mut self, number: usize, why: &str) {
        self.faults.disconnected += 1;
        self.faults.note(|| format!("client {number} was lost: {why}"));
    }
}
