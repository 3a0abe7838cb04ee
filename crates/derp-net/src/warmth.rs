//! Which connections have expanded ciphers: they are let go of after a second or two without use. One sweep a second over
//! those that have any; a connection pays a flag, not a timer.

use std::time::{Duration, Instant};

use crate::sync::Lock;

/// From one sweep to the next. What is not used between two of them is let go of.
const SWEEP: Duration = Duration::from_secs(1);

/// A connection's place with its worker, and its id.
pub(crate) type Name = (usize, u64);

/// Connections of one worker that others have warmed since its last sweep.
#[derive(Default)]
pub(crate) struct Warmed(Lock<Vec<Name>>);

impl Warmed {
    /// True if it is the first since the last sweep: its worker has to be told.
    pub(crate) fn push(&self, name: Name) -> bool {
        let mut names = self.0.lock();
        names.push(name);
        names.len() == 1
    }

    fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }
}

/// A worker's own list, and when it goes through it.
#[derive(Default)]
pub(crate) struct Warmth {
    names: Vec<Name>,
    /// Set while there is anything to sweep.
    sweep_at: Option<Instant>,
}

impl Warmth {
    /// A connection that is not in the list has been warmed by its own worker.
    pub(crate) fn add(&mut self, name: Name) {
        self.names.push(name);
    }

    /// How long there is nothing to do; `None` for ever.
    pub(crate) fn pause(&mut self, warmed: &Warmed, now: Instant) -> Option<Duration> {
        if self.sweep_at.is_none() && !(self.names.is_empty() && warmed.is_empty()) {
            self.sweep_at = Some(now + SWEEP);
        }
        self.sweep_at.map(|at| at.saturating_duration_since(now))
    }

    /// What is to be swept, if it is time: the list, which those go back to that stay warm, and what others have warmed.
    pub(crate) fn due(&mut self, warmed: &Warmed, now: Instant) -> Option<(Vec<Name>, Vec<Name>)> {
        self.sweep_at.take_if(|at| now >= *at)?;
        Some((std::mem::take(&mut self.names), std::mem::take(&mut *warmed.0.lock())))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_a_second_away_from_the_first_that_is_warmed() {
        let (mut warmth, warmed, start) = (Warmth::default(), Warmed::default(), Instant::now());
        assert_eq!(warmth.pause(&warmed, start), None);
        assert!(warmth.due(&warmed, start + SWEEP).is_none());
        assert!(warmed.push((1, 10)));
        assert!(!warmed.push((2, 20)));
        assert_eq!(warmth.pause(&warmed, start), Some(SWEEP));
        warmth.add((3, 30));
        let half = start + SWEEP / 2;
        assert_eq!(warmth.pause(&warmed, half), Some(SWEEP / 2));
        assert!(warmth.due(&warmed, half).is_none());
        assert_eq!(warmth.due(&warmed, start + SWEEP), Some((vec![(3, 30)], vec![(1, 10), (2, 20)])));
        // Nothing is left, so there is nothing to wake for.
        assert_eq!(warmth.pause(&warmed, start + SWEEP), None);
        assert!(warmed.push((1, 10)));
    }
}
