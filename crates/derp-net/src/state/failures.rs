//! Word of connections that come to nothing before they are admitted, where it is wanted.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use derp_proto::counters::Counter;
use derp_tls::Alert;

use crate::base::sync::Lock;

/// Failures between two looks at them.
const MOST: usize = 100;
/// Between two addresses whose share is full that are told of.
const CROWDED: Duration = Duration::from_secs(5);

/// A connection that came to nothing.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The counter that has counted it, whose name says at which stage it failed, and why.
    pub what: Counter,
    /// The address that the connection came from.
    pub peer: SocketAddr,
    /// The server name that the client asked for; empty if it named none, or the handshake did not get so far.
    pub server_name: String,
    /// The alert that the client sent, if that is why.
    pub alert: Option<Alert>,
}

/// Those since they were asked for last, and how many more there were.
#[derive(Default)]
pub(crate) struct Failures {
    queue: Lock<(Vec<Failure>, u64)>,
    /// Milliseconds of the plane's clock, and one more: when it was told of an address whose share is full.
    crowded: AtomicU64,
}

impl Failures {
    pub(crate) fn add(&self, failure: Failure) {
        let (failures, untold) = &mut *self.queue.lock();
        if failures.len() < MOST {
            failures.push(failure);
        } else {
            *untold += 1;
        }
    }

    pub(crate) fn take(&self) -> (Vec<Failure>, u64) {
        std::mem::take(&mut *self.queue.lock())
    }

    /// Whether it is time to tell of an address whose share is full. `now` is the plane's clock.
    pub(crate) fn may_tell_of_crowd(&self, now: Duration) -> bool {
        let millis = |time: Duration| time.as_millis() as u64;
        let last = self.crowded.load(Ordering::Relaxed);
        let now = millis(now) + 1;
        let is_time = last == 0 || now >= last + millis(CROWDED);
        is_time && self.crowded.compare_exchange(last, now, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn there_is_an_end_to_what_is_told_and_the_rest_is_counted() {
        let failures = Failures::default();
        let failure = |port| Failure {
            what: Counter::LOGINS_FAILED_BAD_BOX,
            peer: SocketAddr::from(([192, 0, 2, 1], port)),
            server_name: String::new(),
            alert: None,
        };
        for port in 0..250 {
            failures.add(failure(port));
        }
        let (told, untold) = failures.take();
        assert_eq!((told.len(), untold), (MOST, 150));
        assert_eq!(told[7], failure(7));
        assert_eq!(failures.take(), (Vec::new(), 0));
    }

    #[test]
    fn a_crowd_is_told_of_now_and_then() {
        let failures = Failures::default();
        let at = [0, 0, 4999, 5000, 5001, 10_000].map(Duration::from_millis);
        let told = at.map(|now| failures.may_tell_of_crowd(now));
        assert_eq!(told, [true, false, false, true, false, true]);
    }
}
