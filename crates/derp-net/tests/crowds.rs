//! Many at once: every packet is accounted for, in order, whoever comes, goes, or does not read.

mod support;

use std::collections::HashMap;
use std::io::Write;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use derp_net::{CloseReason, Policy};
use derp_proto::counters::Counter;
use derp_proto::key::NodeKey;
use derp_proto::server_frame::ServerFrame;
use derp_proto::wire::DISCO_MAGIC;
use support::{Client, FAST_START, Relay, client_info, policy, send_packet, until};

/// A packet that carries its number, and is discovery if the number says so.
fn packet(number: u32, length: usize) -> Vec<u8> {
    let mut packet = if number.is_multiple_of(5) { DISCO_MAGIC.to_vec() } else { vec![0; 6] };
    packet.extend(number.to_be_bytes());
    packet.resize(length.max(62), number as u8);
    packet
}

/// Reads until the relay ends the connection. Panics at a packet that is out of order, or was changed; returns how many
/// there were.
fn read_all(client: Client) -> u64 {
    count_all(client, &AtomicU64::new(0))
}

/// The same, counting in `count`.
fn count_all(mut client: Client, count: &AtomicU64) -> u64 {
    let mut last: HashMap<(NodeKey, bool), u32> = HashMap::new();
    while let Ok(frame) = client.read() {
        let Some(ServerFrame::RecvPacket { source, packet }) = ServerFrame::read(&frame) else { continue };
        let number = u32::from_be_bytes(*packet[6..].first_chunk().unwrap());
        assert!(packet[10..].iter().all(|byte| *byte == number as u8), "packet {number} was changed");
        let before = last.insert((source, packet.starts_with(&DISCO_MAGIC)), number);
        assert!(before.is_none_or(|before| before < number), "{number} after {before:?}");
        count.fetch_add(1, Ordering::Relaxed);
    }
    count.load(Ordering::Relaxed)
}

/// Everybody sends to one: the way to it is contended all the time.
#[test]
fn one_receiver_of_many_senders_gets_everything_in_order() {
    const SENDERS: u64 = 6;
    const EACH: u32 = 4000;
    let relay = Relay::start(3, policy());
    let hub = Client::connect(&relay, 100);
    let (hub_key, hub_id) = (hub.key, relay.id_of(&hub.key));
    let (sent, arrived) = (AtomicU64::new(0), AtomicU64::new(0));
    let delivered = thread::scope(|scope| {
        let reader = scope.spawn(|| count_all(hub, &arrived));
        let senders: Vec<_> = (1..=SENDERS)
            .map(|number| {
                let (relay, sent, arrived) = (&relay, &sent, &arrived);
                scope.spawn(move || {
                    let mut client = Client::connect(relay, number);
                    for first in (0..EACH).step_by(20) {
                        let row: Vec<u8> = (first..first + 20)
                            .flat_map(|number| send_packet(&hub_key, &packet(number, 300)))
                            .collect();
                        client.send(&row);
                        client.fence();
                        // As fast as they are read: not many more are under way than there are senders' rows.
                        let under_way = sent.fetch_add(20, Ordering::Relaxed);
                        while arrived.load(Ordering::Relaxed) + 40 < under_way && relay.dropped() == 0 {
                            thread::yield_now();
                        }
                    }
                })
            })
            .collect();
        for sender in senders {
            sender.join().unwrap();
        }
        until("all were sent", || relay.accounted() == relay.received());
        relay.plane.close(hub_id, CloseReason::Closed);
        reader.join().unwrap()
    });
    assert_eq!(relay.received(), SENDERS * u64::from(EACH));
    assert_eq!(relay.count(Counter::PACKETS_SENT), delivered);
    assert_eq!(relay.dropped(), 0, "paced traffic is not dropped");
}

#[test]
fn a_flood_is_accounted_for() {
    const CLIENTS: u64 = 6;
    let relay = Relay::start(2, policy());
    let clients: Vec<_> = (1..=CLIENTS).map(|number| Client::connect(&relay, number)).collect();
    let keys: Vec<_> = clients.iter().map(|client| client.key).collect();
    let ids: Vec<_> = keys.iter().map(|key| relay.id_of(key)).collect();
    // The last one does not read until the others have sent.
    let go = AtomicBool::new(false);
    let (delivered, sent) = thread::scope(|scope| {
        let mut writers = Vec::new();
        let mut readers = Vec::new();
        for (index, client) in clients.into_iter().enumerate() {
            let mut writer = client.stream.try_clone().unwrap();
            let keys = &keys;
            writers.push(scope.spawn(move || {
                let mut sent = 0;
                for number in 0..1500 {
                    let to = (number as usize * 7 + index) % keys.len();
                    writer.write_all(&send_packet(&keys[to], &packet(number, number as usize * 13 % 3000))).unwrap();
                    sent += 1;
                }
                sent
            }));
            let go = &go;
            readers.push(scope.spawn(move || {
                while index + 1 == keys.len() && !go.load(Ordering::SeqCst) {
                    thread::sleep(Duration::from_millis(1));
                }
                read_all(client)
            }));
        }
        let sent: u64 = writers.into_iter().map(|writer| writer.join().unwrap()).sum();
        until("all were read", || relay.received() == sent);
        go.store(true, Ordering::SeqCst);
        until("all are accounted for", || relay.accounted() == sent);
        for id in &ids {
            relay.plane.close(*id, CloseReason::Closed);
        }
        let delivered: u64 = readers.into_iter().map(|reader| reader.join().unwrap()).sum();
        (delivered, sent)
    });
    assert_eq!(relay.count(Counter::PACKETS_SENT), delivered);
    assert_eq!(relay.accounted(), sent);
}

#[test]
fn whoever_goes_with_traffic_under_way_leaves_nothing_unaccounted_for() {
    let relay = Relay::start(3, policy());
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        // Each sends to all the others, however often those are closed, and comes back.
        for number in 1..=5 {
            let (relay, stop) = (&relay, &stop);
            scope.spawn(move || {
                let keys: Vec<_> = (1..=5).map(|number| support::secret(number).public_key()).collect();
                while !stop.load(Ordering::SeqCst) {
                    let mut client = Client::log_in(relay, number);
                    client.stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
                    for round in 0.. {
                        let row: Vec<u8> = keys.iter().flat_map(|key| send_packet(key, &packet(round, 1500))).collect();
                        let gone = client.stream.write_all(&row).is_err() || round > 300;
                        if gone || stop.load(Ordering::SeqCst) {
                            break;
                        }
                        if round % 4 == 0 {
                            let _ = client.read();
                        }
                    }
                }
            });
        }
        for round in 0..150 {
            thread::sleep(Duration::from_millis(5));
            let (_, rows) = relay.plane.snapshot(0, 100);
            if let Some(row) = rows.get(round % rows.len().max(1)) {
                relay.plane.close(row.id, CloseReason::Closed);
            }
        }
        stop.store(true, Ordering::SeqCst);
    });
    until("all have ended", || relay.plane.snapshot(0, 1).0 == 0);
    until("all is accounted for", || relay.accounted() == relay.received());
    assert!(relay.received() > 1000);
}

#[test]
fn half_open_connections_are_bounded_and_harm_nobody() {
    let relay = Relay::start(2, Policy { handshakes: 250, pending_logins: 50, per_address: 1000, ..policy() });
    let mut a = Client::connect(&relay, 1);
    let mut b = Client::connect(&relay, 2);
    let begin = |bytes: &[u8]| {
        let mut client = Client::dial(relay.address, 3);
        client.stream.write_all(bytes).unwrap();
        client
    };
    // Nothing, half a head, a head, half a login.
    let half_login = [FAST_START, &client_info(3)[..70]].concat();
    let silent: Vec<_> = (0..100).map(|_| begin(b"")).collect();
    let half: Vec<_> = (0..75).map(|_| begin(b"GET /derp HT")).collect();
    let greeted = |bytes: &[u8]| -> Vec<_> {
        let mut clients: Vec<_> = (0..25).map(|_| begin(bytes)).collect();
        clients.iter_mut().for_each(Client::expect_greeting);
        clients
    };
    let mut heads = greeted(FAST_START);
    let mut logins = greeted(&half_login);
    // All of 50 are taken: those who came first make room.
    let late = greeted(FAST_START);
    assert!(heads.iter_mut().all(Client::ends));
    assert_eq!(relay.count(Counter::STRANGERS_EVICTED_POOL), 25);
    assert_eq!(relay.count(Counter::CONNECTIONS_REFUSED), 0);
    a.send_packet(&b.key, b"hello");
    b.expect_packet(&a.key, b"hello");
    // They go on where they were.
    logins.iter_mut().for_each(|client| client.send(&client_info(3)[70..]));
    until("they are in", || relay.plane.snapshot(0, 1).0 == 27);
    drop((silent, heads, logins, late));
    until("they are gone", || relay.plane.snapshot(0, 1).0 == 2);
    // No place was lost.
    let login = [FAST_START, &client_info(4)].concat();
    until("as many as are permitted may come again", || {
        let silent: Vec<_> = (0..100).map(|_| begin(b"")).collect();
        let mut logins: Vec<_> = (0..50).map(|_| begin(&login)).collect();
        let all = logins.iter_mut().all(|client| client.read().is_ok() && client.read().is_ok());
        drop(silent);
        all
    });
    drop(half);
}
