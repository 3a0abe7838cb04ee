//! The plane as its owner sees it: threads, and the commands of `src/plane/plane.ts`.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

use arc_swap::ArcSwap;
use derp_proto::counters::Counters;
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::wire::PeerGoneReason;
use derp_proto::{frame, http_head};
use mio::{Poll, Waker};
use parking_lot::Mutex;

use crate::events::{CloseReason, Event, Events, Wake};
use crate::policy::Policy;
use crate::shared::{Mailbox, Shared};
use crate::table::Table;
use crate::worker::{Mail, Worker};

/// A data plane with its worker threads. Dropping it shuts it down.
pub struct Plane {
    shared: Arc<Shared>,
    workers: Mutex<Vec<JoinHandle<()>>>,
}

/// Figures of one admitted connection.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each is")]
pub struct Figures {
    pub id: u64,
    pub packets_received: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub packets_dropped: u64,
    pub queued_packets: u64,
}

impl Plane {
    /// Starts `workers` threads. `wake` is called, from any of them, when there are events to take.
    ///
    /// # Errors
    /// Whatever the system says when it has no more descriptors or threads.
    pub fn new(secret: SecretKey, policy: Policy, workers: usize, wake: Wake) -> io::Result<Self> {
        let public = secret.public_key();
        let mut mailboxes = Vec::new();
        let mut parts = Vec::new();
        for _ in 0..workers.max(1) {
            let poll = Poll::new()?;
            let waker = Waker::new(poll.registry(), Worker::wake_token())?;
            let (sender, receiver) = mpsc::channel();
            mailboxes.push(Mailbox { sender, waker });
            parts.push((poll, receiver));
        }
        let shared = Arc::new(Shared {
            greeting: Box::new(frame::greeting(&public)),
            switching: http_head::switching_protocols(&public).into(),
            secret,
            policy: ArcSwap::from_pointee(policy),
            counters: Arc::new(Counters::default()),
            table: Table::default(),
            events: Events::new(wake),
            mailboxes,
            conns: Mutex::default(),
            last_id: AtomicU64::new(0),
            arriving: AtomicUsize::new(0),
            pending_logins: AtomicUsize::new(0),
            login_bytes: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            start: Instant::now(),
        });
        let plane = Self { shared: shared.clone(), workers: Mutex::default() };
        for (index, (poll, mail)) in parts.into_iter().enumerate() {
            let worker = Worker::new(index, shared.clone(), poll, mail);
            let shared = shared.clone();
            let thread = thread::Builder::new().name(format!("derp-{index}")).spawn(move || watch(worker, &shared))?;
            plane.workers.lock().push(thread);
        }
        Ok(plane)
    }

    /// The counters page.
    pub fn counters(&self) -> &Arc<Counters> {
        &self.shared.counters
    }

    /// Opens a listener. With `derp` false every connection is the HTTP server's.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn listen(&self, address: SocketAddr, derp: bool) -> io::Result<(u64, SocketAddr)> {
        let domain = if address.is_ipv6() { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
        let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
        // Restarts find the port free; a second instance still does not.
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(!address.ip().is_unspecified())?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(4096)?;
        let listener: TcpListener = socket.into();
        let bound = listener.local_addr()?;
        let id = self.new_id();
        self.shared.mail(0, Mail::Listen { id, derp, listener });
        Ok((id, bound))
    }

    /// Replaces the policy.
    pub fn policy(&self, policy: Policy) {
        self.shared.policy.store(Arc::new(policy));
    }

    /// Lets a logged-in connection in.
    pub fn admit(&self, id: u64, mesh: bool) {
        if let Some(conn) = self.shared.conn(id) {
            conn.admit(mesh, &self.shared, Instant::now());
        }
    }

    /// Ends a connection.
    pub fn close(&self, id: u64, reason: CloseReason) {
        if let Some(conn) = self.shared.conn(id) {
            self.shared.mail(conn.worker, Mail::Close(conn.token, id, reason));
        }
    }

    /// A source of packets has left the region.
    pub fn gone(&self, key: &NodeKey, reason: PeerGoneReason) {
        let now = Instant::now();
        for id in self.shared.table.subscribers().take(key) {
            if let Some(conn) = self.shared.conn(id) {
                conn.peer_gone(key, reason, &self.shared, now);
            }
        }
    }

    /// Sends whole control frames to admitted connections.
    pub fn send(&self, ids: impl IntoIterator<Item = u64>, frames: &[u8], pull: bool) {
        let now = Instant::now();
        for conn in ids.into_iter().filter_map(|id| self.shared.conn(id)) {
            if conn.entry().is_some() {
                conn.control(frames.into(), pull, &self.shared, now);
            }
        }
    }

    /// Serves DERP, from the greeting on, on a socket that came some other way.
    pub fn adopt(&self, id: u64, stream: TcpStream, peer: SocketAddr, leftover: Vec<u8>, not_ideal: bool) {
        let worker = id as usize % self.shared.mailboxes.len();
        self.shared.mail(worker, Mail::Adopted { id, stream, peer, leftover, not_ideal });
    }

    /// An id for a connection or listener of this plane.
    pub fn new_id(&self) -> u64 {
        self.shared.last_id.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Figures of the admitted connections from the `offset`th on, by id; and how many there are in all.
    pub fn snapshot(&self, offset: usize, limit: usize) -> (usize, Vec<Figures>) {
        let mut conns: Vec<_> =
            self.shared.conns.lock().values().filter(|conn| conn.entry().is_some()).cloned().collect();
        conns.sort_unstable_by_key(|conn| conn.id);
        let rows = conns.iter().skip(offset).take(limit).map(|conn| {
            let (sent, queued) = conn.figures();
            Figures {
                id: conn.id,
                packets_received: conn.packets_received.load(Ordering::Relaxed),
                bytes_received: conn.bytes_received.load(Ordering::Relaxed),
                packets_sent: sent.packets,
                bytes_sent: sent.bytes,
                packets_dropped: sent.dropped,
                queued_packets: queued as u64,
            }
        });
        (conns.len(), rows.collect())
    }

    /// What has happened since the last call.
    pub fn take_events(&self) -> Vec<Event> {
        self.shared.events.take()
    }

    /// Closes everything, and waits for the threads. Idempotent.
    pub fn shutdown(&self) {
        if !self.shared.closing.swap(true, Ordering::SeqCst) {
            for worker in 0..self.shared.mailboxes.len() {
                self.shared.mail(worker, Mail::Shutdown);
            }
        }
        for thread in std::mem::take(&mut *self.workers.lock()) {
            // A panic of its own was reported where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Runs a worker. If it fails, so does the plane, loudly: half a relay would be worse than none.
fn watch(worker: Worker, shared: &Shared) {
    let result = catch_unwind(AssertUnwindSafe(|| worker.run()));
    let message = match result {
        Ok(Ok(())) => return,
        Ok(Err(error)) => format!("a worker has failed: {error}"),
        Err(panic) => {
            let text = panic
                .downcast_ref::<&str>()
                .map(ToString::to_string)
                .or_else(|| panic.downcast_ref::<String>().cloned());
            format!("a worker has panicked: {}", text.unwrap_or_default())
        }
    };
    shared.events.push(Event::Fault { message });
    for index in 0..shared.mailboxes.len() {
        shared.mail(index, Mail::Shutdown);
    }
}
