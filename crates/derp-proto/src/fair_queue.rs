//! What waits for one destination, of one kind: packets of several sources, of which none delays the others' (deficit round
//! robin by bytes, new sources first, as in RFC 8290), and of which none stands for long ([`Codel`]).
//!
//! Pure: times are microseconds on a clock that does not go back.

use std::collections::{HashMap, VecDeque};

use crate::codel::Codel;
use crate::drain_rate::{DrainRate, FULL_PACKET};
use crate::drop_reason::DropReason;
use crate::key::NodeKey;

/// Bytes that a source may send in its turn.
const QUANTUM: i64 = FULL_PACKET as i64;

/// Something that waits.
#[derive(Clone, Debug)]
struct Waiting<T> {
    item: T,
    bytes: usize,
    since: u64,
    /// Counted while anything waits, so that of two sources the one with the older packet is known.
    number: u64,
}

/// One source's packets, and its turn.
#[derive(Clone, Debug)]
struct Flow<T> {
    source: NodeKey,
    items: VecDeque<Waiting<T>>,
    /// What its turn still has; below 0 if it has taken more.
    deficit: i64,
    codel: Codel,
}

/// Packets of one kind to one destination. The order of each source's packets stays. Holds no memory while it is empty.
#[derive(Clone, Debug)]
pub struct FairQueue<T> {
    flows: Vec<Flow<T>>,
    /// Bytes of each flow's packets, by its place; apart from them, because the most is looked for.
    bytes: Vec<usize>,
    places: HashMap<NodeKey, usize>,
    free: Vec<usize>,
    /// Places, in the order of their turns. Sources that have just come go first, until they have had a turn.
    new: VecDeque<usize>,
    old: VecDeque<usize>,
    length: usize,
    number: u64,
}

/// Something that has left the queue, and since when it was there.
pub type Left<T> = (T, u64);

impl<T> FairQueue<T> {
    /// An empty queue.
    pub fn new() -> Self {
        Self {
            flows: Vec::new(),
            bytes: Vec::new(),
            places: HashMap::new(),
            free: Vec::new(),
            new: VecDeque::new(),
            old: VecDeque::new(),
            length: 0,
            number: 0,
        }
    }

    /// Appends. Returns what had to go, and why: in a queue of `depth` the oldest packet of the source with the most bytes, at
    /// depth 0 the new one itself.
    ///
    /// The depth may change from call to call; a queue that is longer than a new one shrinks as it drains.
    pub fn push(
        &mut self,
        source: &NodeKey,
        bytes: usize,
        item: T,
        depth: usize,
        now: u64,
    ) -> Option<(DropReason, Left<T>)> {
        if depth == 0 {
            return Some((DropReason::QueueTail, (item, now)));
        }
        let place = self.places.get(source).copied().unwrap_or_else(|| self.begin(source, depth));
        self.number += 1;
        self.flows[place].items.push_back(Waiting { item, bytes, since: now, number: self.number });
        self.bytes[place] += bytes;
        self.length += 1;
        let evicted = if self.length > depth { self.evict() } else { None };
        evicted.map(|evicted| (DropReason::QueueHead, evicted))
    }

    /// Takes the next. Those that stand in front of it and are too old go to `dropped`.
    pub fn pop(&mut self, rate: &mut DrainRate, now: u64, mut dropped: impl FnMut(Left<T>)) -> Option<Left<T>> {
        loop {
            let is_new = !self.new.is_empty();
            let turns = if is_new { &mut self.new } else { &mut self.old };
            let place = *turns.front()?;
            let flow = &mut self.flows[place];
            if flow.deficit <= 0 {
                flow.deficit += QUANTUM;
                turns.pop_front();
                self.old.push_back(place);
                continue;
            }
            if let Some(next) = self.next_of(place, rate, now, &mut dropped) {
                self.flows[place].deficit -= next.bytes as i64;
                rate.leaves(next.bytes);
                self.forget_if_empty();
                return Some((next.item, next.since));
            }
            if is_new { &mut self.new } else { &mut self.old }.pop_front();
            // A source that is new each time would be first each time: it has to wait for one turn of the others.
            if is_new && !self.old.is_empty() {
                self.old.push_back(place);
            } else {
                self.end(place);
            }
        }
    }

    /// Takes the oldest packet of the source with the most bytes; of several, of the one whose packet is older.
    pub fn evict(&mut self) -> Option<Left<T>> {
        let most = self.bytes.iter().copied().max()?;
        let largest = self.bytes.iter().enumerate().filter(|(_, bytes)| **bytes == most).map(|(place, _)| place);
        let place = largest
            .filter_map(|place| Some((self.flows[place].items.front()?.number, place)))
            .min()
            .map(|(_, place)| place)?;
        let evicted = self.take(place)?;
        self.forget_if_empty();
        Some((evicted.item, evicted.since))
    }

    /// How many are waiting.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Takes everything, by source.
    pub fn drain(&mut self) -> impl Iterator<Item = T> + use<T> {
        let flows = std::mem::take(self).flows;
        flows.into_iter().flat_map(|flow| flow.items).map(|waiting| waiting.item)
    }

    fn next_of(
        &mut self,
        place: usize,
        rate: &DrainRate,
        now: u64,
        dropped: &mut impl FnMut(Left<T>),
    ) -> Option<Waiting<T>> {
        loop {
            let flow = &mut self.flows[place];
            let Some(&Waiting { bytes, since, .. }) = flow.items.front() else {
                flow.codel.rest();
                return None;
            };
            if !rate.judges(since) {
                flow.codel.rest();
                return self.take(place);
            }
            let is_last = flow.items.len() == 1;
            if !flow.codel.drops(since, is_last, rate.target(bytes), now) {
                return self.take(place);
            }
            if let Some(late) = self.take(place) {
                dropped((late.item, late.since));
            }
        }
    }

    fn take(&mut self, place: usize) -> Option<Waiting<T>> {
        let taken = self.flows[place].items.pop_front()?;
        self.bytes[place] -= taken.bytes;
        self.length -= 1;
        Some(taken)
    }

    /// A place for a source that has none.
    fn begin(&mut self, source: &NodeKey, depth: usize) -> usize {
        // Sources without packets keep their turn, but not however many they are.
        if self.places.len() >= depth.saturating_mul(2) {
            self.forget_one();
        }
        let flow = Flow { source: *source, items: VecDeque::new(), deficit: QUANTUM, codel: Codel::default() };
        let place = if let Some(place) = self.free.pop() {
            self.flows[place] = flow;
            place
        } else {
            self.flows.push(flow);
            self.bytes.push(0);
            self.flows.len() - 1
        };
        self.places.insert(*source, place);
        self.new.push_back(place);
        place
    }

    fn end(&mut self, place: usize) {
        self.places.remove(&self.flows[place].source);
        self.free.push(place);
    }

    /// The source without packets whose turn comes first loses it.
    fn forget_one(&mut self) {
        let flows = &self.flows;
        let is_empty = |place: &usize| flows[*place].items.is_empty();
        let of = |turns: &mut VecDeque<usize>| turns.iter().position(is_empty).and_then(|at| turns.remove(at));
        if let Some(place) = of(&mut self.old).or_else(|| of(&mut self.new)) {
            self.end(place);
        }
    }

    fn forget_if_empty(&mut self) {
        if self.length == 0 {
            *self = Self::new();
        }
    }
}

impl<T> Default for FairQueue<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests;
