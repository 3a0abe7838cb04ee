//! Clients that are logged in and stay, for one scenario or several in a row.

use std::io;
use std::sync::Arc;
use std::time::Instant;

use crate::driver::{Driver, Handler, connect_all};
use crate::load::{Outcome, Plan};
use crate::parts::{self, Part};
use crate::samples::Samples;
use crate::session::Identity;
use crate::target::Target;
use crate::traffic::{Traffic, merge};

/// Clients with the numbers from `base` on.
pub(crate) struct Crew {
    pub(crate) base: usize,
    identities: Vec<Arc<Identity>>,
    pub(crate) tokens: Vec<usize>,
}

impl Crew {
    /// Logs so many new clients in. Fails if one of them is not let in.
    pub(crate) fn connect(driver: &mut Driver, target: &Target, base: usize, count: usize) -> io::Result<Self> {
        let identities = target.identities(count)?;
        let numbered: Vec<_> = (base..).zip(identities.iter().cloned()).collect();
        let tokens = connect_all(driver, &numbered, target.at_once, target.deadline(), &mut Nobody)?;
        Ok(Self { base, identities, tokens })
    }

    pub(crate) fn traffic<'a>(&'a self, plan: &'a Plan) -> Traffic<'a> {
        Traffic::new(plan, &self.identities, self.base, [0, 1])
    }
}

/// Runs the crews' plans beside each other, and the other parts with them; the window is the first plan's. The outcomes
/// are in the crews' order; what the processes used is beside them.
pub(crate) fn run(
    driver: &mut Driver,
    target: &Target,
    crews: &[(&Crew, &Plan)],
    others: &mut [&mut dyn Part],
    zero: Instant,
) -> io::Result<(Vec<Outcome>, Samples)> {
    let mut traffics: Vec<_> = crews.iter().map(|(crew, plan)| crew.traffic(plan)).collect();
    for (traffic, (crew, _)) in traffics.iter_mut().zip(crews) {
        traffic.start(&crew.tokens, zero);
    }
    let mut all: Vec<&mut dyn Part> = traffics.iter_mut().map(|traffic| traffic as &mut dyn Part).collect();
    all.extend(others.iter_mut().map(|other| &mut **other as &mut dyn Part));
    let samples = parts::run(driver, &mut all, zero, crews[0].1.window(), target.process)?;
    let outcomes = traffics.into_iter().zip(crews).map(|(mut traffic, (_, plan))| {
        traffic.take_back_unsent(driver);
        merge(plan, vec![traffic], Samples::default())
    });
    Ok((outcomes.collect(), samples))
}

/// Has no business of its own while others log in.
pub(crate) struct Nobody;

impl Handler for Nobody {
    fn opened(&mut self, _number: usize, _now: Instant) {}
    fn frame(&mut self, _number: usize, _frame: &[u8], _now: Instant) {}
    fn closed(&mut self, _number: usize, _why: &str) {}
}
