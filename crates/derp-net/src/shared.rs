//! What all threads of one plane share.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::mpsc::Sender;
use std::time::Instant;

use arc_swap::ArcSwap;
use derp_proto::counters::Counters;
use derp_proto::key::SecretKey;
use mio::Waker;
use parking_lot::Mutex;

use crate::conn::Conn;
use crate::egress::Limits;
use crate::events::Events;
use crate::policy::Policy;
use crate::table::Table;
use crate::worker::Mail;

/// One worker, as the others see it.
pub(crate) struct Mailbox {
    pub(crate) sender: Sender<Mail>,
    pub(crate) waker: Waker,
}

/// The plane without its threads.
pub(crate) struct Shared {
    pub(crate) secret: SecretKey,
    /// The frame that greets every client, and the HTTP answer that precedes it where one is wanted.
    pub(crate) greeting: Box<[u8]>,
    pub(crate) switching: Box<[u8]>,
    pub(crate) policy: ArcSwap<Policy>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) table: Table,
    pub(crate) events: Events,
    pub(crate) mailboxes: Vec<Mailbox>,
    /// DERP connections, from the greeting to their end. For commands, which come per connection.
    pub(crate) conns: Mutex<HashMap<u64, Arc<Conn>>>,
    pub(crate) last_id: AtomicU64,
    /// Connections that have not sent a whole request head.
    pub(crate) arriving: AtomicUsize,
    pub(crate) pending_logins: AtomicUsize,
    /// Bytes of ClientInfo frames that are not whole.
    pub(crate) login_bytes: AtomicUsize,
    pub(crate) closing: AtomicBool,
    /// The zero of the clocks that count from somewhere.
    pub(crate) start: Instant,
}

impl Shared {
    /// Leaves a message for a worker.
    pub(crate) fn mail(&self, worker: usize, mail: Mail) {
        let mailbox = &self.mailboxes[worker];
        // A worker that has ended needs no mail.
        if mailbox.sender.send(mail).is_ok() {
            let _ = mailbox.waker.wake();
        }
    }

    pub(crate) fn conn(&self, id: u64) -> Option<Arc<Conn>> {
        self.conns.lock().get(&id).cloned()
    }

    /// What writing to `conn` needs. Borrowed for one write.
    pub(crate) fn limits<'a>(&'a self, conn: &'a Conn) -> Limits<'a> {
        let policy = self.policy.load();
        Limits {
            counters: &self.counters,
            queue_depth: policy.queue_depth,
            control_bytes: policy.control_bytes,
            subscriptions: policy.peer_gone_subscriptions,
            subscribers: self.table.subscribers(),
            destination: conn.id,
        }
    }
}
