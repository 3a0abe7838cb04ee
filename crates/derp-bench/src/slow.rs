//! One receiver that reads slowly beside others that do not: what the others lose by it, which should be nothing.

use std::io;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::crew::{self, Crew};
use crate::driver::{Driver, Handler};
use crate::flow;
use crate::load::{self, Pace};
use crate::pacing::Comb;
use crate::parts::Part;
use crate::samples::Samples;
use crate::target::Target;

pub(crate) struct Plan {
    /// Receivers, of which the first is slow. One client sends to all of them in turn.
    pub(crate) receivers: usize,
    pub(crate) size: usize,
    /// Packets a second to all of them together.
    pub(crate) rate: NonZeroU64,
    /// Bytes a second that the slow one reads.
    pub(crate) reads: usize,
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

pub(crate) struct Outcome {
    pub(crate) load: load::Outcome,
    pub(crate) samples: Samples,
}

/// The slow one reads so often.
const TICK: Duration = Duration::from_millis(50);
/// What its kernel keeps for it, or about so.
const BUFFER: usize = 64 << 10;

pub(crate) fn run(target: &Target, plan: &Plan) -> io::Result<Outcome> {
    let mut driver = target.driver()?;
    let crew = Crew::connect(&mut driver, target, 0, plan.receivers + 1)?;
    let slow = crew.tokens[1];
    driver.ration(slow, BUFFER)?;
    let load = load::Plan {
        pace: Pace::Comb(Comb { rate: plan.rate, batch: 1, senders: 1 }),
        aside: 1,
        ..load::Plan::new(flow::fan_out(plan.receivers), plan.size, plan.warm_up, plan.length)
    };
    let each = (plan.reads as f64 * TICK.as_secs_f64()) as usize;
    let mut ration = Ration { token: slow, each: each.max(1), next: 0, over: false };
    let (outcomes, samples) = crew::run(&mut driver, target, &[(&crew, &load)], &mut [&mut ration], Instant::now())?;
    let [load] = <[_; 1]>::try_from(outcomes).map_err(|_| io::Error::other("one crew has one outcome"))?;
    Ok(Outcome { load, samples })
}

struct Ration {
    token: usize,
    each: usize,
    next: u64,
    over: bool,
}

impl Part for Ration {
    fn owns(&self, _number: usize) -> bool {
        false
    }

    fn step(&mut self, driver: &mut Driver, now: u64) -> io::Result<u64> {
        if now >= self.next && !self.over {
            driver.allow(self.token, Some(self.each));
            self.next = now + TICK.as_nanos() as u64;
        }
        Ok(self.next)
    }

    /// Reads the rest, so that the books can be closed.
    fn end(&mut self, driver: &mut Driver) -> io::Result<()> {
        self.over = true;
        driver.allow(self.token, None);
        Ok(())
    }
}

impl Handler for Ration {
    fn opened(&mut self, _number: usize, _now: Instant) {}
    fn frame(&mut self, _number: usize, _frame: &[u8], _now: Instant) {}
    fn closed(&mut self, _number: usize, _why: &str) {}
}
