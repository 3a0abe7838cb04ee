use std::time::Duration;

use derp_proto::drop_reason::PacketKind;
use proptest::prelude::*;

use super::*;

const RATE: Rate = Rate { per_second: 1.0, burst: 1.0 };
/// Room for three packets of 10 bytes.
const BYTES: usize = 3 * (10 + 128);
const MISS_TIME: Duration = Duration::from_secs(2);

fn key(number: u8) -> NodeKey {
    NodeKey::from_bytes([number; 32])
}

/// Sends packets, numbered in the order in which they are copied.
struct Crowd {
    lookups: Lookups,
    now: Instant,
    tokens: usize,
    copied: u64,
}

/// One packet of it.
struct One<'a> {
    tokens: &'a mut usize,
    copied: &'a mut u64,
    measure: Measure,
    route: Option<u8>,
}

impl Sender for One<'_> {
    type Route = u8;

    fn route(&mut self) -> Option<u8> {
        self.route
    }

    fn may_ask(&mut self, rate: Rate) -> bool {
        assert_eq!(rate, RATE);
        let may = *self.tokens > 0;
        *self.tokens -= usize::from(may);
        may
    }

    fn packet(&mut self) -> WaitingPacket {
        *self.copied += 1;
        let body = [&[0; 32][..], &vec![7; self.measure.payload]].concat().into();
        let (is_answered, is_uncounted) = (false, false);
        WaitingPacket { from: *self.copied, source: key(0), measure: self.measure, is_answered, is_uncounted, body }
    }
}

impl Crowd {
    fn new() -> Self {
        let bounds = LookupBounds { rate: RATE, keys: 2, bytes: BYTES, misses: 2, miss_time: MISS_TIME };
        let lookups = Lookups::default();
        assert!(lookups.bound(Some(bounds)).is_empty());
        Self { lookups, now: Instant::now(), tokens: 100, copied: 0 }
    }

    fn send(&mut self, to: u8, kind: PacketKind, route: Option<u8>) -> String {
        let measure = Measure { kind, payload: 10 };
        let mut one = One { tokens: &mut self.tokens, copied: &mut self.copied, measure, route };
        match self.lookups.wait(&key(to), measure, 2, self.now, &mut one) {
            Fate::Routed(to) => format!("routed {to}"),
            Fate::Waits { asks, evicted } => {
                let evicted = evicted.map_or_else(String::new, |packet| format!(", without {}", packet.from));
                format!("{}{evicted}", if asks { "asks" } else { "waits" })
            }
            Fate::Refused { why, asks } => {
                let why = why.map_or_else(|| "off".into(), |why| why.to_string());
                format!("{why}{}", if asks { ", asks" } else { "" })
            }
        }
    }

    fn say(&mut self, to: u8) -> String {
        self.send(to, PacketKind::Other, None)
    }

    /// What waits for a key, and waits no more.
    fn routed(&self, to: u8) -> Vec<u64> {
        let mut ids = Vec::new();
        self.lookups.routed(&key(to), |packets| ids = packets.iter().map(|packet| packet.from).collect());
        ids
    }

    fn held(&self) -> usize {
        self.lookups.0.lock().bytes
    }
}

#[test]
fn a_key_is_asked_for_once_until_the_answer() {
    let mut crowd = Crowd::new();
    assert_eq!([1, 1, 2].map(|to| crowd.say(to)), ["asks", "waits", "asks"]);
    assert_eq!((crowd.routed(1), crowd.routed(1)), (vec![1, 2], vec![]));
    assert_eq!([1, 2].map(|to| crowd.say(to)), ["asks", "waits"]);
    assert_eq!(crowd.lookups.take(&key(1)).len(), 1);
    assert_eq!(crowd.lookups.missing(&key(2), crowd.now).map(|packets| packets.len()), Some(2));
    assert_eq!(crowd.held(), 0);
}

#[test]
fn packets_leave_in_the_order_in_which_they_came_and_each_kind_has_its_depth() {
    let mut crowd = Crowd::new();
    let mut send = |kind| crowd.send(1, kind, None);
    assert_eq!([PacketKind::Other, PacketKind::Disco, PacketKind::Other].map(&mut send), ["asks", "waits", "waits"]);
    // There is memory for three.
    assert_eq!(send(PacketKind::Other), "lookups:crowded");
    assert_eq!(crowd.routed(1), [1, 2, 3]);
    let mut send = |kind| crowd.send(1, kind, None);
    assert_eq!([PacketKind::Other; 3].map(&mut send), ["asks", "waits", "waits, without 4"]);
    assert_eq!(send(PacketKind::Disco), "waits");
    assert_eq!(crowd.routed(1), [5, 6, 7]);
    assert_eq!(crowd.held(), 0);
}

#[test]
fn a_route_that_was_entered_meanwhile_is_taken() {
    let mut crowd = Crowd::new();
    assert_eq!(crowd.send(1, PacketKind::Other, Some(5)), "routed 5");
    assert_eq!(crowd.copied, 0);
}

#[test]
fn keys_tokens_and_bytes_are_bounded() {
    let mut crowd = Crowd::new();
    crowd.tokens = 2;
    assert_eq!([1, 2, 3, 1].map(|to| crowd.say(to)), ["asks", "asks", "lookups:crowded", "waits"]);
    // Without memory the question is asked all the same.
    crowd.routed(2);
    crowd.say(1);
    crowd.tokens = 1;
    let big = Measure { kind: PacketKind::Other, payload: 300 };
    let mut one = One { tokens: &mut crowd.tokens, copied: &mut crowd.copied, measure: big, route: None };
    let fate = crowd.lookups.wait(&key(2), big, 2, crowd.now, &mut one);
    assert!(matches!(fate, Fate::Refused { why: Some(Counter::LOOKUPS_CROWDED), asks: true }));
    assert_eq!(crowd.say(2), "waits");
    crowd.routed(1);
    assert_eq!((crowd.say(3), crowd.tokens), ("lookups:limited".into(), 0));
}

#[test]
fn a_miss_is_known_for_a_while_and_forgotten_with_a_route_or_a_connection() {
    let mut crowd = Crowd::new();
    let missed = "lookups:missed";
    for to in [1, 2, 3] {
        crowd.lookups.missing(&key(to), crowd.now);
    }
    assert_eq!([2, 3, 1].map(|to| crowd.say(to)), [missed, missed, "asks"]);
    crowd.lookups.found(&key(2));
    crowd.routed(3);
    assert_eq!(crowd.say(2), "asks");
    crowd.routed(1);
    assert_eq!(crowd.say(3), "asks");
    crowd.lookups.missing(&key(3), crowd.now);
    crowd.now += MISS_TIME - Duration::from_millis(1);
    assert_eq!(crowd.say(3), missed);
    crowd.now += Duration::from_millis(1);
    assert_eq!(crowd.say(3), "asks");
}

#[test]
fn without_bounds_nothing_waits_and_nothing_is_remembered() {
    let mut crowd = Crowd::new();
    crowd.say(1);
    crowd.say(2);
    let bounds = crowd.lookups.0.lock().bounds;
    crowd.lookups.missing(&key(3), crowd.now);
    let mut left: Vec<_> = crowd.lookups.bound(None).into_iter().map(|(key, packets)| (key, packets.len())).collect();
    left.sort_unstable();
    assert_eq!(left, [(key(1), 1), (key(2), 1)]);
    assert_eq!(crowd.say(1), "off");
    assert!(crowd.lookups.missing(&key(1), crowd.now).is_none());
    crowd.lookups.bound(bounds);
    assert_eq!((crowd.say(3), crowd.held()), ("asks".into(), 10 + 128));
}

proptest! {
    #[test]
    fn misses_are_the_latest_of_a_list(
        ops in prop::collection::vec((0..4_u8, 0..12_u8), 0..300), most in 0..8_usize,
    ) {
        let mut misses = Misses::default();
        let mut model: Vec<NodeKey> = Vec::new();
        let now = Instant::now();
        for (op, number) in ops {
            let key = key(number);
            model.retain(|known| *known != key);
            if op == 0 {
                misses.forget(&key);
            } else {
                misses.add(&key, most, now);
                model.push(key);
                model.drain(..model.len().saturating_sub(most));
            }
            let known = |number| misses.has(&self::key(number), MISS_TIME, now);
            prop_assert!((0..12).all(|number| known(number) == model.contains(&self::key(number))));
            prop_assert!(misses.noted() <= 2 * model.len() + 9);
        }
    }
}
