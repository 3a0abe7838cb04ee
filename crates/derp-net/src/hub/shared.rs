//! What all threads of one plane share.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Instant;

use arc_swap::{ArcSwap, ArcSwapOption};
use derp_proto::counters::Counters;
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::{frame, http_head};
use derp_tls::{CertificateSet, Version};
use mio::{Poll, Waker};

use crate::base::budget::{Budget, Share};
use crate::base::budgets::Budgets;

use crate::base::close_reason::CloseReason;
use crate::base::faults::Faults;
use crate::base::os_hooks::OsHooks;
use crate::base::policy::Policy;
use crate::base::sync::Lock;
use crate::conn::Conn;
use crate::hub::mail::{Mail, WAKE};
use crate::io::cipher_sweep::WarmList;
use crate::state::bell::Wake;
use crate::state::drops::Drops;
use crate::state::events::Events;
use crate::state::failures::Failures;
use crate::state::lookups::Lookups;
use crate::state::peer_gone::Subscribers;
use crate::state::strangers::Strangers;
use crate::state::table::Table;
use crate::state::tap::Tap;

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
/// Locks are taken in this order, and no two of the same kind at once: what waits for answers; admission of a connection, members of a table entry,
/// events; egress of a connection, its inbox, the subscribers or a ledger, sources from elsewhere; drops. The maps of connections and links are never held while
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
    /// The page of connections that are not to be seen; it is never read.
    pub(crate) uncounted: Counters,
    pub(crate) table: Table<Conn>,
    /// Packets to keys that are looked for.
    pub(crate) lookups: Lookups,
    /// Who was sent packets of whom.
    pub(crate) subscribers: Subscribers,
    pub(crate) events: Events<Conn>,
    /// Of packets to the keys that the policy watches.
    pub(crate) drops: Drops,
    /// Connections that have come to nothing.
    pub(crate) failures: Failures,
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
    /// Of those, the ones whose handshake waits for a certificate.
    pub(crate) parked: Budget,
    /// Waits for certificates that the control plane has not read of.
    pub(crate) needs: Budget,
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
            uncounted: Counters::default(),
            table: Table::default(),
            lookups: Lookups::default(),
            subscribers: Subscribers::default(),
            events: Events::new(wake),
            drops: Drops::default(),
            failures: Failures::default(),
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
            needs: Budget::default(),
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

    pub(crate) fn conn(&self, id: u64) -> Option<Arc<Conn>> {
        self.conns.lock().get(&id).cloned()
    }

    /// An id for a connection or listener. Never used again.
    pub(crate) fn new_id(&self) -> u64 {
        self.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }
}
