//! Keys that are found on demand: packets wait for the control plane's answer.

mod far;
mod support;

use std::sync::Arc;

use derp_net::{Event, LinkChange, LookupBounds, Policy};
use derp_proto::counters::Counter;
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::frame;
use derp_proto::key::NodeKey;
use derp_proto::token_bucket::Rate;
use derp_proto::wire::{DISCO_MAGIC, PeerGoneReason};
use far::{Far, Peer, Target, change, end_of, gone, open, present, target};
use support::{Client, LONG, Relay, policy, secret, until};

fn bounds() -> LookupBounds {
    let rate = Rate { per_second: 1e-9, burst: 10.0 };
    let (keys_per_address, bytes_per_address) = (9, 1 << 20);
    LookupBounds { rate, keys: 8, keys_per_address, bytes: 1 << 20, bytes_per_address, misses: 8, miss_time: LONG }
}

fn on_demand() -> Policy {
    Policy { lookups: Some(bounds()), not_here: Rate { per_second: 1e-9, burst: 3.0 }, ..policy() }
}

fn disco() -> Vec<u8> {
    [&DISCO_MAGIC[..], &[9; 56]].concat()
}

/// What the control plane was told of keys.
fn said_of(relay: &Relay, is_wanted: impl Fn(&Event) -> Option<NodeKey>) -> Vec<NodeKey> {
    relay.said.lock().unwrap().iter().filter_map(is_wanted).collect()
}

fn asked(relay: &Relay) -> Vec<NodeKey> {
    said_of(relay, |event| if let Event::Lookup { key } = event { Some(*key) } else { None })
}

fn heard(relay: &Relay) -> Vec<NodeKey> {
    said_of(relay, |event| if let Event::Heard { key } = event { Some(*key) } else { None })
}

#[track_caller]
fn expect_forwarded(peer: &mut Peer, from: &NodeKey, to: &NodeKey, packet: &[u8]) {
    let frame = peer.read().unwrap();
    assert_eq!(frame, [&frame::forward_packet(from, to, packet.len())[..], packet].concat());
}

fn unknown(relay: &Relay, kind: PacketKind) -> u64 {
    relay.count(Counter::packets_dropped(DropReason::UnknownDest, kind))
}

#[test]
fn packets_wait_for_a_route_and_go_ahead_of_later_ones() {
    let relay = Relay::start(2, on_demand());
    let mut far = Far::listen();
    let mut peer = far.linked(&relay, 1);
    let there = secret(77).public_key();
    let mut clients = [Client::connect(&relay, 1), Client::connect(&relay, 2)];
    let disco = disco();
    for client in &mut clients {
        for packet in [b"one".as_slice(), &disco, b"", &[7; 40_000]] {
            client.send_packet(&there, packet);
        }
        assert!(client.fence().is_empty());
    }
    until("it was asked for", || asked(&relay) == [there]);
    assert_eq!((relay.count(Counter::PACKETS_FORWARDED_OUT), relay.dropped()), (0, 0));
    // A sender that has left takes nothing with it.
    let [first, mut second] = clients;
    let (from, id) = (first.key, relay.id_of(&first.key));
    drop(first);
    relay.end_of(id);
    relay.plane.route(&there, Some(1));
    second.send_packet(&there, b"late");
    for from in [from, second.key] {
        for packet in [b"one".as_slice(), &disco, b"", &[7; 40_000]] {
            expect_forwarded(&mut peer, &from, &there, packet);
        }
    }
    expect_forwarded(&mut peer, &second.key, &there, b"late");
    assert_eq!((relay.count(Counter::PACKETS_FORWARDED_OUT), relay.dropped()), (9, 0));
    assert_eq!((asked(&relay).len(), relay.count(Counter::LOOKUPS_ASKED)), (1, 1));
}

#[test]
fn a_link_takes_packets_as_soon_as_it_is_told_of() {
    let relay = Relay::start(1, on_demand());
    let there = secret(77).public_key();
    let mut client = Client::connect(&relay, 1);
    client.send_packet(&there, b"first");
    assert!(client.fence().is_empty());
    until("it was asked for", || asked(&relay) == [there]);
    // No control plane is faster: it answers on the thread that wakes it.
    let plane = Arc::downgrade(&relay.plane);
    let answer = move || plane.upgrade().into_iter().for_each(|plane| plane.route(&there, Some(1)));
    assert!(relay.at_wake.set(Box::new(answer)).is_ok());
    let mut far = Far::listen();
    relay.plane.dial(1, Target { watch: false, ..target(far.address, None) });
    let mut peer = far.accept();
    peer.let_in();
    expect_forwarded(&mut peer, &client.key, &there, b"first");
    assert_eq!(relay.dropped(), 0);
}

#[test]
fn a_key_that_is_nowhere_is_not_here_for_the_senders_of_discovery_packets() {
    let relay = Relay::start(2, on_demand());
    let there = secret(77).public_key();
    let mut clients = [Client::connect(&relay, 1), Client::connect(&relay, 2)];
    let not_here = frame::peer_gone(&there, PeerGoneReason::NotHere);
    clients[0].send_packet(&there, b"data");
    clients[1].send_packet(&there, &disco());
    assert!(clients.iter_mut().all(|client| client.fence().is_empty()));
    relay.plane.missing(&there);
    assert_eq!(clients[1].read().unwrap(), not_here);
    assert_eq!((unknown(&relay, PacketKind::Other), unknown(&relay, PacketKind::Disco)), (1, 1));
    // It is known to be nowhere now, and nothing is asked.
    clients[0].send_packet(&there, &disco());
    assert_eq!(clients[0].fence(), [not_here.to_vec()]);
    assert_eq!((asked(&relay), relay.count(Counter::LOOKUPS_MISSED)), (vec![there], 1));
    assert_eq!(relay.count(Counter::LOOKUPS_MISSING), 1);
    // Until it comes here, and leaves.
    let here = Client::connect(&relay, 77);
    let id = relay.id_of(&here.key);
    drop(here);
    relay.end_of(id);
    clients[0].send_packet(&there, b"again");
    until("it was asked for again", || asked(&relay) == [there; 2]);
}

#[test]
fn a_waiting_packet_takes_its_not_here_when_it_begins_to_wait() {
    let relay = Relay::start(1, Policy { not_here: Rate { per_second: 1e-9, burst: 1.0 }, ..on_demand() });
    let [there, other] = [77, 78].map(|number| secret(number).public_key());
    let mut client = Client::connect(&relay, 1);
    client.send_packet(&there, &disco());
    client.send_packet(&other, &disco());
    client.fence();
    relay.plane.missing(&other);
    assert!(client.fence().is_empty());
    relay.plane.missing(&there);
    assert_eq!(client.fence(), [frame::peer_gone(&there, PeerGoneReason::NotHere).to_vec()]);
}

#[test]
fn what_waits_is_dropped_if_its_key_is_here_by_then_or_the_link_is_not_open() {
    let relay = Relay::start(2, on_demand());
    let [there, here] = [77, 78].map(|number| secret(number).public_key());
    let mut client = Client::connect(&relay, 1);
    client.send_packet(&there, b"lost");
    client.send_packet(&here, b"lost");
    client.fence();
    relay.plane.route(&there, Some(9));
    assert_eq!(relay.count(Counter::packets_dropped(DropReason::MeshDown, PacketKind::Other)), 1);
    let mut late = Client::connect(&relay, 78);
    client.send_packet(&here, b"found");
    late.expect_packet(&client.key, b"found");
    relay.plane.route(&here, Some(9));
    assert_eq!(unknown(&relay, PacketKind::Other), 1);
    client.send_packet(&here, b"found again");
    late.expect_packet(&client.key, b"found again");
    assert_eq!(relay.count(Counter::PACKETS_FORWARDED_OUT), 1);
}

#[test]
fn a_missing_key_that_is_here_by_then_is_no_miss() {
    let relay = Relay::start(1, on_demand());
    let here = secret(78).public_key();
    let mut client = Client::connect(&relay, 1);
    client.send_packet(&here, &disco());
    client.fence();
    let late = Client::connect(&relay, 78);
    relay.plane.missing(&here);
    assert!(client.fence().is_empty());
    assert_eq!((unknown(&relay, PacketKind::Disco), relay.count(Counter::LOOKUPS_MISSING)), (1, 0));
    let id = relay.id_of(&here);
    drop(late);
    relay.end_of(id);
    client.send_packet(&here, b"data");
    until("it was asked for again", || asked(&relay) == [here; 2]);
}

#[test]
fn a_connection_may_cause_so_many_lookups_and_queues_have_their_depth() {
    let relay = Relay::start(2, Policy { queue_depth: 3, ..on_demand() });
    let mut far = Far::listen();
    let mut peer = far.linked(&relay, 1);
    let keys: Vec<_> = (0..20).map(|number| secret(100 + number).public_key()).collect();
    let mut client = Client::connect(&relay, 1);
    for key in &keys {
        client.send_packet(key, b"anything");
    }
    client.fence();
    until("all were asked for", || asked(&relay) == keys[..8]);
    assert_eq!((relay.count(Counter::LOOKUPS_CROWDED), unknown(&relay, PacketKind::Other)), (12, 12));
    for key in &keys[..7] {
        relay.plane.missing(key);
    }
    for key in &keys[8..12] {
        client.send_packet(key, b"anything");
    }
    client.fence();
    // It had ten tokens, and eight are spent.
    assert_eq!((relay.count(Counter::LOOKUPS_LIMITED), relay.count(Counter::LOOKUPS_ASKED)), (2, 10));
    // Another connection has its own.
    let mut other = Client::connect(&relay, 2);
    other.send_packet(&keys[12], b"anything");
    other.fence();
    assert_eq!(relay.count(Counter::LOOKUPS_ASKED), 11);
    for number in 0..5 {
        client.send_packet(&keys[7], &[number]);
    }
    client.fence();
    assert_eq!(relay.count(Counter::packets_dropped(DropReason::QueueHead, PacketKind::Other)), 3);
    relay.plane.route(&keys[7], Some(1));
    for number in 2..5 {
        expect_forwarded(&mut peer, &client.key, &keys[7], &[number]);
    }
}

#[test]
fn a_policy_without_lookups_answers_what_is_asked_for() {
    let relay = Relay::start(2, on_demand());
    let [there, nowhere] = [77, 78].map(|number| secret(number).public_key());
    let mut client = Client::connect(&relay, 1);
    client.send_packet(&there, &disco());
    client.fence();
    relay.plane.missing(&nowhere);
    relay.plane.policy(Policy { lookups: None, ..on_demand() });
    let not_here = frame::peer_gone(&there, PeerGoneReason::NotHere).to_vec();
    assert_eq!(client.fence(), vec![not_here.clone()]);
    client.send_packet(&there, &disco());
    assert_eq!(client.fence(), [not_here]);
    assert_eq!((relay.count(Counter::LOOKUPS_MISSING), unknown(&relay, PacketKind::Disco)), (2, 2));
    relay.plane.missing(&there);
    relay.plane.policy(on_demand());
    for key in [there, nowhere] {
        client.send_packet(&key, b"data");
    }
    client.fence();
    until("both were asked for", || asked(&relay) == [there, there, nowhere]);
    relay.plane.shutdown();
    assert_eq!(relay.accounted(), relay.received());
}

#[test]
fn a_stale_route_is_answered_whatever_was_forwarded() {
    for (policy, packets, answers) in
        [(on_demand(), [b"data".to_vec(), disco()], 2), (policy(), [b"x".into(), disco()], 1)]
    {
        let relay = Relay::start(1, policy);
        let [there, from] = [77, 78].map(|number| secret(number).public_key());
        let mut peer = Peer::mesh_client(&relay, 9);
        for packet in &packets {
            peer.send(&[&frame::forward_packet(&from, &there, packet.len())[..], packet].concat());
        }
        assert_eq!(peer.fence(), vec![frame::peer_gone(&there, PeerGoneReason::NotHere).to_vec(); answers]);
        assert_eq!((asked(&relay).len(), relay.count(Counter::LOOKUPS_ASKED)), (0, 0));
    }
}

#[test]
fn a_source_from_elsewhere_is_heard_once() {
    let relay = Relay::start(2, on_demand());
    let [there, other] = [77, 78].map(|number| secret(number).public_key());
    let mut clients = [Client::connect(&relay, 1), Client::connect(&relay, 2)];
    let [one, two] = clients.each_ref().map(|client| client.key);
    let mut peer = Peer::mesh_client(&relay, 9);
    let mut forward = |from: &NodeKey, to: usize, clients: &mut [Client; 2]| {
        peer.send(&[&frame::forward_packet(from, &[one, two][to], 4)[..], b"data"].concat());
        clients[to].expect_packet(from, b"data");
    };
    // A client that is here is none.
    clients[0].send_packet(&two, b"data");
    clients[1].expect_packet(&one, b"data");
    for (from, to) in [(&there, 0), (&there, 1), (&there, 0), (&one, 1), (&other, 1)] {
        forward(from, to, &mut clients);
    }
    until("both were heard", || heard(&relay).len() >= 2);
    relay.plane.gone(&there, PeerGoneReason::Disconnected);
    for client in &mut clients {
        client.expect_gone(&there);
    }
    forward(&there, 1, &mut clients);
    until("it was heard again", || heard(&relay).len() >= 3);
    let mut heard = heard(&relay);
    heard[..2].sort_unstable();
    let mut wanted = [there, other];
    wanted.sort_unstable();
    assert_eq!(heard, [wanted[0], wanted[1], there]);
}

#[test]
fn a_link_that_does_not_watch_hears_of_those_that_are_not_there_alone() {
    let relay = Relay::start(1, on_demand());
    let mut far = Far::listen();
    relay.plane.dial(1, derp_net::Target { watch: false, ..target(far.address, None) });
    let mut peer = far.accept();
    peer.let_in();
    open(&relay, 1);
    let [there, other] = [77, 78].map(|number| secret(number).public_key());
    peer.send(&[present(&other), gone(&there)].concat());
    peer.expect_quiet();
    let changes =
        |event: &Event| if let Event::LinkPeers { changes, .. } = event { Some(changes.clone()) } else { None };
    let said: Vec<LinkChange> = relay.until_said(changes);
    assert_eq!(said, [change(&there, false)]);
    drop(peer);
    end_of(&relay, 1);
}
