//! Links to other relays: real ones, and whatever else may answer there.

mod far;
mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use derp_net::{Event, LinkChange, Policy};
use derp_proto::counters::Counter;
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::frame;
use derp_proto::wire::{DISCO_MAGIC, FrameType, HEADER_LENGTH, PeerGoneReason};
use far::{Far, change, dial, end_of, gone, open, present, target};
use support::{Client, Relay, policy, secret, until};

#[test]
fn packets_cross_in_order_and_bring_their_source() {
    for workers in [1, 2] {
        let relay = Relay::start(workers, policy());
        let mut far = Far::listen();
        let mut peer = far.linked(&relay, 1);
        let there = secret(77).public_key();
        relay.plane.route(&there, Some(1));
        let mut clients = [Client::connect(&relay, 1), Client::connect(&relay, 2)];
        let mut next = [0, 1];
        for burst in 0..10_usize {
            for number in burst * 30..(burst + 1) * 30 {
                clients[number % 2].send_packet(&there, &vec![number as u8; number * 40]);
            }
            for _ in 0..30 {
                let frame = peer.read().unwrap();
                let from = usize::from(frame[HEADER_LENGTH..][..32] != clients[0].key.as_bytes()[..]);
                let number = next[from];
                next[from] += 2;
                let packet = vec![number as u8; number * 40];
                let head = frame::forward_packet(&clients[from].key, &there, packet.len());
                assert!(frame == [&head[..], &packet].concat(), "packet {number} is another one");
            }
        }
        assert_eq!(relay.count(Counter::PACKETS_FORWARDED_OUT), 300);
        assert_eq!((relay.count(Counter::PACKETS_SENT), relay.dropped()), (0, 0));
        let [figures] = relay.plane.links()[..] else { panic!("there is one link") };
        let bytes = (0..300).map(|number| number * 40).sum::<u64>();
        assert_eq!((figures.id, figures.packets_sent, figures.bytes_sent), (1, 300, bytes));
        assert_eq!(relay.plane.snapshot(0, 9).0, 2);
    }
}

#[test]
fn a_whole_packet_is_the_longest_there_is() {
    let relay = Relay::start(1, policy());
    let mut far = Far::listen();
    let mut peer = far.linked(&relay, 1);
    let there = secret(77).public_key();
    relay.plane.route(&there, Some(1));
    let mut client = Client::connect(&relay, 1);
    for length in [0, 1, 65_536] {
        client.send_packet(&there, &vec![7; length]);
        let frame = peer.read().unwrap();
        assert_eq!(frame, [&frame::forward_packet(&client.key, &there, length)[..], &vec![7; length]].concat());
    }
}

#[test]
fn who_is_here_wins_over_a_link() {
    let relay = Relay::start(2, policy());
    let mut far = Far::listen();
    let mut peer = far.linked(&relay, 1);
    let b = secret(2).public_key();
    let mut a = Client::connect(&relay, 1);
    let to_far = |peer: &mut far::Peer, packet: &[u8]| {
        let frame = peer.read().unwrap();
        assert_eq!(frame, [&frame::forward_packet(&secret(1).public_key(), &b, packet.len())[..], packet].concat());
    };
    relay.plane.route(&b, Some(1));
    a.send_packet(&b, b"one");
    to_far(&mut peer, b"one");
    // The same sender, which remembers where it has sent to.
    let mut here = Client::connect(&relay, 2);
    a.send_packet(&b, b"two");
    here.expect_packet(&a.key, b"two");
    let mut again = Client::connect(&relay, 2);
    a.send_packet(&b, b"three");
    again.expect_packet(&a.key, b"three");
    // Routes change underneath: that is for later.
    relay.plane.route(&b, None);
    relay.plane.route(&b, Some(1));
    a.send_packet(&b, b"four");
    again.expect_packet(&a.key, b"four");
    drop((again, here));
    until("they have left", || relay.plane.snapshot(0, 9).0 == 1);
    a.send_packet(&b, b"five");
    to_far(&mut peer, b"five");
    relay.plane.route(&b, None);
    a.send_packet(&b, b"six");
    assert!(a.fence().iter().all(|frame| frame[0] == FrameType::PeerGone as u8));
    assert_eq!(relay.count(Counter::packets_dropped(DropReason::UnknownDest, PacketKind::Other)), 1);
    assert_eq!(relay.count(Counter::PACKETS_FORWARDED_OUT), 2);
}

#[test]
fn a_route_outlives_its_link() {
    let relay = Relay::start(2, policy());
    let there = secret(77).public_key();
    let mut client = Client::connect(&relay, 1);
    let down = || relay.count(Counter::packets_dropped(DropReason::MeshDown, PacketKind::Other));
    let disco = [&DISCO_MAGIC[..], &[9; 56]].concat();
    // One that there never was, and one whose end is not read of yet.
    relay.plane.route(&there, Some(5));
    client.send_packet(&there, b"lost");
    assert_eq!((client.fence().len(), down()), (0, 1));
    let mut far = Far::listen();
    let peer = far.linked(&relay, 1);
    relay.plane.route(&there, Some(1));
    drop(peer);
    assert_eq!(end_of(&relay, 1), "the relay closed the connection");
    client.send_packet(&there, b"lost");
    client.send_packet(&there, &disco);
    // Whether the destination is there nobody knows.
    assert_eq!((client.fence().len(), down()), (0, 2));
    assert_eq!(relay.count(Counter::packets_dropped(DropReason::MeshDown, PacketKind::Disco)), 1);
    assert_eq!(relay.count(Counter::PACKETS_FORWARDED_OUT), 3);
    relay.plane.route(&there, None);
    client.send_packet(&there, &disco);
    assert_eq!(client.fence(), [frame::peer_gone(&there, PeerGoneReason::NotHere).to_vec()]);
}

#[test]
fn what_a_peer_forwards_goes_no_further() {
    let relay = Relay::start(2, policy());
    let mut far = Far::listen();
    let mut out = far.linked(&relay, 1);
    let (there, from) = (secret(77).public_key(), secret(78).public_key());
    relay.plane.route(&there, Some(1));
    let mut back = far::Peer::mesh_client(&relay, 9);
    let disco = [&DISCO_MAGIC[..], &[9; 56]].concat();
    for packet in [&b"data"[..], &disco] {
        back.send(&[&frame::forward_packet(&from, &there, packet.len())[..], packet].concat());
    }
    // The peer hears that the destination is not here, as it would without the route.
    assert_eq!(back.read().unwrap(), frame::peer_gone(&there, PeerGoneReason::NotHere));
    assert_eq!(relay.count(Counter::PACKETS_FORWARDED_IN), 2);
    assert_eq!(relay.count(Counter::PACKETS_FORWARDED_OUT), 0);
    out.expect_quiet();
}

#[test]
fn what_the_relay_says_comes_in_its_order() {
    let relay = Relay::start(2, policy());
    let mut far = Far::listen();
    let mut peer = far.linked(&relay, 1);
    let keys: Vec<_> = (0..5000).map(|number| secret(1000 + number).public_key()).collect();
    let mut wanted = Vec::new();
    let mut bytes = Vec::new();
    for (number, key) in keys.iter().enumerate() {
        wanted.push(change(key, true));
        bytes.extend(present(key));
        if number % 3 == 0 {
            wanted.push(change(key, false));
            bytes.extend(gone(key));
        }
        if number % 100 == 0 {
            // What a link passes over, and what it answers.
            bytes.extend(frame::KEEP_ALIVE);
            bytes.extend(frame::header(FrameType::RecvPacket, 70_000));
            bytes.extend([1; 70_000]);
            bytes.extend(frame::header(FrameType::PeerPresent, 5));
            bytes.extend([2; 5]);
        }
    }
    bytes.extend(frame::ping(b"are you?"));
    peer.send(&bytes);
    assert_eq!(peer.read().unwrap(), frame::pong(b"are you?"));
    until("everything was said", || changes(&relay).len() >= wanted.len());
    assert_eq!(changes(&relay), wanted);
    assert_eq!(relay.plane.links()[0].packets_received, wanted.len() as u64);
    drop(peer);
    end_of(&relay, 1);
    assert_eq!(ends(&relay), 1);
}

fn changes(relay: &Relay) -> Vec<LinkChange> {
    let said = relay.said.lock().unwrap();
    let of = |event: &Event| match event {
        Event::LinkPeers { changes, .. } => changes.clone(),
        _ => Vec::new(),
    };
    said.iter().flat_map(of).collect()
}

fn ends(relay: &Relay) -> usize {
    relay.said.lock().unwrap().iter().filter(|event| matches!(event, Event::LinkClosed { .. })).count()
}

#[test]
fn a_link_waits_for_whoever_listens() {
    let plane = far::deaf_plane();
    let mut far = Far::listen();
    plane.dial(1, target(far.address, None));
    let mut peer = far.accept();
    peer.let_in();
    // Nobody takes the event that the link is open: what comes behind it is read once, and then no more.
    peer.stream.set_nonblocking(true).unwrap();
    let flood = present(&secret(5).public_key()).repeat(1000);
    let mut sent = 0;
    let mut idle = 0;
    while idle < 50 {
        assert!(sent < 64 << 20, "it is read, and kept somewhere");
        match peer.stream.write(&flood[sent % flood.len()..]) {
            Ok(count) => (sent, idle) = (sent + count, 0),
            Err(_) => {
                idle += 1;
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }
    let told = |events: Vec<Event>| -> usize {
        let of = |event| if let Event::LinkPeers { changes, .. } = event { changes.len() } else { 0 };
        events.into_iter().map(of).sum()
    };
    let first = told(plane.take_events());
    assert!(first < 128 << 10, "{first}");
    let mut all = first;
    let whole = sent / present(&secret(5).public_key()).len();
    until("the rest is read", || {
        all += told(plane.take_events());
        all == whole
    });
    plane.shutdown();
}

#[test]
fn a_relay_that_takes_nothing_is_no_hindrance() {
    let policy = Policy { link_write_deadline: Some(Duration::from_millis(500)), link_queue_depth: 16, ..policy() };
    let relay = Relay::start(2, policy);
    let mut far = Far::listen();
    let _peer = far.linked(&relay, 1);
    let there = secret(77).public_key();
    relay.plane.route(&there, Some(1));
    let mut a = Client::connect(&relay, 1);
    let mut b = Client::connect(&relay, 2);
    let mut sent = 0;
    let full = || relay.count(Counter::packets_dropped(DropReason::MeshQueue, PacketKind::Other));
    while full() < 100 {
        for _ in 0..20 {
            a.send_packet(&there, &[1; 30_000]);
            sent += 1;
        }
        // Whoever sends there goes on, and so does everybody else.
        a.send_packet(&b.key, b"hello");
        b.expect_packet(&a.key, b"hello");
    }
    assert_eq!(end_of(&relay, 1), "the relay takes nothing");
    assert!(a.fence().is_empty());
    let down = relay.count(Counter::packets_dropped(DropReason::MeshDown, PacketKind::Other));
    assert_eq!(relay.count(Counter::PACKETS_FORWARDED_OUT), sent);
    // Deadlines of links are counted nowhere else.
    assert_eq!(relay.count(Counter::WRITE_TIMEOUTS), 0);
    assert!(down > 0 && full() + down < sent);
    assert_eq!(relay.plane.links().len(), 0);
}

#[test]
fn a_silent_relay_is_given_up() {
    // Long beside the pauses: on a busy machine those take longer.
    let relay = Relay::start(1, Policy { link_silence: Duration::from_secs(2), ..policy() });
    let mut far = Far::listen();
    let mut peer = far.linked(&relay, 1);
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(100));
        peer.send(&frame::KEEP_ALIVE);
    }
    assert_eq!(ends(&relay), 0);
    assert_eq!(end_of(&relay, 1), "the relay is silent");
}

#[test]
fn links_are_hung_up() {
    let relay = Relay::start(2, policy());
    let mut far = Far::listen();
    let mut peer = far.linked(&relay, 1);
    relay.plane.hang_up(1);
    assert_eq!(end_of(&relay, 1), "we hung up");
    assert!(peer.ends());
    // Before anything is known of it, and once more.
    dial(&relay, 2, &far);
    relay.plane.hang_up(2);
    relay.plane.hang_up(2);
    relay.plane.hang_up(9);
    assert_eq!(end_of(&relay, 2), "we hung up");
    dial(&relay, 3, &far);
    relay.plane.shutdown();
    assert_eq!(end_of(&relay, 3), "shutdown");
    assert_eq!(ends(&relay), 3);
}

#[test]
fn after_the_end_of_the_plane_dials_fail() {
    let relay = Relay::start(1, policy());
    relay.plane.shutdown();
    let far = Far::listen();
    relay.plane.dial(1, target(far.address, None));
    assert_eq!(end_of(&relay, 1), "shutdown");
}

#[test]
fn a_relay_dials_itself() {
    let relay = Relay::start(2, policy());
    relay.plane.dial(1, target(relay.address, None));
    assert_eq!(open(&relay, 1), secret(0).public_key());
    // It does not ask itself who is there.
    let mut client = Client::connect(&relay, 1);
    assert!(client.fence().is_empty());
    assert!(!relay.said.lock().unwrap().iter().any(|event| matches!(event, Event::Watch { .. })));
}

#[test]
fn two_planes() {
    let there = Relay::start_as(50, 2, policy());
    let here = Relay::start(2, policy());
    here.plane.dial(1, target(there.address, None));
    assert_eq!(open(&here, 1), secret(50).public_key());
    let watcher = there.until_said(|event| if let Event::Watch { id } = event { Some(*id) } else { None });
    assert_eq!(watcher, there.id_of(&secret(0).public_key()));
    let mut b = Client::connect(&there, 2);
    there.plane.send([watcher], &present(&b.key), false);
    until("it was said", || changes(&here) == [change(&b.key, true)]);
    here.plane.route(&b.key, Some(1));
    let mut a = Client::connect(&here, 1);
    for number in 0..500_usize {
        a.send_packet(&b.key, &[number as u8; 999]);
        b.expect_packet(&a.key, &[number as u8; 999]);
    }
    // The far plane tells of those who have left here.
    there.plane.gone(&a.key, PeerGoneReason::Disconnected);
    b.expect_gone(&a.key);
    assert_eq!(here.count(Counter::PACKETS_FORWARDED_OUT), 500);
    assert_eq!(there.count(Counter::PACKETS_FORWARDED_IN), 500);
}

#[test]
fn nobody_is_there() {
    let relay = Relay::start(1, policy());
    let address = Far::listen().address;
    relay.plane.dial(1, target(address, None));
    assert_eq!(end_of(&relay, 1), "connection refused");
    // An address that nothing answers from: its backlog is full.
    let far = Far::listen_to_few();
    let _few: Vec<_> = (0..8).map(|_| far.knock()).collect();
    relay.plane.dial(2, far::Target { timeout: Duration::from_millis(300), ..target(far.address, None) });
    assert_eq!(end_of(&relay, 2), "no connection within 0.3 s");
}

#[test]
fn whatever_answers() {
    let relay = Relay::start(2, policy());
    let mut far = Far::listen();
    let greeting = frame::greeting(&secret(50).public_key());
    let head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    let endless = [&b"HTTP/1.1 101 \r\n"[..], &b"a: b\r\n".repeat(4000)].concat();
    let cases: [(&[&[u8]], &str); 9] = [
        (&[], "the relay closed the connection before the login"),
        (&[b"HTTP/1.1 426 Upgrade Required\r\n\r\n"], "it answers \"HTTP/1.1 426 Upgrade Required\""),
        (&[b"220 mail.test ESMTP\r\n"], "it answers \"220 mail.test ESMTP\""),
        (&[&endless], "its answer to the upgrade does not end"),
        (&[head], "the relay closed the connection before the login"),
        (&[head, &frame::KEEP_ALIVE], "it does not speak DERP"),
        (&[head, &frame::header(FrameType::ServerKey, 1 << 30)], "its greeting has 1073741824 bytes"),
        (&[head, &greeting], "login refused: the relay closed the connection"),
        (&[head, &greeting, &frame::KEEP_ALIVE], "its second frame has type 6"),
    ];
    for (link, (answer, reason)) in (1..).zip(cases) {
        dial(&relay, link, &far);
        let mut peer = far.accept();
        // An end that is seen behind what was said, whatever of ours is unread.
        peer.stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let _ = peer.stream.read(&mut [0; 4096]);
        let _ = peer.stream.write_all(&answer.concat());
        let _ = peer.stream.shutdown(Shutdown::Write);
        assert_eq!(end_of(&relay, link), reason);
    }
    assert_eq!(relay.count(Counter::LOGINS_FAILED), 0);
}

#[test]
fn one_byte_at_a_time_is_not_for_ever() {
    let relay = Relay::start(1, policy());
    let mut far = Far::listen();
    relay.plane.dial(1, far::Target { timeout: Duration::from_millis(500), ..target(far.address, None) });
    let mut peer = far.accept();
    let answer = b"HTTP/1.1 101 Switching Protocols\r\n".iter().chain(b"a: b\r\n".iter().cycle());
    for byte in answer {
        if peer.stream.write_all(&[*byte]).is_err() || ends(&relay) > 0 {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(end_of(&relay, 1), "no login within 0.5 s");
}

#[test]
fn frames_that_no_client_takes() {
    let relay = Relay::start(1, policy());
    let mut far = Far::listen();
    let mut peer = far.linked(&relay, 1);
    peer.send(&frame::header(FrameType::PeerPresent, 1 << 20));
    peer.send(&vec![1; 1 << 20]);
    peer.send(&present(&secret(5).public_key()));
    until("what stands behind is heard", || changes(&relay).len() == 1);
    peer.send(&frame::header(FrameType::RecvPacket, (1 << 20) + 1));
    assert_eq!(end_of(&relay, 1), "a frame of type 5 has 1048577 bytes");
    assert!(peer.ends());
}

#[test]
fn whatever_many_send_at_once_arrives_in_order_or_is_accounted_for() {
    const CLIENTS: u64 = 6;
    const PACKETS: u32 = 3000;
    for cut in [false, true] {
        let relay = Relay::start(2, policy());
        let mut far = Far::listen();
        let mut peer = far.linked(&relay, 1);
        let there = secret(77).public_key();
        relay.plane.route(&there, Some(1));
        let mut clients: Vec<_> = (1..=CLIENTS).map(|number| Client::connect(&relay, number)).collect();
        let arrived = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut last = std::collections::HashMap::new();
                let mut arrived = 0;
                while let Ok(frame) = peer.read() {
                    if frame[0] == FrameType::Pong as u8 {
                        break;
                    }
                    assert_eq!(frame[0], FrameType::ForwardPacket as u8);
                    let number = u32::from_be_bytes(*frame[69..].first_chunk().unwrap());
                    let before = last.insert(frame[5..37].to_vec(), number);
                    assert!(before.is_none_or(|before| before < number), "{before:?} and then {number}");
                    arrived += 1;
                    if cut && arrived == 2000 {
                        break;
                    }
                }
                drop(peer);
                arrived
            });
            let senders: Vec<_> = clients
                .iter_mut()
                .map(|client| {
                    scope.spawn(move || {
                        for number in 0..PACKETS {
                            client.send_packet(&there, &[&number.to_be_bytes()[..], &[7; 900]].concat());
                        }
                        assert!(client.fence().is_empty());
                    })
                })
                .collect();
            for sender in senders {
                sender.join().unwrap();
            }
            // What waits for the link leaves, or is dropped with it.
            relay.plane.hang_up(1);
            reader.join().unwrap()
        });
        end_of(&relay, 1);
        let sent = CLIENTS * u64::from(PACKETS);
        assert_eq!(relay.count(Counter::PACKETS_FORWARDED_OUT), sent);
        let dropped = relay.dropped();
        if cut {
            // What was in the socket when it was cut nobody knows of.
            assert!(dropped > 0 && dropped + arrived <= sent);
        } else {
            assert_eq!(dropped + arrived, sent);
        }
    }
}
