//! Every interleaving of an answer with packets that look for a route.

use ::loom::thread;
use derp_proto::drop_reason::PacketKind;
use derp_proto::sync::{Arc, AtomicBool, Mutex, Ordering};

use super::*;

const KEY: NodeKey = NodeKey::from_bytes([7; 32]);
const BOUNDS: LookupBounds = LookupBounds {
    rate: Rate { per_second: 1.0, burst: 1.0 },
    keys: 1,
    keys_per_address: 1,
    bytes: usize::MAX,
    bytes_per_address: usize::MAX,
    misses: 1,
    miss_time: std::time::Duration::MAX,
};

/// A worker's packet: which worker, and which one of its packets.
type Sent = (u64, usize);

/// A plane with one key, and the link that leads to it once there is a route.
#[derive(Default)]
struct Plane {
    lookups: Lookups,
    route: AtomicBool,
    link: Mutex<Vec<Sent>>,
    dropped: Mutex<Vec<Sent>>,
}

struct One<'a>(&'a Plane, Sent, &'a NodeKey);

impl Sender for One<'_> {
    type Route = ();

    fn route(&mut self) -> Option<()> {
        (*self.2 == KEY && self.0.route.load(Ordering::Acquire)).then_some(())
    }

    fn asker(&self) -> Asker {
        Asker::Conn(self.1.0)
    }

    fn may_ask(&mut self, _: Rate) -> bool {
        true
    }

    fn packet(&mut self) -> WaitingPacket {
        let (from, payload) = self.1;
        let measure = Measure { kind: PacketKind::Other, payload };
        let (is_answered, is_uncounted, body) = (false, false, Box::default());
        WaitingPacket { from, source: KEY, measure, is_answered, is_uncounted, body }
    }
}

impl Plane {
    fn new() -> Arc<Self> {
        let plane = Self::default();
        plane.lookups.bound(Some(BOUNDS));
        Arc::new(plane)
    }

    /// As a worker does with a packet.
    fn send(&self, sent: Sent) {
        self.send_to(&KEY, sent);
    }

    fn send_to(&self, key: &NodeKey, sent: Sent) {
        let mut one = One(self, sent, key);
        if one.route().is_some() {
            return self.link.lock().unwrap().push(sent);
        }
        let measure = Measure { kind: PacketKind::Other, payload: sent.1 };
        let Verdict { fate, evicted } = self.lookups.wait(key, measure, 9, Instant::now(), &mut one);
        let evicted = evicted.iter().flat_map(|(_, packets)| packets).map(sent_of);
        self.dropped.lock().unwrap().extend(evicted);
        match fate {
            Fate::Routed(()) => self.link.lock().unwrap().push(sent),
            Fate::Waits { .. } => {}
            Fate::Refused { .. } => self.dropped.lock().unwrap().push(sent),
        }
    }

    /// As the control plane's thread does.
    fn route(&self) {
        self.lookups.routed(&KEY, |packets| {
            self.link.lock().unwrap().extend(packets.iter().map(sent_of));
            self.route.store(true, Ordering::Release);
        });
    }
}

fn sent_of(packet: &WaitingPacket) -> Sent {
    (packet.from, packet.measure.payload)
}

/// Packets of one worker, in their order.
#[track_caller]
fn assert_order(list: &[Sent], by: u64, count: usize) {
    let of: Vec<usize> = list.iter().filter(|sent| sent.0 == by).map(|sent| sent.1).collect();
    assert_eq!(of, (0..count).collect::<Vec<_>>(), "packets of {by}: {list:?}");
}

#[test]
fn no_packet_is_lost_and_none_overtakes_while_a_route_is_entered() {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(4);
    builder.check(|| {
        let plane = Plane::new();
        let other = {
            let plane = Arc::clone(&plane);
            thread::spawn(move || (0..2).for_each(|number| plane.send((1, number))))
        };
        let answer = {
            let plane = Arc::clone(&plane);
            thread::spawn(move || plane.route())
        };
        plane.send((0, 0));
        plane.send((0, 1));
        other.join().unwrap();
        answer.join().unwrap();
        let link = plane.link.lock().unwrap();
        assert_order(&link, 0, 2);
        assert_order(&link, 1, 2);
        assert!(plane.lookups.take(&KEY).is_empty());
    });
}

#[test]
fn no_packet_stays_when_lookups_end() {
    ::loom::model(|| {
        let plane = Plane::new();
        let worker = {
            let plane = Arc::clone(&plane);
            thread::spawn(move || (0..2).for_each(|number| plane.send((1, number))))
        };
        let waited: usize = plane.lookups.bound(None).iter().map(|(_, packets)| packets.len()).sum();
        worker.join().unwrap();
        assert_eq!(waited + plane.dropped.lock().unwrap().len(), 2);
        assert!(plane.lookups.take(&KEY).is_empty());
    });
}

#[test]
fn a_packet_goes_one_way_while_its_key_makes_room_and_is_answered() {
    ::loom::model(|| {
        let plane = Plane::new();
        plane.lookups.bound(Some(LookupBounds { keys: 2, keys_per_address: 2, ..BOUNDS }));
        let others = [8, 9].map(|number| NodeKey::from_bytes([number; 32]));
        plane.send((0, 0));
        plane.send_to(&others[0], (0, 1));
        let newcomer = {
            let plane = Arc::clone(&plane);
            thread::spawn(move || plane.send_to(&others[1], (1, 0)))
        };
        let answer = {
            let plane = Arc::clone(&plane);
            thread::spawn(move || plane.route())
        };
        newcomer.join().unwrap();
        answer.join().unwrap();
        let link = plane.link.lock().unwrap().clone();
        let dropped = plane.dropped.lock().unwrap().clone();
        assert_eq!([link, dropped].concat(), [(0, 0)]);
        assert_eq!(others.map(|key| plane.lookups.take(&key).len()), [1, 1]);
        let state = plane.lookups.0.lock();
        assert_eq!((state.asked.len(), state.keys.total(), state.memory.total()), (0, 0, 0));
    });
}
