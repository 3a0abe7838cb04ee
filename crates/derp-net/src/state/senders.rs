//! How many peers have sent packets to each connection, where the policy asks for it. Touched once per pair of them, not per
//! packet; a connection that got no packets has nothing here.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use derp_proto::key::NodeKey;
use derp_proto::sender_sketch::SenderSketch;

use crate::base::sync::Lock;

const SHARDS: usize = 64;

/// Ids of connections to what is known of their senders: at most 4 KiB each.
pub(crate) struct Senders {
    on: AtomicBool,
    shards: Vec<Lock<HashMap<u64, SenderSketch>>>,
}

impl Default for Senders {
    fn default() -> Self {
        Self { on: AtomicBool::new(false), shards: (0..SHARDS).map(|_| Lock::default()).collect() }
    }
}

impl Senders {
    /// Counts from here on, or forgets what was counted, and counts no more.
    pub(crate) fn turn(&self, on: bool) {
        if self.on.swap(on, Ordering::Relaxed) && !on {
            self.shards.iter().for_each(|shard| shard.lock().clear());
        }
    }

    /// A packet of `source` is on its way to a connection.
    pub(crate) fn add(&self, source: &NodeKey, destination: u64) {
        if self.on.load(Ordering::Relaxed) {
            self.shard(destination).lock().entry(destination).or_default().insert(source);
        }
    }

    /// About how many senders a connection has had; 0 unless they are counted.
    pub(crate) fn estimate(&self, destination: u64) -> u64 {
        if !self.on.load(Ordering::Relaxed) {
            return 0;
        }
        self.shard(destination).lock().get(&destination).map_or(0, SenderSketch::estimate)
    }

    /// The connection has ended.
    pub(crate) fn forget(&self, destination: u64) {
        if self.on.load(Ordering::Relaxed) {
            self.shard(destination).lock().remove(&destination);
        }
    }

    fn shard(&self, destination: u64) -> &Lock<HashMap<u64, SenderSketch>> {
        &self.shards[destination as usize % SHARDS]
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn key(number: u8) -> NodeKey {
        NodeKey::from_bytes([number; 32])
    }

    #[test]
    fn senders_are_counted_while_it_is_on_and_until_the_connection_ends() {
        let senders = Senders::default();
        senders.add(&key(1), 7);
        assert_eq!(senders.estimate(7), 0);
        assert!(senders.shards.iter().all(|shard| shard.lock().is_empty()));
        senders.turn(true);
        for source in [1, 2, 1, 3] {
            senders.add(&key(source), 7);
        }
        senders.add(&key(1), 8);
        assert_eq!([7, 8, 9].map(|id| senders.estimate(id)), [3, 1, 0]);
        senders.forget(7);
        assert_eq!([7, 8].map(|id| senders.estimate(id)), [0, 1]);
        senders.turn(true);
        assert_eq!(senders.estimate(8), 1);
        senders.turn(false);
        assert!(senders.shards.iter().all(|shard| shard.lock().is_empty()));
    }
}
