//! Waking a reader once for however much there is to read.

use crate::sync::{AtomicBool, Ordering};

/// Whether the reader has been woken, and whether it is to be.
pub(crate) struct Wakeup {
    /// The reader has been woken, and has not begun to read.
    rung: AtomicBool,
    /// There is something that can wait for the next tick.
    later: AtomicBool,
}

impl Wakeup {
    pub(crate) fn new() -> Self {
        Self { rung: AtomicBool::new(false), later: AtomicBool::new(false) }
    }

    /// After something was put where the reader looks.
    pub(crate) fn ring(&self, wake: impl FnOnce()) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            wake();
        }
    }

    /// The same, for what need not be read at once.
    pub(crate) fn ring_later(&self) {
        self.later.store(true, Ordering::Release);
    }

    /// Whether a [`Wakeup::tick`] is due before long.
    pub(crate) fn is_later(&self) -> bool {
        self.later.load(Ordering::Acquire)
    }

    /// From time to time, while [`Wakeup::is_later`].
    pub(crate) fn tick(&self, wake: impl FnOnce()) {
        if self.is_later() {
            self.ring(wake);
        }
    }

    /// By the reader: takes what there is. Whatever it does not find rings again, so that it must not ring too early.
    pub(crate) fn answer<R>(&self, take: impl FnOnce() -> R) -> R {
        self.rung.store(false, Ordering::Release);
        self.later.store(false, Ordering::Release);
        take()
    }
}

#[cfg(all(test, loom))]
mod loom {
    use ::loom::thread;
    use derp_proto::sync::{Arc, AtomicUsize};

    use super::*;
    use crate::sync::Lock;

    /// Two writers and a reader that reads only when it is woken: it has read everything in the end.
    #[test]
    fn what_is_written_is_read() {
        ::loom::model(|| {
            let shared = Arc::new((Wakeup::new(), Lock::new(0), AtomicUsize::new(0)));
            let writers = [false, true].map(|later| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let (wakeup, written, wakes) = &*shared;
                    let wake = || _ = wakes.fetch_add(1, Ordering::Release);
                    *written.lock() += 1;
                    if later {
                        wakeup.ring_later();
                        wakeup.tick(wake);
                    } else {
                        wakeup.ring(wake);
                    }
                })
            });
            let (wakeup, written, wakes) = &*shared;
            let mut answered = 0;
            let mut read = 0;
            let mut look = || {
                let rung = wakes.load(Ordering::Acquire);
                if rung > answered {
                    answered = rung;
                    read += wakeup.answer(|| std::mem::take(&mut *written.lock()));
                }
            };
            look();
            for writer in writers {
                writer.join().unwrap();
            }
            // Ticks go on as long as something waits for one.
            wakeup.tick(|| _ = wakes.fetch_add(1, Ordering::Release));
            look();
            assert_eq!(read, 2);
        });
    }
}
