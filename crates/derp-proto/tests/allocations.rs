//! How often a packet's way asks for memory: exactly, for it is nothing.
mod counting;

use std::hint::black_box;

use counting::allocations;
use derp_proto::decode::{Decoder, Step};
use derp_proto::drain_rate::DrainRate;
use derp_proto::fair_queue::FairQueue;
use derp_proto::frame;
use derp_proto::key::NodeKey;

const PACKET: usize = 1400;
const FRAMES: usize = 64;

#[test]
fn packets_are_read_and_rewritten_where_they_lie() {
    assert_eq!(allocations(|| drop(black_box(Box::new(1)))), 1, "nothing would be counted otherwise");

    let [source, destination] = [1, 2].map(|byte| NodeKey::from_bytes([byte; 32]));
    let mut frame = frame::send_packet(&destination, PACKET).to_vec();
    frame.resize(frame.len() + PACKET, 7);
    let mut bytes = frame.repeat(FRAMES);
    let mut decoder = Decoder::default();
    let mut found = 0;
    let read = allocations(|| {
        let mut at = 0;
        loop {
            match decoder.next(&bytes[at..]) {
                Step::Header(_) => {}
                Step::Frame(length) => {
                    frame::rewrite_send_to_recv(&mut bytes[at..at + length], &source);
                    (at, found) = (at + length, found + 1);
                }
                Step::Skipped(_) | Step::More => break,
            }
        }
    });
    assert_eq!((found, read), (FRAMES, 0));

    // A queue grows as it is first filled, and as sources first have their turns, and not again while something waits in it.
    let (mut queue, mut rate) = (FairQueue::new(), DrainRate::new());
    assert!((0..32).all(|number| queue.push(&source, PACKET, number, 32, 0).is_none()));
    let mut turns = |count: u64| {
        for number in 0..count {
            assert!(queue.push(&source, PACKET, number, 32, 0).is_some());
            assert!(queue.pop(&mut rate, 0, |_| ()).is_some());
            assert!(queue.push(&source, PACKET, number, 32, 0).is_none());
        }
    };
    turns(3);
    assert_eq!(allocations(|| turns(1000)), 0);
}
