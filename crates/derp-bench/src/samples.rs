//! Looks at the relay, the generator and the machine, at both ends of what is measured.

use std::time::Duration;

use crate::process::{Machine, Sample};

/// One look.
pub(crate) struct Look {
    server: Option<Sample>,
    generator: Option<Sample>,
    machine: Option<Machine>,
    spun: Duration,
}

impl Look {
    /// `spun`: what this thread of the generator has spun so far.
    pub(crate) fn now(server: Option<u32>, spun: Duration) -> Self {
        Self {
            server: server.and_then(Sample::of),
            generator: Sample::of(std::process::id()),
            machine: Machine::now(),
            spun,
        }
    }
}

/// The first and the last look. What could not be seen at both is not there.
#[derive(Default)]
pub(crate) struct Samples {
    pub(crate) server: Option<[Sample; 2]>,
    pub(crate) generator: Option<[Sample; 2]>,
    pub(crate) machine: Option<[Machine; 2]>,
    /// CPU time of the generator that other work could have had.
    pub(crate) spun: Duration,
}

impl Samples {
    pub(crate) fn between(first: Option<Look>, last: Look) -> Self {
        let Some(first) = first else {
            return Self::default();
        };
        Self {
            server: first.server.zip(last.server).map(Into::into),
            generator: first.generator.zip(last.generator).map(Into::into),
            machine: first.machine.zip(last.machine).map(Into::into),
            spun: last.spun.saturating_sub(first.spun),
        }
    }
}
