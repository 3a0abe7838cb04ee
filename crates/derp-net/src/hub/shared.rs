//! What all threads of one plane share.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use derp_proto::counters::{Counter, Counters};
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::{frame, http_head};
use derp_tls::{CertificateSet, Version};
use mio::{Poll, Waker};

use crate::base::budget::{Budget, Share};
use crate::base::budgets::{Budgets, Holder};

use crate::base::close_reason::CloseReason;
use crate::base::faults::Faults;
use crate::base::os_hooks::OsHooks;
use crate::base::policy::Policy;
use crate::base::sync::Lock;
use crate::conn::Conn;
use crate::egress::EgressContext;
use crate::ingress::mesh_link;
use crate::io::cipher_sweep::WarmList;
use crate::state::drops::{Drops, Watched};
use crate::state::events::{Event, Events, Wake};
use crate::state::peer_gone::Subscribers;
use crate::state::strangers::{Guest, Stage, Strangers};
use crate::state::table::Table;
use crate::state::tap::{Tap, Tapped};
use crate::worker::{Mail, WAKE};

/// One worker, as the others see it.
pub(crate) struct Mailbox {
    pub(crate) sender: Sender<Mail>,
    pub(crate) waker: Waker,
    pub(crate) warmed: WarmList,
}

/// Where a bridge is.
#[derive(Clone, Copy)]
pub(crate) struct BridgeAddress {
    pub(crate) worker: usize,
    pub(crate) token: usize,
    pub(crate) tls: Option<Version>,
}

/// The plane without its threads.
///
/// Locks are taken in this order, and no two of the same kind at once: admission of a connection, members of a table entry,
/// events; egress of a connection, its inbox, the subscribers or a ledger; drops. The maps of connections and links are never held while
/// another is taken.
pub(crate) struct Shared {
    pub(crate) secret: SecretKey,
    pub(crate) public: NodeKey,
    /// The frame that greets every client, and the HTTP answer that precedes it where one is wanted.
    pub(crate) greeting: Box<[u8]>,
    pub(crate) switching: Box<[u8]>,
    pub(crate) policy: ArcSwap<Policy>,
    pub(crate) certificates: ArcSwapOption<CertificateSet>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) table: Table,
    /// Who was sent packets of whom.
    pub(crate) subscribers: Subscribers,
    pub(crate) events: Events,
    /// Of packets to the keys that the policy watches.
    pub(crate) drops: Drops,
    pub(crate) os: OsHooks,
    pub(crate) mailboxes: Vec<Mailbox>,
    /// DERP connections, from the greeting to their end. For commands, which come per connection.
    pub(crate) conns: Lock<HashMap<u64, Arc<Conn>>>,
    /// Those of which something is still to leave, from their end to that of their socket. For what they hold.
    pub(crate) leaving: Lock<HashMap<u64, Arc<Conn>>>,
    /// Links, from the dial to their end, as the control plane counts them.
    pub(crate) links: Lock<HashMap<u64, Arc<Conn>>>,
    /// Where routes lead whose link has ended.
    pub(crate) no_link: Arc<Conn>,
    /// TLS that is the HTTP server's.
    pub(crate) bridges: Lock<HashMap<u64, BridgeAddress>>,
    pub(crate) last_id: AtomicU64,
    /// Descriptors of connections that listeners have brought, until their sockets are closed.
    pub(crate) room: Budget,
    /// What of it connections hold whose sockets are Node's.
    pub(crate) given: Lock<HashMap<u64, Share>>,
    /// Connections that are not admitted.
    pub(crate) strangers: Arc<Strangers>,
    /// Of those, the ones whose handshake waits for a certificate, or whose wait the control plane has not read of.
    pub(crate) parked: Budget,
    /// What mesh peers have asked for, and the control plane has not read of.
    pub(crate) asked: Budget,
    /// Bytes of ClientInfo frames that are not whole.
    pub(crate) login_bytes: Budget,
    /// What is bounded over all connections.
    pub(crate) budgets: Budgets,
    pub(crate) closing: AtomicBool,
    /// Of threads beside the workers.
    pub(crate) wakers: Lock<Vec<Waker>>,
    pub(crate) faults: Faults,
    pub(crate) tap: Tap,
    /// The zero of the clocks that count from somewhere.
    pub(crate) start: Instant,
}

/// What a worker has that others write to.
pub(crate) type Post = (Poll, Receiver<Mail>);

impl Shared {
    /// With what each of the workers needs.
    pub(crate) fn new(
        secret: SecretKey,
        policy: Policy,
        workers: usize,
        counters: Arc<Counters>,
        os: OsHooks,
        wake: Wake,
    ) -> io::Result<(Self, Vec<Post>)> {
        let public = secret.public_key();
        let mut mailboxes = Vec::new();
        let mut posts = Vec::new();
        for _ in 0..workers.max(1) {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), WAKE)?;
            let (sender, receiver) = mpsc::channel();
            mailboxes.push(Mailbox { sender, waker, warmed: WarmList::default() });
            posts.push((poll, receiver));
        }
        let shared = Self {
            greeting: Box::new(frame::greeting(&public)),
            switching: http_head::switching_protocols(&public).into(),
            secret,
            public,
            policy: ArcSwap::from_pointee(policy),
            certificates: ArcSwapOption::empty(),
            strangers: Arc::new(Strangers::new(counters.clone())),
            counters,
            table: Table::default(),
            subscribers: Subscribers::default(),
            events: Events::new(wake),
            drops: Drops::default(),
            os,
            mailboxes,
            conns: Lock::default(),
            leaving: Lock::default(),
            links: Lock::default(),
            no_link: Arc::new(Conn::link(0, 0, 0, SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0), Instant::now())),
            bridges: Lock::default(),
            last_id: AtomicU64::new(0),
            room: Budget::default(),
            given: Lock::default(),
            parked: Budget::default(),
            asked: Budget::default(),
            login_bytes: Budget::default(),
            budgets: Budgets::new(workers),
            closing: AtomicBool::new(false),
            wakers: Lock::default(),
            faults: Faults::default(),
            tap: Tap::default(),
            start: Instant::now(),
        };
        Ok((shared, posts))
    }

    /// Leaves a message for a worker. False if the worker has ended.
    pub(crate) fn mail(&self, worker: usize, mail: Mail) -> bool {
        let mailbox = &self.mailboxes[worker];
        // Waking fails only if the counter behind it is full, and then the worker is awake.
        mailbox.sender.send(mail).is_ok() && mailbox.waker.wake().is_ok()
    }

    /// The same for all workers.
    pub(crate) fn mail_all(&self, mail: impl Fn() -> Mail) {
        for worker in 0..self.mailboxes.len() {
            self.mail(worker, mail());
        }
    }

    /// Tells all workers to end. The first reason is the one that counts.
    pub(crate) fn end_workers(&self, reason: CloseReason) {
        if self.closing.swap(true, Ordering::SeqCst) {
            return;
        }
        self.mail_all(|| Mail::End(reason));
        for waker in &*self.wakers.lock() {
            let _ = waker.wake();
        }
    }

    /// Has a thread that looks at `closing` woken when the plane ends. False if it has ended.
    pub(crate) fn watch_end(&self, waker: Waker) -> bool {
        self.wakers.lock().push(waker);
        !self.closing.load(Ordering::SeqCst)
    }

    /// Ends the connections that no worker looks after any more: those of `worker`, or of all.
    pub(crate) fn end_orphans(&self, worker: Option<usize>, reason: CloseReason) {
        let orphans: Vec<_> = self.conns.lock().values().cloned().collect();
        for conn in orphans.iter().filter(|conn| worker.is_none_or(|worker| conn.worker == worker)) {
            conn.end(reason, None, Ctx::now(self));
        }
        let orphans: Vec<_> = self.links.lock().values().cloned().collect();
        for conn in orphans.iter().filter(|conn| worker.is_none_or(|worker| conn.worker == worker)) {
            conn.end_link(mesh_link::reason_of(reason).into(), Ctx::now(self));
        }
    }

    pub(crate) fn conn(&self, id: u64) -> Option<Arc<Conn>> {
        self.conns.lock().get(&id).cloned()
    }

    /// An id for a connection or listener. Never used again.
    pub(crate) fn new_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What everything that happens needs: the plane, and the time it is.
#[derive(Clone, Copy)]
pub(crate) struct Ctx<'a> {
    shared: &'a Shared,
    pub(crate) now: Instant,
}

impl<'a> Ctx<'a> {
    pub(crate) fn now(shared: &'a Shared) -> Self {
        Self { shared, now: Instant::now() }
    }

    #[cfg(test)]
    pub(crate) fn at(shared: &'a Shared, now: Instant) -> Self {
        Self { shared, now }
    }

    /// Room for the descriptor of one more connection, unless the rest is to be left for everything else.
    pub(crate) fn may_connect(&self) -> Option<Share> {
        let room = self.room.take(1, self.policy.load().connections);
        if room.is_none() {
            self.counters.add(Counter::CONNECTIONS_REFUSED, 1);
        }
        room
    }

    /// Tells of something that has failed and costs no more than what it was for.
    pub(crate) fn trouble(&self, what: &str, why: impl std::fmt::Display) {
        self.events.push(Event::Trouble { message: format!("{what}: {why}") });
    }

    /// A place for a newcomer at this stage, unless there is none.
    pub(crate) fn enter(
        &self,
        listener: u64,
        stage: Stage,
        peer: SocketAddr,
        stream: &Arc<TcpStream>,
    ) -> Option<Guest> {
        self.strangers.enter(listener, stage, peer.ip(), stream, &self.policy.load(), self.now)
    }

    /// Somebody watches what is dropped on its way to this key.
    pub(crate) fn watched(&self, key: &NodeKey) -> Option<Watched<'a>> {
        let Shared { policy, drops, events, .. } = self.shared;
        policy.load().watched_drops.contains(key).then_some(Watched { drops, events, destination: *key })
    }

    /// Counts how far away the other side of a connection is.
    pub(crate) fn sample(&self, stream: &TcpStream) {
        let Some(round_trip) = self.os.round_trip else { return };
        let counter = match round_trip(stream) {
            Some(Ok(length)) => Counter::round_trip(length),
            Some(Err(_)) => Counter::TCP_RTT_ERROR,
            None => Counter::TCP_RTT_NON_TCP,
        };
        self.counters.add(counter, 1);
    }

    /// What writing to `conn` needs.
    pub(crate) fn egress_context(&self, conn: &Conn) -> EgressContext<'a> {
        let policy = self.policy.load();
        EgressContext {
            counters: &self.shared.counters,
            subscribers: &self.shared.subscribers,
            budgets: &self.shared.budgets,
            worker: conn.worker,
            holder: if conn.is_link() { Holder::Link(conn.link_id()) } else { Holder::Conn(conn.id) },
            queued_bytes: policy.queued_bytes,
            peer_gone_pairs: policy.peer_gone_pairs,
            link: conn.is_link(),
            queue_depth: if conn.is_link() { policy.link_queue_depth } else { policy.queue_depth },
            control_bytes: policy.control_bytes,
            subscriptions: policy.peer_gone_subscriptions,
            destination: conn.id,
            watched: if policy.watched_drops.is_empty() { None } else { conn.key().and_then(|key| self.watched(key)) },
            now: self.now,
        }
    }
}

impl Ctx<'_> {
    /// The cipher of this connection's way out has been expanded, by whichever thread.
    pub(crate) fn warmed(&self, conn: &Conn) {
        let Mailbox { warmed, waker, .. } = &self.mailboxes[conn.worker];
        if warmed.push((conn.token.load(Ordering::Relaxed), conn.id)) {
            // It may be asleep for long. Waking fails only if it is awake.
            let _ = waker.wake();
        }
    }

    /// Shows packets to the tap, which is on.
    pub(crate) fn tap<'p>(&self, packets: impl IntoIterator<Item = Tapped<'p>>) {
        if let Some(full) = self.shared.tap.record(packets) {
            self.events.tapped(full);
        }
    }
}

impl Deref for Ctx<'_> {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        self.shared
    }
}
