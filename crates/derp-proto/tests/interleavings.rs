//! Every interleaving of the threads that share memory. Run with
//! `RUSTFLAGS='--cfg loom' cargo test --release -p derp-proto --test interleavings`.
#![cfg(loom)]

use derp_proto::counters::{Counter, Counters};
use derp_proto::sync::Arc;
use loom::thread;

#[test]
fn counters_lose_nothing_and_do_not_go_back() {
    loom::model(|| {
        let counters = Arc::new(Counters::new());
        let writers = [2, 3].map(|count| {
            let counters = Arc::clone(&counters);
            thread::spawn(move || counters.add(Counter::PACKETS_SENT, count))
        });
        let before = counters.read(Counter::PACKETS_SENT);
        assert!(counters.read(Counter::PACKETS_SENT) >= before);
        for writer in writers {
            writer.join().unwrap();
        }
        assert_eq!(counters.read(Counter::PACKETS_SENT), 5);
    });
}
