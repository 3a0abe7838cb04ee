use std::sync::atomic::AtomicUsize;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::*;
use crate::conn::Conn;
use crate::hub::shared::Shared;
use crate::state::bell::TICK;
use crate::testing::{World, secret};

fn kinds(world: &World) -> Vec<(&'static str, u64)> {
    let name = |event| match event {
        Event::Login { id, .. } => ("login", id),
        Event::Closed { id, .. } => ("closed", id),
        Event::Active { id, .. } => ("active", id),
        Event::Watch { id } => ("watch", id),
        Event::ClosePeer { id, .. } => ("close peer", id),
        Event::Prefer { id, home, .. } => (if home { "home" } else { "not home" }, id),
        Event::Pulled { id } => ("pulled", id),
        Event::Duplex { id, .. } => ("duplex", id),
        Event::Lookup { .. } => ("lookup", 0),
        Event::Heard { .. } => ("heard", 0),
        Event::LinkOpen { link, .. } => ("link open", link),
        Event::LinkPeers { link, .. } => ("link peers", link),
        Event::LinkClosed { link, .. } => ("link closed", link),
        Event::CertificateNeeded { id, .. } => ("certificate", id),
        Event::Drops(drops) => ("drops", drops.len() as u64),
        Event::Trouble { .. } => ("trouble", 0),
        Event::Failures(..) => ("failures", 0),
        Event::Crowded { .. } => ("crowded", 0),
        Event::Pulse { id } => ("pulse", id),
        Event::Fault { .. } => ("fault", 0),
    };
    world.events().into_iter().map(name).collect()
}

#[test]
fn many_events_are_one_wake_up() {
    let world = World::new();
    for id in 0..100 {
        world.shared.events.push(Event::Watch { id });
    }
    assert_eq!(world.wakes(), 1);
    assert_eq!(world.events().len(), 100);
    world.shared.events.push(Event::Watch { id: 100 });
    assert_eq!(world.wakes(), 1);
}

#[test]
fn what_may_change_with_every_packet_waits_for_the_tick() {
    let world = World::new();
    let (conn, _) = world.conn(1);
    let events = &world.shared.events;
    let begin = Instant::now();
    for _ in 0..1000 {
        events.prefer(&conn, true);
        events.prefer(&conn, false);
        events.active(secret(1).public_key(), 7);
        events.active(secret(1).public_key(), 8);
    }
    events.prefer(&conn, true);
    let pause = events.bell.tick(begin).expect("something waits");
    assert!(pause + Duration::from_micros(1) >= TICK);
    assert_eq!(world.wakes(), 0);
    // However many look when it is time, and until it is read.
    for _ in 0..3 {
        assert_eq!(events.bell.tick(begin + pause + Duration::from_micros(1)), None);
    }
    assert_eq!(world.wakes(), 1);
    assert_eq!(kinds(&world), [("active", 8), ("home", conn.id)]);
    assert_eq!(events.bell.tick(begin), None);
    events.prefer(&conn, true);
    assert_eq!(events.bell.tick(begin), None, "nothing has changed");
    events.prefer(&conn, false);
    assert!(events.bell.tick(begin).is_some());
}

#[test]
fn every_move_of_a_client_counts_until_its_end() {
    let world = World::new();
    let (conn, _) = world.conn(1);
    let events = &world.shared.events;
    let told = || -> Vec<(bool, u32)> {
        let moves = |event| if let Event::Prefer { home, changes, .. } = event { Some((home, changes)) } else { None };
        world.events().into_iter().filter_map(moves).collect()
    };
    for home in [true, true, false, true, false, false] {
        events.prefer(&conn, home);
    }
    assert_eq!(told(), [(false, 4)]);
    events.prefer(&conn, true);
    assert_eq!(told(), [(true, 1)]);
    assert_eq!(told(), []);
    events.prefer(&conn, false);
    events.prefer(&conn, true);
    events.closed(&conn, CloseReason::Closed, None);
    assert_eq!(told(), [(true, 2)]);
    assert_eq!(told(), []);
}

#[test]
fn sequences_rise() {
    let world = World::new();
    let mut last = 0;
    for round in 0..5 {
        world.shared.events.active(secret(round).public_key(), round);
        let Some(Event::Active { sequence, .. }) = world.events().pop() else { panic!("nothing was said") };
        assert!(sequence > last);
        last = sequence;
    }
}

#[test]
fn there_is_room_once_however_often() {
    let world = World::new();
    let (conn, _) = world.conn(1);
    for _ in 0..5 {
        world.shared.events.pulled(&conn);
    }
    world.shared.events.prefer(&conn, true);
    assert_eq!(world.wakes(), 1);
    assert_eq!(kinds(&world), [("home", conn.id), ("pulled", conn.id)]);
    assert_eq!(kinds(&world), []);
}

#[test]
fn nothing_comes_after_the_end() {
    let world = World::new();
    let (conn, _) = world.conn(1);
    let events = &world.shared.events;
    events.push(Event::Watch { id: conn.id });
    events.prefer(&conn, true);
    events.pulled(&conn);
    events.active(*conn.key().unwrap(), conn.id);
    events.active(secret(2).public_key(), 1000);
    events.closed(&conn, CloseReason::Closed, None);
    events.prefer(&conn, false);
    events.pulled(&conn);
    assert_eq!(kinds(&world), [("watch", conn.id), ("home", conn.id), ("closed", conn.id), ("active", 1000)]);
    assert_eq!(kinds(&world), []);
}

#[test]
fn a_place_among_the_logins_is_held_until_the_end_is_read() {
    let world = World::new();
    let (conn, _) = world.conn(1);
    let guest = world.guest();
    world.shared.events.closed(&conn, CloseReason::Disconnected, Some(guest));
    assert_eq!(world.pending_logins(), 1);
    assert_eq!(kinds(&world), [("closed", conn.id)]);
    assert_eq!(world.pending_logins(), 0);
}

/// Writers on all sides, and a reader that reads only when it is woken.
#[test]
fn whoever_waits_to_be_woken_misses_nothing() {
    const WRITERS: u64 = 4;
    const EACH: u64 = 20_000;
    let (sender, woken) = mpsc::channel();
    let events = Events::<Conn>::new(Box::new(move || sender.send(()).unwrap()));
    let wakes = AtomicUsize::new(0);
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let events = &events;
            scope.spawn(move || {
                for number in 0..EACH {
                    events.push(Event::Watch { id: writer * EACH + number });
                }
            });
        }
        let mut next = [0; WRITERS as usize];
        while next.iter().sum::<u64>() < WRITERS * EACH {
            woken.recv_timeout(Duration::from_secs(20)).expect("something is there, and nobody says so");
            wakes.fetch_add(1, Ordering::SeqCst);
            for event in events.take() {
                let Event::Watch { id } = event else { panic!("that was not written") };
                let next = &mut next[(id / EACH) as usize];
                assert_eq!(id % EACH, *next);
                *next += 1;
            }
        }
    });
    assert!(events.take().is_empty());
}

#[test]
fn handshakes_that_leave_have_their_share_until_they_are_read_of() {
    let world = World::new();
    let Shared { events, needs, .. } = &world.shared;
    for id in 0..3 {
        let share = needs.take(1, 3).expect("there are three");
        let need = Need { server_name: String::new(), alpn: Vec::new() };
        events.certificate_needed(id, need, [127, 0, 0, 1].into(), share);
    }
    assert!(needs.take(1, 3).is_none());
    assert_eq!(kinds(&world), [("certificate", 0), ("certificate", 1), ("certificate", 2)]);
    assert_eq!(needs.taken(), 0);
}
