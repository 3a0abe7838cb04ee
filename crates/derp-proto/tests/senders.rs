//! `__test__/vectors/senders.json`: what both planes estimate of how many senders there are.

use derp_proto::key::NodeKey;
use derp_proto::sender_sketch::SenderSketch;
use serde_json::Value;

fn key(number: u32) -> NodeKey {
    let mut bytes = [0; 32];
    bytes[..4].copy_from_slice(&number.to_le_bytes());
    NodeKey::from_bytes(bytes)
}

#[test]
fn the_estimates_are_those_of_the_vectors() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../__test__/vectors/senders.json");
    let file: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let estimates = file["estimates"].as_object().unwrap();
    assert!(estimates.len() > 10);
    let mut wanted: Vec<(u32, u64)> =
        estimates.iter().map(|(count, estimate)| (count.parse().unwrap(), estimate.as_u64().unwrap())).collect();
    wanted.sort_unstable();
    let mut sketch = SenderSketch::default();
    let mut inserted = 0;
    for (count, estimate) in wanted {
        for number in inserted..count {
            sketch.insert(&key(number));
        }
        inserted = count;
        assert_eq!(sketch.estimate(), estimate, "{count} senders");
        // Senders that were counted are not counted again.
        for number in (0..count).step_by(97) {
            sketch.insert(&key(number));
        }
        assert_eq!(sketch.estimate(), estimate, "{count} senders, some of them twice");
    }
}

#[test]
fn every_bit_of_a_key_counts() {
    let mut sketch = SenderSketch::default();
    for bit in 0..256 {
        let mut bytes = std::array::from_fn(|at| (at * 37 + 11) as u8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        sketch.insert(&NodeKey::from_bytes(bytes));
    }
    assert_eq!(sketch.estimate(), 256);
}
