//! Who is to be told when a source of packets leaves. Touched once per pair, not per packet. Most clients talk with a few
//! others, so both sides are kept small for few: what a client that has talked and gone quiet leaves behind is here.

use std::collections::hash_map::{Entry, HashMap};
use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};

use derp_proto::key::NodeKey;

use crate::base::sync::Lock;
use crate::state::heard::Heard;
use crate::state::senders::Senders;

const SHARDS: usize = 64;

/// Source key to the ids of the connections that were sent its packets.
pub(crate) struct Subscribers {
    shards: Vec<Lock<HashMap<NodeKey, Ids>>>,
    hasher: RandomState,
    /// How many sources each connection has had. Every new pair comes by here, and no packet.
    pub(crate) senders: Senders,
    /// Sources from elsewhere.
    pub(crate) heard: Heard,
}

/// Ids of connections.
enum Ids {
    One(u64),
    #[expect(clippy::box_collection, reason = "there are few of them, and many of the other")]
    Several(Box<HashSet<u64>>),
}

impl Default for Subscribers {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Lock::default()).collect(),
            hasher: RandomState::new(),
            senders: Senders::default(),
            heard: Heard::default(),
        }
    }
}

impl Subscribers {
    /// True if where the source comes from has to be looked at: [`Heard::settle`].
    pub(crate) fn add(&self, source: &NodeKey, destination: u64) -> bool {
        let is_heard = match self.shard(source).lock().entry(*source) {
            Entry::Occupied(mut ids) => {
                ids.get_mut().insert(destination);
                false
            }
            Entry::Vacant(ids) => {
                ids.insert(Ids::One(destination));
                self.heard.begin(source)
            }
        };
        self.senders.add(source, destination);
        is_heard
    }

    pub(crate) fn remove(&self, source: &NodeKey, destination: u64) {
        let mut shard = self.shard(source).lock();
        if shard.get_mut(source).is_some_and(|ids| !ids.remove(destination)) {
            shard.remove(source);
            self.heard.end(source);
        }
    }

    /// Takes, and forgets, the connections that were sent packets of `source`.
    pub(crate) fn take(&self, source: &NodeKey) -> impl Iterator<Item = u64> + use<> {
        let mut shard = self.shard(source).lock();
        let ids = shard.remove(source);
        if ids.is_some() {
            self.heard.end(source);
        }
        ids.into_iter().flat_map(Ids::into_iter)
    }

    fn shard(&self, source: &NodeKey) -> &Lock<HashMap<NodeKey, Ids>> {
        &self.shards[self.hasher.hash_one(source) as usize % SHARDS]
    }
}

impl Ids {
    fn insert(&mut self, id: u64) {
        match self {
            Self::One(known) if *known == id => {}
            Self::One(known) => *self = Self::Several(Box::new(HashSet::from([*known, id]))),
            Self::Several(ids) => _ = ids.insert(id),
        }
    }

    /// False if none is left.
    fn remove(&mut self, id: u64) -> bool {
        match self {
            Self::One(known) => *known != id,
            Self::Several(ids) => {
                ids.remove(&id);
                !ids.is_empty()
            }
        }
    }

    fn into_iter(self) -> impl Iterator<Item = u64> {
        let (one, several) = match self {
            Self::One(id) => (Some(id), None),
            Self::Several(ids) => (None, Some(*ids)),
        };
        one.into_iter().chain(several.into_iter().flatten())
    }
}

/// The other side of it: the sources whose leaving one connection is told of, the most recent ones.
pub(crate) enum Sources {
    /// Mostly there is no more, and then nothing is allocated.
    One(Option<NodeKey>),
    /// In the order in which they were added.
    Few(Vec<NodeKey>),
    Many(Box<Many>),
}

/// As many as are looked through one by one.
const FEW: usize = 8;

/// Sources that are found by their key.
#[derive(Default)]
pub(crate) struct Many {
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

impl Default for Sources {
    fn default() -> Self {
        Self::One(None)
    }
}

impl Sources {
    /// Adds a source; of more than `limit` the oldest is forgotten.
    pub(crate) fn add(&mut self, source: &NodeKey, limit: usize) -> Added {
        let known = match self {
            Self::One(one) => one.as_slice(),
            Self::Few(few) => few,
            Self::Many(many) => return many.add(source, limit),
        };
        if known.contains(source) {
            return Added::Known;
        }
        let oldest = if known.len() >= limit.max(1) { known.first().copied() } else { None };
        let kept = &known[usize::from(oldest.is_some())..];
        *self = match kept.len() {
            0 => Self::One(Some(*source)),
            1..FEW => Self::Few([kept, &[*source]].concat()),
            _ => {
                let mut many = Many::default();
                for source in kept.iter().chain([source]) {
                    many.add(source, limit);
                }
                Self::Many(Box::new(many))
            }
        };
        oldest.map_or(Added::New, Added::Instead)
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::One(one) => usize::from(one.is_some()),
            Self::Few(few) => few.len(),
            Self::Many(many) => many.numbers.len(),
        }
    }

    /// Takes the one that was added first.
    pub(crate) fn take_oldest(&mut self) -> Option<NodeKey> {
        match self {
            Self::One(one) => one.take(),
            Self::Few(few) if few.is_empty() => None,
            Self::Few(few) => Some(few.remove(0)),
            Self::Many(many) => {
                let oldest = many.forget_oldest();
                many.latest.take_if(|latest| Some(*latest) == oldest);
                oldest
            }
        }
    }

    /// True if it was there.
    pub(crate) fn remove(&mut self, source: &NodeKey) -> bool {
        match self {
            Self::One(one) => one.take_if(|known| known == source).is_some(),
            Self::Few(few) => {
                let at = few.iter().position(|known| known == source);
                at.map(|at| few.remove(at)).is_some()
            }
            Self::Many(many) => many.remove(source),
        }
    }

    pub(crate) fn into_keys(self) -> impl Iterator<Item = NodeKey> {
        let (one, few, many) = match self {
            Self::One(one) => (one, Vec::new(), None),
            Self::Few(few) => (None, few, None),
            Self::Many(many) => (None, Vec::new(), Some(many.numbers)),
        };
        one.into_iter().chain(few).chain(many.into_iter().flat_map(HashMap::into_keys))
    }
}

impl Many {
    fn add(&mut self, source: &NodeKey, limit: usize) -> Added {
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

    fn remove(&mut self, source: &NodeKey) -> bool {
        self.latest.take_if(|latest| latest == source);
        let known = self.numbers.remove(source).is_some();
        self.forget_numbers();
        known
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
        assert_eq!(subscribers.take(&key(1)).collect::<Vec<_>>(), [10]);
        assert_eq!(subscribers.take(&key(1)).count(), 0);
        subscribers.remove(&key(2), 10);
        assert!(subscribers.shards.iter().all(|shard| shard.lock().is_empty()));
    }

    #[test]
    fn each_new_pair_counts_for_the_senders_of_its_destination() {
        let subscribers = Subscribers::default();
        subscribers.senders.turn(true);
        for (source, destination) in [(1, 10), (2, 10), (1, 10), (1, 11)] {
            subscribers.add(&key(source), destination);
        }
        // Who has left was a sender.
        subscribers.remove(&key(2), 10);
        assert_eq!([10, 11, 12].map(|id| subscribers.senders.estimate(id)), [2, 1, 0]);
    }

    proptest! {
        #[test]
        fn it_is_a_list_of_the_latest(ops in prop::collection::vec((0..10_u8, 0..24_u8), 0..300), limit in 0..20_usize) {
            let mut sources = Sources::default();
            let mut model: Vec<NodeKey> = Vec::new();
            for (op, number) in ops {
                let source = key(number);
                if op == 0 {
                    let oldest = if model.is_empty() { None } else { Some(model.remove(0)) };
                    prop_assert_eq!(sources.take_oldest(), oldest);
                } else if op < 6 {
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
                prop_assert_eq!(sources.len(), model.len());
                if let Sources::Many(many) = &sources {
                    prop_assert!(many.order.len() <= 2 * model.len() + 9);
                }
            }
            let mut left: Vec<_> = sources.into_keys().collect();
            left.sort_unstable();
            model.sort_unstable();
            prop_assert_eq!(left, model);
        }
    }
}
