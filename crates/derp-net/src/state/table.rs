//! The forwarding table: which connection gets the packets for a key, be it a client's or a link to another relay. Looked
//! up by every worker for every packet, changed when clients come and go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arc_swap::{ArcSwapOption, Guard};
use derp_proto::duplicates::Duplicates;
use derp_proto::key::NodeKey;

use crate::base::faults::{Fault, Faults};
use crate::base::sync::Lock;
use crate::state::events::{Events, Reporter};

/// Where the packets for a key go, if anywhere.
pub(crate) type Route<C> = Guard<Option<Arc<C>>>;

/// The connections of one key.
pub(crate) struct Entry<C> {
    pub(crate) key: NodeKey,
    /// Gets the packets; none before the first connection is in, and after the last one has left.
    active: ArcSwapOption<C>,
    /// Whether `state` has to be looked at when a frame comes.
    several: AtomicBool,
    state: Lock<EntryState<C>>,
}

struct EntryState<C> {
    members: Members<C>,
    /// The link that leads to the key while it has no connection here.
    via: Option<Arc<C>>,
}

/// Connections here.
enum Members<C> {
    /// The entry is new, or has a link alone.
    None,
    One(Arc<C>),
    /// In an allocation of its own: few keys have several, and every entry would have room for it.
    Several(Box<Several<C>>),
    /// The entry has left the table: a worker that still holds it has to look again.
    Gone,
}

struct Several<C> {
    duplicates: Duplicates<u64>,
    conns: Vec<Arc<C>>,
}

impl<C: Reporter> Entry<C> {
    fn new(key: NodeKey) -> Self {
        Self {
            key,
            active: ArcSwapOption::empty(),
            several: AtomicBool::new(false),
            state: Lock::new(EntryState { members: Members::None, via: None }),
        }
    }

    /// Where packets for the key go.
    pub(crate) fn active(&self) -> Route<C> {
        self.active.load()
    }

    /// A frame came from one of the connections. If the key has several, that makes it the active one.
    pub(crate) fn activity(&self, conn: &Arc<C>, events: &Events<C>) {
        if !self.several.load(Ordering::Acquire) {
            return;
        }
        if let Members::Several(several) = &mut self.state.lock().members {
            several.duplicates.activity(conn.id());
            if self.active.load().as_ref().is_none_or(|active| active.id() != conn.id()) {
                self.activate(conn.clone(), events);
            }
        }
    }

    /// Told under the lock of the members, so that the last word is the one that holds.
    fn activate(&self, conn: Arc<C>, events: &Events<C>) {
        events.active(self.key, conn.id());
        self.active.store(Some(conn));
    }
}

/// Keys to entries. The hash is keyed, because the keys are the clients' to choose.
pub(crate) struct Table<C> {
    entries: papaya::HashMap<NodeKey, Arc<Entry<C>>>,
}

impl<C> Default for Table<C> {
    fn default() -> Self {
        Self { entries: papaya::HashMap::default() }
    }
}

impl<C: Reporter> Table<C> {
    /// Never blocks.
    pub(crate) fn lookup(&self, key: &NodeKey) -> Option<Arc<Entry<C>>> {
        self.entries.pin().get(key).cloned()
    }

    /// Enters a connection; it is its key's active one at once.
    pub(crate) fn add(&self, key: NodeKey, conn: &Arc<C>, events: &Events<C>) -> Arc<Entry<C>> {
        loop {
            let entry = self.entries.pin().get_or_insert_with(key, || Arc::new(Entry::new(key))).clone();
            let mut state = entry.state.lock();
            match &mut state.members {
                // It leaves the table under the lock: by now it has.
                Members::Gone => continue,
                Members::None => {
                    state.members = Members::One(conn.clone());
                    entry.active.store(Some(conn.clone()));
                }
                Members::One(first) => {
                    let first = first.clone();
                    let duplicates = Duplicates::new(first.id(), conn.id());
                    let conns = vec![first, conn.clone()];
                    state.members = Members::Several(Box::new(Several { duplicates, conns }));
                    entry.several.store(true, Ordering::Release);
                    entry.activate(conn.clone(), events);
                }
                Members::Several(several) => {
                    several.duplicates.add(conn.id());
                    several.conns.push(conn.clone());
                    entry.activate(conn.clone(), events);
                }
            }
            drop(state);
            return entry;
        }
    }

    /// Says which link leads to a key that has no connection here.
    pub(crate) fn route(&self, key: &NodeKey, via: Option<Arc<C>>) {
        loop {
            let entry = match &via {
                Some(_) => self.entries.pin().get_or_insert_with(*key, || Arc::new(Entry::new(*key))).clone(),
                None => match self.lookup(key) {
                    Some(entry) => entry,
                    None => return,
                },
            };
            let mut state = entry.state.lock();
            match &state.members {
                // It leaves the table under the lock: by now it has.
                Members::Gone => continue,
                Members::None => self.lead(&entry, &mut state, via),
                Members::One(_) | Members::Several(_) => state.via = via,
            }
            return;
        }
    }

    /// An entry without connections leads over a link, or is none.
    fn lead(&self, entry: &Entry<C>, state: &mut EntryState<C>, via: Option<Arc<C>>) {
        state.members = if via.is_some() { Members::None } else { Members::Gone };
        entry.active.store(via.clone());
        if via.is_none() {
            self.entries.pin().remove(&entry.key);
        }
        state.via = via;
    }

    /// Removes a connection. Another one of the key, if there is one, takes over.
    pub(crate) fn remove(&self, entry: &Entry<C>, conn: &C, events: &Events<C>, faults: &Faults) {
        let mut state = entry.state.lock();
        match &mut state.members {
            Members::None | Members::Gone => {}
            Members::One(last) => {
                let stale = faults.strikes(Fault::StaleRoute).then(|| last.clone());
                let via = state.via.take();
                self.lead(entry, &mut state, via);
                if stale.is_some() {
                    entry.active.store(stale);
                }
            }
            Members::Several(several) => {
                let Several { duplicates, conns } = &mut **several;
                let left = duplicates.remove(conn.id());
                conns.retain(|other| other.id() != conn.id());
                let next = conns.iter().find(|other| other.id() == duplicates.active()).cloned();
                if let Some(next) = next
                    && entry.active.load().as_ref().is_none_or(|active| active.id() != next.id())
                {
                    entry.activate(next, events);
                }
                if left.is_some()
                    && let Some(survivor) = conns.pop()
                {
                    state.members = Members::One(survivor);
                    entry.several.store(false, Ordering::Release);
                }
            }
        }
    }

    /// How many keys there are.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.entries.pin().len()
    }
}

/// The lookup alone, for its benchmark.
#[cfg(feature = "micro-benchmarks")]
pub mod micro {
    use std::sync::Arc;

    use derp_proto::key::NodeKey;

    use super::{Entry, Table};
    use crate::state::events::{News, Reporter};

    /// A table with keys and without connections.
    pub struct Lookup(Table<Never>);

    /// A connection that there is none of.
    enum Never {}

    impl Reporter for Never {
        fn id(&self) -> u64 {
            match *self {}
        }

        fn key(&self) -> Option<&NodeKey> {
            match *self {}
        }

        fn news(&self) -> &News {
            match *self {}
        }
    }

    impl Lookup {
        /// A table with these keys.
        pub fn of(keys: impl Iterator<Item = NodeKey>) -> Self {
            let table = Table::default();
            for key in keys {
                table.entries.pin().insert(key, Arc::new(Entry::new(key)));
            }
            Self(table)
        }

        /// As for a packet: whether the key is known, with its connection looked for.
        pub fn finds(&self, key: &NodeKey) -> bool {
            self.0.lookup(key).is_some_and(|entry| entry.active().is_none())
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
