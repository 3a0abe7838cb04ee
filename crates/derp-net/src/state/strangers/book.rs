//! The book of connections that are not admitted: each is in one pool, and has part in the share of its address. Pure.
//!
//! Where a pool is full its oldest connection makes room for the newcomer; where a share is, its own oldest one does, if it
//! has had [`LEAST`]: of those who come at once from one address, who have just come are the ones that get on. Every step
//! takes the same time, however many there are.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

use slab::Slab;

/// What a connection has before another one of its own address takes its place.
pub(super) const LEAST: Duration = Duration::from_secs(1);

const NOBODY: usize = usize::MAX;

/// Connections in order; and how many there are, those included that make no room.
#[derive(Clone, Copy)]
struct Row {
    first: usize,
    last: usize,
    count: usize,
}

impl Default for Row {
    fn default() -> Self {
        Self { first: NOBODY, last: NOBODY, count: 0 }
    }
}

#[derive(Clone, Copy)]
struct Link {
    before: usize,
    behind: usize,
}

struct Member<P, S, T> {
    pool: P,
    share: Option<S>,
    /// When it came to its pool.
    since: Instant,
    /// Its neighbours in the rows of its pool and its share; `None` while it makes no room.
    links: Option<[Link; 2]>,
    /// What to end it with; gone once it is to end.
    who: Option<T>,
}

/// Why there is no place for a newcomer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Full {
    /// The share of its address is.
    Share,
    /// Its pool is.
    Pool,
}

/// Who makes room for a newcomer.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Room<T> {
    /// Of its own address.
    pub(crate) of_share: Option<T>,
    /// Of its pool.
    pub(crate) of_pool: Option<T>,
}

impl<T> Default for Room<T> {
    fn default() -> Self {
        Self { of_share: None, of_pool: None }
    }
}

/// How many there may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    pub(crate) of_pool: usize,
    pub(crate) of_share: usize,
}

pub(super) struct Book<P, S, T> {
    members: Slab<Member<P, S, T>>,
    pools: HashMap<P, Pool>,
    shares: HashMap<S, Row>,
    /// How many of one pool may be on their way out.
    most_ending: usize,
}

#[derive(Clone, Copy, Default)]
struct Pool {
    row: Row,
    /// Of those that were in it, the ones that are to end, and have not.
    ending: usize,
}

impl<P: Copy + Eq + Hash, S: Copy + Eq + Hash, T> Book<P, S, T> {
    pub(super) fn new(most_ending: usize) -> Self {
        Self { members: Slab::new(), pools: HashMap::new(), shares: HashMap::new(), most_ending }
    }

    /// Gives a newcomer a place.
    pub(super) fn enter(
        &mut self,
        pool: P,
        share: Option<S>,
        most: Most,
        who: T,
        now: Instant,
    ) -> Result<(usize, Room<T>), Full> {
        let of_share = self.leaves_share(share, most.of_share, now)?;
        let left = of_share.filter(|slot| self.members[*slot].pool == pool).map_or(0, |_| 1);
        // It may be the same one where the policy has become a narrower one.
        let of_pool = self.leaves_pool(pool, most.of_pool, left)?.filter(|slot| of_share != Some(*slot));
        let room = Room {
            of_share: of_share.and_then(|slot| self.evict(slot)),
            of_pool: of_pool.and_then(|slot| self.evict(slot)),
        };
        let slot = self.members.insert(Member { pool, share, since: now, links: None, who: Some(who) });
        self.pools.entry(pool).or_default().row.count += 1;
        if let Some(share) = share {
            self.shares.entry(share).or_default().count += 1;
        }
        self.link(slot);
        Ok((slot, room))
    }

    /// Moves a connection to the end of another pool, where it is a newcomer. Not one that is to end.
    pub(super) fn advance(&mut self, slot: usize, pool: P, most: usize, now: Instant) -> Result<Room<T>, Option<Full>> {
        if self.members[slot].who.is_none() {
            return Err(None);
        }
        let of_pool = self.leaves_pool(pool, most, 0).map_err(Some)?;
        let room = Room { of_share: None, of_pool: of_pool.and_then(|slot| self.evict(slot)) };
        let is_linked = self.members[slot].links.is_some();
        self.unlink(slot);
        let member = &mut self.members[slot];
        let old = std::mem::replace(&mut member.pool, pool);
        member.since = now;
        if let Some(old) = self.pools.get_mut(&old) {
            old.row.count -= 1;
        }
        self.pools.entry(pool).or_default().row.count += 1;
        if is_linked {
            self.link(slot);
        }
        Ok(room)
    }

    /// There is something else to end a connection with. False if it is to end already.
    pub(super) fn rename(&mut self, slot: usize, who: T) -> bool {
        self.members[slot].who.as_mut().map(|old| *old = who).is_some()
    }

    /// It makes no room from here on. It has a place all the same.
    pub(super) fn hold(&mut self, slot: usize) {
        self.unlink(slot);
    }

    /// Whether it has made room for another.
    pub(super) fn is_evicted(&self, slot: usize) -> bool {
        self.members.get(slot).is_some_and(|member| member.who.is_none())
    }

    /// It has ended, or is admitted.
    pub(super) fn leave(&mut self, slot: usize) {
        self.unlink(slot);
        let Member { pool, share, who, .. } = self.members.remove(slot);
        if who.is_none() {
            if let Some(pool) = self.pools.get_mut(&pool) {
                pool.ending -= 1;
            }
        } else {
            self.count_out(pool, share);
        }
    }

    /// How many are in a pool.
    pub(super) fn count(&self, pool: P) -> usize {
        self.pools.get(&pool).map_or(0, |pool| pool.row.count)
    }

    /// Who makes room in a share, if somebody has to.
    fn leaves_share(&self, share: Option<S>, most: usize, now: Instant) -> Result<Option<usize>, Full> {
        let Some(row) = share.and_then(|share| self.shares.get(&share)).filter(|row| row.count >= most) else {
            return if share.is_some() && most == 0 { Err(Full::Share) } else { Ok(None) };
        };
        let first = self.members.get(row.first).filter(|first| now.saturating_duration_since(first.since) >= LEAST);
        first.map(|_| Some(row.first)).ok_or(Full::Share)
    }

    /// Who makes room in a pool, if somebody has to; `left`, if so many leave it anyway.
    fn leaves_pool(&self, pool: P, most: usize, left: usize) -> Result<Option<usize>, Full> {
        let Pool { row, ending } = self.pools.get(&pool).copied().unwrap_or_default();
        if row.count - left < most {
            return Ok(None);
        }
        // They take what they have until they have ended: a newcomer that comes faster than they go is turned away.
        if most == 0 || row.first == NOBODY || ending >= self.most_ending {
            Err(Full::Pool)
        } else {
            Ok(Some(row.first))
        }
    }

    /// Takes a connection's place. It is to be ended.
    fn evict(&mut self, slot: usize) -> Option<T> {
        self.unlink(slot);
        let member = &mut self.members[slot];
        let who = member.who.take();
        let (pool, share) = (member.pool, member.share);
        self.count_out(pool, share);
        if let Some(pool) = self.pools.get_mut(&pool) {
            pool.ending += 1;
        }
        who
    }

    fn count_out(&mut self, pool: P, share: Option<S>) {
        if let Some(pool) = self.pools.get_mut(&pool) {
            pool.row.count -= 1;
        }
        let Some(share) = share else { return };
        if let Some(row) = self.shares.get_mut(&share) {
            row.count -= 1;
            if row.count == 0 {
                self.shares.remove(&share);
            }
        }
    }

    /// Puts it at the end of its rows.
    fn link(&mut self, slot: usize) {
        let mut links = [Link { before: NOBODY, behind: NOBODY }; 2];
        for (which, link) in links.iter_mut().enumerate() {
            let Some(row) = self.row(slot, which) else { continue };
            link.before = std::mem::replace(&mut row.last, slot);
            if link.before == NOBODY {
                row.first = slot;
            } else if let Some(links) = &mut self.members[link.before].links {
                links[which].behind = slot;
            }
        }
        self.members[slot].links = Some(links);
    }

    fn unlink(&mut self, slot: usize) {
        let Some(links) = self.members[slot].links.take() else { return };
        for (which, Link { before, behind }) in links.into_iter().enumerate() {
            let Some(row) = self.row(slot, which) else { continue };
            if before == NOBODY {
                row.first = behind;
            }
            if behind == NOBODY {
                row.last = before;
            }
            for (neighbour, is_before) in [(before, true), (behind, false)] {
                let Some(links) = self.members.get_mut(neighbour).and_then(|member| member.links.as_mut()) else {
                    continue;
                };
                if is_before {
                    links[which].behind = behind;
                } else {
                    links[which].before = before;
                }
            }
        }
    }

    /// The row of its pool, or of its share.
    fn row(&mut self, slot: usize, which: usize) -> Option<&mut Row> {
        let Member { pool, share, .. } = self.members[slot];
        if which == 0 {
            return Some(&mut self.pools.entry(pool).or_default().row);
        }
        share.map(|share| self.shares.entry(share).or_default())
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
