//! Packets that wait until the control plane says where their destination is, and keys that are nowhere. Only packets to keys
//! with neither a connection nor a route come here, and the answers: one lock is enough.

#[cfg(all(test, loom))]
mod loom;
mod misses;
mod queue;
mod shares;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::HashMap;
use std::time::Instant;

use derp_proto::counters::Counter;
use derp_proto::key::NodeKey;
use derp_proto::token_bucket::Rate;

use self::misses::Misses;
pub(crate) use self::queue::{Measure, WaitingPacket};
use self::queue::{Queue, Waiting};
pub(crate) use self::shares::Asker;
use self::shares::Shares;
use crate::base::policy::LookupBounds;
use crate::base::sync::Lock;

/// What becomes of a packet for which no route was found.
pub(crate) enum Fate<R> {
    /// A route was entered meanwhile: the packet goes there, behind everything that has waited.
    Routed(R),
    /// It waits. With `asks`, the control plane has to be asked for the key; `evicted` had to make room.
    Waits { asks: bool, evicted: Option<WaitingPacket> },
    /// It is dropped, which the counter says. Without a counter there are no lookups any more.
    Refused { why: Option<Counter>, asks: bool },
}

/// A key, and packets that no longer wait for it.
pub(crate) type Left = (NodeKey, Vec<WaitingPacket>);

/// What [`Lookups::wait`] has decided.
pub(crate) struct Verdict<R> {
    pub(crate) fate: Fate<R>,
    /// Those of other addresses that have made room for the packet: a lookup with all that waited for it, or a single packet.
    pub(crate) evicted: Vec<Left>,
}

/// What [`Lookups::wait`] asks of its caller, under the lock.
pub(crate) trait Sender {
    /// Where packets for the key go.
    type Route;

    /// Looks for a route once more.
    fn route(&mut self) -> Option<Self::Route>;

    /// In whose share the lookup counts.
    fn asker(&self) -> Asker;

    /// Takes a token of the sending connection, if it has one left.
    fn may_ask(&mut self, rate: Rate) -> bool;

    /// Copies the packet.
    fn packet(&mut self) -> WaitingPacket;
}

/// Its lock is the first that is taken: routes are entered, and links are written to, while it is held.
#[derive(Default)]
pub(crate) struct Lookups(Lock<State>);

#[derive(Default)]
struct State {
    /// `None` while the policy has no lookups.
    bounds: Option<LookupBounds>,
    /// What waits for each key that the control plane is asked for.
    asked: HashMap<NodeKey, Lookup>,
    /// Those of `asked` that have an owner, by address.
    keys: Shares,
    /// What waits, by the addresses of senders, in bytes.
    memory: Shares,
    /// Of the last lookup or packet.
    last_number: u64,
    misses: Misses,
}

/// A key that the control plane is asked for.
#[derive(Default)]
struct Lookup {
    /// In whose share it counts, under which number. `None` once it has made room: the answer is still to come, and nothing
    /// waits for it.
    owner: Option<(Asker, u64)>,
    queue: Queue,
}

impl Lookups {
    /// Replaces the bounds. Without any, everything that waits is handed back, by key, and all misses are forgotten.
    pub(crate) fn bound(&self, bounds: Option<LookupBounds>) -> Vec<Left> {
        let mut state = self.0.lock();
        state.bounds = bounds;
        if bounds.is_some() {
            return Vec::new();
        }
        let State { asked, .. } = std::mem::take(&mut *state);
        drop(state);
        let left = asked.into_iter().map(|(key, Lookup { queue, .. })| (key, packets(queue.into_waiting())));
        left.collect()
    }

    /// Decides about a packet to `key` for which no route was found; at most `depth` of its kind wait.
    ///
    /// The sender looks for a route again, under the lock under which [`Lookups::routed`] enters it: otherwise a packet could
    /// begin to wait behind the answer, for ever, or overtake those that have waited.
    pub(crate) fn wait<S: Sender>(
        &self,
        key: &NodeKey,
        packet: Measure,
        depth: usize,
        now: Instant,
        sender: &mut S,
    ) -> Verdict<S::Route> {
        let mut evicted = Vec::new();
        let mut state = self.0.lock();
        let fate = match sender.route() {
            Some(route) => Fate::Routed(route),
            None => state.wait(key, packet, depth, now, sender, &mut evicted),
        };
        Verdict { fate, evicted }
    }

    /// The key has a route, which `enter` enters, behind what has waited: that, it gets. The key is no miss any more.
    pub(crate) fn routed(&self, key: &NodeKey, enter: impl FnOnce(Vec<WaitingPacket>)) {
        let mut state = self.0.lock();
        state.misses.forget(key);
        enter(state.take(key));
    }

    /// The key is nowhere. Returns what has waited; `None` if there are no lookups.
    pub(crate) fn missing(&self, key: &NodeKey, now: Instant) -> Option<Vec<WaitingPacket>> {
        let mut state = self.0.lock();
        let most = state.bounds?.misses;
        state.misses.add(key, most, now);
        Some(state.take(key))
    }

    /// The key is where no packet need wait for an answer. Returns what has waited.
    pub(crate) fn take(&self, key: &NodeKey) -> Vec<WaitingPacket> {
        self.0.lock().take(key)
    }

    /// The key has a connection here: it is no miss any more.
    pub(crate) fn found(&self, key: &NodeKey) {
        self.0.lock().misses.forget(key);
    }
}

impl State {
    fn wait<S: Sender>(
        &mut self,
        key: &NodeKey,
        packet: Measure,
        depth: usize,
        now: Instant,
        sender: &mut S,
        evicted: &mut Vec<Left>,
    ) -> Fate<S::Route> {
        let Some(bounds) = self.bounds else { return Fate::Refused { why: None, asks: false } };
        if self.misses.has(key, bounds.miss_time, now) {
            return Fate::Refused { why: Some(Counter::LOOKUPS_MISSED), asks: false };
        }
        let asker = sender.asker();
        let asks = match self.ask(key, asker, &bounds, sender, evicted) {
            Ok(asks) => asks,
            Err(why) => return Fate::Refused { why: Some(why), asks: false },
        };
        if let Err(why) = self.make_room(asker, packet.cost(), &bounds, evicted) {
            return Fate::Refused { why: Some(why), asks };
        }
        self.last_number += 1;
        let waiting = Waiting { number: self.last_number, asker, packet: sender.packet() };
        self.memory.add(asker, waiting.number, *key, packet.cost());
        let oldest = self.asked.entry(*key).or_default().queue.push(waiting, depth);
        Fate::Waits { asks, evicted: oldest.map(|oldest| self.release(oldest)) }
    }

    /// Has the key asked for. Returns whether it was not yet, or what counts that it cannot be.
    fn ask<S: Sender>(
        &mut self,
        key: &NodeKey,
        asker: Asker,
        bounds: &LookupBounds,
        sender: &mut S,
        evicted: &mut Vec<Left>,
    ) -> Result<bool, Counter> {
        let known = self.asked.get(key);
        if known.is_some_and(|lookup| lookup.owner.is_some()) {
            return Ok(false);
        }
        let asks = known.is_none();
        let held = self.keys.held(&asker);
        if held >= bounds.keys_per_address {
            return Err(Counter::LOOKUPS_SHARE);
        }
        let is_full = self.keys.total() >= bounds.keys;
        // Lookups that have made room are still answered: so many of them may be under way.
        let may_evict = || self.asked.len() - self.keys.total() < bounds.keys && self.keys.oldest(held + 1).is_some();
        if is_full && !may_evict() {
            return Err(Counter::LOOKUPS_CROWDED);
        }
        if asks && !sender.may_ask(bounds.rate) {
            return Err(Counter::LOOKUPS_LIMITED);
        }
        if is_full {
            evicted.extend(self.evict_lookup());
        }
        self.own(*key, asker);
        Ok(asks)
    }

    /// Makes room for a packet that takes `cost`; an error, which counts it, if there is none.
    fn make_room(
        &mut self,
        asker: Asker,
        cost: usize,
        bounds: &LookupBounds,
        evicted: &mut Vec<Left>,
    ) -> Result<(), Counter> {
        let wanted = self.memory.held(&asker) + cost;
        if wanted > bounds.bytes_per_address {
            return Err(Counter::LOOKUPS_SHARE);
        }
        while self.memory.total() + cost > bounds.bytes {
            let oldest = self.memory.oldest(wanted);
            let Some((_, number, key)) = oldest else { return Err(Counter::LOOKUPS_CROWDED) };
            let Some(waiting) = self.asked.get_mut(&key).and_then(|lookup| lookup.queue.remove(number)) else { break };
            evicted.push((key, vec![self.release(waiting)]));
        }
        Ok(())
    }

    /// The oldest key of the address that asks for the most makes room. Its answer is still to come.
    fn evict_lookup(&mut self) -> Option<Left> {
        loop {
            let (owner, number, key) = self.keys.oldest(0)?;
            let lookup = self.asked.get_mut(&key)?;
            lookup.owner = None;
            let most = self.keys.held(&owner) - 1;
            let heir = lookup.queue.first_asker(|asker| *asker != owner && self.keys.held(asker) < most);
            self.keys.remove(owner, number, 1);
            match heir {
                Some(heir) => self.own(key, heir),
                None => {
                    let queue = std::mem::take(&mut lookup.queue);
                    return Some((key, self.release_all(queue)));
                }
            }
        }
    }

    fn own(&mut self, key: NodeKey, asker: Asker) {
        self.last_number += 1;
        self.keys.add(asker, self.last_number, key, 1);
        self.asked.entry(key).or_default().owner = Some((asker, self.last_number));
    }

    /// The answer for a key has come.
    fn take(&mut self, key: &NodeKey) -> Vec<WaitingPacket> {
        let Some(Lookup { owner, queue }) = self.asked.remove(key) else { return Vec::new() };
        if let Some((owner, number)) = owner {
            self.keys.remove(owner, number, 1);
        }
        self.release_all(queue)
    }

    fn release_all(&mut self, queue: Queue) -> Vec<WaitingPacket> {
        queue.into_waiting().into_iter().map(|waiting| self.release(waiting)).collect()
    }

    /// A packet no longer waits.
    fn release(&mut self, Waiting { number, asker, packet }: Waiting) -> WaitingPacket {
        self.memory.remove(asker, number, packet.measure.cost());
        packet
    }
}

fn packets(waiting: Vec<Waiting>) -> Vec<WaitingPacket> {
    waiting.into_iter().map(|waiting| waiting.packet).collect()
}
