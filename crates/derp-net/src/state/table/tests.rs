use std::sync::Barrier;
use std::thread;

use super::*;
use crate::conn::Conn;
use crate::hub::shared::Shared;
use crate::state::events::Event;
use crate::testing::{World, secret};

fn active(table: &Table<Conn>, key: &NodeKey) -> Option<u64> {
    Some(table.lookup(key)?.active().as_ref()?.id)
}

/// Who is said to be active.
fn said(world: &World) -> Vec<u64> {
    let events = world.events();
    events.into_iter().filter_map(|event| if let Event::Active { id, .. } = event { Some(id) } else { None }).collect()
}

#[test]
fn the_last_to_come_or_to_send_has_the_packets() {
    let world = World::new();
    let Shared { table, events, faults, .. } = &world.shared;
    let key = secret(1).public_key();
    let [(a, _), (b, _), (c, _)] = [(); 3].map(|()| world.conn(1));
    let entry = table.add(key, &a, events);
    entry.activity(&a, events);
    assert_eq!((active(table, &key), said(&world)), (Some(a.id), vec![]));
    assert!(Arc::ptr_eq(&entry, &table.add(key, &b, events)));
    assert_eq!((active(table, &key), said(&world)), (Some(b.id), vec![b.id]));
    entry.activity(&b, events);
    assert_eq!(said(&world), []);
    entry.activity(&a, events);
    assert_eq!((active(table, &key), said(&world)), (Some(a.id), vec![a.id]));
    table.add(key, &c, events);
    table.remove(&entry, &b, events, faults);
    assert_eq!((active(table, &key), said(&world)), (Some(c.id), vec![c.id]));
    table.remove(&entry, &c, events, faults);
    assert_eq!((active(table, &key), said(&world)), (Some(a.id), vec![a.id]));
    entry.activity(&a, events);
    assert_eq!(said(&world), []);
    table.remove(&entry, &a, events, faults);
    assert_eq!((active(table, &key), table.len()), (None, 0));
}

#[test]
fn an_entry_that_has_left_leads_nowhere() {
    let world = World::new();
    let Shared { table, events, faults, .. } = &world.shared;
    let key = secret(1).public_key();
    let [(a, _), (b, _)] = [(); 2].map(|()| world.conn(1));
    let old = table.add(key, &a, events);
    table.remove(&old, &a, events, faults);
    let new = table.add(key, &b, events);
    assert!(old.active().is_none());
    // Whoever gives it up once more changes nothing.
    table.remove(&old, &a, events, faults);
    old.activity(&a, events);
    assert_eq!(new.active().as_ref().map(|conn| conn.id), Some(b.id));
    assert_eq!(active(table, &key), Some(b.id));
}

#[test]
fn a_link_leads_to_who_is_not_here() {
    let world = World::new();
    let Shared { table, events, faults, .. } = &world.shared;
    let key = secret(1).public_key();
    let [link, other] = [1, 2].map(|id| Arc::new(Conn::link(900 + id, id, 0, ([127, 0, 0, 1], 1).into(), world.now)));
    let [(a, _), (b, _)] = [(); 2].map(|()| world.conn(1));
    table.route(&key, None);
    assert_eq!(table.len(), 0);
    table.route(&key, Some(link.clone()));
    let entry = table.lookup(&key).unwrap();
    table.route(&key, Some(other.clone()));
    assert_eq!(active(table, &key), Some(other.id));
    // Whoever is here has the packets, and those who remember the entry find them there, too.
    assert!(Arc::ptr_eq(&entry, &table.add(key, &a, events)));
    assert_eq!(active(table, &key), Some(a.id));
    table.route(&key, Some(link.clone()));
    table.add(key, &b, events);
    table.route(&key, None);
    table.route(&key, Some(other.clone()));
    assert_eq!((active(table, &key), said(&world)), (Some(b.id), vec![b.id]));
    table.remove(&entry, &b, events, faults);
    table.remove(&entry, &a, events, faults);
    assert_eq!((entry.active().as_ref().map(|conn| conn.id), table.len()), (Some(other.id), 1));
    table.route(&key, None);
    assert!(entry.active().is_none());
    assert_eq!((active(table, &key), table.len()), (None, 0));
    // An entry that has left is not come back to.
    table.route(&key, Some(link.clone()));
    assert!(entry.active().is_none());
    table.add(key, &a, events);
    table.route(&key, None);
    assert_eq!(active(table, &key), Some(a.id));
}

/// Of what is said of a key, the last word is what holds, whoever says it.
#[test]
fn the_last_word_holds() {
    let world = World::new();
    let Shared { table, events, .. } = &world.shared;
    let key = secret(1).public_key();
    let conns = [(); 4].map(|()| world.conn(1).0);
    for _ in 0..50 {
        let entries = conns.each_ref().map(|conn| table.add(key, conn, events));
        let barrier = Barrier::new(conns.len());
        thread::scope(|scope| {
            for (conn, entry) in conns.iter().zip(&entries) {
                scope.spawn(|| {
                    barrier.wait();
                    for _ in 0..100 {
                        entry.activity(conn, events);
                    }
                });
            }
        });
        let Some(Event::Active { id, .. }) = world.events().pop() else { panic!("nothing was said") };
        assert_eq!(Some(id), active(table, &key));
        for (conn, entry) in conns.iter().zip(&entries) {
            table.remove(entry, conn, events, &world.shared.faults);
        }
        world.events();
    }
}

#[test]
fn whoever_comes_and_goes_at_once() {
    let world = World::new();
    let Shared { table, events, faults, .. } = &world.shared;
    let keys: Vec<NodeKey> = (0..3).map(|number| secret(number).public_key()).collect();
    let crowds: Vec<Vec<_>> = (0..4).map(|_| (0..3).map(|number| world.conn(number).0).collect()).collect();
    let link = Arc::new(Conn::link(900, 1, 0, ([127, 0, 0, 1], 1).into(), world.now));
    thread::scope(|scope| {
        // One that routes them elsewhere, and back.
        scope.spawn(|| {
            for round in 0..6000 {
                let key = &keys[round % keys.len()];
                table.route(key, (round / keys.len()).is_multiple_of(2).then(|| link.clone()));
            }
        });
        for (thread, conns) in crowds.iter().enumerate() {
            let keys = &keys;
            scope.spawn(move || {
                for round in 0..3000 {
                    let which = (round + thread) % keys.len();
                    let (key, conn) = (&keys[which], &conns[which]);
                    let entry = table.add(*key, conn, events);
                    // Somebody here has this key, because we do.
                    let found = table.lookup(key).expect("it was just entered");
                    assert!(Arc::ptr_eq(&found, &entry));
                    assert!(found.active().as_ref().is_some_and(|active| !active.is_link()));
                    if round % 3 == 0 {
                        entry.activity(conn, events);
                    }
                    let other = &keys[(which + 1) % keys.len()];
                    if let Some(entry) = table.lookup(other) {
                        let _ = entry.active();
                    }
                    table.remove(&entry, conn, events, faults);
                }
            });
        }
    });
    assert_eq!(table.len(), 0);
    assert!(keys.iter().all(|key| active(table, key).is_none()));
}
