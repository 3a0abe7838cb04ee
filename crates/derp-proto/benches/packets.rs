//! What a packet costs without a socket: finding it in what was read, making a RecvPacket of it, waiting in a queue.

use derp_proto::decode::{Decoder, Step};
use derp_proto::drain_rate::DrainRate;
use derp_proto::fair_queue::FairQueue;
use derp_proto::frame;
use derp_proto::key::NodeKey;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

const FRAMES: usize = 64;
const SIZES: [usize; 3] = [100, 1400, 16384];

fn main() {
    divan::main();
}

fn key(byte: u8) -> NodeKey {
    NodeKey::from_bytes([byte; 32])
}

/// So many frames, one behind the other.
fn row(size: usize) -> Vec<u8> {
    let mut frame = frame::send_packet(&key(2), size).to_vec();
    frame.resize(frame.len() + size, 7);
    frame.repeat(FRAMES)
}

fn each(bytes: &mut [u8], mut act: impl FnMut(&mut [u8])) {
    let mut decoder = Decoder::default();
    let mut at = 0;
    loop {
        match decoder.next(&bytes[at..]) {
            Step::Header(_) => {}
            Step::Frame(length) => {
                act(&mut bytes[at..at + length]);
                at += length;
            }
            Step::Skipped(length) => at += length,
            Step::More => break,
        }
    }
}

#[divan::bench(args = SIZES)]
fn decode(bencher: Bencher, size: usize) {
    let mut bytes = row(size);
    bencher.counter(ItemsCount::new(FRAMES)).bench_local(|| {
        each(black_box(&mut bytes), |frame| {
            black_box(frame);
        })
    });
}

#[divan::bench]
fn rewrite(bencher: Bencher) {
    let (mut frame, source) = (row(1400), key(1));
    frame.truncate(frame.len() / FRAMES);
    bencher.counter(BytesCount::new(37_usize)).bench_local(|| {
        // The kind is put back, as the function asks for a SendPacket.
        frame[0] = 0x04;
        frame::rewrite_send_to_recv(black_box(&mut frame), black_box(&source));
    });
}

#[divan::bench(args = [1, 32])]
fn queue(bencher: Bencher, waiting: u64) {
    let (source, mut queue, mut rate) = (key(1), FairQueue::new(), DrainRate::new());
    (0..waiting).for_each(|number| assert!(queue.push(&source, 1400, number, 32, 0).is_none()));
    bencher.counter(ItemsCount::new(1_usize)).bench_local(|| {
        black_box(queue.push(&source, 1400, black_box(7), 32, 0));
        while queue.len() as u64 > waiting {
            black_box(queue.pop(&mut rate, 0, |_| ()));
        }
    });
}
