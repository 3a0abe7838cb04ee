//! Clients that log in and leave: what a connection costs, and what those feel who stay.

use std::collections::HashMap;
use std::io;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::bystander;
use crate::crew::{self, Crew};
use crate::driver::{Driver, Handler};
use crate::load::{self, histogram};
use crate::parts::{Part, nanoseconds};
use crate::samples::Samples;
use crate::session::Identity;
use crate::target::Target;

pub(crate) struct Plan {
    /// Logins begun a second; none for as many as the relay takes.
    pub(crate) rate: Option<f64>,
    /// Packets a second of a pair that stays.
    pub(crate) bystander: NonZeroU64,
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

pub(crate) struct Outcome {
    /// Completed within the window.
    pub(crate) logins: u64,
    /// Ended otherwise, in the whole run.
    pub(crate) failed: u64,
    pub(crate) why: Option<String>,
    /// Nanoseconds from connect to ServerInfo.
    pub(crate) latency: Histogram<u64>,
    pub(crate) bystander: load::Outcome,
    pub(crate) samples: Samples,
}

/// Keys are used again, long after their last connection was closed.
const KEYS: usize = 4096;

pub(crate) fn run(target: &Target, plan: &Plan) -> io::Result<Outcome> {
    let mut driver = target.driver()?;
    let stays = bystander::plan(plan.bystander, plan.warm_up, plan.length);
    let pair = Crew::connect(&mut driver, target, 0, bystander::CLIENTS)?;
    let identities = target.identities(KEYS.max(4 * target.at_once))?;
    let mut logins = Logins::new(identities, bystander::CLIENTS, plan.rate, target.at_once, None);
    let (outcomes, samples) = crew::run(&mut driver, target, &[(&pair, &stays)], &mut [&mut logins], Instant::now())?;
    let [bystander] = <[_; 1]>::try_from(outcomes).map_err(|_| io::Error::other("one crew has one outcome"))?;
    let Logins { completed, failed, why, latency, .. } = logins;
    Ok(Outcome { logins: completed, failed, why, latency, bystander, samples })
}

/// Logs `count` clients in, and closes each when it is in.
pub(crate) fn pass(driver: &mut Driver, target: &Target, base: usize, count: u64) -> io::Result<()> {
    let identities = target.identities(KEYS.min(count as usize).max(4 * target.at_once))?;
    let mut logins = Logins::new(identities, base, None, target.at_once, Some(count));
    let (zero, deadline) = (Instant::now(), target.deadline());
    while logins.completed + logins.failed < count {
        if Instant::now() >= deadline {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the logins take too long"));
        }
        logins.step(driver, nanoseconds(zero.elapsed()))?;
        driver.turn(deadline, &mut logins)?;
    }
    logins.step(driver, 0)?;
    logins.why.map_or(Ok(()), |why| Err(io::Error::other(format!("{} logins failed: {why}", logins.failed))))
}

struct Logins {
    identities: Vec<Arc<Identity>>,
    base: usize,
    rate: Option<f64>,
    at_once: usize,
    /// How many there may be in all.
    most: Option<u64>,
    started: u64,
    /// Token and begin, by number.
    under_way: HashMap<usize, (usize, Instant)>,
    /// Logged in: to be closed.
    done: Vec<usize>,
    completed: u64,
    failed: u64,
    why: Option<String>,
    latency: Histogram<u64>,
    over: bool,
}

impl Logins {
    fn new(identities: Vec<Arc<Identity>>, base: usize, rate: Option<f64>, at_once: usize, most: Option<u64>) -> Self {
        Self {
            identities,
            base,
            rate,
            at_once,
            most,
            started: 0,
            under_way: HashMap::new(),
            done: Vec::new(),
            completed: 0,
            failed: 0,
            why: None,
            latency: histogram(),
            over: false,
        }
    }

    /// When the next one may begin, as far as the pace is concerned.
    fn due(&self) -> u64 {
        self.rate.map_or(0, |rate| (self.started as f64 * 1e9 / rate) as u64)
    }

    fn may_begin(&self) -> bool {
        !self.over && self.under_way.len() < self.at_once && self.most.is_none_or(|most| self.started < most)
    }
}

impl Part for Logins {
    fn owns(&self, number: usize) -> bool {
        number >= self.base
    }

    fn step(&mut self, driver: &mut Driver, now: u64) -> io::Result<u64> {
        for token in self.done.drain(..) {
            driver.close(token);
        }
        while self.may_begin() && self.due() <= now {
            let identity = &self.identities[self.started as usize % self.identities.len()];
            let number = self.base + self.started as usize;
            let token = driver.connect(number, identity.clone())?;
            self.under_way.insert(number, (token, Instant::now()));
            self.started += 1;
        }
        Ok(if self.may_begin() { self.due() } else { u64::MAX })
    }

    fn begin(&mut self, _driver: &mut Driver) {
        self.completed = 0;
        self.latency.reset();
    }

    fn end(&mut self, driver: &mut Driver) -> io::Result<()> {
        self.over = true;
        for (token, _) in self.under_way.drain().map(|(_, login)| login) {
            driver.close(token);
        }
        for token in self.done.drain(..) {
            driver.close(token);
        }
        Ok(())
    }
}

impl Handler for Logins {
    fn opened(&mut self, number: usize, now: Instant) {
        if let Some((token, begin)) = self.under_way.remove(&number) {
            self.completed += 1;
            self.latency.saturating_record(nanoseconds(now.saturating_duration_since(begin)).max(1));
            self.done.push(token);
        }
    }

    fn frame(&mut self, _number: usize, _frame: &[u8], _now: Instant) {}

    fn closed(&mut self, number: usize, why: &str) {
        if self.under_way.remove(&number).is_some() {
            self.failed += 1;
            self.why.get_or_insert_with(|| why.to_owned());
        }
    }
}
