//! What addresses hold: how much each of them does, and which one pays when there is too much of all.

use std::collections::{BTreeMap, HashMap};

use derp_proto::key::NodeKey;

use crate::base::ledger::{Lists, digits};
use crate::base::network::Network;

/// In whose share a lookup counts.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Asker {
    Network(Network),
    /// A connection by its id, if its address is exempt or not known.
    Conn(u64),
}

/// Things of one kind, each by a number that grows, and the key that it is about.
#[derive(Default)]
pub(super) struct Shares {
    holdings: HashMap<Asker, Holding>,
    ranks: Lists<Asker>,
    total: usize,
}

#[derive(Default)]
struct Holding {
    amount: usize,
    /// The oldest first.
    things: BTreeMap<u64, NodeKey>,
    /// Its place in the list of those whose amounts have as many digits.
    position: u32,
}

/// A thing, and the address that holds it.
pub(super) type Held = (Asker, u64, NodeKey);

impl Shares {
    /// What all hold together.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    pub(super) fn held(&self, by: &Asker) -> usize {
        self.holdings.get(by).map_or(0, |holding| holding.amount)
    }

    pub(super) fn add(&mut self, by: Asker, number: u64, key: NodeKey, amount: usize) {
        let holding = self.holdings.entry(by).or_default();
        holding.things.insert(number, key);
        let (before, now) = (holding.amount, holding.amount + amount);
        self.change(by, before, now);
    }

    pub(super) fn remove(&mut self, by: Asker, number: u64, amount: usize) {
        let Some(holding) = self.holdings.get_mut(&by) else { return };
        if holding.things.remove(&number).is_none() {
            return;
        }
        let (before, now) = (holding.amount, holding.amount - amount);
        self.change(by, before, now);
        if self.holdings.get(&by).is_some_and(|holding| holding.things.is_empty()) {
            self.holdings.remove(&by);
        }
    }

    /// What makes room for an address that is going to hold `amount`: the oldest thing of the one that holds the most. There
    /// is none if that one holds about as much: two that took from each other would never end.
    pub(super) fn oldest(&self, amount: usize) -> Option<Held> {
        let by = self.ranks.largest()?;
        let holding = self.holdings.get(&by).filter(|holding| digits(holding.amount) > digits(amount))?;
        holding.things.first_key_value().map(|(number, key)| (by, *number, *key))
    }

    fn change(&mut self, by: Asker, before: usize, now: usize) {
        self.total = self.total - before + now;
        let Some(holding) = self.holdings.get_mut(&by) else { return };
        holding.amount = now;
        if digits(before) == digits(now) {
            return;
        }
        if before > 0 {
            self.ranks.take(digits(before), holding.position);
        }
        if now > 0 {
            holding.position = self.ranks.append(digits(now), by);
        }
    }
}
