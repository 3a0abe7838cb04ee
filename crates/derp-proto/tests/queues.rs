//! `__test__/vectors/queues.json`: which packet of a queue leaves next, which has to go, and how fast the queue drains.
use derp_proto::drain_rate::DrainRate;
use derp_proto::fair_queue::FairQueue;
use derp_proto::key::NodeKey;
use serde_json::Value;

#[test]
fn every_case_goes_as_in_typescript() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../__test__/vectors/queues.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let cases = vectors["cases"].as_object().unwrap();
    assert!(cases.len() > 5);
    for (name, steps) in cases {
        let (mut queue, mut rate, mut number) = (FairQueue::new(), DrainRate::new(), 0);
        for (at, step) in steps.as_array().unwrap().iter().enumerate() {
            let place = format!("{name}, step {at}: {step}");
            let figure = |at: usize| step[at].as_u64().unwrap();
            let now = figure(1);
            match step[0].as_str().unwrap() {
                "push" => {
                    number += 1;
                    if queue.is_empty() {
                        rate.begins(now);
                    }
                    let source = NodeKey::from_bytes([figure(2) as u8; 32]);
                    let gone = queue.push(&source, figure(3) as usize, number, figure(4) as usize, now);
                    assert_eq!(gone.map(|(_, (item, _))| item), step[5].as_u64(), "{place}");
                }
                "pop" => {
                    rate.moves(now);
                    let mut late = Vec::new();
                    let taken = queue.pop(&mut rate, now, |(item, _)| late.push(item));
                    assert_eq!(taken.map(|(item, _)| item), step[2].as_u64(), "{place}");
                    let expected: Vec<u64> =
                        step[3].as_array().unwrap().iter().map(|one| one.as_u64().unwrap()).collect();
                    assert_eq!(late, expected, "{place}");
                    assert_eq!((rate.rate(), rate.ahead(65_536) as u64), (figure(4), figure(5)), "{place}");
                }
                "evict" => assert_eq!(queue.evict().map(|(item, _)| item), step[2].as_u64(), "{place}"),
                other => panic!("{place}: {other} is no step"),
            }
        }
    }
}
