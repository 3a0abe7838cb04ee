//! A lock without waiting: a thread that finds it taken leaves the work in an inbox, and the thread that holds it does it.

use crate::base::sync::{AtomicBool, Lock, Ordering, TryLock, fence};

/// How often one visitor does what others have left before another has to come for it: a connection that all workers
/// sends to must not keep a worker from its other ones.
const ROUNDS: usize = if cfg!(loom) { 1 } else { 4 };

/// `T`, and an inbox for it. What one thread brings is done in the order in which it was brought.
pub(crate) struct CombiningLock<T, I> {
    guarded: TryLock<T>,
    inbox: Lock<I>,
    /// Something may be in the inbox: set after it was put there, cleared before it is taken out. The inbox's own lock
    /// orders what is in it.
    waiting: AtomicBool,
}

/// Whether something is left in the inbox that no thread will look at.
#[must_use]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Left {
    Nothing,
    /// Somebody has to [`CombiningLock::enter`].
    Work,
}

impl<T, I: Default> CombiningLock<T, I> {
    pub(crate) fn new(guarded: T) -> Self {
        Self { guarded: TryLock::new(guarded), inbox: Lock::default(), waiting: AtomicBool::new(false) }
    }

    /// Waits for the lock, and runs `act`; `empty` gets what others have left, before and after.
    pub(crate) fn enter(&self, mut empty: impl FnMut(&mut T, I), act: impl FnOnce(&mut T)) -> Left {
        let mut guarded = self.guarded.lock();
        self.empty_inbox(&mut guarded, &mut empty);
        act(&mut guarded);
        drop(guarded);
        self.look_again(empty)
    }

    /// The same, but if the lock is taken `leave` puts the work into the inbox instead.
    pub(crate) fn offer(
        &self,
        mut empty: impl FnMut(&mut T, I),
        act: impl FnOnce(&mut T),
        leave: impl FnOnce(&mut I),
    ) -> Left {
        if let Some(mut guarded) = self.guarded.try_lock() {
            // What this thread has left here earlier comes first.
            self.empty_inbox(&mut guarded, &mut empty);
            act(&mut guarded);
        } else {
            leave(&mut self.inbox.lock());
            self.waiting.store(true, Ordering::Relaxed);
        }
        self.look_again(empty)
    }

    /// Does what was left in the inbox since its last visitor looked, unless somebody is inside: they will look again.
    fn look_again(&self, mut empty: impl FnMut(&mut T, I)) -> Left {
        for round in 0.. {
            // One leaves work and then tries the lock, the other leaves the lock and then looks for work. Without a
            // fence between the two steps of each, both may see the state before the other's first one.
            fence(Ordering::SeqCst);
            if !self.waiting.load(Ordering::Relaxed) {
                break;
            }
            if round == ROUNDS {
                return Left::Work;
            }
            let Some(mut guarded) = self.guarded.try_lock() else {
                break;
            };
            self.empty_inbox(&mut guarded, &mut empty);
        }
        Left::Nothing
    }

    fn empty_inbox(&self, guarded: &mut T, empty: &mut impl FnMut(&mut T, I)) {
        if self.waiting.load(Ordering::Relaxed) {
            self.waiting.store(false, Ordering::Relaxed);
            let left = std::mem::take(&mut *self.inbox.lock());
            empty(guarded, left);
        }
    }
}

#[cfg(all(test, loom))]
mod loom;
