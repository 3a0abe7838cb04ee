//! What the control plane is told. Marks on connections and keys, bounded by their number, and a few whole events; one
//! pending wake-up.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use derp_proto::client_info::ClientInfo;
use derp_proto::key::NodeKey;
use derp_tls::{Need, Version};

use crate::base::budget::Share;
use crate::base::close_reason::CloseReason;
use crate::base::sync::Lock;
use crate::state::bell::{Bell, Wake};
use crate::state::drops::Dropped;
use crate::state::failures::Failure;
use crate::state::strangers::Guest;

/// One thing that has happened. Those of one connection come in their order.
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each is")]
pub enum Event {
    Login {
        id: u64,
        key: NodeKey,
        info: ClientInfo,
        peer: SocketAddr,
        tls: Option<Version>,
        not_ideal: bool,
    },
    Closed {
        id: u64,
        reason: CloseReason,
    },
    Active {
        key: NodeKey,
        id: u64,
        sequence: u64,
    },
    Watch {
        id: u64,
    },
    ClosePeer {
        id: u64,
        target: NodeKey,
    },
    Prefer {
        id: u64,
        home: bool,
    },
    Pulled {
        id: u64,
    },
    /// A connection that is an HTTP server's: the socket itself, and what was read from it.
    Duplex {
        id: u64,
        listener: u64,
        peer: SocketAddr,
        tls: Option<Version>,
        stream: TcpStream,
        received: Vec<u8>,
    },
    LinkOpen {
        link: u64,
        server: NodeKey,
    },
    /// Until this is taken, the link is not read.
    LinkPeers {
        link: u64,
        changes: Vec<LinkChange>,
    },
    LinkClosed {
        link: u64,
        reason: String,
    },
    /// A handshake is parked until there is a certificate for it.
    CertificateNeeded {
        id: u64,
        need: Need,
        local: IpAddr,
    },
    /// All workers have answered.
    Pulse {
        id: u64,
    },
    /// Packets to keys that are watched were dropped.
    Drops(Vec<Dropped>),
    /// Connections came to nothing before they were admitted, and how many more did.
    Failures(Vec<Failure>, u64),
    /// The share of this address is full.
    Crowded {
        address: IpAddr,
    },
    /// Something has failed that costs no more than what it was for.
    Trouble {
        message: String,
    },
    /// The plane has failed.
    Fault {
        message: String,
    },
}

/// What another relay says of a key: that it is there, or has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each is")]
pub struct LinkChange {
    pub key: NodeKey,
    pub present: bool,
}

/// What the control plane has not been told of one connection.
#[derive(Default)]
pub(crate) struct News {
    bits: AtomicU8,
    home: AtomicBool,
}

/// Bits of [`News`].
const PREFER: u8 = 1;
const PULLED: u8 = 2;
/// Its last event is in the queue.
const ENDED: u8 = 4;

/// What has news for the control plane: a connection.
pub(crate) trait Reporter {
    /// The number by which the control plane knows it.
    fn id(&self) -> u64;

    /// Its key, once it has proven it.
    fn key(&self) -> Option<&NodeKey>;

    /// What the control plane has not been told of it.
    fn news(&self) -> &News;
}

struct Queue<C> {
    events: Vec<Event>,
    /// Connections with a bit set in their news.
    dirty: Vec<Arc<C>>,
    /// What may change with every frame: only the last word counts.
    active: HashMap<NodeKey, (u64, u64)>,
    sequence: u64,
    /// Places of what is in the queue: of logins that ended before they were admitted, and of connections for the HTTP server;
    /// and of what mesh peers ask for. Taken until the control plane has read of them, so that nobody who is faster fills the
    /// queue.
    guests: Vec<Guest>,
    shares: Vec<Share>,
}

/// The queue between the workers and the control plane.
pub(crate) struct Events<C> {
    queue: Lock<Queue<C>>,
    pub(crate) bell: Bell,
}

impl<C> Default for Queue<C> {
    fn default() -> Self {
        Self {
            events: Vec::new(),
            dirty: Vec::new(),
            active: HashMap::new(),
            sequence: 0,
            guests: Vec::new(),
            shares: Vec::new(),
        }
    }
}

impl<C: Reporter> Events<C> {
    pub(crate) fn new(wake: Wake) -> Self {
        Self { queue: Lock::default(), bell: Bell::new(wake) }
    }

    pub(crate) fn push(&self, event: Event) {
        self.queue.lock().events.push(event);
        self.bell.ring();
    }

    /// The same with a place that is taken until the control plane has read of it, so that nobody fills the queue.
    pub(crate) fn push_with(&self, event: Event, share: Share) {
        let mut queue = self.queue.lock();
        queue.events.push(event);
        queue.shares.push(share);
        drop(queue);
        self.bell.ring();
    }

    /// The same for a connection that is the HTTP server's.
    pub(crate) fn push_guest(&self, event: Event, guest: Guest) {
        let mut queue = self.queue.lock();
        queue.events.push(event);
        queue.guests.push(guest);
        drop(queue);
        self.bell.ring();
    }

    /// The last event of a connection: nothing it had to say before comes after it. With its place among the logins, if
    /// it still had one.
    pub(crate) fn closed(&self, conn: &C, reason: CloseReason, guest: Option<Guest>) {
        conn.news().bits.fetch_or(ENDED, Ordering::SeqCst);
        let mut queue = self.queue.lock();
        if let Some(key) = conn.key()
            && queue.active.get(key).is_some_and(|(id, _)| *id == conn.id())
        {
            queue.active.remove(key);
        }
        queue.events.push(Event::Closed { id: conn.id(), reason });
        queue.guests.extend(guest);
        drop(queue);
        self.bell.ring();
    }

    /// A handshake waits for a certificate, and has this share of the needs that are not read.
    pub(crate) fn certificate_needed(&self, id: u64, need: Need, local: IpAddr, share: Share) {
        let mut queue = self.queue.lock();
        queue.events.push(Event::CertificateNeeded { id, need, local });
        queue.shares.push(share);
        drop(queue);
        self.bell.ring();
    }

    /// Another connection of a key is active. Told at the next tick.
    pub(crate) fn active(&self, key: NodeKey, id: u64) {
        let mut queue = self.queue.lock();
        queue.sequence += 1;
        let sequence = queue.sequence;
        queue.active.insert(key, (id, sequence));
        drop(queue);
        self.bell.ring_later();
    }

    /// Whether this relay is the client's home. Told at the next tick, if it has changed.
    pub(crate) fn prefer(&self, conn: &Arc<C>, home: bool) {
        if conn.news().home.swap(home, Ordering::SeqCst) != home {
            self.mark(conn, PREFER);
            self.bell.ring_later();
        }
    }

    pub(crate) fn pulled(&self, conn: &Arc<C>) {
        self.mark(conn, PULLED);
        self.bell.ring();
    }

    /// Takes everything there is. The next event wakes again.
    pub(crate) fn take(&self) -> Vec<Event> {
        let Queue { mut events, dirty, active, guests, shares, .. } = self.bell.answer(|| {
            let mut queue = self.queue.lock();
            let sequence = queue.sequence;
            std::mem::replace(&mut *queue, Queue { sequence, ..Queue::default() })
        });
        drop((guests, shares));
        events.extend(active.into_iter().map(|(key, (id, sequence))| Event::Active { key, id, sequence }));
        for conn in dirty {
            let news = conn.news().bits.fetch_and(ENDED, Ordering::SeqCst);
            // Whoever has ended is forgotten, or will be.
            if news & ENDED != 0 {
                continue;
            }
            if news & PREFER != 0 {
                events.push(Event::Prefer { id: conn.id(), home: conn.news().home.load(Ordering::SeqCst) });
            }
            if news & PULLED != 0 {
                events.push(Event::Pulled { id: conn.id() });
            }
        }
        events
    }

    /// Sets a bit, and has the connection looked at if none was set.
    fn mark(&self, conn: &Arc<C>, bit: u8) {
        if conn.news().bits.fetch_or(bit, Ordering::SeqCst) == 0 {
            self.queue.lock().dirty.push(conn.clone());
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
