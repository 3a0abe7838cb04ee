//! Packets between the clients of two relays that mesh with each other: what one costs that crosses both.

use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::crew::Nobody;
use crate::driver::{Driver, Handler, connect_all};
use crate::flow;
use crate::load::{self, Pace};
use crate::pacing::Comb;
use crate::parts::{self, Part};
use crate::process::Sample;
use crate::session::Identity;
use crate::target::Target;
use crate::traffic::{Traffic, merge};

pub(crate) struct Plan {
    /// Every other one sends the other way.
    pub(crate) pairs: usize,
    pub(crate) size: usize,
    /// Packets a second, of all pairs together.
    pub(crate) rate: NonZeroU64,
    pub(crate) batch: NonZeroU64,
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

pub(crate) struct Outcome {
    pub(crate) load: load::Outcome,
    /// The other relay's process at both ends of the window.
    pub(crate) other: Option<[Sample; 2]>,
}

/// Relays may have failed to find each other just before, and wait five seconds then.
const ACQUAINTED: Duration = Duration::from_secs(30);
/// Packets to each client while they are not, in so much time.
const TRIES: u64 = 4;
const TRIED: Duration = Duration::from_millis(200);

pub(crate) fn run(relays: [&Target; 2], plan: &Plan) -> io::Result<Outcome> {
    let mut driver = relays[0].driver()?;
    let clients = 2 * plan.pairs;
    let mut identities: Vec<Option<Arc<Identity>>> = vec![None; clients];
    let mut tokens = vec![0; clients];
    for (which, relay) in relays.into_iter().enumerate() {
        let numbers: Vec<usize> = (0..clients).filter(|number| place_of(*number) == which).collect();
        let here: Vec<_> = numbers.iter().copied().zip(relay.identities(numbers.len())?).collect();
        driver.aim(relay.address);
        let connected = connect_all(&mut driver, &here, relay.at_once, relay.deadline(), &mut Nobody)?;
        for ((number, identity), token) in here.into_iter().zip(connected) {
            identities[number] = Some(identity);
            tokens[number] = token;
        }
    }
    let identities: Vec<_> = identities.into_iter().flatten().collect();
    let crowd = Crowd { identities, tokens };
    let phase = crowd.acquainted(&mut driver, plan)?;
    let pace = Pace::Comb(Comb { rate: plan.rate, batch: plan.batch.get(), senders: plan.pairs as u64 });
    let load =
        load::Plan { pace, phase, ..load::Plan::new(flow::pairs(plan.pairs), plan.size, plan.warm_up, plan.length) };
    let mut eye = Eye { process: relays[1].process, looks: [None, None] };
    let outcome = crowd.run(&mut driver, &load, relays[0].process, &mut eye)?;
    let [first, last] = eye.looks;
    Ok(Outcome { load: outcome, other: first.zip(last).map(Into::into) })
}

/// At which of the two relays a client is. The first of a pair is its sender.
fn place_of(number: usize) -> usize {
    (number + number / 2) % 2
}

struct Crowd {
    identities: Vec<Arc<Identity>>,
    tokens: Vec<usize>,
}

impl Crowd {
    /// Sends a few packets until all of them arrive. Returns the number of the next phase.
    fn acquainted(&self, driver: &mut Driver, plan: &Plan) -> io::Result<u32> {
        let end = Instant::now() + ACQUAINTED;
        let senders = plan.pairs as u64;
        let per_second = TRIES * senders * 1000 / TRIED.as_millis() as u64;
        let rate = NonZeroU64::new(per_second).unwrap_or(NonZeroU64::MIN);
        for phase in 0.. {
            let pace = Pace::Comb(Comb { rate, batch: 1, senders });
            let few = load::Plan::new(flow::pairs(plan.pairs), plan.size, Duration::ZERO, TRIED);
            let outcome = self.run(driver, &load::Plan { pace, phase, ..few }, None, &mut Eye::shut())?;
            if outcome.shares.iter().all(|&share| share > 0) && outcome.sent_in_all == outcome.delivered_in_all {
                return Ok(phase + 1);
            }
            if Instant::now() > end {
                break;
            }
        }
        Err(io::Error::other("not all packets get across: do the relays mesh with each other?"))
    }

    fn run(
        &self,
        driver: &mut Driver,
        plan: &load::Plan,
        process: Option<u32>,
        eye: &mut Eye,
    ) -> io::Result<load::Outcome> {
        let mut traffic = Traffic::new(plan, &self.identities, 0, [0, 1]);
        let zero = Instant::now();
        traffic.start(&self.tokens, zero);
        let samples = parts::run(driver, &mut [&mut traffic, eye], zero, plan.window(), process)?;
        traffic.take_back_unsent(driver);
        Ok(merge(plan, vec![traffic], samples))
    }
}

/// Looks at a second process.
struct Eye {
    process: Option<u32>,
    looks: [Option<Sample>; 2],
}

impl Eye {
    fn shut() -> Self {
        Self { process: None, looks: [None, None] }
    }
}

impl Handler for Eye {
    fn opened(&mut self, _number: usize, _now: Instant) {}
    fn frame(&mut self, _number: usize, _frame: &[u8], _now: Instant) {}
    fn closed(&mut self, _number: usize, _why: &str) {}
}

impl Part for Eye {
    fn owns(&self, _number: usize) -> bool {
        false
    }

    fn step(&mut self, _driver: &mut Driver, _now: u64) -> io::Result<u64> {
        Ok(u64::MAX)
    }

    fn begin(&mut self, _driver: &mut Driver) {
        self.looks[0] = self.process.and_then(Sample::of);
    }

    fn end(&mut self, _driver: &mut Driver) -> io::Result<()> {
        self.looks[1] = self.process.and_then(Sample::of);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_of_a_pair_are_at_different_relays_and_senders_at_both() {
        let places: Vec<_> = (0..8).map(place_of).collect();
        assert_eq!(places, [0, 1, 1, 0, 0, 1, 1, 0]);
    }
}
