//! Keys that the control plane has found nowhere, for a while.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use derp_proto::key::NodeKey;

/// The latest ones.
#[derive(Default)]
pub(super) struct Misses {
    /// The number of each, and when it was added.
    keys: HashMap<NodeKey, (u64, Instant)>,
    /// In the order in which they were added. A key that has another number by now, or none, is not meant any more.
    order: VecDeque<(u64, NodeKey)>,
    last_number: u64,
}

impl Misses {
    /// Adds a key; of more than `most`, the oldest is forgotten.
    pub(super) fn add(&mut self, key: &NodeKey, most: usize, now: Instant) {
        self.last_number += 1;
        self.keys.insert(*key, (self.last_number, now));
        self.order.push_back((self.last_number, *key));
        while self.keys.len() > most
            && let Some((number, oldest)) = self.order.pop_front()
        {
            if self.is_meant(number, &oldest) {
                self.keys.remove(&oldest);
            }
        }
        self.forget_numbers();
    }

    /// Whether a key was added within `time`.
    pub(super) fn has(&self, key: &NodeKey, time: Duration, now: Instant) -> bool {
        self.keys.get(key).is_some_and(|(_, since)| now.saturating_duration_since(*since) < time)
    }

    pub(super) fn forget(&mut self, key: &NodeKey) {
        self.keys.remove(key);
        self.forget_numbers();
    }

    /// Keeps the order about as long as there are keys.
    fn forget_numbers(&mut self) {
        if self.order.len() > 2 * self.keys.len() + 8 {
            let mut order = std::mem::take(&mut self.order);
            order.retain(|(number, key)| self.is_meant(*number, key));
            self.order = order;
        }
    }

    /// How many places of the order are taken.
    #[cfg(all(test, not(loom)))]
    pub(super) fn noted(&self) -> usize {
        self.order.len()
    }

    fn is_meant(&self, number: u64, key: &NodeKey) -> bool {
        self.keys.get(key).is_some_and(|(known, _)| *known == number)
    }
}
