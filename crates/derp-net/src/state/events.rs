//! What the control plane is told. Marks on connections and keys, bounded by their number, and a few whole events; one
//! pending wake-up.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

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
pub enum Event {
    /// A client has proven its key, and waits for [`Plane::admit`](crate::Plane::admit) or its end.
    Login {
        /// The connection.
        id: u64,
        /// The client's key.
        key: NodeKey,
        /// What the client says of itself.
        info: ClientInfo,
        /// The address that the connection comes from; the unspecified one if it is not known.
        peer: SocketAddr,
        /// The version of its TLS, if it has any.
        tls: Option<Version>,
        /// The client said with `Ideal-Node` that it would rather be on another node of the region.
        not_ideal: bool,
    },
    /// The last event of a connection of which there was a login.
    Closed {
        /// The connection.
        id: u64,
        /// Why it ended.
        reason: CloseReason,
    },
    /// Another connection of a key that has several gets its packets. Only the last of several need be told.
    Active {
        /// The key.
        key: NodeKey,
        /// The connection that gets the packets now.
        id: u64,
        /// Rises over the life of the plane: of two events for one key the one with the higher number holds.
        sequence: u64,
    },
    /// A connection with mesh permission subscribes to peers that come and go.
    Watch {
        /// The connection.
        id: u64,
    },
    /// A connection with mesh permission asks for the end of all connections of a key.
    ClosePeer {
        /// The connection that asks.
        id: u64,
        /// The key whose connections are to end.
        target: NodeKey,
    },
    /// Whether this relay is a client's home has changed.
    Prefer {
        /// The connection.
        id: u64,
        /// Whether it is now.
        home: bool,
        /// How often that has changed since the last event of this kind.
        changes: u32,
    },
    /// There is room for more of what is sent with `pull`.
    Pulled {
        /// The connection.
        id: u64,
    },
    /// A connection is the HTTP server's: its socket, or one end of a pair that carries its plaintext.
    Duplex {
        /// The connection.
        id: u64,
        /// The listener that it came to.
        listener: u64,
        /// The address that it comes from.
        peer: SocketAddr,
        /// The version of its TLS, which the plane keeps; `None` if the socket is the connection's own.
        tls: Option<Version>,
        /// The socket.
        stream: TcpStream,
        /// What was read of it.
        received: Vec<u8>,
    },
    /// A packet waits for word of where its destination is: [`Plane::route`](crate::Plane::route) or
    /// [`Plane::missing`](crate::Plane::missing).
    Lookup {
        /// The destination.
        key: NodeKey,
    },
    /// A first connection is to be told when a source leaves that has no connection here.
    Heard {
        /// The source.
        key: NodeKey,
    },
    /// A dial has succeeded: the relay has let the link in.
    LinkOpen {
        /// What the control plane calls the link.
        link: u64,
        /// The key of the relay at the other end.
        server: NodeKey,
    },
    /// A link's relay announces peers. Until this is taken, the link is not read.
    LinkPeers {
        /// What the control plane calls the link.
        link: u64,
        /// The announcements, in their order.
        changes: Vec<LinkChange>,
    },
    /// The last event of a link, or of a dial that failed.
    LinkClosed {
        /// What the control plane calls the link.
        link: u64,
        /// Why it ended, in the words of the log.
        reason: String,
    },
    /// A handshake is parked until there is a certificate for it.
    CertificateNeeded {
        /// The connection, for [`Plane::close`](crate::Plane::close).
        id: u64,
        /// The certificate that the client wants.
        need: Need,
        /// The address that the client has connected to.
        local: IpAddr,
    },
    /// All workers have answered [`Plane::pulse`](crate::Plane::pulse).
    Pulse {
        /// The number that was asked with.
        id: u64,
    },
    /// Packets to keys that are watched were dropped.
    Drops(Vec<Dropped>),
    /// Connections came to nothing before they were admitted, and how many more did.
    Failures(Vec<Failure>, u64),
    /// The share of this address is full.
    Crowded {
        /// The address; of IPv6, one of the /64 that shares.
        address: IpAddr,
    },
    /// Something has failed that costs no more than what it was for.
    Trouble {
        /// What, and why.
        message: String,
    },
    /// The plane has failed, and ends.
    Fault {
        /// What, and why.
        message: String,
    },
}

/// What another relay says of a key: that it is there, or has gone.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LinkChange {
    /// The peer.
    pub key: NodeKey,
    /// Whether it has come to the other relay; if not, it has left.
    pub present: bool,
}

/// What the control plane has not been told of one connection.
#[derive(Default)]
pub(crate) struct News {
    bits: AtomicU8,
    home: Home,
}

/// Whether this relay is the client's home, in the lowest bit; above it, how often that has changed since it was told. Only the
/// owner changes it, so that one number is enough for both.
#[derive(Default)]
struct Home(AtomicU32);

impl Home {
    /// False if it is so already.
    fn change(&self, home: bool) -> bool {
        let is_home = self.0.load(Ordering::SeqCst) & 1 == 1;
        if is_home != home {
            self.0.fetch_add(if home { 2 + 1 } else { 2 - 1 }, Ordering::SeqCst);
        }
        is_home != home
    }

    /// What there is to be told of the connection.
    fn take(&self, id: u64) -> Event {
        let state = self.0.fetch_and(1, Ordering::SeqCst);
        Event::Prefer { id, home: state & 1 == 1, changes: state >> 1 }
    }
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
    /// and of what mesh peers ask for. Taken until the control plane has read of them, so that no client that is faster fills the
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

    /// The same with a place that is taken until the control plane has read of it, so that no client fills the queue.
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
    /// it still had one; without one it is told at the next tick.
    pub(crate) fn closed(&self, conn: &C, reason: CloseReason, guest: Option<Guest>) {
        let news = conn.news().bits.fetch_or(ENDED, Ordering::SeqCst);
        let mut queue = self.queue.lock();
        // Its last moves count, even if it leaves at once.
        if news & (PREFER | ENDED) == PREFER {
            queue.events.push(conn.news().home.take(conn.id()));
        }
        if let Some(key) = conn.key()
            && queue.active.get(key).is_some_and(|(id, _)| *id == conn.id())
        {
            queue.active.remove(key);
        }
        queue.events.push(Event::Closed { id: conn.id(), reason });
        // A client that has had its admission has no place that others wait for: the next login tells of its end, too.
        let is_urgent = guest.is_some();
        queue.guests.extend(guest);
        drop(queue);
        if is_urgent {
            self.bell.ring();
        } else {
            self.bell.ring_later();
        }
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
        if conn.news().home.change(home) {
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
            // A connection that has ended is forgotten, or will be.
            if news & ENDED != 0 {
                continue;
            }
            if news & PREFER != 0 {
                events.push(conn.news().home.take(conn.id()));
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
