//! Packets through a relay: connects the clients of a plan, and runs it.

use std::io;
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

use crate::driver::connect_all;
use crate::flow;
use crate::parts;
use crate::samples::Samples;
use crate::target::Target;
use crate::traffic::{Traffic, merge};

pub(crate) use crate::plan::{Outcome, Pace, Plan, histogram};

/// Connects the plan's clients, on as many threads as it says, and runs it.
pub(crate) fn run(target: &Target, plan: &Plan) -> io::Result<Outcome> {
    let clients = flow::clients(&plan.flows);
    let identities = target.identities(clients)?;
    let barrier = Barrier::new(plan.threads);
    let zero = OnceLock::new();
    let thread = |index: usize| -> io::Result<(Traffic<'_>, Samples)> {
        let mut traffic = Traffic::new(plan, &identities, 0, [index, plan.threads]);
        let own: Vec<_> = identities.iter().cloned().enumerate().skip(index).step_by(plan.threads).collect();
        let connected = target.driver().and_then(|mut driver| {
            let at_once = (target.at_once / plan.threads).max(1);
            let tokens = connect_all(&mut driver, &own, at_once, target.deadline(), &mut traffic)?;
            Ok((driver, tokens))
        });
        // A thread that failed still has to come here, or the others would wait for ever.
        barrier.wait();
        let (mut driver, tokens) = connected?;
        let zero = *zero.get_or_init(|| Instant::now() + Duration::from_millis(100));
        traffic.start(&tokens, zero);
        let samples = parts::run(&mut driver, &mut [&mut traffic], zero, plan.window(), target.process)?;
        traffic.take_back_unsent(&driver);
        Ok((traffic, samples))
    };
    let parts = std::thread::scope(|scope| {
        let others: Vec<_> = (1..plan.threads).map(|index| scope.spawn(move || thread(index))).collect();
        let mut parts = vec![thread(0)];
        parts.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(io::Error::other("panic")))));
        parts.into_iter().collect::<io::Result<Vec<_>>>()
    })?;
    let spun = parts.iter().map(|(_, samples)| samples.spun).sum();
    let (parts, samples): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    // All threads look at the same processes; one's eyes are enough.
    let seen = samples.into_iter().next().unwrap_or_default();
    Ok(merge(plan, parts, Samples { spun, ..seen }))
}
