//! What the control plane is told. Marks on connections and entries in lists, bounded by their number; one pending wake-up.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use derp_proto::info::ClientInfo;
use derp_proto::key::NodeKey;
use parking_lot::Mutex;

use crate::conn::Conn;

/// Why a connection ended: the words of `CloseReason` in `src/plane/plane.ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each is")]
pub enum CloseReason {
    Disconnected,
    ProtocolError,
    LoginTimeout,
    LoginFailed,
    Refused,
    AdmissionTimeout,
    WriteTimeout,
    ControlOverflow,
    ClosedByPeer,
    Closed,
    InternalError,
    Shutdown,
}

impl CloseReason {
    const ALL: [(Self, &'static str); 12] = [
        (Self::Disconnected, "disconnected"),
        (Self::ProtocolError, "protocol_error"),
        (Self::LoginTimeout, "login_timeout"),
        (Self::LoginFailed, "login_failed"),
        (Self::Refused, "refused"),
        (Self::AdmissionTimeout, "admission_timeout"),
        (Self::WriteTimeout, "write_timeout"),
        (Self::ControlOverflow, "control_overflow"),
        (Self::ClosedByPeer, "closed_by_peer"),
        (Self::Closed, "closed"),
        (Self::InternalError, "internal_error"),
        (Self::Shutdown, "shutdown"),
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(reason, _)| *reason == self).map_or("internal_error", |(_, word)| word)
    }

    /// The reason of this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == word).map(|(reason, _)| *reason)
    }
}

/// One thing that has happened. Those of one connection come in their order.
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each is")]
pub enum Event {
    Login {
        id: u64,
        key: NodeKey,
        info: ClientInfo,
        peer: SocketAddr,
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
        stream: TcpStream,
        received: Vec<u8>,
    },
    /// The plane has failed.
    Fault {
        message: String,
    },
}

/// Wakes the control plane; must not block.
pub type Wake = Box<dyn Fn() + Send + Sync>;

/// Bits of [`Conn::news`].
const PREFER: u32 = 1;
const PULLED: u32 = 2;
/// Its last event is in the queue.
const ENDED: u32 = 4;

#[derive(Default)]
struct Queue {
    events: Vec<Event>,
    /// Connections with a bit set in their news.
    dirty: Vec<Arc<Conn>>,
    /// What may change with every frame: only the last word counts.
    active: HashMap<NodeKey, (u64, u64)>,
    sequence: u64,
}

/// The queue between the workers and the control plane.
pub(crate) struct Events {
    queue: Mutex<Queue>,
    woken: AtomicBool,
    /// Something coalesced waits for the next tick.
    lazy: AtomicBool,
    wake: Wake,
}

impl Events {
    pub(crate) fn new(wake: Wake) -> Self {
        Self { queue: Mutex::default(), woken: AtomicBool::new(false), lazy: AtomicBool::new(false), wake }
    }

    pub(crate) fn push(&self, event: Event) {
        self.queue.lock().events.push(event);
        self.wake();
    }

    /// The last event of a connection: nothing it had to say before comes after it.
    pub(crate) fn closed(&self, conn: &Conn, reason: CloseReason) {
        conn.news.fetch_or(ENDED, Ordering::SeqCst);
        if let Some(key) = conn.key() {
            let mut queue = self.queue.lock();
            if queue.active.get(key).is_some_and(|(id, _)| *id == conn.id) {
                queue.active.remove(key);
            }
        }
        self.push(Event::Closed { id: conn.id, reason });
    }

    /// Another connection of a key is active. Told at the next tick.
    pub(crate) fn active(&self, key: NodeKey, conn: &Conn) {
        let mut queue = self.queue.lock();
        // It may have ended since it was chosen; what has taken its place is told of, too.
        if conn.news.load(Ordering::SeqCst) & ENDED != 0 {
            return;
        }
        queue.sequence += 1;
        let sequence = queue.sequence;
        queue.active.insert(key, (conn.id, sequence));
        self.lazy.store(true, Ordering::Release);
    }

    /// The client's home has changed. Told at the next tick.
    pub(crate) fn prefer(&self, conn: &Arc<Conn>) {
        if self.mark(conn, PREFER) {
            self.lazy.store(true, Ordering::Release);
        }
    }

    pub(crate) fn pulled(&self, conn: &Arc<Conn>) {
        self.mark(conn, PULLED);
        self.wake();
    }

    /// Called by the workers every few milliseconds.
    pub(crate) fn tick(&self) {
        if self.lazy.load(Ordering::Acquire) {
            self.wake();
        }
    }

    /// Takes everything there is. The next event wakes again.
    pub(crate) fn take(&self) -> Vec<Event> {
        self.woken.store(false, Ordering::SeqCst);
        self.lazy.store(false, Ordering::SeqCst);
        let mut queue = self.queue.lock();
        let mut events = std::mem::take(&mut queue.events);
        let active = std::mem::take(&mut queue.active);
        let dirty = std::mem::take(&mut queue.dirty);
        drop(queue);
        events.extend(active.into_iter().map(|(key, (id, sequence))| Event::Active { key, id, sequence }));
        for conn in dirty {
            let news = conn.news.fetch_and(ENDED, Ordering::SeqCst);
            if news & ENDED != 0 {
                continue;
            }
            if news & PREFER != 0 {
                events.push(Event::Prefer { id: conn.id, home: conn.home.load(Ordering::SeqCst) });
            }
            if news & PULLED != 0 {
                events.push(Event::Pulled { id: conn.id });
            }
        }
        events
    }

    fn mark(&self, conn: &Arc<Conn>, bit: u32) -> bool {
        let fresh = conn.news.fetch_or(bit, Ordering::SeqCst) == 0;
        if fresh {
            self.queue.lock().dirty.push(conn.clone());
        }
        fresh
    }

    fn wake(&self) {
        if !self.woken.swap(true, Ordering::SeqCst) {
            (self.wake)();
        }
    }
}
