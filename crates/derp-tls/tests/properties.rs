//! Random traffic with rustls: sizes, pieces, cuts, and new keys at any moment, in both directions at once.
mod common;

use std::mem;

use common::{Peer, SUITES, connect_client, connect_server, one_certificate};
use derp_tls::{Alert, End, Established};
use proptest::collection::vec;
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Act {
    /// The peer sends so many bytes, in records of any size.
    Theirs(usize),
    /// The peer takes new keys, and asks us to.
    TheirUpdate,
    /// So many bytes of ours, in pieces.
    Ours(Vec<usize>),
    /// A KeyUpdate of ours that nobody has asked for, with nothing behind it.
    OurUpdate,
    Limit(u32),
    Quiet,
    /// So many of the bytes under way arrive, at either side.
    Deliver(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let size = || prop_oneof![0..40_usize, 16_380..16_390_usize, 0..40_000_usize];
    prop_oneof![
        3 => size().prop_map(Act::Theirs),
        1 => Just(Act::TheirUpdate),
        3 => vec(size(), 0..5).prop_map(Act::Ours),
        1 => Just(Act::OurUpdate),
        1 => (2..9_u32).prop_map(Act::Limit),
        1 => Just(Act::Quiet),
        8 => prop_oneof![1..50_usize, 1..60_000_usize].prop_map(Act::Deliver),
    ]
}

/// Both ends, and what is between them.
struct Wire {
    peer: Peer,
    established: Established,
    is_13: bool,
    to_us: Vec<u8>,
    to_peer: Vec<u8>,
    /// What has come so far: `kept` bytes of plaintext that nobody has taken yet, then part of a record.
    buffer: Vec<u8>,
    kept: usize,
    keep: bool,
    sent: Stream,
    heard: Vec<u8>,
    told: Stream,
    said: Vec<u8>,
    requests: usize,
    asked: usize,
}

/// Bytes that do not repeat soon.
#[derive(Default)]
struct Stream(u64, Vec<u8>);

impl Stream {
    fn next(&mut self, length: usize) -> Vec<u8> {
        let bytes: Vec<u8> = (self.0..).take(length).map(|at| (at.wrapping_mul(0x9e37_79b9) >> 16) as u8).collect();
        self.0 += length as u64;
        self.1.extend(&bytes);
        bytes
    }
}

impl Wire {
    fn play(&mut self, act: Act) {
        match act {
            Act::Theirs(length) => {
                let bytes = self.told.next(length);
                self.to_us.extend(self.peer.write(&bytes));
            }
            Act::TheirUpdate if self.is_13 => {
                self.peer.0.refresh_traffic_keys().unwrap();
                self.asked += 1;
                self.to_us.extend(self.peer.output());
            }
            Act::Ours(lengths) => {
                let pieces: Vec<Vec<u8>> = lengths.iter().map(|&length| self.sent.next(length)).collect();
                self.seal(&pieces);
            }
            Act::OurUpdate if self.is_13 => {
                self.established.sender.owe_key_update();
                self.seal(&[]);
            }
            // TLS 1.2 ends at its limit, which has a test of its own.
            Act::Limit(limit) if self.is_13 => self.established.sender.limit_records(limit),
            Act::TheirUpdate | Act::OurUpdate | Act::Limit(_) => {}
            Act::Quiet => {
                self.established.sender.quiet();
                self.established.receiver.quiet();
            }
            Act::Deliver(length) => self.deliver(length),
        }
    }

    fn seal(&mut self, pieces: &[Vec<u8>]) {
        let sender = &mut self.established.sender;
        let at = self.to_peer.len();
        let room = sender.room_for(pieces.iter().map(Vec::len).sum());
        self.to_peer.resize(at + room, 0);
        let length = sender.seal(pieces, &mut self.to_peer[at..]).unwrap();
        assert!(!sender.owes_key_update());
        self.to_peer.truncate(at + length);
    }

    fn deliver(&mut self, length: usize) {
        let behind = self.to_us.split_off(length.min(self.to_us.len()));
        self.buffer.extend(mem::replace(&mut self.to_us, behind));
        let opened = self.established.receiver.open(&mut self.buffer, self.kept);
        assert_eq!(opened.end, None);
        assert!(opened.plaintext.end <= opened.rest && self.buffer.len() - opened.rest < 5 + 16384 + 256);
        if opened.key_update_requested {
            self.requests += 1;
            self.established.sender.owe_key_update();
        }
        // A worker that waits for the rest of a frame keeps its beginning; every other time here.
        self.keep = !self.keep;
        if self.keep {
            self.buffer.drain(opened.plaintext.end..opened.rest);
            self.buffer.drain(..opened.plaintext.start);
            self.kept = opened.plaintext.len();
        } else {
            self.heard.extend(&self.buffer[opened.plaintext]);
            self.buffer.drain(..opened.rest);
            self.kept = 0;
        }
        let behind = self.to_peer.split_off(length.min(self.to_peer.len()));
        let arrived = mem::replace(&mut self.to_peer, behind);
        self.said.extend(self.peer.input(&arrived).unwrap());
        // What rustls answers to a KeyUpdate.
        self.to_us.extend(self.peer.output());
    }

    fn finish(&mut self) {
        while !(self.to_us.is_empty() && self.to_peer.is_empty()) {
            self.deliver(usize::MAX);
        }
        self.keep = true;
        self.deliver(0);
        assert_eq!((self.buffer.len(), self.kept), (0, 0));
        assert!(self.heard == self.told.1, "what the peer has told is heard");
        assert!(self.said == self.sent.1, "what we have sent is there");
        // Several that come at once are one.
        assert!(self.requests <= self.asked && (self.requests > 0) == (self.asked > 0));

        let mut out = [0; derp_tls::Sender::ALERT_ROOM];
        let length = self.established.sender.alert(Alert::CLOSE_NOTIFY, &mut out);
        self.peer.input(&out[..length]).unwrap();
        self.peer.0.send_close_notify();
        self.buffer = self.peer.output();
        assert_eq!(self.established.receiver.open(&mut self.buffer, 0).end, Some(End::Closed));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_sent_arrives_as_it_was(
        suite in 0..SUITES.len(),
        as_client: bool,
        fragment in prop_oneof![Just(None), (32..17_000_usize).prop_map(|size| Some(size.min(16_389)))],
        chunk in 1..2000_usize,
        acts in vec(act(), 0..60),
    ) {
        let suite = SUITES[suite];
        let (mut peer, established, to_us);
        if as_client {
            let mut config = suite.server_config();
            config.max_fragment_size = fragment;
            peer = Peer::server(config);
            (established, to_us) = connect_client(&mut peer, chunk);
        } else {
            let mut config = suite.client_config();
            config.max_fragment_size = fragment;
            peer = Peer::client(config);
            (established, to_us) = connect_server(&mut peer, &one_certificate(suite.pem()), chunk, b"");
        }
        let mut wire = Wire {
            peer,
            established,
            is_13: suite.is_13(),
            to_us,
            to_peer: Vec::new(),
            buffer: Vec::new(),
            kept: 0,
            keep: false,
            sent: Stream::default(),
            heard: Vec::new(),
            told: Stream::default(),
            said: Vec::new(),
            requests: 0,
            asked: 0,
        };
        for act in acts {
            wire.play(act);
        }
        wire.finish();
    }
}

/// Cuts at every multiple of every size, in handshakes and in what follows.
#[test]
fn every_fragmentation() {
    for suite in [SUITES[0], SUITES[4]] {
        for chunk in 1..120 {
            let mut peer = Peer::client(suite.client_config());
            let (mut established, rest) = connect_server(&mut peer, &one_certificate(suite.pem()), chunk, b"early");
            assert_eq!(common::open(&mut established, &rest, chunk).0, b"early");
            let mut peer = Peer::server(suite.server_config());
            let (mut established, rest) = connect_client(&mut peer, chunk);
            let bytes = [rest, peer.write(b"one"), peer.write(b"two"), peer.write(b"three")].concat();
            assert_eq!(common::open(&mut established, &bytes, chunk).0, b"onetwothree");
        }
    }
}
