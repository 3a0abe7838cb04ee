use std::time::Duration;

use derp_proto::counters::Counter;
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::frame;
use derp_proto::key::NodeKey;
use derp_proto::wire::{FrameType, MAX_BODY_LENGTH, PeerGoneReason};

use super::*;
use crate::base::policy::Policy;
use crate::testing::{World, disco_packet, recv_packet, secret, send_packet};

/// A frame of a type that is none of ours.
fn unknown_frame(length: usize) -> Vec<u8> {
    let mut bytes = frame::header(FrameType::Health, length as u32).to_vec();
    bytes[0] = 0xee;
    // What looks like a header, in case somebody takes it for one.
    bytes.extend(frame::header(FrameType::ForwardPacket, 1).iter().cycle().take(length));
    bytes
}

/// The login and everything behind it may come in any two pieces, and admission between any two of them.
#[test]
fn a_stream_may_be_split_anywhere() {
    let world = World::new();
    let mut to = world.admitted(1, false);
    let info = world.client(2).client_info();
    let stream = [
        info.clone(),
        send_packet(&to.key, b"one"),
        unknown_frame(70),
        send_packet(&to.key, &[5; 200]),
        frame::note_preferred(true).to_vec(),
        frame::ping(&[9; 8]).to_vec(),
        send_packet(&to.key, b""),
    ]
    .concat();
    let from = secret(2).public_key();
    for split in 0..=stream.len() {
        for admit_between in [false, true] {
            let mut client = world.client(2);
            client.feed(&stream[..split], &world).unwrap();
            if admit_between && split >= info.len() {
                client.admit(false, &world).unwrap();
                client.feed(&stream[split..], &world).unwrap();
            } else {
                client.feed(&stream[split..], &world).unwrap();
                client.admit(false, &world).unwrap();
            }
            assert_eq!(to.read(), recv_packet(&from, b"one"), "{split}");
            assert_eq!(to.read(), recv_packet(&from, &[5; 200]), "{split}");
            assert_eq!(to.read(), recv_packet(&from, b""), "{split}");
            assert_eq!(client.read()[0], FrameType::ServerInfo as u8);
            assert_eq!(client.read(), frame::pong(&[9; 8]), "{split}");
            client.session.close(CloseReason::Disconnected, world.ctx());
        }
    }
    assert!(to.is_quiet());
    let rounds = 2 * (stream.len() as u64 + 1);
    assert_eq!(world.shared.counters.read(Counter::PACKETS_RECEIVED_OTHER), 3 * rounds);
    assert_eq!(world.shared.counters.read(Counter::PACKETS_SENT), 3 * rounds);
    assert_eq!(world.shared.login_bytes.taken(), 0);
    world.events();
    assert_eq!(world.pending_logins(), 0);
}

#[test]
fn a_stream_may_come_byte_by_byte() {
    let world = World::new();
    let mut to = world.admitted(1, false);
    let mut client = world.admitted(2, true);
    let stream = [
        send_packet(&to.key, b"one"),
        unknown_frame(20),
        unknown_frame(0),
        [&frame::forward_packet(&secret(3).public_key(), &to.key, 3)[..], b"two"].concat(),
        [&frame::forward_packet(&NodeKey::ZERO, &to.key, 5)[..], b"three"].concat(),
        frame::WATCH_CONNS.to_vec(),
        frame::close_peer(&to.key).to_vec(),
        send_packet(&to.key, &[7; 3000]),
    ]
    .concat();
    world.events();
    for byte in &stream {
        client.feed(&[*byte], &world).unwrap();
    }
    assert_eq!(to.read(), recv_packet(&client.key, b"one"));
    assert_eq!(to.read(), recv_packet(&secret(3).public_key(), b"two"));
    assert_eq!(to.read(), [&frame::header(FrameType::RecvPacket, 5)[..], b"three"].concat());
    assert_eq!(to.read(), recv_packet(&client.key, &[7; 3000]));
    let events = world.events();
    assert!(matches!(&events[..], [Event::Watch { .. }, Event::ClosePeer { target, .. }] if *target == to.key));
    assert_eq!(world.shared.counters.read(Counter::PACKETS_FORWARDED_IN), 2);
}

#[test]
fn nothing_is_kept_of_a_frame_that_nobody_wants() {
    let world = World::new();
    let mut client = world.admitted(1, false);
    client.feed(&unknown_frame(MAX_BODY_LENGTH), &world).unwrap();
    let frame = unknown_frame(MAX_BODY_LENGTH);
    for chunk in frame.chunks(1000) {
        client.feed(chunk, &world).unwrap();
        assert!(client.session.partial.len() < HEADER_LENGTH);
    }
    client.feed(&frame::ping(&[1; 8]), &world).unwrap();
    assert_eq!(client.read(), frame::pong(&[1; 8]));
}

#[test]
fn what_a_frame_may_be_is_decided_by_its_header() {
    let world = World::new();
    for (kind, length) in [(0xee, 65_569), (0x04, 31), (0x04, 65_569), (0x0a, 100), (0x10, 0), (0x12, 7), (0x07, 2)] {
        let mut client = world.admitted(1, false);
        let mut header = frame::header(FrameType::Health, length).to_vec();
        header[0] = kind;
        assert_eq!(client.feed(&header, &world), Err(CloseReason::ProtocolError), "{kind} of {length}");
        let mut client = world.admitted(1, false);
        client.feed(&header[..4], &world).unwrap();
        assert_eq!(client.feed(&header[4..], &world), Err(CloseReason::ProtocolError), "{kind} of {length}");
    }
    assert_eq!(world.shared.counters.read(Counter::GOT_PING), 2);
    let logins = [
        (0x04, 100, LoginFault::NoClientInfo),
        (0x02, 55, LoginFault::BadLength),
        (0x02, 262_145, LoginFault::BadLength),
    ];
    for (kind, length, fault) in logins {
        let mut client = world.client(1);
        let mut header = frame::header(FrameType::Health, length).to_vec();
        header[0] = kind;
        assert_eq!(client.feed(&header, &world), Err(CloseReason::LoginFailed(fault)), "{kind} of {length}");
    }
}

#[test]
fn what_came_before_a_fault_is_sent() {
    let world = World::new();
    let mut to = world.admitted(1, false);
    let mut client = world.admitted(2, false);
    let bytes = [send_packet(&to.key, b"last"), frame::WATCH_CONNS.to_vec()].concat();
    assert_eq!(client.feed(&bytes, &world), Err(CloseReason::ProtocolError));
    assert_eq!(to.read(), recv_packet(&client.key, b"last"));
}

#[test]
fn who_waits_may_send_so_much_ahead() {
    let world = World::new();
    let mut to = world.admitted(1, false);
    let mut client = world.client(2);
    let packets = send_packet(&to.key, &[1; 963]).repeat(70);
    assert_eq!(client.session.room(world.ctx()), FIRST_READ);
    client.feed(&[client.client_info(), packets[..1000].to_vec()].concat(), &world).unwrap();
    let mut sent = 1000;
    while client.session.room(world.ctx()) > 0 {
        client.feed(&packets[sent..sent + 1000], &world).unwrap();
        sent += 1000;
    }
    assert_eq!(sent, 66_000);
    assert!(to.is_quiet());
    client.admit(false, &world).unwrap();
    assert_eq!(client.session.room(world.ctx()), usize::MAX);
    client.feed(&packets[sent..], &world).unwrap();
    for _ in 0..70 {
        assert_eq!(to.read(), recv_packet(&client.key, &[1; 963]));
    }
}

#[test]
fn an_end_waits_behind_what_was_sent_ahead_of_an_admission() {
    let world = World::new();
    let mut to = world.admitted(1, false);
    let mut client = world.client(2);
    client.feed(&client.client_info(), &world).unwrap();
    assert!(!client.session.ends_later(Alert::CLOSE_NOTIFY));
    client.feed(&send_packet(&to.key, b"last"), &world).unwrap();
    assert!(client.session.ends_later(Alert::BAD_RECORD_MAC));
    assert_eq!(client.session.room(world.ctx()), 0);
    client.feed(&send_packet(&to.key, b"behind the end"), &world).unwrap();
    assert!(to.is_quiet());
    assert_eq!(client.admit(false, &world), Err(CloseReason::Disconnected));
    assert_eq!(to.read(), recv_packet(&client.key, b"last"));
    assert!(to.is_quiet());
}

#[test]
fn logins_that_are_not_whole_share_a_budget() {
    let world = World::with(Policy { login_bytes: 500, ..Policy::default() });
    let header = frame::header(FrameType::ClientInfo, 1000);
    let begin = |length| [&header[..], &vec![0; length]].concat();
    let (mut first, mut second) = (world.client(1), world.client(2));
    first.feed(&begin(290), &world).unwrap();
    second.feed(&begin(100), &world).unwrap();
    assert_eq!(world.shared.login_bytes.taken(), 400);
    assert_eq!(second.feed(&[0; 101], &world), Err(CloseReason::LoginFailed(LoginFault::OverBudget)));
    second.session.close(CloseReason::LoginFailed(LoginFault::OverBudget), world.ctx());
    first.feed(&[0; 200], &world).unwrap();
    assert_eq!(world.shared.login_bytes.taken(), 495);
    first.session.close(CloseReason::Disconnected, world.ctx());
    assert_eq!(world.shared.login_bytes.taken(), 0);
    let mut whole = world.client(3);
    let info = whole.client_info();
    whole.feed(&info[..50], &world).unwrap();
    assert_eq!(world.shared.login_bytes.taken(), 50);
    whole.feed(&info[50..], &world).unwrap();
    assert_eq!(world.shared.login_bytes.taken(), 0);
}

#[test]
fn every_phase_has_its_deadline() {
    let mut world = World::new();
    let start = world.now;
    let mut silent = world.client(1);
    let mut waiting = world.client(2);
    let mut admitted = world.client(3);
    let mut open = world.admitted(4, false);
    world.now += Duration::from_secs(9);
    for client in [&mut waiting, &mut admitted] {
        let info = client.client_info();
        client.feed(&info, &world).unwrap();
        assert_eq!(client.session.deadline(), world.now + Duration::from_secs(15));
    }
    assert_eq!(silent.session.on_time(world.ctx()), Ok(start + Duration::from_secs(10)));
    world.now += Duration::from_secs(1);
    assert_eq!(silent.session.on_time(world.ctx()), Err(CloseReason::LoginTimeout));
    world.now += Duration::from_secs(13);
    assert!(waiting.session.on_time(world.ctx()).is_ok());
    world.now += Duration::from_secs(1);
    // Word of it is under way.
    admitted.conn.admit(false, None, world.ctx());
    assert_eq!(waiting.session.on_time(world.ctx()), Err(CloseReason::AdmissionTimeout));
    assert!(admitted.session.on_time(world.ctx()).is_ok());
    for _ in 0..3 {
        let due = open.session.on_time(world.ctx()).unwrap();
        assert!(open.is_quiet());
        world.now = due;
        let next = open.session.on_time(world.ctx()).unwrap();
        assert_eq!(open.read(), frame::KEEP_ALIVE);
        assert!((60..=65).contains(&(next - due).as_secs()));
    }
}

#[test]
fn a_full_socket_has_a_deadline() {
    let mut world = World::new();
    for mesh in [false, true] {
        let mut from = world.admitted(1, false);
        let mut to = world.admitted(2, mesh);
        let limit = Duration::from_secs(if mesh { 30 } else { 2 });
        while to.session.on_time(world.ctx()).unwrap() > world.now + limit {
            from.feed(&send_packet(&to.key, &[0; 60_000]), &world).unwrap();
        }
        world.now += limit - Duration::from_millis(1);
        assert!(to.session.on_time(world.ctx()).is_ok());
        world.now += Duration::from_millis(1);
        assert_eq!(to.session.on_time(world.ctx()), Err(CloseReason::WriteTimeout));
        to.session.close(CloseReason::WriteTimeout, world.ctx());
        from.session.close(CloseReason::Closed, world.ctx());
    }
    assert_eq!(world.shared.counters.read(Counter::WRITE_TIMEOUTS), 2);
}

#[test]
fn an_end_is_told_once_and_gives_everything_back() {
    let world = World::new();
    let counted = || world.shared.counters.read(Counter::LOGINS_FAILED);
    let ends = |world: &World| -> Vec<CloseReason> {
        let events = world.events().into_iter();
        events.filter_map(|event| if let Event::Closed { reason, .. } = event { Some(reason) } else { None }).collect()
    };
    // Nobody knows this one.
    world.client(1).session.close(CloseReason::LoginTimeout, world.ctx());
    assert_eq!(ends(&world), []);
    assert_eq!(counted(), 1);
    let mut waiting = world.client(1);
    waiting.feed(&waiting.client_info(), &world).unwrap();
    waiting.session.close(CloseReason::Refused, world.ctx());
    // It comes too late.
    waiting.conn.admit(false, None, world.ctx());
    assert_eq!(ends(&world), [CloseReason::Refused]);
    assert_eq!(counted(), 2);
    let open = world.admitted(1, false);
    open.session.close(CloseReason::Closed, world.ctx());
    open.conn.end(CloseReason::Shutdown, None, world.ctx());
    assert_eq!(ends(&world), [CloseReason::Closed]);
    // Admitted, and the owner does not know yet.
    let mut waiting = world.client(1);
    waiting.feed(&waiting.client_info(), &world).unwrap();
    waiting.conn.admit(false, None, world.ctx());
    waiting.session.close(CloseReason::Disconnected, world.ctx());
    assert_eq!(ends(&world), [CloseReason::Disconnected]);
    assert_eq!(counted(), 2);
    assert_eq!(world.pending_logins(), 0);
    assert_eq!(world.shared.table.len(), 0);
    assert!(world.shared.conns.lock().is_empty());
}

#[test]
fn who_sends_to_nobody_is_told_so_now_and_then() {
    let mut world = World::new();
    let mut client = world.admitted(1, false);
    let nobody = secret(9).public_key();
    client.feed(&send_packet(&nobody, b"hello"), &world).unwrap();
    client.feed(&send_packet(&nobody, &disco_packet()).repeat(5), &world).unwrap();
    for _ in 0..3 {
        assert_eq!(client.read(), frame::peer_gone(&nobody, PeerGoneReason::NotHere));
    }
    assert!(client.is_quiet());
    world.now += Duration::from_secs(1);
    client.feed(&send_packet(&nobody, &disco_packet()).repeat(5), &world).unwrap();
    client.read();
    assert!(client.is_quiet());
    assert_eq!(world.dropped(DropReason::UnknownDest, PacketKind::Disco), 10);
    assert_eq!(world.dropped(DropReason::UnknownDest, PacketKind::Other), 1);
    assert_eq!(world.shared.counters.read(Counter::PEER_GONE_NOT_HERE_FRAMES), 4);
}

/// The cache holds entries of the table: what becomes of a key is seen at once.
#[test]
fn a_key_that_comes_back_is_found() {
    let world = World::new();
    let mut from = world.admitted(1, false);
    let key = secret(2).public_key();
    for _ in 0..3 {
        from.feed(&send_packet(&key, b"nobody"), &world).unwrap();
        let mut to = world.admitted(2, false);
        from.feed(&send_packet(&key, b"one"), &world).unwrap();
        assert_eq!(to.read(), recv_packet(&from.key, b"one"));
        let mut second = world.admitted(2, false);
        from.feed(&send_packet(&key, b"two"), &world).unwrap();
        assert_eq!(second.read(), recv_packet(&from.key, b"two"));
        // Whoever speaks last is who is meant.
        to.feed(&frame::KEEP_ALIVE, &world).unwrap();
        from.feed(&send_packet(&key, b"three"), &world).unwrap();
        assert_eq!(to.read(), recv_packet(&from.key, b"three"));
        to.session.close(CloseReason::Closed, world.ctx());
        from.feed(&send_packet(&key, b"four"), &world).unwrap();
        assert_eq!(second.read(), recv_packet(&from.key, b"four"));
        second.session.close(CloseReason::Closed, world.ctx());
    }
    assert_eq!(world.dropped(DropReason::UnknownDest, PacketKind::Other), 3);
}

/// Packets of one read for several destinations, in any order; to oneself, too.
#[test]
fn one_read_may_be_for_many() {
    let world = World::new();
    let mut clients: Vec<_> = (1..=5).map(|number| world.admitted(number, false)).collect();
    let keys: Vec<_> = clients.iter().map(|client| client.key).collect();
    let mut read = frame::ping(&[1; 8]).to_vec();
    for number in 0..200_u32 {
        read.extend(send_packet(&keys[(number * 7 % 11 % 5) as usize], &number.to_be_bytes()));
    }
    read.extend(frame::ping(&[2; 8]));
    clients[0].feed(&read, &world).unwrap();
    for (index, client) in clients.iter_mut().enumerate() {
        for number in (0..200_u32).filter(|number| (number * 7 % 11 % 5) as usize == index) {
            assert_eq!(client.read(), recv_packet(&keys[0], &number.to_be_bytes()));
        }
    }
    // Who has the answer knows that all before it has been seen to. There is one for a read.
    assert_eq!(clients[0].read(), frame::pong(&[1; 8]));
    assert!(clients.iter_mut().all(|client| client.is_quiet()));
    let figures = clients[0].conn.figures(world.ctx());
    assert_eq!((figures.packets_received, figures.bytes_received), (200, 800));
}
