//! Bounded amounts of something. A share gives itself back when it is dropped, so that no way out forgets to.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How much of something is taken.
#[derive(Default)]
pub(crate) struct Budget(Arc<AtomicUsize>);

/// What one has taken of a [`Budget`].
pub(crate) struct Share {
    taken: Arc<AtomicUsize>,
    amount: usize,
}

impl Budget {
    /// Takes `amount`, unless more than `limit` would be taken then.
    pub(crate) fn take(&self, amount: usize, limit: usize) -> Option<Share> {
        let mut share = self.nothing();
        share.set(amount, limit).then_some(share)
    }

    /// A share that is to grow.
    pub(crate) fn nothing(&self) -> Share {
        Share { taken: self.0.clone(), amount: 0 }
    }

    pub(crate) fn taken(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Share {
    /// Makes it another amount. False, and nothing changed, if it is to grow and the whole would be more than `limit`.
    pub(crate) fn set(&mut self, amount: usize, limit: usize) -> bool {
        let held = self.amount;
        let changed = self.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
            let taken = taken - held + amount;
            (amount <= held || taken <= limit).then_some(taken)
        });
        if changed.is_ok() {
            self.amount = amount;
        }
        changed.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.taken.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_share_gives_itself_back() {
        let budget = Budget::default();
        let mut share = budget.take(3, 10).unwrap();
        let other = budget.take(7, 10).unwrap();
        assert!(budget.take(1, 10).is_none());
        assert!(!share.set(4, 10));
        assert_eq!(budget.taken(), 10);
        drop(other);
        assert!(share.set(10, 10));
        // A limit that has come down lets no holder grow, and every holder shrink.
        assert!(share.set(9, 2));
        assert!(!share.set(10, 2));
        drop(share);
        assert_eq!(budget.taken(), 0);
    }

    #[test]
    fn threads_never_have_more_than_there_is() {
        let budget = Budget::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..2000 {
                        let share = budget.take(2, 5);
                        assert!(budget.taken() <= 5);
                        drop(share);
                    }
                });
            }
        });
        assert_eq!(budget.taken(), 0);
    }
}
