use proptest::prelude::*;

use super::*;

type Small = Book<u8, u8, u32>;

const MOST: Most = Most { of_pool: 3, of_share: 2 };

/// Seconds, of a clock that has begun some time.
struct Clock(Instant);

impl Clock {
    fn at(&self, millis: u64) -> Instant {
        self.0 + Duration::from_millis(millis)
    }
}

fn room(of_share: Option<u32>, of_pool: Option<u32>) -> Room<u32> {
    Room { of_share, of_pool }
}

#[test]
fn the_oldest_of_a_full_pool_makes_room() {
    let (mut book, now) = (Small::new(3), Instant::now());
    let slots: Vec<_> = (0..3).map(|who| book.enter(0, None, MOST, who, now).unwrap()).collect();
    assert!(slots.iter().all(|(_, made)| *made == room(None, None)));
    let (_, made) = book.enter(0, None, MOST, 3, now).unwrap();
    assert_eq!(made, room(None, Some(0)));
    // Another pool has room.
    assert_eq!(book.enter(1, None, MOST, 4, now).unwrap().1, room(None, None));
    // Whoever has left makes no room, nor does who is held.
    book.leave(slots[1].0);
    book.hold(slots[2].0);
    assert_eq!(book.count(0), 2);
    assert_eq!(book.enter(0, None, MOST, 5, now).unwrap().1, room(None, None));
    assert_eq!(book.enter(0, None, MOST, 6, now).unwrap().1, room(None, Some(3)));
}

#[test]
fn nobody_comes_in_where_all_are_held_or_have_not_ended() {
    let (mut book, now) = (Small::new(3), Instant::now());
    assert_eq!(book.enter(0, None, Most { of_pool: 0, ..MOST }, 0, now), Err(Full::Pool));
    let first = [0, 1, 2].map(|who| book.enter(0, None, MOST, who, now).unwrap().0)[0];
    for who in 3..6 {
        assert_eq!(book.enter(0, None, MOST, who, now).unwrap().1, room(None, Some(who - 3)));
    }
    assert_eq!(book.enter(0, None, MOST, 6, now), Err(Full::Pool));
    book.leave(first);
    let (slot, made) = book.enter(0, None, MOST, 7, now).unwrap();
    assert_eq!(made, room(None, Some(3)));
    book.hold(slot);
    assert_eq!(book.count(0), 3);
}

#[test]
fn of_an_address_whose_share_is_full_the_oldest_makes_room_once_it_has_had_its_time() {
    let (mut book, clock) = (Small::new(3), Clock(Instant::now()));
    let most = Most { of_pool: 10, of_share: 2 };
    for (who, millis) in [(0, 0), (1, 500)] {
        book.enter(0, Some(7), most, who, clock.at(millis)).unwrap();
    }
    assert_eq!(book.enter(0, Some(7), most, 2, clock.at(999)), Err(Full::Share));
    assert_eq!(book.enter(0, Some(8), most, 3, clock.at(999)).unwrap().1, room(None, None));
    assert_eq!(book.enter(0, Some(7), most, 4, clock.at(1000)).unwrap().1, room(Some(0), None));
    assert_eq!(book.enter(0, Some(7), most, 5, clock.at(1000)), Err(Full::Share));
    // It is the same share, whichever pool they are in.
    assert_eq!(book.enter(1, Some(7), most, 6, clock.at(1500)).unwrap().1, room(Some(1), None));
    assert_eq!((book.count(0), book.count(1)), (2, 1));
}

#[test]
fn whoever_goes_on_is_a_newcomer_there_and_stays_in_its_share() {
    let (mut book, now) = (Small::new(3), Instant::now());
    let (first, _) = book.enter(0, Some(7), MOST, 0, now).unwrap();
    for who in 1..4 {
        book.enter(1, None, MOST, who, now).unwrap();
    }
    assert_eq!(book.advance(first, 1, 3, now), Ok(room(None, Some(1))));
    assert_eq!((book.count(0), book.count(1)), (0, 3));
    let (second, _) = book.enter(0, Some(7), MOST, 4, now).unwrap();
    assert_eq!(book.enter(0, Some(7), MOST, 5, now), Err(Full::Share));
    book.leave(second);
    book.leave(first);
    assert!(book.shares.is_empty());
}

#[test]
fn whoever_is_to_end_goes_nowhere() {
    let (mut book, now) = (Small::new(3), Instant::now());
    let most = Most { of_pool: 1, of_share: 9 };
    let (first, _) = book.enter(0, Some(7), most, 0, now).unwrap();
    let (second, made) = book.enter(0, Some(7), most, 1, now).unwrap();
    assert_eq!(made, room(None, Some(0)));
    assert_eq!(book.advance(first, 1, 9, now), Err(None));
    assert!(!book.rename(first, 9) && book.rename(second, 9));
    book.hold(first);
    book.leave(first);
    assert_eq!((book.count(0), book.count(1)), (1, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Enter(u8, Option<u8>),
    Advance(usize, u8),
    Hold(usize),
    Leave(usize),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..2_u8, proptest::option::of(0..3_u8)).prop_map(|(pool, share)| Step::Enter(pool, share)),
        1 => (any::<usize>(), 0..2_u8).prop_map(|(which, pool)| Step::Advance(which, pool)),
        1 => any::<usize>().prop_map(Step::Hold),
        2 => any::<usize>().prop_map(Step::Leave),
    ]
}

/// One of a plain list, which says the same in the longest way.
#[derive(Clone, Debug)]
struct Plain {
    slot: usize,
    who: u32,
    pool: u8,
    share: Option<u8>,
    since: Instant,
    held: bool,
    ending: bool,
}

#[derive(Default)]
struct List(Vec<Plain>);

impl List {
    fn victim(&self, of: impl Fn(&Plain) -> bool) -> Option<usize> {
        self.0.iter().position(|each| !each.ending && !each.held && of(each))
    }

    fn count(&self, of: impl Fn(&Plain) -> bool) -> usize {
        self.0.iter().filter(|each| !each.ending && of(each)).count()
    }

    fn of_pool(&self, pool: u8, most: usize, left: usize) -> Result<Option<usize>, Full> {
        if self.count(|each| each.pool == pool) - left < most {
            return Ok(None);
        }
        let ending = self.0.iter().filter(|each| each.ending && each.pool == pool).count();
        self.victim(|each| each.pool == pool).filter(|_| ending < 3).map(Some).ok_or(Full::Pool)
    }

    fn enter(&mut self, pool: u8, share: Option<u8>, now: Instant) -> Result<Room<u32>, Full> {
        let of_share = if share.is_some() && self.count(|each| each.share == share) >= MOST.of_share {
            let first = self.victim(|each| each.share == share).filter(|at| now - self.0[*at].since >= LEAST);
            Some(first.ok_or(Full::Share)?)
        } else {
            None
        };
        let left = of_share.map_or(0, |at| usize::from(self.0[at].pool == pool));
        let of_pool = self.of_pool(pool, MOST.of_pool, left)?.filter(|at| of_share != Some(*at));
        let mut end = |at: Option<usize>| {
            at.map(|at| {
                self.0[at].ending = true;
                self.0[at].who
            })
        };
        Ok(room(end(of_share), end(of_pool)))
    }
}

proptest! {
    #[test]
    fn it_says_what_a_plain_list_says(steps in prop::collection::vec((step(), 0..700_u64), 1..200)) {
        let (mut book, mut list, start) = (Small::new(3), List::default(), Instant::now());
        let mut now = start;
        for (number, (step, pause)) in steps.into_iter().enumerate() {
            now += Duration::from_millis(pause);
            let who = number as u32;
            match step {
                Step::Enter(pool, share) => {
                    let expected = list.enter(pool, share, now);
                    match book.enter(pool, share, MOST, who, now) {
                        Ok((slot, made)) => {
                            prop_assert_eq!(Ok(made), expected);
                            list.0.push(Plain { slot, who, pool, share, since: now, held: false, ending: false });
                        }
                        Err(full) => prop_assert_eq!(Err(full), expected),
                    }
                }
                Step::Advance(which, pool) if !list.0.is_empty() => {
                    let at = which % list.0.len();
                    let slot = list.0[at].slot;
                    let expected = if list.0[at].ending { Err(None) } else { list.of_pool(pool, 9, 0).map_err(Some) };
                    let expected = expected.map(|victim| room(None, victim.map(|at| list.0[at].who)));
                    let advanced = book.advance(slot, pool, 9, now);
                    prop_assert_eq!(&advanced, &expected);
                    if advanced.is_ok() {
                        let mut moved = list.0.remove(at);
                        (moved.pool, moved.since) = (pool, now);
                        list.0.push(moved);
                    }
                }
                Step::Hold(which) if !list.0.is_empty() => {
                    let at = which % list.0.len();
                    list.0[at].held = true;
                    book.hold(list.0[at].slot);
                }
                Step::Leave(which) if !list.0.is_empty() => {
                    let at = which % list.0.len();
                    book.leave(list.0.remove(at).slot);
                }
                _ => {}
            }
            for pool in 0..2 {
                prop_assert_eq!(book.count(pool), list.count(|each| each.pool == pool));
            }
        }
        for each in list.0.drain(..) {
            book.leave(each.slot);
        }
        prop_assert!(book.shares.is_empty() && book.members.is_empty());
        prop_assert!(book.pools.values().all(|pool| pool.row.count == 0 && pool.ending == 0));
    }
}
