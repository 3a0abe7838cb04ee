//! Packets that wait until the control plane says where their destination is, and keys that are nowhere. Only packets to keys
//! with neither a connection nor a route come here, and the answers: one lock is enough.

#[cfg(all(test, loom))]
mod loom;
mod misses;
mod queue;
#[cfg(all(test, not(loom)))]
mod tests;

use std::collections::HashMap;
use std::time::Instant;

use derp_proto::counters::Counter;
use derp_proto::key::NodeKey;
use derp_proto::token_bucket::Rate;

use self::misses::Misses;
use self::queue::Queue;
pub(crate) use self::queue::{Measure, WaitingPacket};
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

/// What [`Lookups::wait`] asks of its caller, under the lock.
pub(crate) trait Sender {
    /// Where packets for the key go.
    type Route;

    /// Looks for a route once more.
    fn route(&mut self) -> Option<Self::Route>;

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
    asked: HashMap<NodeKey, Queue>,
    /// What all of it takes.
    bytes: usize,
    misses: Misses,
}

impl Lookups {
    /// Replaces the bounds. Without any, everything that waits is handed back, by key, and all misses are forgotten.
    pub(crate) fn bound(&self, bounds: Option<LookupBounds>) -> Vec<(NodeKey, Vec<WaitingPacket>)> {
        let mut state = self.0.lock();
        state.bounds = bounds;
        if bounds.is_some() {
            return Vec::new();
        }
        let State { asked, .. } = std::mem::take(&mut *state);
        drop(state);
        asked.into_iter().map(|(key, queue)| (key, queue.into_packets())).collect()
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
    ) -> Fate<S::Route> {
        let mut state = self.0.lock();
        if let Some(route) = sender.route() {
            return Fate::Routed(route);
        }
        let State { bounds, asked, bytes, misses } = &mut *state;
        let Some(bounds) = bounds else { return Fate::Refused { why: None, asks: false } };
        let refused = |why| Fate::Refused { why: Some(why), asks: false };
        if misses.has(key, bounds.miss_time, now) {
            return refused(Counter::LOOKUPS_MISSED);
        }
        let asks = !asked.contains_key(key);
        if asks {
            if asked.len() >= bounds.keys {
                return refused(Counter::LOOKUPS_CROWDED);
            }
            if !sender.may_ask(bounds.rate) {
                return refused(Counter::LOOKUPS_LIMITED);
            }
        }
        let queue = asked.entry(*key).or_default();
        if *bytes + packet.cost() > bounds.bytes {
            return Fate::Refused { why: Some(Counter::LOOKUPS_CROWDED), asks };
        }
        let evicted = queue.push(sender.packet(), depth);
        *bytes += packet.cost();
        *bytes -= evicted.as_ref().map_or(0, |evicted| evicted.measure.cost());
        Fate::Waits { asks, evicted }
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
    /// The answer for a key has come.
    fn take(&mut self, key: &NodeKey) -> Vec<WaitingPacket> {
        let packets = self.asked.remove(key).map_or_else(Vec::new, Queue::into_packets);
        self.bytes -= packets.iter().map(|packet| packet.measure.cost()).sum::<usize>();
        packets
    }
}
