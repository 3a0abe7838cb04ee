//! What it costs to find out where a packet goes.

use derp_net::micro::Lookup;
use derp_proto::key::NodeKey;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

#[divan::bench(args = [10, 1000, 100_000])]
fn lookup(bencher: Bencher, clients: u64) {
    let key = |number: u64| {
        let mut bytes = [7; 32];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        NodeKey::from_bytes(bytes)
    };
    let table = Lookup::of((0..clients).map(key));
    let mut number = 0;
    bencher.bench_local(|| {
        // Not one after the other: that would be the cache's figure.
        number = (number + 7919) % clients;
        assert!(table.finds(black_box(&key(number))));
    });
}
