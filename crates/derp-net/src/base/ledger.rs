//! How much of something all connections hold together, and which of them holds the most.
//!
//! Finding that one must cost an attacker more than the relay, so nothing is sorted and nothing is searched: each holder
//! stands in the list of those whose amounts have as many binary digits as its own, and the largest is the oldest in the
//! highest list that is not empty. It holds more than half of what any other does. To count, to move and to find take a
//! constant time each, whatever the number of holders, and each unit that is taken back was brought first.
//!
//! The sum is a row of the counters page. The lists have a lock for each worker's connections; it is taken only when a
//! holder comes, goes, or has twice or half of what it had, and mostly by that worker.

use derp_proto::counters::{Counter, Counters};
use slab::Slab;

use crate::base::sync::{AtomicBool, AtomicU64, Lock, Ordering};

/// As many as a number has binary digits, and one for nothing.
const CLASSES: usize = u32::BITS as usize + 1;
/// No place in a list.
const NOWHERE: u32 = u32::MAX;

/// Who holds what, of one thing.
pub(crate) struct Ledger<T> {
    rules: Rules,
    shards: Box<[Shard<T>]>,
}

/// What is counted, and where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// What every holder may have without being counted: it is part of what any connection costs.
    pub(crate) free: usize,
    /// From this amount on holders are alike, so that the one that has held so much for longest goes first.
    pub(crate) alike: usize,
    /// What is held.
    pub(crate) held: Counter,
    /// How often the largest holder had to give something back.
    pub(crate) over: Counter,
}

/// What one holder is noted with. It belongs to the holder, is guarded as that is, and has to be noted as nothing before it
/// is dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Note {
    amount: u32,
    position: u32,
}

/// The holders of one worker.
struct Shard<T> {
    lists: Lock<Lists<T>>,
    /// The highest list that is not empty. Written under the lock; who reads it without may see an earlier one.
    highest: AtomicU64,
    /// Its worker has been asked to give something back, and has not looked yet.
    asked: AtomicBool,
}

/// Holders in lists by the number of binary digits of their amounts.
pub(crate) struct Lists<T> {
    entries: Slab<Entry<T>>,
    ends: [Ends; CLASSES],
}

struct Entry<T> {
    holder: T,
    older: u32,
    newer: u32,
}

#[derive(Clone, Copy)]
struct Ends {
    oldest: u32,
    newest: u32,
}

impl Default for Note {
    fn default() -> Self {
        Self { amount: 0, position: NOWHERE }
    }
}

impl<T: Copy> Ledger<T> {
    pub(crate) fn new(workers: usize, rules: Rules) -> Self {
        let shard = || Shard { lists: Lock::default(), highest: AtomicU64::new(0), asked: AtomicBool::new(false) };
        Self { rules, shards: (0..workers.max(1)).map(|_| shard()).collect() }
    }

    /// Notes what a holder of a worker has now. True if that has become more.
    #[inline]
    pub(crate) fn note(&self, worker: usize, note: &mut Note, holder: T, amount: usize, counters: &Counters) -> bool {
        let counted = if amount > self.rules.free { u32::try_from(amount).unwrap_or(u32::MAX) } else { 0 };
        if counted == note.amount {
            return false;
        }
        self.change(worker, note, holder, counted, counters)
    }

    fn change(&self, worker: usize, note: &mut Note, holder: T, counted: u32, counters: &Counters) -> bool {
        let (before, now) = (self.class(note.amount), self.class(counted));
        let grows = counted > note.amount;
        if grows {
            counters.add(self.rules.held, u64::from(counted - note.amount));
        } else {
            counters.subtract(self.rules.held, u64::from(note.amount - counted));
        }
        note.amount = counted;
        if before != now {
            let shard = &self.shards[worker];
            let mut lists = shard.lists.lock();
            if before > 0 {
                lists.take(before, note.position);
            }
            note.position = if now > 0 { lists.append(now, holder) } else { NOWHERE };
            shard.highest.store(lists.highest() as u64, Ordering::Relaxed);
        }
        grows
    }

    /// How much is held beyond `limit`.
    pub(crate) fn excess(&self, limit: usize, counters: &Counters) -> usize {
        usize::try_from(counters.read(self.rules.held)).unwrap_or(usize::MAX).saturating_sub(limit)
    }

    /// The largest holder, and whose it is. Of several workers with equal ones it is that of `worker`.
    pub(crate) fn largest(&self, worker: usize) -> Option<(usize, T)> {
        let mut of = worker;
        for (index, shard) in self.shards.iter().enumerate() {
            if shard.highest.load(Ordering::Relaxed) > self.shards[of].highest.load(Ordering::Relaxed) {
                of = index;
            }
        }
        let holder = self.shards[of].lists.lock().largest()?;
        Some((of, holder))
    }

    /// Counts that a holder had to give something back.
    pub(crate) fn count(&self, counters: &Counters) {
        counters.add(self.rules.over, 1);
    }

    /// Whether a worker is to be asked to look: not if it has been, and has not looked since.
    pub(crate) fn asks(&self, worker: usize) -> bool {
        !self.shards[worker].asked.swap(true, Ordering::Relaxed)
    }

    /// The worker looks.
    pub(crate) fn looks(&self, worker: usize) {
        self.shards[worker].asked.store(false, Ordering::Relaxed);
    }

    /// The list of those with this amount; 0 for none.
    fn class(&self, amount: u32) -> usize {
        let alike = u32::try_from(self.rules.alike).unwrap_or(u32::MAX);
        digits(amount.min(alike) as usize)
    }
}

/// The binary digits of an amount, which is less than 2^32.
pub(crate) fn digits(amount: usize) -> usize {
    (u32::BITS - u32::try_from(amount).unwrap_or(u32::MAX).leading_zeros()) as usize
}

impl<T> Default for Lists<T> {
    fn default() -> Self {
        Self { entries: Slab::new(), ends: [Ends { oldest: NOWHERE, newest: NOWHERE }; CLASSES] }
    }
}

impl<T: Copy> Lists<T> {
    /// Adds a holder to those with so many digits. Returns its position.
    pub(crate) fn append(&mut self, class: usize, holder: T) -> u32 {
        let older = self.ends[class].newest;
        let position = self.entries.insert(Entry { holder, older, newer: NOWHERE }) as u32;
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = position,
            None => self.ends[class].oldest = position,
        }
        self.ends[class].newest = position;
        position
    }

    /// Takes one away from them.
    pub(crate) fn take(&mut self, class: usize, position: u32) {
        let Some(Entry { older, newer, .. }) = self.entries.try_remove(position as usize) else { return };
        match self.entries.get_mut(older as usize) {
            Some(entry) => entry.newer = newer,
            None => self.ends[class].oldest = newer,
        }
        match self.entries.get_mut(newer as usize) {
            Some(entry) => entry.older = older,
            None => self.ends[class].newest = older,
        }
        // Many may have come and gone.
        if self.entries.is_empty() {
            self.entries = Slab::new();
        }
    }

    fn highest(&self) -> usize {
        self.ends.iter().rposition(|ends| ends.oldest != NOWHERE).unwrap_or(0)
    }

    /// The oldest of those with the most digits.
    pub(crate) fn largest(&self) -> Option<T> {
        let oldest = self.ends[self.highest()].oldest;
        self.entries.get(oldest as usize).map(|entry| entry.holder)
    }
}

#[cfg(test)]
mod tests;
