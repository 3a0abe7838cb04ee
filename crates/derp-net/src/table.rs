//! The forwarding table: which connection gets the packets for a key. Looked up by every worker for every packet, changed
//! when clients come and go.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::ArcSwapOption;
use derp_proto::duplicates::Duplicates;
use derp_proto::key::NodeKey;
use parking_lot::Mutex;

use crate::conn::Conn;

/// The connections of one key.
pub(crate) struct Entry {
    pub(crate) key: NodeKey,
    /// Gets the packets; none only when the last connection has left.
    active: ArcSwapOption<Conn>,
    /// Whether `members` has to be looked at when a frame comes.
    several: AtomicBool,
    members: Mutex<Members>,
}

enum Members {
    /// The entry has left the table: whoever still holds it has to look again.
    Gone,
    One(Arc<Conn>),
    Several {
        duplicates: Duplicates<u64>,
        conns: Vec<Arc<Conn>>,
    },
}

impl Entry {
    /// Where packets for the key go.
    pub(crate) fn active(&self) -> Option<Arc<Conn>> {
        self.active.load_full()
    }

    /// A frame came from one of the connections. True if that made it the active one.
    pub(crate) fn activity(&self, conn: &Arc<Conn>) -> bool {
        if !self.several.load(Ordering::Acquire) {
            return false;
        }
        let mut members = self.members.lock();
        let Members::Several { duplicates, .. } = &mut *members else {
            return false;
        };
        duplicates.activity(conn.id);
        if self.active.load().as_ref().is_some_and(|active| active.id == conn.id) {
            return false;
        }
        self.active.store(Some(conn.clone()));
        true
    }
}

/// Keys to entries. The hash is keyed, because the keys are the clients' to choose.
pub(crate) struct Table {
    entries: papaya::HashMap<NodeKey, Arc<Entry>>,
    subscribers: Subscribers,
}

impl Default for Table {
    fn default() -> Self {
        Self { entries: papaya::HashMap::new(), subscribers: Subscribers::default() }
    }
}

impl Table {
    /// Never blocks.
    pub(crate) fn lookup(&self, key: &NodeKey) -> Option<Arc<Entry>> {
        self.entries.pin().get(key).cloned()
    }

    /// Enters a connection; it is its key's active one at once. True if the key had others.
    pub(crate) fn add(&self, key: NodeKey, conn: &Arc<Conn>) -> (Arc<Entry>, bool) {
        loop {
            let entries = self.entries.pin();
            let entry = entries
                .get_or_insert_with(key, || {
                    Arc::new(Entry {
                        key,
                        active: ArcSwapOption::new(Some(conn.clone())),
                        several: AtomicBool::new(false),
                        members: Mutex::new(Members::One(conn.clone())),
                    })
                })
                .clone();
            let mut members = entry.members.lock();
            match &mut *members {
                Members::Gone => continue,
                Members::One(first) if first.id == conn.id => {}
                Members::One(first) => {
                    let first = first.clone();
                    *members = Members::Several {
                        duplicates: Duplicates::new(first.id, conn.id),
                        conns: vec![first, conn.clone()],
                    };
                    entry.active.store(Some(conn.clone()));
                    entry.several.store(true, Ordering::Release);
                }
                Members::Several { duplicates, conns } => {
                    duplicates.add(conn.id);
                    conns.push(conn.clone());
                    entry.active.store(Some(conn.clone()));
                }
            }
            let several = entry.several.load(Ordering::Acquire);
            drop(members);
            return (entry, several);
        }
    }

    /// Removes a connection. True if another one of the key has become active by that.
    pub(crate) fn remove(&self, entry: &Arc<Entry>, conn: &Arc<Conn>) -> bool {
        let mut members = entry.members.lock();
        match &mut *members {
            Members::Gone => false,
            Members::One(_) => {
                *members = Members::Gone;
                entry.active.store(None);
                self.entries.pin().remove(&entry.key);
                false
            }
            Members::Several { duplicates, conns } => {
                duplicates.remove(conn.id);
                conns.retain(|other| other.id != conn.id);
                let successor = duplicates.active();
                let next = conns.iter().find(|other| other.id == successor).cloned();
                let changed = entry.active.load().as_ref().map(|active| active.id) != next.as_ref().map(|next| next.id);
                entry.active.store(next);
                if let [survivor] = &conns[..] {
                    let survivor = survivor.clone();
                    *members = Members::One(survivor);
                    entry.several.store(false, Ordering::Release);
                }
                changed
            }
        }
    }

    /// Who was sent packets of whom.
    pub(crate) fn subscribers(&self) -> &Subscribers {
        &self.subscribers
    }
}

/// Source key to the connections that were sent its packets. Touched once per pair, not per packet: sharded locks do.
pub(crate) struct Subscribers {
    shards: Vec<Mutex<HashMap<NodeKey, HashSet<u64>>>>,
    hasher: RandomState,
}

const SHARDS: usize = 64;

impl Default for Subscribers {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::default()).collect(), hasher: RandomState::new() }
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

    fn shard(&self, source: &NodeKey) -> &Mutex<HashMap<NodeKey, HashSet<u64>>> {
        &self.shards[self.hasher.hash_one(source) as usize % SHARDS]
    }
}
