//! Word of packets that were dropped on their way to keys that somebody watches.

use std::collections::HashMap;

use derp_proto::drop_reason::DropReason;
use derp_proto::key::NodeKey;

use crate::base::sync::Lock;
use crate::state::bell::Bell;

/// Sources, destinations and reasons between two looks at them. There are no more of them in derper's log either.
const MOST: usize = 100;

/// Packets of one key to another that were dropped for one reason.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dropped {
    /// The sender.
    pub source: NodeKey,
    /// The key that is watched.
    pub destination: NodeKey,
    /// Why they were dropped.
    pub reason: DropReason,
    /// How many, since this was told of last.
    pub packets: u64,
}

/// What was dropped since it was asked for last, packets that are alike together. Its lock is the last that is taken.
#[derive(Default)]
pub(crate) struct Drops(Lock<HashMap<(NodeKey, NodeKey, DropReason), u64>>);

impl Drops {
    pub(crate) fn take(&self) -> Vec<Dropped> {
        let drops = std::mem::take(&mut *self.0.lock());
        let rows = drops.into_iter();
        rows.map(|((source, destination, reason), packets)| Dropped { source, destination, reason, packets }).collect()
    }

    fn add(&self, source: NodeKey, destination: NodeKey, reason: DropReason) {
        let mut drops = self.0.lock();
        if drops.len() < MOST || drops.contains_key(&(source, destination, reason)) {
            *drops.entry((source, destination, reason)).or_default() += 1;
        }
    }
}

/// A destination that is watched.
#[derive(Clone, Copy)]
pub(crate) struct Watched<'a> {
    pub(crate) drops: &'a Drops,
    pub(crate) bell: &'a Bell,
    pub(crate) destination: NodeKey,
}

impl Watched<'_> {
    /// A packet on its way there was dropped. Told at the next tick.
    pub(crate) fn dropped(&self, source: NodeKey, reason: DropReason) {
        self.drops.add(source, self.destination, reason);
        self.bell.ring_later();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_alike_is_told_together_and_there_is_an_end_to_the_rest() {
        let drops = Drops::default();
        let key = |number: u8| NodeKey::from_bytes([number; 32]);
        for number in 0..=255 {
            for _ in 0..2 {
                drops.add(key(number), key(7), DropReason::QueueHead);
            }
        }
        let told = drops.take();
        assert_eq!(told.len(), MOST);
        assert!(told.iter().all(|dropped| dropped.packets == 2 && dropped.destination == key(7)));
        assert_eq!(drops.take(), []);
    }
}
