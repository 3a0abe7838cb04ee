//! Waking a reader once for however much there is to read.

use crate::base::sync::{AtomicBool, AtomicU64, Ordering};

/// Whether the reader has been woken, and when it is to be.
pub(crate) struct Wakeup {
    /// The reader has been woken, and has not begun to read.
    rung: AtomicBool,
    /// When what can wait is due, on the caller's clock; 0 while nothing waits. One for all writers, so that however many
    /// of them look at it, the reader is woken once.
    due: AtomicU64,
}

impl Wakeup {
    pub(crate) fn new() -> Self {
        Self { rung: AtomicBool::new(false), due: AtomicU64::new(0) }
    }

    /// After something was put where the reader looks.
    pub(crate) fn ring(&self, wake: impl FnOnce()) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            wake();
        }
    }

    /// The same, for what need not be read before `due`, which is never 0. What waits already is not put off.
    pub(crate) fn ring_later(&self, due: impl FnOnce() -> u64) {
        if self.due.load(Ordering::Acquire) == 0 {
            let _ = self.due.compare_exchange(0, due(), Ordering::AcqRel, Ordering::Acquire);
        }
    }

    /// When to call [`Wakeup::tick`], if anything waits for it. A reader that has been woken reads everything.
    pub(crate) fn due(&self) -> Option<u64> {
        if self.rung.load(Ordering::Acquire) {
            return None;
        }
        Some(self.due.load(Ordering::Acquire)).filter(|due| *due != 0)
    }

    /// Wakes the reader, if it is time for what waits.
    pub(crate) fn tick(&self, now: u64, wake: impl FnOnce()) {
        if self.due().is_some_and(|due| due <= now) {
            self.ring(wake);
        }
    }

    /// By the reader: takes what there is. Whatever it does not find rings again, so that it must not ring too early. What
    /// waits is forgotten first: no writer may find it due when the reader is on its way.
    pub(crate) fn answer<R>(&self, take: impl FnOnce() -> R) -> R {
        self.due.store(0, Ordering::Release);
        self.rung.store(false, Ordering::Release);
        take()
    }
}

#[cfg(all(test, loom))]
mod loom {
    use ::loom::thread;
    use derp_proto::sync::{Arc, AtomicUsize};

    use super::*;
    use crate::base::sync::Lock;

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
                        wakeup.ring_later(|| 1);
                        wakeup.tick(1, wake);
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
            wakeup.tick(1, || _ = wakes.fetch_add(1, Ordering::Release));
            look();
            assert_eq!(read, 2);
        });
    }
}
