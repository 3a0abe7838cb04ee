//! All clients come at once, as they do when a relay has been restarted: how long until the last one is back.
//!
//! The relay is a fresh one; what it does not know of its clients, a restarted one does not know either.

use std::io;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

use crate::driver::Handler;
use crate::load::histogram;
use crate::parts::nanoseconds;
use crate::process::{Sample, Usage, peak};
use crate::target::Target;

pub(crate) struct Outcome {
    pub(crate) clients: usize,
    /// Logged in at the end, which is all of them or the deadline.
    pub(crate) back: usize,
    /// From the first connect to the last login.
    pub(crate) took: Duration,
    /// Connections that were refused or cut before the login was complete, and tried again.
    pub(crate) retries: u64,
    pub(crate) why: Option<String>,
    /// Nanoseconds from the beginning to each client's login.
    pub(crate) latency: Histogram<u64>,
    pub(crate) usage: Option<Usage>,
    /// Of the relay, in KiB.
    pub(crate) peak: Option<u64>,
}

/// Go's client waits at least so long before it comes again.
const PAUSE: Duration = Duration::from_millis(200);

pub(crate) fn run(target: &Target, clients: usize) -> io::Result<Outcome> {
    let identities = target.identities(clients)?;
    let mut driver = target.driver()?;
    let before = target.process.and_then(Sample::of);
    let begin = Instant::now();
    let deadline = target.deadline();
    let mut arrivals =
        Arrivals { begin, back: 0, last: begin, retries: 0, why: None, again: vec![], latency: histogram() };
    for (number, identity) in identities.iter().enumerate() {
        driver.connect(number, identity.clone())?;
    }
    while arrivals.back < clients && Instant::now() < deadline {
        let now = Instant::now();
        let due: Vec<usize> = arrivals.again.extract_if(.., |(at, _)| *at <= now).map(|(_, number)| number).collect();
        for number in due {
            driver.connect(number, identities[number].clone())?;
        }
        let next = arrivals.again.iter().map(|(at, _)| *at).min().unwrap_or(deadline);
        driver.turn(next.min(deadline), &mut arrivals)?;
    }
    let after = target.process.and_then(Sample::of);
    let Arrivals { back, last, retries, why, latency, .. } = arrivals;
    Ok(Outcome {
        clients,
        back,
        took: last - begin,
        retries,
        why,
        latency,
        usage: before.zip(after).map(|(before, after)| after.since(&before)),
        peak: target.process.and_then(peak),
    })
}

struct Arrivals {
    begin: Instant,
    back: usize,
    last: Instant,
    retries: u64,
    why: Option<String>,
    /// Who comes again, and when.
    again: Vec<(Instant, usize)>,
    latency: Histogram<u64>,
}

impl Handler for Arrivals {
    fn opened(&mut self, _number: usize, now: Instant) {
        self.back += 1;
        self.last = now;
        self.latency.saturating_record(nanoseconds(now.saturating_duration_since(self.begin)).max(1));
    }

    fn frame(&mut self, _number: usize, _frame: &[u8], _now: Instant) {}

    fn closed(&mut self, number: usize, why: &str) {
        self.retries += 1;
        self.why.get_or_insert_with(|| why.to_owned());
        self.again.push((Instant::now() + PAUSE, number));
    }
}
