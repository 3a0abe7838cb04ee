//! Clients that log in and leave: what a connection costs.

use std::collections::HashMap;
use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::driver::Handler;
use crate::load::{histogram, nanoseconds};
use crate::samples::{Look, Samples};
use crate::target::Target;

pub(crate) struct Plan {
    /// Logins begun a second; none for as many as the relay takes.
    pub(crate) rate: Option<f64>,
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
    pub(crate) samples: Samples,
}

/// Keys are used again, long after their last connection was closed.
const KEYS: usize = 4096;

pub(crate) fn run(target: &Target, plan: &Plan) -> io::Result<Outcome> {
    let identities = target.identities(KEYS.max(4 * target.at_once))?;
    let mut driver = target.driver()?;
    let zero = Instant::now();
    let [begin, end] = [zero + plan.warm_up, zero + plan.warm_up + plan.length];
    let mut clients =
        Clients { under_way: HashMap::new(), done: Vec::new(), logins: 0, failed: 0, why: None, latency: histogram() };
    let mut first = None;
    let mut started: u64 = 0;
    loop {
        let now = Instant::now();
        if now >= end {
            break;
        }
        if now >= begin && first.is_none() {
            first = Some(Look::now(target.process, driver.spun()));
            clients.logins = 0;
            clients.latency.reset();
        }
        let due = plan.rate.map(|rate| zero + Duration::from_secs_f64(started as f64 / rate));
        if clients.under_way.len() < target.at_once && due.is_none_or(|due| due <= now) {
            let number = started as usize;
            let token = driver.connect(number, identities[number % identities.len()].clone())?;
            clients.under_way.insert(number, (token, now));
            started += 1;
            if clients.under_way.len() < target.at_once && plan.rate.is_none() {
                continue;
            }
        }
        let mark = if first.is_none() { begin } else { end };
        let next = due.filter(|_| clients.under_way.len() < target.at_once).map_or(mark, |due| due.min(mark));
        driver.turn(next, &mut clients)?;
        for token in clients.done.drain(..) {
            driver.close(token);
        }
    }
    let samples = Samples::between(first, Look::now(target.process, driver.spun()));
    let Clients { logins, failed, why, latency, .. } = clients;
    Ok(Outcome { logins, failed, why, latency, samples })
}

struct Clients {
    /// Token and begin, by number.
    under_way: HashMap<usize, (usize, Instant)>,
    /// Logged in: to be closed.
    done: Vec<usize>,
    logins: u64,
    failed: u64,
    why: Option<String>,
    latency: Histogram<u64>,
}

impl Handler for Clients {
    fn opened(&mut self, number: usize, now: Instant) {
        if let Some((token, begin)) = self.under_way.remove(&number) {
            self.logins += 1;
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
