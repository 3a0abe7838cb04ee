//! More than a relay can carry: first its peak is found, then several times as much is offered.

use std::io;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use crate::bystander;
use crate::crew::{self, Crew};
use crate::driver::Driver;
use crate::flow;
use crate::load::{self, Pace};
use crate::pacing::Comb;
use crate::samples::Samples;
use crate::target::Target;

pub(crate) struct Plan {
    pub(crate) pairs: usize,
    pub(crate) size: usize,
    /// Packets with each write.
    pub(crate) batch: u64,
    /// How long each rate is tried on the way to the peak.
    pub(crate) step: Duration,
    /// What is then offered, as a multiple of the peak.
    pub(crate) times: f64,
    pub(crate) bystander: NonZeroU64,
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

pub(crate) struct Outcome {
    /// The most that arrived, of all rates that were tried. Packets a second.
    pub(crate) peak: f64,
    pub(crate) offered: u64,
    pub(crate) load: load::Outcome,
    pub(crate) bystander: load::Outcome,
    pub(crate) samples: Samples,
}

/// The first rate that is tried; each next one is this much higher.
const FIRST: f64 = 1000.0;
const FACTOR: f64 = 1.6;
/// No relay that is measured here carries more.
const LAST: f64 = 4e6;
/// A relay that delivers less than this part of what is offered has reached its peak, if it does so each time.
const ENOUGH: f64 = 0.9;
/// In so many tries: steps are short, and one of them may have been somebody else's.
const TRIES: usize = 3;

pub(crate) fn run(target: &Target, plan: &Plan) -> io::Result<Outcome> {
    let mut driver = target.driver()?;
    let crew = Crew::connect(&mut driver, target, 0, 2 * plan.pairs)?;
    let pair = Crew::connect(&mut driver, target, 2 * plan.pairs, bystander::CLIENTS)?;
    let mut phase = 0;
    let mut peak: f64 = 0.0;
    let mut rate = FIRST;
    let mut tries = 0;
    while rate < LAST && tries < TRIES {
        let load = plan.load(rate, phase, plan.step / 4, plan.step);
        let (outcomes, _) = crew::run(&mut driver, target, &[(&crew, &load)], &mut [], Instant::now())?;
        // Neither what was queued before the window counts, nor what came after it.
        let arrived = outcomes[0].arrived.min(outcomes[0].delivered) as f64 / plan.step.as_secs_f64();
        peak = peak.max(arrived);
        phase += 1;
        if arrived < ENOUGH * rate {
            tries += 1;
        } else {
            tries = 0;
            rate *= FACTOR;
        }
    }
    let offered = (peak * plan.times).max(1.0);
    let load = plan.load(offered, phase, plan.warm_up, plan.length);
    let stays = bystander::plan(plan.bystander, plan.warm_up, plan.length);
    finish(&mut driver, target, [(&crew, &load), (&pair, &stays)], peak, offered as u64)
}

fn finish(
    driver: &mut Driver,
    target: &Target,
    crews: [(&Crew, &load::Plan); 2],
    peak: f64,
    offered: u64,
) -> io::Result<Outcome> {
    let (outcomes, samples) = crew::run(driver, target, &crews, &mut [], Instant::now())?;
    let [load, bystander] = <[_; 2]>::try_from(outcomes).map_err(|_| io::Error::other("two crews, two outcomes"))?;
    Ok(Outcome { peak, offered, load, bystander, samples })
}

impl Plan {
    fn load(&self, rate: f64, phase: u32, warm_up: Duration, length: Duration) -> load::Plan {
        let rate = NonZeroU64::new(rate as u64).unwrap_or(NonZeroU64::MIN);
        let pace = Pace::Comb(Comb { rate, batch: self.batch, senders: self.pairs as u64 });
        load::Plan { pace, phase, ..load::Plan::new(flow::pairs(self.pairs), self.size, warm_up, length) }
    }
}
