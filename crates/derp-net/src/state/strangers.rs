//! Connections that are not admitted: how many there may be of one listener and of one address, and who makes room.

mod book;

use std::net::{IpAddr, Shutdown, TcpStream};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use derp_proto::counters::{Counter, Counters};

pub(crate) use self::book::Full;
use self::book::{Book, Most, Room};
use crate::base::network::Network;
use crate::base::policy::Policy;
use crate::base::sync::Lock;

/// In a pool of which more than half is used, the patience with newcomers is so many times shorter.
const HURRY: u32 = 4;

/// Connections of one pool that have made room, and that their workers have not ended yet: a newcomer that comes faster is refused.
const ENDING: usize = 4096;

/// What a connection is on its way to. Each listener has a pool of each.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Stage {
    /// It has sent no whole request head.
    Arriving,
    /// Its handshake waits for a certificate.
    Parked,
    /// From the greeting to admission.
    LoggingIn,
    /// It is the HTTP server's, and the control plane has not read of it.
    Http,
}

impl Stage {
    /// How many connections of one listener may be at this stage.
    fn limit(self, policy: &Policy) -> usize {
        match self {
            Self::Arriving => policy.handshakes,
            Self::Parked => policy.parked_handshakes,
            Self::LoggingIn => policy.pending_logins,
            Self::Http => policy.duplexes,
        }
    }
}

type Pool = (u64, Stage);

/// All of one plane.
pub(crate) struct Strangers {
    book: Lock<Book<Pool, Network, Weak<TcpStream>>>,
    counters: Arc<Counters>,
}

/// The place of one connection. It gives itself back when it is dropped.
pub(crate) struct Guest {
    strangers: Arc<Strangers>,
    /// `None` once somebody else has it.
    slot: Option<usize>,
    listener: u64,
    hurry: bool,
}

impl Strangers {
    pub(crate) fn new(counters: Arc<Counters>) -> Self {
        Self { book: Lock::new(Book::new(ENDING)), counters }
    }

    /// A place for a newcomer, the connection that may have to make room, and whether one of its address had to; an error, which is
    /// counted, if none can.
    pub(crate) fn enter(
        self: &Arc<Self>,
        listener: u64,
        stage: Stage,
        peer: IpAddr,
        stream: &Arc<TcpStream>,
        policy: &Policy,
        now: Instant,
    ) -> Result<(Guest, bool), Full> {
        let network = policy.share_of(peer);
        let of_pool = stage.limit(policy);
        let most = Most { of_pool, of_share: policy.per_address };
        let pool = (listener, stage);
        let (entered, count) = {
            let mut book = self.book.lock();
            (book.enter(pool, network, most, Arc::downgrade(stream), now), book.count(pool))
        };
        match entered {
            Ok((slot, room)) => {
                let is_crowded = room.of_share.is_some();
                self.make(room);
                let hurry = count > of_pool / 2;
                Ok((Guest { strangers: self.clone(), slot: Some(slot), listener, hurry }, is_crowded))
            }
            Err(full) => {
                self.refused(full);
                Err(full)
            }
        }
    }

    /// How many are there.
    #[cfg(test)]
    pub(crate) fn count(&self, listener: u64, stage: Stage) -> usize {
        self.book.lock().count((listener, stage))
    }

    fn refused(&self, full: Full) {
        self.counters.add(Counter::CONNECTIONS_REFUSED, 1);
        self.counters.add(full.refused(), 1);
    }

    /// Ends those who make room. Their workers see the hang-up.
    fn make(&self, Room { of_share, of_pool }: Room<Weak<TcpStream>>) {
        for (stream, reason) in
            [(of_share, Counter::STRANGERS_EVICTED_ADDRESS), (of_pool, Counter::STRANGERS_EVICTED_POOL)]
        {
            let Some(stream) = stream else { continue };
            self.counters.add(reason, 1);
            if let Some(stream) = stream.upgrade() {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Full {
    /// What counts those who were turned away.
    pub(crate) fn refused(self) -> Counter {
        match self {
            Self::Share => Counter::STRANGERS_REFUSED_ADDRESS,
            Self::Pool => Counter::STRANGERS_REFUSED_POOL,
        }
    }
}

impl Guest {
    /// Goes on to another stage, as a newcomer there. An error if there is no place, which is counted, or if it has just
    /// made room for another.
    pub(crate) fn advance(&mut self, stage: Stage, policy: &Policy, now: Instant) -> Result<(), Option<Full>> {
        let Some(slot) = self.slot else { return Err(None) };
        let of_pool = stage.limit(policy);
        let pool = (self.listener, stage);
        let (advanced, count) = {
            let mut book = self.strangers.book.lock();
            (book.advance(slot, pool, of_pool, now), book.count(pool))
        };
        self.hurry = count > of_pool / 2;
        match advanced {
            Ok(room) => {
                self.strangers.make(room);
                Ok(())
            }
            Err(full) => {
                if let Some(full) = full {
                    self.strangers.refused(full);
                }
                Err(full)
            }
        }
    }

    /// Whether it has made room for another, and is to end.
    pub(crate) fn is_evicted(&self) -> bool {
        self.slot.is_some_and(|slot| self.strangers.book.lock().is_evicted(slot))
    }

    /// It makes no room for others from here on.
    pub(crate) fn hold(&self) {
        if let Some(slot) = self.slot {
            self.strangers.book.lock().hold(slot);
        }
    }

    /// It is the place of this socket, which stands for another one from here on.
    pub(crate) fn rename(&self, stream: &Arc<TcpStream>) {
        let Some(slot) = self.slot else { return };
        let renamed = self.strangers.book.lock().rename(slot, Arc::downgrade(stream));
        if !renamed {
            // It made room before.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Moves it, and leaves nothing.
    pub(crate) fn take(&mut self) -> Self {
        Self { strangers: self.strangers.clone(), slot: self.slot.take(), listener: self.listener, hurry: self.hurry }
    }

    /// What there is of a patience.
    pub(crate) fn patience(&self, whole: Duration) -> Duration {
        if self.hurry { whole / HURRY } else { whole }
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Some(slot) = self.slot {
            self.strangers.book.lock().leave(slot);
        }
    }
}
