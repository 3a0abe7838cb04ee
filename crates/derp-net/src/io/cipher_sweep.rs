//! Which connections have expanded ciphers: they are let go of after a second or two without use. One sweep a second over
//! those that have any; a connection pays a flag, not a timer. Once many have been let go of, their memory is given back.

use std::time::{Duration, Instant};

use crate::base::sync::Lock;

/// From one sweep to the next. What is not used between two of them is let go of.
const SWEEP: Duration = Duration::from_secs(1);
/// Giving memory back takes milliseconds, so it is done for a megabyte or more, and not too often.
const MANY: usize = 1024;
const REST: Duration = Duration::from_secs(5);

/// A connection's place with its worker, and its id.
pub(crate) type SlotName = (usize, u64);

/// Connections of one worker that others have warmed since its last sweep.
#[derive(Default)]
pub(crate) struct WarmList(Lock<Vec<SlotName>>);

impl WarmList {
    /// True if it is the first since the last sweep: its worker has to be told.
    pub(crate) fn push(&self, name: SlotName) -> bool {
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
pub(crate) struct CipherSweep {
    names: Vec<SlotName>,
    /// Set while there is anything to sweep.
    sweep_at: Option<Instant>,
    /// Connections whose ciphers have been let go of since their memory was given back.
    cooled: usize,
    gave_back: Option<Instant>,
}

impl CipherSweep {
    /// A connection that is not in the list has been warmed by its own worker.
    pub(crate) fn add(&mut self, name: SlotName) {
        self.names.push(name);
    }

    /// How long there is nothing to do; `None` for ever.
    pub(crate) fn pause(&mut self, warmed: &WarmList, now: Instant) -> Option<Duration> {
        if self.sweep_at.is_none() && !(self.names.is_empty() && warmed.is_empty() && !self.is_worth_it()) {
            self.sweep_at = Some(now + SWEEP);
        }
        self.sweep_at.map(|at| at.saturating_duration_since(now))
    }

    /// What is to be swept, if it is time: the list, which those go back to that stay warm, and what others have warmed.
    pub(crate) fn due(&mut self, warmed: &WarmList, now: Instant) -> Option<(Vec<SlotName>, Vec<SlotName>)> {
        self.sweep_at.take_if(|at| now >= *at)?;
        Some((std::mem::take(&mut self.names), std::mem::take(&mut *warmed.0.lock())))
    }

    /// The ciphers of a connection have been let go of.
    pub(crate) fn cooled(&mut self) {
        self.cooled += 1;
    }

    /// Whether their memory is to be given back now. Asked after a sweep, and taken for done.
    pub(crate) fn gives_back(&mut self, now: Instant) -> bool {
        let due = self.is_worth_it() && self.gave_back.is_none_or(|at| now >= at + REST);
        if due {
            (self.cooled, self.gave_back) = (0, Some(now));
        }
        due
    }

    /// While more are in use than would be given back, those will need the memory again.
    fn is_worth_it(&self) -> bool {
        self.cooled >= MANY.max(self.names.len())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_sweep_is_a_second_away_from_the_first_that_is_warmed() {
        let (mut cipher_sweep, warmed, start) = (CipherSweep::default(), WarmList::default(), Instant::now());
        assert_eq!(cipher_sweep.pause(&warmed, start), None);
        assert!(cipher_sweep.due(&warmed, start + SWEEP).is_none());
        assert!(warmed.push((1, 10)));
        assert!(!warmed.push((2, 20)));
        assert_eq!(cipher_sweep.pause(&warmed, start), Some(SWEEP));
        cipher_sweep.add((3, 30));
        let half = start + SWEEP / 2;
        assert_eq!(cipher_sweep.pause(&warmed, half), Some(SWEEP / 2));
        assert!(cipher_sweep.due(&warmed, half).is_none());
        assert_eq!(cipher_sweep.due(&warmed, start + SWEEP), Some((vec![(3, 30)], vec![(1, 10), (2, 20)])));
        // Nothing is left, so there is nothing to wake for.
        assert_eq!(cipher_sweep.pause(&warmed, start + SWEEP), None);
        assert!(warmed.push((1, 10)));
    }

    #[test]
    fn memory_is_given_back_for_many_and_not_too_often() {
        let (mut cipher_sweep, warmed, start) = (CipherSweep::default(), WarmList::default(), Instant::now());
        let cooled = |cipher_sweep: &mut CipherSweep, count: usize| (0..count).for_each(|_| cipher_sweep.cooled());
        cooled(&mut cipher_sweep, MANY - 1);
        assert!(!cipher_sweep.gives_back(start));
        assert_eq!(cipher_sweep.pause(&warmed, start), None);
        cooled(&mut cipher_sweep, 1);
        assert!(cipher_sweep.gives_back(start));
        assert!(!cipher_sweep.gives_back(start));
        // Not yet again, and until then the worker looks each second.
        cooled(&mut cipher_sweep, MANY);
        assert!(!cipher_sweep.gives_back(start + REST / 2));
        assert_eq!(cipher_sweep.pause(&warmed, start + REST / 2), Some(SWEEP));
        assert!(cipher_sweep.gives_back(start + REST));
        // Not while more are warm.
        (0..=MANY).for_each(|number| cipher_sweep.add((number, 1)));
        cooled(&mut cipher_sweep, MANY);
        assert!(!cipher_sweep.gives_back(start + 2 * REST));
        cooled(&mut cipher_sweep, 1);
        assert!(cipher_sweep.gives_back(start + 2 * REST));
    }
}
