use std::time::Duration;

use derp_proto::drop_reason::PacketKind;
use proptest::prelude::*;

use super::*;

const RATE: Rate = Rate { per_second: 1.0, burst: 1.0 };
/// Room for three packets of 10 bytes.
const BYTES: usize = 3 * (10 + 128);
const MISS_TIME: Duration = Duration::from_secs(2);
const BOUNDS: LookupBounds = LookupBounds {
    rate: RATE,
    keys: 2,
    keys_per_address: 9,
    bytes: BYTES,
    bytes_per_address: 1 << 20,
    misses: 2,
    miss_time: MISS_TIME,
};

fn key(number: u8) -> NodeKey {
    NodeKey::from_bytes([number; 32])
}

/// Sends packets, numbered in the order in which they are copied.
struct Crowd {
    lookups: Lookups,
    now: Instant,
    tokens: usize,
    copied: u64,
    /// The address that sends.
    from: u64,
}

/// One packet of it.
struct One<'a> {
    tokens: &'a mut usize,
    copied: &'a mut u64,
    measure: Measure,
    route: Option<u8>,
    from: u64,
}

impl Sender for One<'_> {
    type Route = u8;

    fn route(&mut self) -> Option<u8> {
        self.route
    }

    fn asker(&self) -> Asker {
        Asker::Conn(self.from)
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
        Self::with(BOUNDS)
    }

    fn with(bounds: LookupBounds) -> Self {
        let lookups = Lookups::default();
        assert!(lookups.bound(Some(bounds)).is_empty());
        Self { lookups, now: Instant::now(), tokens: 100, copied: 0, from: 0 }
    }

    fn send(&mut self, to: u8, kind: PacketKind, route: Option<u8>) -> String {
        let measure = Measure { kind, payload: 10 };
        let mut one = One { tokens: &mut self.tokens, copied: &mut self.copied, measure, route, from: self.from };
        let Verdict { fate, evicted } = self.lookups.wait(&key(to), measure, 2, self.now, &mut one);
        let made = evicted.into_iter().map(|(key, packets)| {
            let ids: Vec<_> = packets.iter().map(|packet| packet.from).collect();
            format!(", {} made room with {ids:?}", key.as_bytes()[0])
        });
        let made: String = made.collect();
        let fate = match fate {
            Fate::Routed(to) => format!("routed {to}"),
            Fate::Waits { asks, evicted } => {
                let evicted = evicted.map_or_else(String::new, |packet| format!(", without {}", packet.from));
                format!("{}{evicted}", if asks { "asks" } else { "waits" })
            }
            Fate::Refused { why, asks } => {
                let why = why.map_or_else(|| "off".into(), |why| why.to_string());
                format!("{why}{}", if asks { ", asks" } else { "" })
            }
        };
        fate + &made
    }

    /// As another address.
    fn as_of(&mut self, from: u64) -> &mut Self {
        self.from = from;
        self
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
        self.lookups.0.lock().memory.total()
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
    let mut one = One { tokens: &mut crowd.tokens, copied: &mut crowd.copied, measure: big, route: None, from: 0 };
    let Verdict { fate, .. } = crowd.lookups.wait(&key(2), big, 2, crowd.now, &mut one);
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

/// Room for four keys, of which one address may have three.
fn crowd_of_addresses() -> Crowd {
    Crowd::with(LookupBounds { keys: 4, keys_per_address: 3, bytes: 1 << 20, ..BOUNDS })
}

#[track_caller]
fn asks<const N: usize>(crowd: &mut Crowd, keys: [u8; N]) {
    assert_eq!(keys.map(|to| crowd.say(to)), ["asks"; N]);
}

#[test]
fn an_address_has_a_share_of_the_keys() {
    let mut crowd = crowd_of_addresses();
    assert_eq!([1, 2, 3, 4, 3].map(|to| crowd.say(to)), ["asks", "asks", "asks", "lookups:share", "waits"]);
    assert_eq!(crowd.tokens, 97);
    crowd.routed(1);
    assert_eq!(crowd.say(4), "asks");
}

#[test]
fn the_oldest_key_of_the_address_with_the_most_makes_room() {
    let mut crowd = crowd_of_addresses();
    asks(&mut crowd, [1, 2, 3]);
    crowd.say(1);
    assert_eq!(crowd.as_of(1).say(4), "asks");
    assert_eq!(crowd.as_of(2).say(5), "asks, 1 made room with [1, 4]");
    // Two keys have as many digits as the newcomer's two would have.
    assert_eq!(crowd.as_of(1).say(6), "lookups:crowded");
    assert_eq!(crowd.as_of(3).say(6), "asks, 2 made room with [2]");
    // One each.
    assert_eq!(crowd.as_of(4).say(7), "lookups:crowded");
    // What has made room is asked for still, and takes no token when it is asked for again.
    crowd.routed(3);
    let tokens = crowd.tokens;
    assert_eq!([1, 1].map(|to| crowd.as_of(4).say(to)), ["waits", "waits"]);
    assert_eq!((crowd.tokens, crowd.routed(1).len()), (tokens, 2));
    assert_eq!(crowd.routed(2), []);
    assert_eq!(crowd.lookups.0.lock().keys.total(), 3);
    for to in [4, 5, 6] {
        crowd.routed(to);
    }
    let state = crowd.lookups.0.lock();
    assert_eq!((state.keys.total(), state.memory.total(), state.asked.len()), (0, 0, 0));
}

#[test]
fn keys_that_have_made_room_and_are_not_answered_are_bounded() {
    let mut crowd = Crowd::with(LookupBounds { bytes: 1 << 20, ..BOUNDS });
    for to in [1, 3] {
        assert_eq!([to, to + 1].map(|to| crowd.as_of(0).say(to)), ["asks", "asks"]);
        assert_eq!(crowd.as_of(1).say(10 + to), format!("asks, {to} made room with [{}]", crowd.copied - 2));
        crowd.routed(to + 1);
        crowd.routed(10 + to);
    }
    crowd.as_of(0);
    asks(&mut crowd, [5, 6]);
    assert_eq!(crowd.as_of(1).say(20), "lookups:crowded");
    crowd.routed(1);
    assert_eq!(crowd.as_of(1).say(20), "asks, 5 made room with [7]");
}

#[test]
fn a_key_for_which_a_packet_of_another_address_waits_counts_for_that_one_instead() {
    let mut crowd = crowd_of_addresses();
    asks(&mut crowd, [1, 2, 3]);
    assert_eq!(crowd.as_of(1).say(4), "asks");
    assert_eq!(crowd.as_of(2).say(1), "waits");
    assert_eq!(crowd.as_of(3).say(5), "asks, 2 made room with [2]");
    assert_eq!(crowd.routed(1), [1, 5]);
}

#[test]
fn an_address_has_a_share_of_the_bytes() {
    let mut crowd = Crowd::with(LookupBounds { bytes_per_address: BYTES / 3, ..BOUNDS });
    assert_eq!([1, 1, 2].map(|to| crowd.say(to)), ["asks", "lookups:share", "lookups:share, asks"]);
    assert_eq!(crowd.as_of(1).say(2), "waits");
    assert_eq!(crowd.routed(2), [2]);
}

#[test]
fn the_oldest_packet_of_the_address_with_the_most_bytes_makes_room() {
    let mut crowd = Crowd::with(LookupBounds { keys: 9, ..BOUNDS });
    assert_eq!([1, 2, 1].map(|to| crowd.say(to)), ["asks", "asks", "waits"]);
    assert_eq!(crowd.as_of(1).say(2), "waits, 1 made room with [1]");
    assert_eq!(crowd.as_of(2).say(3), "asks, 2 made room with [2]");
    // One each.
    assert_eq!(crowd.as_of(3).say(3), "lookups:crowded");
    assert_eq!((crowd.routed(1), crowd.routed(2), crowd.routed(3)), (vec![3], vec![4], vec![5]));
    assert_eq!(crowd.held(), 0);
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
