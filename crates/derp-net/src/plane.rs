//! The plane as its owner sees it: threads, and the commands of `src/plane/plane.ts`.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::OwnedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use derp_proto::counters::Counters;
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::token_bucket::Rate;
use derp_proto::wire::PeerGoneReason;
use derp_tls::CertificateSet;
use mio::{Poll, Waker};

use crate::base::close_reason::CloseReason;
use crate::base::faults::Fault;
use crate::base::os_hooks::OsHooks;
use crate::base::policy::Policy;
use crate::base::sync::Lock;
use crate::base::thread::outcome;
use crate::conn::{Conn, Figures};
use crate::hub::ctx::Ctx;
use crate::hub::mail::Adopted;
use crate::hub::mail::Target;
use crate::hub::mail::{Mail, WAKE};
use crate::hub::shared::{BridgeAddress, Shared};
use crate::io::socket::{self, Listener};
use crate::io::writer::SocketWriter;
use crate::state::bell::Wake;
use crate::state::events::Event;
use crate::state::strangers::Stage;
use crate::state::tap::Slab;
use crate::stun;
use crate::worker::Worker;

/// A data plane with its worker threads. Dropping it shuts it down.
pub struct Plane {
    shared: Arc<Shared>,
    workers: Lock<Vec<JoinHandle<()>>>,
}

/// How a connection is adopted.
#[derive(Clone, Debug, Default)]
pub struct Adoption {
    /// Bytes that were read of it beyond the request.
    pub leftover: Vec<u8>,
    /// The listener that it came to; 0 if it came another way.
    pub listener: u64,
    /// The client said with `Ideal-Node` that it would rather be on another node of the region.
    pub not_ideal: bool,
    /// DERP lies in the messages of a WebSocket.
    pub web_socket: bool,
    /// The relay's own: no counter, snapshot or tap shows it.
    pub uncounted: bool,
}

impl Plane {
    /// Starts `workers` threads, which count on `counters`. `wake` is called, from any of them, when there are events to take.
    ///
    /// # Errors
    /// Whatever the system says when it has no more descriptors or threads.
    pub fn new(
        secret: SecretKey,
        policy: Policy,
        workers: usize,
        counters: Arc<Counters>,
        os: OsHooks,
        wake: Wake,
    ) -> io::Result<Self> {
        let (counts_senders, lookups) = (policy.count_senders, policy.lookups);
        let (shared, posts) = Shared::new(secret, policy, workers, counters, os, wake)?;
        shared.subscribers.senders.turn(counts_senders);
        Ctx::now(&shared).bound_lookups(lookups);
        let shared = Arc::new(shared);
        let plane = Self { shared: shared.clone(), workers: Lock::default() };
        for (index, (poll, mail)) in posts.into_iter().enumerate() {
            let worker = Worker::new(index, shared.clone(), poll, mail);
            let shared = shared.clone();
            let name = format!("derp-{index}");
            let thread = thread::Builder::new().name(name).spawn(move || run(index, worker, &shared))?;
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
    pub fn listen(&self, address: SocketAddr, derp: bool, tls: bool) -> io::Result<(u64, SocketAddr)> {
        self.serve(socket::listen(address)?, derp, tls)
    }

    /// The same with a socket that listens already.
    ///
    /// # Errors
    /// If it is no TCP socket that listens, and whatever the system says.
    pub fn listen_on(&self, socket: OwnedFd, derp: bool, tls: bool) -> io::Result<(u64, SocketAddr)> {
        self.serve(socket::inherited_listener(socket)?, derp, tls)
    }

    fn serve(&self, socket: TcpListener, derp: bool, tls: bool) -> io::Result<(u64, SocketAddr)> {
        let bound = socket.local_addr()?;
        let id = self.new_id();
        let (opened, outcome) = mpsc::sync_channel(1);
        self.shared.mail(0, Mail::Listen(Listener { id, derp, tls, socket }, opened));
        // A worker that has ended drops its mail, and with it what would have said more.
        outcome.recv().unwrap_or_else(|_| Err(io::Error::other("the plane has ended")))?;
        Ok((id, bound))
    }

    /// Replaces the certificates, and goes on with the handshakes that have waited for them. Until there are any, TLS
    /// listeners refuse every client.
    pub fn certificates(&self, certificates: CertificateSet) {
        self.shared.certificates.store(Some(Arc::new(certificates)));
        self.shared.mail_all(|| Mail::Certificates);
    }

    /// Answers STUN requests from here on, with a thread of its own.
    ///
    /// # Errors
    /// Whatever the system says.
    pub fn listen_stun(&self, address: SocketAddr) -> io::Result<(u64, SocketAddr)> {
        self.answer_stun(stun::bind(address)?)
    }

    /// The same with a socket that is bound already.
    ///
    /// # Errors
    /// If it is no UDP socket, and whatever the system says.
    pub fn listen_stun_on(&self, socket: OwnedFd) -> io::Result<(u64, SocketAddr)> {
        self.answer_stun(stun::inherited(socket)?)
    }

    fn answer_stun(&self, socket: UdpSocket) -> io::Result<(u64, SocketAddr)> {
        let bound = socket.local_addr()?;
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        stun::watch(&socket, &poll)?;
        let shared = self.shared.clone();
        let thread = thread::Builder::new().name("derp-stun".into());
        let thread = thread.spawn(move || stun::run(&socket, poll, &shared))?;
        if self.shared.watch_end(waker) {
            self.workers.lock().push(thread);
            return Ok((self.new_id(), bound));
        }
        let _ = thread.join();
        Err(io::Error::other("the plane has ended"))
    }

    /// Asks every worker for a sign of life: [`Event::Pulse`] follows when all of them have made a turn.
    pub fn pulse(&self, id: u64) {
        let silent = Arc::new(AtomicUsize::new(self.shared.mailboxes.len()));
        self.shared.mail_all(|| Mail::Pulse(id, silent.clone()));
    }

    /// Replaces the policy.
    pub fn policy(&self, policy: Policy) {
        self.shared.subscribers.senders.turn(policy.count_senders);
        let lookups = policy.lookups;
        self.shared.policy.store(Arc::new(policy));
        self.shared.mail_all(|| Mail::Policy);
        let ctx = Ctx::now(&self.shared);
        ctx.bound_lookups(lookups);
        ctx.relieve_queues();
        ctx.relieve_pairs();
    }

    /// The policy that is in force.
    pub fn policy_in_force(&self) -> Arc<Policy> {
        self.shared.policy.load_full()
    }

    /// Lets a logged-in connection in; with a receive limit of its own, if not with that of the policy.
    pub fn admit(&self, id: u64, mesh: bool, limit: Option<Rate>) {
        if let Some(conn) = self.shared.conn(id) {
            conn.admit(mesh, limit, Ctx::now(&self.shared));
        }
    }

    /// Replaces the receive limit of an admitted connection; without one it has that of the policy.
    pub fn limit(&self, id: u64, limit: Option<Rate>) {
        if let Some(conn) = self.shared.conn(id) {
            self.shared.mail(conn.worker, Mail::Limit(conn.clone(), limit));
        }
    }

    /// Ends a connection.
    pub fn close(&self, id: u64, reason: CloseReason) {
        if let Some(conn) = self.shared.conn(id) {
            self.shared.mail(conn.worker, Mail::Close(conn.clone(), reason));
        } else if self.shared.parked.taken() > 0 {
            // Only its worker knows it yet.
            self.shared.mail_all(|| Mail::CloseParked(id));
        }
    }

    /// Makes a link to another relay. Exactly one [`Event::LinkClosed`] follows, whatever becomes of it.
    pub fn dial(&self, link: u64, target: Target) {
        let shared = &self.shared;
        let id = self.new_id();
        let worker = id as usize % shared.mailboxes.len();
        let conn = Arc::new(Conn::link(id, link, worker, target.address, Instant::now()));
        // Before its worker has it: commands for it may follow at once.
        shared.links.lock().insert(link, conn.clone());
        if !shared.mail(worker, Mail::Dial(conn.clone(), Box::new(target))) {
            conn.end_link(CloseReason::Shutdown.of_link().into(), Ctx::now(shared));
        }
    }

    /// Ends a link, or a dial under way.
    pub fn hang_up(&self, link: u64) {
        let conn = self.shared.links.lock().get(&link).cloned();
        if let Some(conn) = conn {
            self.shared.mail(conn.worker, Mail::Close(conn.clone(), CloseReason::Closed));
        }
    }

    /// Says which link leads to a key that has no connection here. With a link, that answers [`Event::Lookup`].
    pub fn route(&self, key: &NodeKey, via: Option<u64>) {
        let link = |id: u64| self.shared.links.lock().get(&id).cloned();
        let via = via.map(|id| link(id).unwrap_or_else(|| self.shared.no_link.clone()));
        Ctx::now(&self.shared).route(key, via);
    }

    /// A key is nowhere: answers [`Event::Lookup`].
    pub fn missing(&self, key: &NodeKey) {
        Ctx::now(&self.shared).missing(key);
    }

    /// A source of packets has left the region.
    pub fn gone(&self, key: &NodeKey, reason: PeerGoneReason) {
        let ctx = Ctx::now(&self.shared);
        for id in ctx.subscribers.take(key) {
            if ctx.faults.strikes(Fault::LostPeerGone) {
                continue;
            }
            if let Some(conn) = ctx.conn(id) {
                conn.peer_gone(key, reason, ctx);
            }
        }
    }

    /// Sends whole control frames to admitted connections.
    pub fn send(&self, ids: impl IntoIterator<Item = u64>, frames: &[u8], pull: bool) {
        let ctx = Ctx::now(&self.shared);
        for conn in ids.into_iter().filter_map(|id| ctx.conn(id)) {
            if conn.is_admitted() {
                conn.control(frames, pull, ctx);
            }
        }
    }

    /// Serves DERP, from the greeting on, on a socket that came some other way, or comes back. What is DERP of what the
    /// latter's HTTP server has read is `leftover`; whatever it has answered has to be in the socket.
    pub fn adopt(&self, id: u64, stream: TcpStream, peer: SocketAddr, how: Adoption) {
        let shared = &self.shared;
        // Whatever comes of it, the HTTP server has it no more.
        let room = shared.given.lock().remove(&id).unwrap_or_else(|| shared.room.nothing());
        let Adoption { leftover, listener, not_ideal, web_socket, uncounted } = how;
        let stream = Arc::new(stream);
        let Some(guest) = Ctx::now(shared).enter(listener, Stage::LoggingIn, peer, &stream) else { return };
        let bridge = shared.bridges.lock().remove(&id);
        let (worker, writer, tls) = match bridge {
            // Its line is the worker's to bring.
            Some(BridgeAddress { worker, tls, .. }) => (worker, None, tls),
            None => {
                let writer = SocketWriter::plain(stream.clone());
                let writer = if web_socket { writer.into_web_socket() } else { writer };
                (id as usize % shared.mailboxes.len(), Some(writer), None)
            }
        };
        let bridge = bridge.map(|bridge| bridge.token);
        let conn = Conn::new(id, worker, peer, writer, tls, Instant::now());
        let conn = Arc::new(if uncounted { conn.into_uncounted() } else { conn });
        conn.count_tls(&shared.counters);
        // Before its worker has it: commands for it may follow at once.
        shared.conns.lock().insert(id, conn.clone());
        let adopted = Adopted { conn: conn.clone(), guest, room, not_ideal, web_socket, leftover, stream, bridge };
        if !shared.mail(worker, Mail::Adopted(adopted)) {
            shared.conns.lock().remove(&id);
            conn.uncount_tls(&shared.counters);
        }
    }

    /// A connection that was the HTTP server's has ended there, its socket with it.
    pub fn left(&self, id: u64) {
        self.shared.given.lock().remove(&id);
    }

    /// What is planted for a call of the owner's.
    ///
    /// # Errors
    /// What the system would say.
    pub fn may_duplicate(&self) -> io::Result<()> {
        self.shared.faults.try_to(Fault::Duplicate)
    }

    /// An id for a connection or listener of this plane.
    pub fn new_id(&self) -> u64 {
        self.shared.new_id()
    }

    /// Figures of at most `limit` admitted connections whose ids are above `after`, by id; and how many connections there are.
    pub fn snapshot(&self, after: u64, limit: usize) -> (usize, Vec<Figures>) {
        let ctx = Ctx::now(&self.shared);
        let mut total = 0;
        let mut page: Vec<Arc<Conn>> = {
            let conns = ctx.conns.lock();
            let admitted = conns.values().filter(|conn| conn.is_admitted() && !conn.uncounted).inspect(|_| total += 1);
            let mut behind: Vec<_> = admitted.filter(|conn| conn.id > after).collect();
            if behind.len() > limit {
                behind.select_nth_unstable_by_key(limit, |conn| conn.id);
                behind.truncate(limit);
            }
            behind.into_iter().cloned().collect()
        };
        page.sort_unstable_by_key(|conn| conn.id);
        (total, page.iter().map(|conn| conn.figures(ctx)).collect())
    }

    /// Figures of the open links, by what the control plane calls them. They receive what their relays say of others.
    pub fn links(&self) -> Vec<Figures> {
        let ctx = Ctx::now(&self.shared);
        let mut links: Vec<_> = ctx.links.lock().values().cloned().collect();
        links.retain(|link| link.is_open());
        links.sort_unstable_by_key(|link| link.link_id());
        links.iter().map(|link| Figures { id: link.link_id(), ..link.figures(ctx) }).collect()
    }

    /// What has happened since the last call.
    pub fn take_events(&self) -> Vec<Event> {
        let mut events = self.shared.events.take();
        for event in &events {
            if let Event::LinkPeers { link, .. } = event {
                let conn = self.shared.links.lock().get(link).cloned();
                if let Some(conn) = conn {
                    self.shared.mail(conn.worker, Mail::Heard(conn.clone()));
                }
            }
        }
        events.extend(self.shared.subscribers.heard.take().into_iter().map(|key| Event::Heard { key }));
        let drops = self.shared.drops.take();
        if !drops.is_empty() {
            events.push(Event::Drops(drops));
        }
        let (failures, untold) = self.shared.failures.take();
        if !failures.is_empty() {
            events.push(Event::Failures(failures, untold));
        }
        events
    }

    /// Begins to copy packets: those from or to `key`, or all, and of each so many bytes. `wake` is called when there is
    /// something to take. False if that is so already.
    pub fn tap(&self, key: Option<NodeKey>, snap_length: usize) -> bool {
        self.shared.tap.start(key, snap_length)
    }

    /// Copies, if there are any.
    pub fn take_tapped(&self) -> Option<Slab> {
        self.shared.tap.take()
    }

    /// Copies no more, and forgets what has not been taken.
    pub fn stop_tap(&self) {
        self.shared.tap.stop();
    }

    /// Plants a bug, or takes it away.
    #[cfg(feature = "fault-injection")]
    pub fn plant(&self, fault: Option<Fault>) {
        self.shared.faults.plant(fault);
        self.shared.mail_all(|| Mail::Look);
    }

    /// Closes everything, and waits for the threads. Idempotent.
    pub fn shutdown(&self) {
        self.shared.end_workers(CloseReason::Shutdown);
        for thread in std::mem::take(&mut *self.workers.lock()) {
            // A panic was reported where it happened.
            let _ = thread.join();
        }
        self.shared.wakers.lock().clear();
        // Connections that were adopted meanwhile.
        self.shared.end_orphans(None, CloseReason::Shutdown);
        Ctx::now(&self.shared).end_lookups();
    }
}

impl Drop for Plane {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// A worker's thread. If it fails, so does the plane, loudly: half a relay would be worse than none.
fn run(index: usize, mut worker: Worker, shared: &Shared) {
    let reason = outcome("a worker", || worker.run()).unwrap_or_else(|message| {
        shared.end_workers(CloseReason::InternalError);
        shared.events.push(Event::Fault { message });
        CloseReason::InternalError
    });
    // What is half done after a panic may panic again.
    let _ = catch_unwind(AssertUnwindSafe(|| worker.close(reason)));
    drop(worker);
    let _ = catch_unwind(AssertUnwindSafe(|| shared.end_orphans(Some(index), reason)));
    // What waits for the next tick would wait for ever: no worker may be left to tick.
    shared.events.bell.ring();
}
