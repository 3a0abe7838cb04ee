//! What of the CPUs went to others than the relay, the generator, and those who are meant to be there.

use std::time::{Duration, Instant};

use crate::process::{Machine, Sample, percent};

/// The beginning of a run.
pub(crate) struct Foreign {
    at: Instant,
    machine: Machine,
    ours: Vec<(u32, Sample)>,
}

impl Foreign {
    /// `None` where the system does not say, or one of the processes is not there.
    pub(crate) fn begin(relay: Option<u32>, beside: &[u32]) -> Option<Self> {
        let processes = relay.into_iter().chain(beside.iter().copied()).chain([std::process::id()]);
        let ours = processes.map(|process| Some((process, Sample::of(process)?))).collect::<Option<_>>()?;
        Some(Self { at: Instant::now(), machine: Machine::now()?, ours })
    }

    /// From then to now; 100 is one core. `None` if one of the processes has ended.
    pub(crate) fn percent(&self) -> Option<f64> {
        let mut ours = Duration::ZERO;
        for (process, before) in &self.ours {
            ours += Sample::of(*process)?.since(before).used;
        }
        let all = Machine::now()?.busy.saturating_sub(self.machine.busy);
        Some(percent(all.saturating_sub(ours), self.at.elapsed()))
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn processes_that_are_not_there_are_not_guessed_at() {
        assert!(Foreign::begin(Some(u32::MAX), &[]).is_none());
        assert!(Foreign::begin(None, &[u32::MAX]).is_none());
        let share = Foreign::begin(None, &[]).and_then(|foreign| foreign.percent());
        assert!(share.is_some_and(|share| share >= 0.0), "{share:?}");
    }
}
