//! Competition for a core, so that a relay can be offered more than it carries by a generator that has no more cores.

use std::hint::spin_loop;
use std::thread;
use std::time::{Duration, Instant};

/// Keeps so many threads busy for so long.
pub(crate) fn run(threads: usize, length: Duration) {
    let end = Instant::now() + length;
    let burn = move || {
        while Instant::now() < end {
            (0..1000).for_each(|_| spin_loop());
        }
    };
    thread::scope(|scope| (0..threads).for_each(|_| drop(scope.spawn(burn))));
}
