//! Several things that happen on one driver at the same time, in the same window: traffic, and what may disturb it.

use std::io;
use std::time::{Duration, Instant};

use crate::driver::{Driver, Handler};
use crate::samples::{Look, Samples};

/// One of them. Its clients have numbers that no other part's have.
pub(crate) trait Part: Handler {
    /// Whether the client is this part's.
    fn owns(&self, number: usize) -> bool;

    /// Does what is due at `now`. Returns when it has to be asked again: `now` for at once.
    fn step(&mut self, driver: &mut Driver, now: u64) -> io::Result<u64>;

    /// The window has begun.
    fn begin(&mut self, _driver: &mut Driver) {}

    /// The window is over; what has happened until then counts.
    fn end(&mut self, _driver: &mut Driver) -> io::Result<()> {
        Ok(())
    }

    /// How long to wait for what is under way; `None` if nothing is. `over` is when the window was.
    fn outstanding(&self, _driver: &Driver, _over: Instant) -> Option<Instant> {
        None
    }
}

/// No relay needs longer to hand out what it holds; derper's write timeout is 2 s.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);

/// Runs the parts from `zero` to the window's end (in nanoseconds since then), and waits until all is settled.
pub(crate) fn run(
    driver: &mut Driver,
    parts: &mut [&mut dyn Part],
    zero: Instant,
    [begin, end]: [u64; 2],
    server: Option<u32>,
) -> io::Result<Samples> {
    let mut first = None;
    loop {
        let now = nanoseconds(zero.elapsed());
        if now >= end {
            break;
        }
        if now >= begin && first.is_none() {
            first = Some(Look::now(server, driver.spun()));
            parts.iter_mut().for_each(|part| part.begin(driver));
        }
        let mut until = if first.is_none() { begin } else { end };
        for part in parts.iter_mut() {
            until = until.min(part.step(driver, now)?);
        }
        driver.turn(zero + Duration::from_nanos(until), &mut Dealer(parts))?;
    }
    let samples = Samples::between(first, Look::now(server, driver.spun()));
    for part in parts.iter_mut() {
        part.end(driver)?;
    }
    let over = Instant::now();
    let longest = over + LONGEST_DRAIN;
    loop {
        let until = parts.iter().filter_map(|part| part.outstanding(driver, over)).max();
        match until.map(|until| until.min(longest)) {
            Some(until) if until > Instant::now() => driver.turn(until, &mut Dealer(parts))?,
            _ => return Ok(samples),
        }
    }
}

/// Hands each client's events to the part that it belongs to.
struct Dealer<'a, 'p>(&'a mut [&'p mut dyn Part]);

impl Dealer<'_, '_> {
    fn with(&mut self, number: usize, tell: impl FnOnce(&mut dyn Part)) {
        if let Some(part) = self.0.iter_mut().find(|part| part.owns(number)) {
            tell(*part);
        }
    }
}

impl Handler for Dealer<'_, '_> {
    fn opened(&mut self, number: usize, now: Instant) {
        self.with(number, |part| part.opened(number, now));
    }

    fn frame(&mut self, number: usize, frame: &[u8], now: Instant) {
        self.with(number, |part| part.frame(number, frame, now));
    }

    fn closed(&mut self, number: usize, why: &str) {
        self.with(number, |part| part.closed(number, why));
    }
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
