//! Locks and atomics: the system's, or loom's where a test tries every interleaving.

use std::sync::PoisonError;

pub(crate) use derp_proto::sync::{AtomicBool, AtomicU64, Ordering, fence};
use derp_proto::sync::{Mutex, MutexGuard};

/// A mutex that a panic leaves usable: when a worker has panicked, closing what it had takes the same locks.
#[derive(Default)]
pub(crate) struct Lock<T>(Mutex<T>);

impl<T> Lock<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A lock that one need not wait for.
#[cfg(not(loom))]
pub(crate) type TryLock<T> = Lock<T>;

#[cfg(not(loom))]
impl<T> Lock<T> {
    /// `None` if somebody else has it.
    pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Some(guard),
            Err(std::sync::TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(std::sync::TryLockError::WouldBlock) => None,
        }
    }
}

#[cfg(loom)]
pub(crate) use self::flag::TryLock;

/// Made of an atomic flag, which is what a mutex promises and no more. Loom's own mutex is tried in every order of its
/// owners, but never while it is held: no `try_lock` of it fails.
#[cfg(loom)]
mod flag {
    use std::ops::{Deref, DerefMut};
    use std::sync::{Mutex, MutexGuard};

    use super::{AtomicBool, Ordering};

    pub(crate) struct TryLock<T> {
        held: AtomicBool,
        value: Mutex<T>,
    }

    pub(crate) struct Guard<'a, T> {
        held: &'a AtomicBool,
        value: Option<MutexGuard<'a, T>>,
    }

    impl<T> TryLock<T> {
        pub(crate) fn new(value: T) -> Self {
            Self { held: AtomicBool::new(false), value: Mutex::new(value) }
        }

        pub(crate) fn lock(&self) -> Guard<'_, T> {
            loop {
                if let Some(guard) = self.try_lock() {
                    return guard;
                }
                loom::thread::yield_now();
            }
        }

        pub(crate) fn try_lock(&self) -> Option<Guard<'_, T>> {
            self.held.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).ok()?;
            Some(Guard { held: &self.held, value: Some(self.value.try_lock().expect("the flag is ours")) })
        }
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        fn deref(&self) -> &T {
            self.value.as_ref().expect("it is there until the end")
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.value.as_mut().expect("it is there until the end")
        }
    }

    impl<T> Drop for Guard<'_, T> {
        fn drop(&mut self) {
            self.value = None;
            self.held.store(false, Ordering::Release);
        }
    }
}
