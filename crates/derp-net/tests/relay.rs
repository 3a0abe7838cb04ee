//! The plane as its clients and its control plane see it.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use derp_net::{Adoption, CloseReason, Event, Policy};
use derp_proto::counters::Counter;
use derp_proto::frame;
use derp_proto::wire::{FrameType, PeerGoneReason};
use support::{Client, FAST_START, Relay, client_info, policy, secret, send_packet, until};

#[test]
fn two_clients_exchange_packets() {
    for workers in [1, 2] {
        let relay = Relay::start(workers, policy());
        let mut a = Client::connect(&relay, 1);
        let mut b = Client::connect(&relay, 2);
        for number in 0..100_usize {
            let packet = vec![number as u8; number * 600];
            a.send_packet(&b.key, &packet);
            b.expect_packet(&a.key, &packet);
            b.send_packet(&a.key, &packet);
            a.expect_packet(&b.key, &packet);
        }
        drop(a);
        b.expect_gone(&secret(1).public_key());
        assert_eq!(relay.count(Counter::ACCEPTS), 2);
        assert_eq!(relay.accounted(), 200);
    }
}

#[test]
fn without_fast_start_the_upgrade_is_answered() {
    let relay = Relay::start(2, policy());
    let mut client = Client::dial(relay.address, 1);
    client.send(b"GET /derp HTTP/1.1\r\nHost: x\r\nUpgr");
    client.send(b"ade: DERP\r\nConnection: Upgrade\r\n\r\n");
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        client.stream.read_exact(&mut byte).unwrap();
        answer.extend(byte);
    }
    assert!(answer.starts_with(b"HTTP/1.1 101 Switching Protocols\r\n"));
    client.expect_greeting();
    client.send(&client_info(1));
    assert_eq!(client.read().unwrap()[0], FrameType::ServerInfo as u8);
    assert!(client.fence().is_empty());
}

#[test]
fn what_is_not_derp_is_handed_over() {
    let relay = Relay::start(2, policy());
    let mut client = TcpStream::connect(relay.address).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    until("it was handed over", || {
        matches!(&relay.said.lock().unwrap()[..], [Event::Duplex { listener, received, .. }]
            if *listener == relay.listener && received == b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    });
    let Some(Event::Duplex { stream, peer, .. }) = relay.said.lock().unwrap().pop() else { panic!("it was there") };
    assert_eq!(peer, client.local_addr().unwrap());
    stream.set_nonblocking(false).unwrap();
    (&stream).write_all(b"hello").unwrap();
    let mut answer = [0; 5];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"hello");
}

#[test]
fn a_client_that_hangs_up_while_it_waits_is_gone_at_once_unless_it_has_sent_something() {
    let relay = Relay::closed(1, Policy { admission_deadline: Duration::from_millis(300), ..policy() });
    let (nobody, padding) = (secret(9).public_key(), [0; 60_000]);
    for (ahead, reason) in [
        (0, CloseReason::Disconnected),
        (1, CloseReason::AdmissionTimeout),
        (2, CloseReason::AdmissionTimeout),
        (200, CloseReason::AdmissionTimeout),
    ] {
        let mut client = Client::log_in(&relay, 1);
        let id = relay.id_of(&client.key);
        // More than is read of who waits, or less.
        client.stream.set_nonblocking(true).unwrap();
        for _ in 0..ahead {
            if client.stream.write(&send_packet(&nobody, &padding)).is_err() {
                break;
            }
        }
        if ahead == 200 {
            // A plain end would wait behind what nobody reads.
            socket2::SockRef::from(&client.stream).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(client);
        assert_eq!(relay.end_of(id), reason);
        relay.said.lock().unwrap().clear();
    }
    assert_eq!(relay.count(Counter::LOGINS_FAILED), 4);
}

#[test]
fn whoever_waits_goes_on_where_it_was() {
    let relay = Relay::closed(2, policy());
    let mut client = Client::log_in(&relay, 1);
    let id = relay.id_of(&client.key);
    let packet = send_packet(&client.key, &[5; 1000]);
    client.send(&packet.repeat(200));
    std::thread::sleep(Duration::from_millis(50));
    relay.plane.admit(id, false, None);
    assert_eq!(client.read().unwrap()[0], FrameType::ServerInfo as u8);
    assert!(client.fence().len() > 100);
    assert_eq!(relay.received(), 200);
}

#[test]
fn commands_for_an_adopted_connection_may_follow_at_once() {
    let relay = Relay::start(2, policy());
    let adopt = |leftover: &[u8]| {
        let (near, far) = std::os::unix::net::UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_read_timeout(Some(support::LONG)).unwrap();
        let id = relay.plane.new_id();
        let stream = TcpStream::from(std::os::fd::OwnedFd::from(near));
        let leftover = leftover.to_vec();
        relay.plane.adopt(id, stream, relay.address, Adoption { leftover, ..Adoption::default() });
        (id, far)
    };
    for _ in 0..50 {
        let (id, mut far) = adopt(&client_info(1));
        relay.plane.close(id, CloseReason::Closed);
        far.read_to_end(&mut Vec::new()).unwrap();
    }
    let (id, mut far) = adopt(&client_info(2));
    assert_eq!(relay.id_of(&secret(2).public_key()), id);
    let mut greeting = [0; 45];
    far.read_exact(&mut greeting).unwrap();
    let mut server_info = [0; 5];
    far.read_exact(&mut server_info).unwrap();
    assert_eq!(server_info[0], FrameType::ServerInfo as u8);
    drop(far);
    assert_eq!(relay.end_of(id), CloseReason::Disconnected);
}

/// The subscription ends with each word of it, and begins with each packet, whoever stays or comes back.
#[test]
fn who_has_left_is_told_to_whoever_heard_of_it() {
    let relay = Relay::start(2, policy());
    let mut from = Client::connect(&relay, 1);
    let mut to = Client::connect(&relay, 2);
    for round in 0..3 {
        from.send_packet(&to.key, b"hello");
        to.expect_packet(&from.key, b"hello");
        if round == 1 {
            // The destination comes back: it is another one.
            drop(to);
            from.fence();
            to = Client::connect(&relay, 2);
            relay.plane.gone(&from.key, PeerGoneReason::Disconnected);
            assert!(to.fence().is_empty());
            continue;
        }
        // The source stays connected, and yet has left the region, says the control plane.
        relay.plane.gone(&from.key, PeerGoneReason::Disconnected);
        to.expect_gone(&from.key);
        relay.plane.gone(&from.key, PeerGoneReason::Disconnected);
        assert!(to.fence().is_empty());
    }
    assert_eq!(relay.count(Counter::PEER_GONE_DISCONNECTED_FRAMES), 2);
}

#[test]
fn a_receiver_that_stops_is_ended_after_the_deadline_and_one_that_is_slow_is_not() {
    let relay = Relay::start(2, Policy { write_deadline: Some(Duration::from_millis(300)), ..policy() });
    let mut from = Client::connect(&relay, 1);
    let mut slow = Client::connect(&relay, 2);
    let stopped = Client::connect(&relay, 3);
    let (slow_id, stopped_id) = (relay.id_of(&slow.key), relay.id_of(&stopped.key));
    let begin = Instant::now();
    let mut next_read = begin;
    let mut few = vec![0; 300_000];
    slow.stream.set_nonblocking(true).unwrap();
    while begin.elapsed() < Duration::from_millis(1500) {
        from.send_packet(&slow.key, &[0; 30_000]);
        from.send_packet(&stopped.key, &[0; 30_000]);
        from.fence();
        if Instant::now() >= next_read {
            // A few frames, many times in a deadline.
            let _ = slow.stream.read(&mut few);
            next_read += Duration::from_millis(10);
        }
    }
    assert_eq!(relay.end_of(stopped_id), CloseReason::WriteTimeout);
    assert_eq!(relay.count(Counter::WRITE_TIMEOUTS), 1);
    assert!(relay.plane.snapshot(0, 10).1.iter().any(|row| row.id == slow_id));
    // What waits for the slow one is all that is missing.
    drop(slow);
    until("everything is accounted for", || relay.accounted() == relay.received());
}

/// Two clones of a key that alternate must not cost a wake-up per packet.
#[test]
fn duplicates_that_alternate_are_told_now_and_then() {
    let relay = Relay::start(2, policy());
    let mut clones = [Client::connect(&relay, 1), Client::connect(&relay, 1)];
    let wakes = relay.wakes.load(Ordering::SeqCst);
    let begin = Instant::now();
    for _ in 0..500 {
        clones[0].fence();
        clones[1].fence();
    }
    let ticks = begin.elapsed().as_millis() as usize / 20 + 1;
    let woken = relay.wakes.load(Ordering::SeqCst) - wakes;
    assert!(woken <= 2 * ticks + 2, "{woken} wake-ups in {ticks} ticks");
    let id = relay.id_of(&clones[1].key);
    until("the last one is said to be active", || {
        let said = relay.said.lock().unwrap();
        matches!(said.last(), Some(Event::Active { id: active, .. }) if *active == id)
    });
}

#[test]
fn signs_of_life_come_and_go_on() {
    let keep_alive = Duration::from_millis(50);
    let relay = Relay::start(2, Policy { keep_alive, keep_alive_jitter: keep_alive, ..policy() });
    let mut clients = [1, 2, 3].map(|number| Client::connect(&relay, number));
    let begin = Instant::now();
    for client in &mut clients {
        for _ in 0..5 {
            assert_eq!(client.read().unwrap(), frame::KEEP_ALIVE);
        }
    }
    assert!(begin.elapsed() >= 4 * keep_alive);
    assert!(begin.elapsed() < Duration::from_secs(5));
}

#[test]
fn the_deadlines_of_a_login_are_met() {
    let short = Duration::from_millis(100);
    let policy =
        Policy { head_deadline: short, client_info_deadline: 2 * short, admission_deadline: short, ..policy() };
    let relay = Relay::closed(2, policy);
    let mut silent = Client::dial(relay.address, 1);
    let mut half = Client::dial(relay.address, 2);
    half.send(FAST_START);
    half.send(&client_info(2)[..50]);
    let mut waiting = Client::log_in(&relay, 3);
    let id = relay.id_of(&waiting.key);
    let begin = Instant::now();
    assert!(silent.ends() && half.ends() && waiting.ends());
    assert!(begin.elapsed() < Duration::from_secs(2));
    assert_eq!(relay.end_of(id), CloseReason::AdmissionTimeout);
    assert_eq!(relay.count(Counter::LOGINS_FAILED), 2);
}

#[test]
fn a_snapshot_has_everybody_once() {
    let relay = Relay::start(2, policy());
    let mut clients: Vec<_> = (1..=7).map(|number| Client::connect(&relay, number)).collect();
    let to = clients[1].key;
    clients[0].send_packet(&to, &[0; 100]);
    clients[0].fence();
    until("it was sent", || relay.accounted() == 1);
    let (total, first) = relay.plane.snapshot(0, 4);
    let (_, rest) = relay.plane.snapshot(first[3].id, 100);
    assert_eq!((total, first.len(), rest.len()), (7, 4, 3));
    let ids: Vec<_> = clients.iter().map(|client| relay.id_of(&client.key)).collect();
    assert_eq!(first.iter().chain(&rest).map(|row| row.id).collect::<Vec<_>>(), ids);
    assert_eq!((first[0].packets_received, first[0].bytes_received), (1, 100));
    assert_eq!((first[1].packets_sent, first[1].bytes_sent), (1, 100));
}
