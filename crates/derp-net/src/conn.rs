//! What all workers, and the control plane, know of one connection.

use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use derp_proto::drop_reason::DropReason;
use derp_proto::key::NodeKey;
use derp_proto::wire::PeerGoneReason;
use parking_lot::{Mutex, MutexGuard};

use crate::egress::{Egress, Outcome, OwnedFrame, Packet, Sent};
use crate::session::next_keep_alive;
use crate::shared::Shared;
use crate::table::Entry;
use crate::worker::Mail;

/// Packets that found the egress lock taken. More than this has a receiver that is slow, and drops as any queue does.
const INBOX: usize = 128;

/// A connection that has been accepted. Shared by reference counting; the socket itself is closed by its owner alone.
pub(crate) struct Conn {
    // Set once.
    pub(crate) id: u64,
    /// The worker that reads it.
    pub(crate) worker: usize,
    /// Its name on that worker.
    pub(crate) token: usize,
    pub(crate) peer: SocketAddr,
    key: OnceLock<NodeKey>,
    /// What `admit` and the end of the connection race for.
    state: Mutex<State>,
    /// May forward, watch and close; written before the connection is admitted.
    pub(crate) mesh: AtomicBool,

    // Written by the owner, read by snapshots.
    pub(crate) packets_received: AtomicU64,
    pub(crate) bytes_received: AtomicU64,

    // Written by the owner, taken by the control plane: what it has not been told yet.
    pub(crate) news: AtomicU32,
    /// The client's last word on whether this relay is its home.
    pub(crate) home: AtomicBool,

    // Guarded by the egress lock.
    egress: Mutex<Egress>,
    /// Guarded by a lock of its own that is never held while another is taken.
    inbox: Mutex<Vec<OwnedFrame>>,
    inbox_used: AtomicBool,
}

enum State {
    LoggingIn,
    /// With the ServerInfo frame that admission sends.
    Waiting(Box<[u8]>),
    Open(Arc<Entry>),
    Ended,
}

impl Conn {
    pub(crate) fn new(id: u64, worker: usize, token: usize, peer: SocketAddr, stream: Arc<TcpStream>) -> Self {
        Self {
            id,
            worker,
            token,
            peer,
            key: OnceLock::new(),
            state: Mutex::new(State::LoggingIn),
            mesh: AtomicBool::new(false),
            packets_received: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            news: AtomicU32::new(0),
            home: AtomicBool::new(false),
            egress: Mutex::new(Egress::new(stream)),
            inbox: Mutex::new(Vec::new()),
            inbox_used: AtomicBool::new(false),
        }
    }

    /// The client's key, once it has proven it.
    pub(crate) fn key(&self) -> Option<&NodeKey> {
        self.key.get()
    }

    /// The client has proven `key`.
    pub(crate) fn logged_in(&self, key: NodeKey, server_info: Box<[u8]>) {
        // A connection logs in once.
        let _ = self.key.set(key);
        *self.state.lock() = State::Waiting(server_info);
    }

    /// Lets the connection in, as one step: table entry, ServerInfo, packets. False if it has ended, or was let in before.
    pub(crate) fn admit(self: &Arc<Self>, mesh: bool, shared: &Shared, now: Instant) -> bool {
        let mut state = self.state.lock();
        let State::Waiting(server_info) = &mut *state else {
            return false;
        };
        let Some(key) = self.key.get() else { return false };
        let server_info = std::mem::take(server_info);
        self.mesh.store(mesh, Ordering::Relaxed);
        let (entry, several) = shared.table.add(*key, self);
        *state = State::Open(entry);
        drop(state);
        if several {
            shared.events.active(*key, self);
        }
        self.locked(shared, now, |egress| egress.welcome(server_info, &shared.limits(self), now));
        // By the policy that is in force now, whenever the worker comes to it.
        let keep_alive = next_keep_alive(&shared.policy.load(), now);
        shared.mail(self.worker, Mail::Admitted(self.token, self.id, keep_alive));
        true
    }

    /// Its place in the table, while it has one.
    pub(crate) fn entry(&self) -> Option<Arc<Entry>> {
        match &*self.state.lock() {
            State::Open(entry) => Some(entry.clone()),
            _ => None,
        }
    }

    /// No admission comes through after this. Returns the place in the table that has to be given up.
    pub(crate) fn end(&self) -> Option<Arc<Entry>> {
        match std::mem::replace(&mut *self.state.lock(), State::Ended) {
            State::Open(entry) => Some(entry),
            _ => None,
        }
    }

    /// Packets of one source, in order, from wherever they were read. Never waits: a contended connection gets copies in
    /// its inbox, for whoever holds the lock.
    pub(crate) fn deliver(self: &Arc<Self>, packets: &[Packet<'_>], told: bool, shared: &Shared, now: Instant) {
        if let Some(mut egress) = self.egress.try_lock() {
            let outcome = self.with_inbox(&mut egress, shared, now, |egress| {
                egress.packets(packets, told, &shared.limits(self), now)
            });
            drop(egress);
            self.settle(outcome, shared, now);
            return;
        }
        let dropped: Vec<OwnedFrame> = {
            let mut inbox = self.inbox.lock();
            inbox.extend(
                packets.iter().map(|packet| OwnedFrame { bytes: packet.frame.into(), packet: Some(packet.info) }),
            );
            self.inbox_used.store(true, Ordering::SeqCst);
            let excess = inbox.len().saturating_sub(INBOX);
            inbox.drain(..excess).collect()
        };
        for info in dropped.into_iter().filter_map(|frame| frame.packet) {
            shared.counters.dropped(DropReason::QueueHead, info.kind, info.payload);
        }
        // The lock may have been released between the two: nobody else would look again.
        self.settle(Outcome::default(), shared, now);
    }

    /// Sends control frames.
    pub(crate) fn control(self: &Arc<Self>, bytes: Box<[u8]>, pull: bool, shared: &Shared, now: Instant) {
        self.locked(shared, now, |egress| egress.control(bytes, pull, &shared.limits(self), now));
    }

    pub(crate) fn pong(self: &Arc<Self>, frame: Box<[u8]>, shared: &Shared, now: Instant) {
        self.locked(shared, now, |egress| egress.pong(frame, &shared.limits(self), now));
    }

    pub(crate) fn peer_gone(self: &Arc<Self>, source: &NodeKey, reason: PeerGoneReason, shared: &Shared, now: Instant) {
        self.locked(shared, now, |egress| egress.peer_gone(source, reason, &shared.limits(self), now));
    }

    /// The socket takes bytes again. Waits for the lock: the edge comes once.
    pub(crate) fn writable(self: &Arc<Self>, shared: &Shared, now: Instant) {
        self.locked(shared, now, |egress| egress.drain(&shared.limits(self), now));
    }

    /// Ends writing, counts what waited, and forgets whom this connection was told of.
    pub(crate) fn close(self: &Arc<Self>, shared: &Shared, now: Instant) {
        let mut egress = self.egress.lock();
        let sources = egress.close(&shared.limits(self));
        drop(egress);
        for source in sources {
            shared.table.subscribers().remove(&source, self.id);
        }
        // What came into the inbox meanwhile is dropped, and counted, by the closed egress.
        self.settle(Outcome::default(), shared, now);
    }

    /// Since when nothing has left, if anything waits.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.egress.lock().stalled_since()
    }

    /// Figures of the way out, and packets queued.
    pub(crate) fn figures(&self) -> (Sent, usize) {
        let egress = self.egress.lock();
        (egress.sent, egress.queued())
    }

    fn locked(self: &Arc<Self>, shared: &Shared, now: Instant, act: impl FnOnce(&mut Egress) -> Outcome) {
        let mut egress = self.egress.lock();
        let outcome = self.with_inbox(&mut egress, shared, now, act);
        drop(egress);
        self.settle(outcome, shared, now);
    }

    /// What came into the inbox is older than what the holder of the lock brings.
    fn with_inbox(
        self: &Arc<Self>,
        egress: &mut MutexGuard<'_, Egress>,
        shared: &Shared,
        now: Instant,
        act: impl FnOnce(&mut Egress) -> Outcome,
    ) -> Outcome {
        let mut outcome = self.empty_inbox(egress, shared, now);
        let last = act(egress);
        outcome.stalled |= last.stalled;
        outcome.failed |= last.failed;
        outcome.pulled |= last.pulled;
        outcome.overflow |= last.overflow;
        outcome
    }

    fn empty_inbox(self: &Arc<Self>, egress: &mut Egress, shared: &Shared, now: Instant) -> Outcome {
        let mut outcome = Outcome::default();
        if !self.inbox_used.swap(false, Ordering::SeqCst) {
            return outcome;
        }
        let frames = std::mem::take(&mut *self.inbox.lock());
        for frame in frames {
            let one = egress.owned_packet(frame, &shared.limits(self), now);
            outcome.stalled |= one.stalled;
            outcome.failed |= one.failed;
        }
        outcome
    }

    /// After the lock is released: empties the inbox if somebody has put packets there meanwhile and found the lock taken,
    /// and tells whoever has to know what the writes came to.
    fn settle(self: &Arc<Self>, mut outcome: Outcome, shared: &Shared, now: Instant) {
        while self.inbox_used.load(Ordering::SeqCst) {
            let Some(mut egress) = self.egress.try_lock() else {
                break;
            };
            let more = self.empty_inbox(&mut egress, shared, now);
            outcome.stalled |= more.stalled;
            outcome.failed |= more.failed;
        }
        if outcome.stalled {
            shared.mail(self.worker, Mail::Stalled(self.token, self.id));
        }
        if outcome.overflow {
            shared.mail(self.worker, Mail::Close(self.token, self.id, crate::events::CloseReason::ControlOverflow));
        }
        if outcome.pulled {
            shared.events.pulled(self);
        }
    }
}
