//! Every interleaving of those who bring work.

use ::loom::thread;
use derp_proto::sync::Arc;

use super::*;

/// Who brought it, and which one of theirs it was.
type Work = (u8, u8);

/// Guards the list of what was done; work counts as done if it is on it.
type Done = CombiningLock<Vec<Work>, Vec<Work>>;

fn bring(done: &Done, work: Work) -> Left {
    done.offer(|list, left| list.extend(left), |list| list.push(work), |inbox| inbox.push(work))
}

/// What a worker does when it is told to come.
fn come(done: &Done) {
    while done.enter(|list, left| list.extend(left), |_| {}) == Left::Work {}
}

/// Every interleaving in which threads are interrupted up to so many times. Without a bound it takes minutes, and finds
/// nothing more.
fn try_all(interruptions: usize, model: impl Fn() + Send + Sync + 'static) {
    let mut builder = ::loom::model::Builder::new();
    builder.preemption_bound = Some(interruptions);
    builder.check(model);
}

/// What was done, without another look into the inbox: what is still there would be lost.
fn done(handover: &Done) -> Vec<Work> {
    std::mem::take(&mut *handover.guarded.lock())
}

#[track_caller]
fn assert_order(list: &[Work], by: u8, count: u8) {
    let of: Vec<u8> = list.iter().filter(|work| work.0 == by).map(|work| work.1).collect();
    assert_eq!(of, (0..count).collect::<Vec<_>>(), "what {by} brought: {list:?}");
}

#[test]
fn nothing_is_lost_and_everybodys_order_is_kept() {
    try_all(6, || {
        let shared = Arc::new(Done::new(Vec::new()));
        let other = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for number in 0..2 {
                    if bring(&shared, (1, number)) == Left::Work {
                        come(&shared);
                    }
                }
            })
        };
        for number in 0..2 {
            if bring(&shared, (0, number)) == Left::Work {
                come(&shared);
            }
        }
        other.join().unwrap();
        let list = done(&shared);
        assert_order(&list, 0, 2);
        assert_order(&list, 1, 2);
    });
}

#[test]
fn of_three_nobody_loses_anything() {
    try_all(4, || {
        let shared = Arc::new(Done::new(Vec::new()));
        let others = [1, 2].map(|by| {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                if bring(&shared, (by, 0)) == Left::Work {
                    come(&shared);
                }
            })
        });
        if bring(&shared, (0, 0)) == Left::Work {
            come(&shared);
        }
        for other in others {
            other.join().unwrap();
        }
        let list = done(&shared);
        for by in 0..3 {
            assert_order(&list, by, 1);
        }
    });
}

/// As the owner does, when the socket takes bytes again.
#[test]
fn whoever_waits_for_the_lock_looks_again_too() {
    try_all(6, || {
        let shared = Arc::new(Done::new(Vec::new()));
        let owner = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || come(&shared))
        };
        if bring(&shared, (0, 0)) == Left::Work {
            come(&shared);
        }
        // Now and then everybody does.
        if shared.enter(|list, left| list.extend(left), |list| list.push((0, 1))) == Left::Work {
            come(&shared);
        }
        owner.join().unwrap();
        assert_order(&done(&shared), 0, 2);
    });
}

/// Whether packets leave or are dropped, they are counted once.
#[test]
fn a_close_in_between_loses_nothing() {
    #[derive(Default)]
    struct Out {
        closed: bool,
        sent: u8,
        dropped: u8,
    }

    fn send(out: &mut Out, packets: u8) {
        *if out.closed { &mut out.dropped } else { &mut out.sent } += packets;
    }

    fn come(shared: &CombiningLock<Out, u8>, left: Left) {
        if left == Left::Work {
            let left = shared.enter(send, |_| {});
            come(shared, left);
        }
    }

    try_all(6, || {
        let shared = Arc::new(CombiningLock::new(Out::default()));
        let sender = {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                for _ in 0..2 {
                    let left = shared.offer(send, |out| send(out, 1), |inbox| *inbox += 1);
                    come(&shared, left);
                }
            })
        };
        let left = shared.enter(send, |out| out.closed = true);
        come(&shared, left);
        sender.join().unwrap();
        let out = shared.guarded.lock();
        assert_eq!(out.sent + out.dropped, 2);
        assert!(out.closed);
    });
}
