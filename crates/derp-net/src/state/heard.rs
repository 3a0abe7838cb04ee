//! Sources of packets that come from elsewhere: the control plane has to know of each that some connection is to be told the
//! leaving of, because no connection here tells when it leaves. Touched when a source gets its first such connection, and
//! when it loses its last.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};

use derp_proto::key::NodeKey;

use crate::base::sync::Lock;

/// What the control plane has to be told. Every key in it is one of [`Subscribers`](super::peer_gone::Subscribers), which
/// bounds it: that calls it under the lock of the key, so that both change together.
#[derive(Default)]
pub(crate) struct Heard {
    on: AtomicBool,
    keys: Lock<Keys>,
}

#[derive(Default)]
struct Keys {
    /// May have a connection here: that is not looked at under the locks under which they come.
    fresh: HashSet<NodeKey>,
    /// Come from elsewhere.
    untold: HashSet<NodeKey>,
}

impl Heard {
    /// Takes note of sources from here on, or forgets them all.
    pub(crate) fn turn(&self, on: bool) {
        let mut keys = self.keys.lock();
        if self.on.swap(on, Ordering::Relaxed) && !on {
            *keys = Keys::default();
        }
    }

    /// A source has its first connection that is to be told. True if [`Heard::settle`] has to be called.
    pub(super) fn begin(&self, source: &NodeKey) -> bool {
        if !self.on.load(Ordering::Relaxed) {
            return false;
        }
        let mut keys = self.keys.lock();
        // Once more: it may have been turned off, and everything been forgotten.
        self.on.load(Ordering::Relaxed) && keys.fresh.insert(*source)
    }

    /// A source has none any more.
    pub(super) fn end(&self, source: &NodeKey) {
        if self.on.load(Ordering::Relaxed) {
            let mut keys = self.keys.lock();
            keys.fresh.remove(source);
            keys.untold.remove(source);
        }
    }

    /// Looks where fresh sources come from. True if some come from elsewhere.
    pub(crate) fn settle(&self, is_here: impl Fn(&NodeKey) -> bool) -> bool {
        let mut keys = self.keys.lock();
        let Keys { fresh, untold } = &mut *keys;
        let before = untold.len();
        untold.extend(fresh.drain().filter(|source| !is_here(source)));
        untold.len() > before
    }

    /// Takes what the control plane has not been told.
    pub(crate) fn take(&self) -> HashSet<NodeKey> {
        if self.on.load(Ordering::Relaxed) { std::mem::take(&mut self.keys.lock().untold) } else { HashSet::new() }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::state::peer_gone::Subscribers;

    fn key(number: u8) -> NodeKey {
        NodeKey::from_bytes([number; 32])
    }

    /// What is told of sources, of which those of even numbers have a connection here.
    fn told(subscribers: &Subscribers) -> Vec<NodeKey> {
        subscribers.heard.settle(|source| source.as_bytes()[0].is_multiple_of(2));
        let mut told: Vec<_> = subscribers.heard.take().into_iter().collect();
        told.sort_unstable();
        told
    }

    #[test]
    fn a_source_from_elsewhere_is_told_once_until_it_has_no_connection_to_tell() {
        let subscribers = Subscribers::default();
        subscribers.heard.turn(true);
        let added = [(1, 10), (1, 11), (2, 10), (3, 10)].map(|(source, to)| subscribers.add(&key(source), to));
        assert_eq!(added, [true, false, true, true]);
        assert_eq!(told(&subscribers), [key(1), key(3)]);
        subscribers.add(&key(1), 12);
        subscribers.remove(&key(1), 10);
        assert_eq!(told(&subscribers), []);
        subscribers.take(&key(1)).for_each(drop);
        subscribers.remove(&key(3), 10);
        assert_eq!(told(&subscribers), []);
        assert!(subscribers.add(&key(1), 12) && subscribers.add(&key(3), 12));
        assert_eq!(told(&subscribers), [key(1), key(3)]);
    }

    #[test]
    fn a_source_that_leaves_before_it_is_told_is_not_told() {
        let subscribers = Subscribers::default();
        subscribers.heard.turn(true);
        for number in [1, 3, 5, 7] {
            subscribers.add(&key(number), 10);
        }
        subscribers.remove(&key(1), 10);
        subscribers.take(&key(3)).for_each(drop);
        subscribers.heard.settle(|_| false);
        subscribers.remove(&key(5), 10);
        assert_eq!(told(&subscribers), [key(7)]);
    }

    #[test]
    fn nothing_is_noted_while_it_is_off() {
        let subscribers = Subscribers::default();
        assert!(!subscribers.add(&key(1), 10));
        assert_eq!(told(&subscribers), []);
        subscribers.heard.turn(true);
        assert!(!subscribers.add(&key(1), 11));
        subscribers.add(&key(3), 11);
        subscribers.heard.settle(|_| false);
        subscribers.heard.turn(false);
        subscribers.heard.turn(true);
        assert_eq!(told(&subscribers), []);
    }
}
