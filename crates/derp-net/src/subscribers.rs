//! Who is to be told when a source of packets leaves. Touched once per pair, not per packet.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use derp_proto::key::NodeKey;

use crate::sync::Lock;

const SHARDS: usize = 64;

/// Source key to the ids of the connections that were sent its packets.
pub(crate) struct Subscribers {
    shards: Vec<Lock<HashMap<NodeKey, HashSet<u64>>>>,
    hasher: RandomState,
}

impl Default for Subscribers {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Lock::default()).collect(), hasher: RandomState::new() }
    }
}

impl Subscribers {
    pub(crate) fn add(&self, source: &NodeKey, destination: u64) {
        self.shard(source).lock().entry(*source).or_default().insert(destination);
    }

    pub(crate) fn remove(&self, source: &NodeKey, destination: u64) {
        let mut shard = self.shard(source).lock();
        if let Some(connections) = shard.get_mut(source) {
            connections.remove(&destination);
            if connections.is_empty() {
                shard.remove(source);
            }
        }
    }

    /// Takes, and forgets, whoever was sent packets of `source`.
    pub(crate) fn take(&self, source: &NodeKey) -> HashSet<u64> {
        self.shard(source).lock().remove(source).unwrap_or_default()
    }

    fn shard(&self, source: &NodeKey) -> &Lock<HashMap<NodeKey, HashSet<u64>>> {
        &self.shards[self.hasher.hash_one(source) as usize % SHARDS]
    }
}

/// The other side of it: the sources whose leaving one connection is told of, the most recent ones.
#[derive(Default)]
pub(crate) struct Sources {
    /// When each was added.
    numbers: HashMap<NodeKey, u64>,
    /// In the order in which they were added. Those whose number is another one now, or none, are no longer meant.
    order: VecDeque<(u64, NodeKey)>,
    last_number: u64,
    /// The one that was asked for last: most packets come from the source of the packet before.
    latest: Option<NodeKey>,
}

/// What adding a source came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Added {
    Known,
    New,
    /// New, in place of the one that was added first.
    Instead(NodeKey),
}

impl Sources {
    /// Adds a source; of more than `limit` the oldest is forgotten.
    pub(crate) fn add(&mut self, source: &NodeKey, limit: usize) -> Added {
        if self.latest.as_ref() == Some(source) {
            return Added::Known;
        }
        self.latest = Some(*source);
        if self.numbers.contains_key(source) {
            return Added::Known;
        }
        let oldest = if self.numbers.len() >= limit.max(1) { self.forget_oldest() } else { None };
        self.last_number += 1;
        self.numbers.insert(*source, self.last_number);
        self.order.push_back((self.last_number, *source));
        self.forget_numbers();
        oldest.map_or(Added::New, Added::Instead)
    }

    /// True if it was there.
    pub(crate) fn remove(&mut self, source: &NodeKey) -> bool {
        self.latest.take_if(|latest| latest == source);
        let known = self.numbers.remove(source).is_some();
        self.forget_numbers();
        known
    }

    pub(crate) fn into_keys(self) -> impl Iterator<Item = NodeKey> {
        self.numbers.into_keys()
    }

    /// Keeps the order about as long as there are sources.
    fn forget_numbers(&mut self) {
        if self.order.len() > 2 * self.numbers.len() + 8 {
            self.order.retain(|(number, source)| self.numbers.get(source) == Some(number));
        }
    }

    fn forget_oldest(&mut self) -> Option<NodeKey> {
        while let Some((number, source)) = self.order.pop_front() {
            if self.numbers.get(&source) == Some(&number) {
                self.numbers.remove(&source);
                return Some(source);
            }
        }
        None
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(number: u8) -> NodeKey {
        NodeKey::from_bytes([number; 32])
    }

    #[test]
    fn whoever_is_taken_is_forgotten() {
        let subscribers = Subscribers::default();
        for (source, destination) in [(1, 10), (1, 11), (2, 10), (1, 10)] {
            subscribers.add(&key(source), destination);
        }
        subscribers.remove(&key(1), 11);
        subscribers.remove(&key(3), 11);
        assert_eq!(subscribers.take(&key(1)), HashSet::from([10]));
        assert!(subscribers.take(&key(1)).is_empty());
        subscribers.remove(&key(2), 10);
        assert!(subscribers.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    proptest! {
        #[test]
        fn it_is_a_list_of_the_latest(ops in prop::collection::vec((any::<bool>(), 0..8_u8), 0..300), limit in 0..6_usize) {
            let mut sources = Sources::default();
            let mut model: Vec<NodeKey> = Vec::new();
            for (add, number) in ops {
                let source = key(number);
                if add {
                    let wanted = if model.contains(&source) {
                        Added::Known
                    } else {
                        let full = model.len() >= limit.max(1);
                        model.push(source);
                        if full { Added::Instead(model.remove(0)) } else { Added::New }
                    };
                    prop_assert_eq!(sources.add(&source, limit), wanted);
                } else {
                    prop_assert_eq!(sources.remove(&source), model.contains(&source));
                    model.retain(|known| *known != source);
                }
                prop_assert!(sources.order.len() <= 2 * model.len() + 9);
            }
            let mut left: Vec<_> = sources.into_keys().collect();
            left.sort_unstable();
            model.sort_unstable();
            prop_assert_eq!(left, model);
        }
    }
}
