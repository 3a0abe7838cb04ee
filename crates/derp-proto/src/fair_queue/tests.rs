use proptest::prelude::*;

use super::*;

const DEPTH: usize = 32;

fn source(number: u8) -> NodeKey {
    NodeKey::from_bytes([number; 32])
}

/// A queue of (source, number), and the rate at which it drains.
struct Rig {
    queue: FairQueue<(u8, u32)>,
    rate: DrainRate,
    sent: HashMap<u8, u32>,
    dropped: Vec<(DropReason, (u8, u32))>,
    now: u64,
}

impl Rig {
    fn new() -> Self {
        let rate = DrainRate::new();
        Self { queue: FairQueue::new(), rate, sent: HashMap::new(), dropped: Vec::new(), now: 0 }
    }

    fn push(&mut self, from: u8, bytes: usize) {
        let number = self.sent.entry(from).or_default();
        *number += 1;
        let item = (from, *number);
        if let Some((reason, (item, _))) = self.queue.push(&source(from), bytes, item, DEPTH, self.now) {
            self.dropped.push((reason, item));
        }
    }

    fn pop(&mut self) -> Option<(u8, u32)> {
        self.rate.moves(self.now);
        let mut late = Vec::new();
        let next = self.queue.pop(&mut self.rate, self.now, |(item, _)| late.push((DropReason::QueueAge, item)));
        self.dropped.extend(late);
        next.map(|(item, _)| item)
    }

    fn pop_all(&mut self) -> Vec<(u8, u32)> {
        std::iter::from_fn(|| self.pop()).collect()
    }

    fn dropped_of(&self, reason: DropReason) -> usize {
        self.dropped.iter().filter(|(why, _)| *why == reason).count()
    }
}

#[test]
fn one_source_is_a_list_that_is_cut_at_its_head() {
    let mut rig = Rig::new();
    (0..50).for_each(|_| rig.push(1, 100));
    assert_eq!(rig.dropped, (1..=18).map(|number| (DropReason::QueueHead, (1, number))).collect::<Vec<_>>());
    assert_eq!(rig.pop_all(), (19..=50).map(|number| (1, number)).collect::<Vec<_>>());
}

#[test]
fn without_depth_the_new_one_goes() {
    let mut queue = FairQueue::new();
    assert_eq!(queue.push(&source(1), 100, 7, 0, 3), Some((DropReason::QueueTail, (7, 3))));
    assert!(queue.is_empty());
}

#[test]
fn an_empty_queue_holds_no_memory() {
    let mut rig = Rig::new();
    for round in 0..3 {
        (0..40).for_each(|number| rig.push(number, 100));
        if round == 1 {
            assert_eq!(rig.queue.drain().count(), DEPTH);
        } else {
            while rig.pop().is_some() {}
        }
        let FairQueue { flows, bytes, places, free, new, old, .. } = &rig.queue;
        assert_eq!([flows.capacity(), bytes.capacity(), free.capacity(), new.capacity(), old.capacity()], [0; 5]);
        assert_eq!(places.capacity(), 0);
    }
}

#[test]
fn who_has_the_most_bytes_makes_room() {
    let mut rig = Rig::new();
    (0..30).for_each(|_| rig.push(1, 100));
    (0..2).for_each(|_| rig.push(2, 2000));
    rig.push(3, 10);
    rig.push(3, 10);
    assert_eq!(rig.dropped, [(DropReason::QueueHead, (2, 1)), (DropReason::QueueHead, (1, 1))]);
}

#[test]
fn of_sources_with_as_many_bytes_the_one_with_the_older_packet_makes_room() {
    let mut rig = Rig::new();
    rig.push(1, 100);
    rig.push(2, 100);
    assert_eq!(rig.pop(), Some((1, 1)));
    rig.push(1, 100);
    assert_eq!(rig.queue.evict().map(|(item, _)| item), Some((2, 1)));
    assert_eq!(rig.queue.evict().map(|(item, _)| item), Some((1, 2)));
}

#[test]
fn a_sparse_source_goes_first_and_bulk_takes_turns_by_bytes() {
    let mut rig = Rig::new();
    (0..10).for_each(|_| rig.push(1, 1500));
    (0..10).for_each(|_| rig.push(2, 500));
    assert_eq!(rig.pop(), Some((1, 1)));
    rig.push(3, 100);
    assert_eq!(rig.pop().map(|(from, _)| from), Some(1), "what a turn has begun it may use up");
    assert_eq!((0..4).map(|_| rig.pop().unwrap().0).collect::<Vec<_>>(), [2, 2, 2, 2]);
    assert_eq!(rig.pop(), Some((3, 1)));
    // From here on both are old, and get as many bytes each.
    let next: Vec<u8> = (0..8).map(|_| rig.pop().unwrap().0).collect();
    let bytes = |of: u8, each: usize| each * next.iter().filter(|from| **from == of).count();
    assert!(bytes(1, 1500).abs_diff(bytes(2, 500)) <= 1500, "{next:?}");
}

/// Whoever sends a packet each time its last one has left is not first each time.
#[test]
fn who_comes_anew_each_time_does_not_starve_the_others() {
    let mut rig = Rig::new();
    (0..31).for_each(|_| rig.push(1, 1500));
    let mut others = 0;
    for _ in 0..40 {
        rig.push(2, 1500);
        others += usize::from(rig.pop().is_some_and(|(from, _)| from == 1));
    }
    assert!(others >= 15, "{others} of 40");
}

#[test]
fn sources_without_packets_are_bounded() {
    let mut rig = Rig::new();
    (0..4).for_each(|_| rig.push(255, 1500));
    for number in 0..10_000_u32 {
        let key = NodeKey::from_bytes(std::array::from_fn(|at| number.to_be_bytes()[at % 4] | 1));
        let evicted = rig.queue.push(&key, 10, (0, number), DEPTH, 0);
        assert!(evicted.is_none());
        rig.rate.moves(0);
        rig.queue.pop(&mut rig.rate, 0, |_| panic!("nothing is late"));
        assert!(rig.queue.places.len() <= 2 * DEPTH);
        assert!(rig.queue.flows.len() <= 2 * DEPTH);
    }
}

/// A link that takes a packet in each `packet_time`, and is offered two.
fn overloaded(seconds: u64, packet_time: u64) -> Rig {
    let mut rig = Rig::new();
    let mut received = 0;
    for step in 0..seconds * 1_000_000 / packet_time {
        rig.now = 1_000_000 + step * packet_time;
        rig.push(1, 1250);
        rig.push(1, 1250);
        received += usize::from(rig.pop().is_some());
    }
    assert_eq!(rig.sent[&1] as usize, received + rig.dropped.len() + rig.queue.len());
    rig
}

#[test]
fn what_stands_for_too_long_is_dropped_at_the_head() {
    let rig = overloaded(10, 10_000);
    assert!(rig.dropped_of(DropReason::QueueAge) > 500, "{}", rig.dropped_of(DropReason::QueueAge));
    // The queue has become short: two packets' time is what they may stand.
    assert!(rig.queue.len() < 6, "{}", rig.queue.len());
}

#[test]
fn a_reader_that_pauses_gets_the_newest() {
    for pause in [150_000, 3_000_000] {
        let mut rig = overloaded(4, 10_000);
        rig.dropped.clear();
        (0..100).for_each(|_| rig.push(1, 1250));
        let newest = rig.sent[&1] - DEPTH as u32 + 1..=rig.sent[&1];
        rig.now += pause;
        // However slowly it takes them.
        let mut got = Vec::new();
        while let Some((_, number)) = rig.pop() {
            got.push(number);
            rig.now += 20_000;
        }
        assert_eq!(got, newest.collect::<Vec<_>>(), "{pause}");
        assert_eq!(rig.dropped_of(DropReason::QueueAge), 0);
    }
}

#[derive(Clone, Debug)]
enum Op {
    Push { from: u8, bytes: usize, depth: usize },
    Pop,
    Evict,
    Wait(u64),
    Drain,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (0..5_u8, 0..3000_usize, 0..12_usize).prop_map(|(from, bytes, depth)| Op::Push { from, bytes, depth }),
        6 => Just(Op::Pop),
        1 => Just(Op::Evict),
        4 => (0..60_000_u64).prop_map(Op::Wait),
        1 => Just(Op::Drain),
    ]
}

proptest! {
    /// Whatever happens: each packet leaves once, each source's in their order, and the last of a source is never too old.
    #[test]
    fn nothing_is_lost_or_doubled_and_order_stays(ops in prop::collection::vec(op(), 0..300)) {
        let mut queue = FairQueue::new();
        let mut rate = DrainRate::new();
        let (mut now, mut number) = (0, 0_u32);
        let mut waiting: HashMap<u8, VecDeque<u32>> = HashMap::new();
        let mut length = 0;
        for op in ops {
            let mut gone: Vec<(u8, u32)> = Vec::new();
            match op {
                Op::Push { from, bytes, depth } => {
                    number += 1;
                    let pushed = queue.push(&source(from), bytes, (from, number), depth, now);
                    if depth == 0 {
                        prop_assert_eq!(pushed, Some((DropReason::QueueTail, ((from, number), now))));
                        continue;
                    }
                    waiting.entry(from).or_default().push_back(number);
                    prop_assert_eq!(pushed.is_some(), length + 1 > depth);
                    gone.extend(pushed.map(|(_, (item, _))| item));
                    length += 1;
                }
                Op::Pop => {
                    rate.moves(now);
                    let mut late = Vec::new();
                    let next = queue.pop(&mut rate, now, |(item, _)| late.push(item));
                    prop_assert_eq!(next.is_some(), length > 0);
                    for (from, _) in &late {
                        prop_assert!(next.is_some_and(|((of, _), _)| of == *from) || waiting[from].len() > 1);
                    }
                    gone.extend(late);
                    gone.extend(next.map(|(item, _)| item));
                }
                Op::Evict => {
                    let evicted = queue.evict();
                    prop_assert_eq!(evicted.is_some(), length > 0);
                    gone.extend(evicted.map(|(item, _)| item));
                }
                Op::Wait(time) => now += time,
                Op::Drain => gone.extend(queue.drain()),
            }
            for (from, number) in gone {
                prop_assert_eq!(waiting.get_mut(&from).and_then(VecDeque::pop_front), Some(number));
                length -= 1;
            }
            prop_assert_eq!((queue.len(), queue.is_empty()), (length, length == 0));
        }
    }
}
