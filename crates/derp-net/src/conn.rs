//! What all threads know of one connection: its fields, and what can be read of them. What is done with it that needs the
//! hub is in `hub::conn_ops`.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use derp_proto::counters::{Counter, Counters};
use derp_proto::key::NodeKey;
use derp_tls::Version;

use crate::base::admission::Admission;
use crate::base::combining_lock::CombiningLock;
use crate::egress::{Egress, Inbox};
use crate::io::writer::SocketWriter;
use crate::state::events::{News, Reporter};
use crate::state::table;

/// The entry of a key in the table of connections.
pub(crate) type Entry = table::Entry<Conn>;

/// A connection that has been upgraded to DERP, or a link to another relay, from its dial on. Threads share it by reference
/// counting; only the worker that owns it has its socket, and closes that.
pub(crate) struct Conn {
    // Set once, when the connection is made.
    /// The number by which the control plane knows it; of a link, a number of the plane's own.
    pub(crate) id: u64,
    /// The index of the worker that owns it: that worker reads it and looks after its deadlines.
    pub(crate) worker: usize,
    /// The address of the other end.
    pub(crate) peer: SocketAddr,
    /// The version of its TLS; `None` for plain TCP.
    pub(crate) tls: Option<Version>,
    /// The number by which the control plane knows it, if it is a link.
    link: Option<u64>,
    /// The relay's own: no counter, snapshot or tap shows it.
    pub(crate) uncounted: bool,

    // Set once, later.
    /// The key that the client has proven. Set by the owner when the login succeeds.
    key: OnceLock<NodeKey>,
    /// The client may forward, watch and close peers. Set by the control plane's thread at admission.
    pub(crate) mesh: AtomicBool,
    /// The link takes packets. Set by the owner when the other relay has let the link in, cleared at its end.
    pub(crate) open: AtomicBool,

    // Written by the owner alone.
    /// The index of its slot among the owner's connections.
    pub(crate) token: AtomicUsize,
    /// Packets that it has sent; of a link, the changes that its relay has announced. Snapshots read it.
    pub(crate) packets_received: AtomicU64,
    /// Bytes of those packets. Snapshots read it.
    pub(crate) bytes_received: AtomicU64,
    /// The last round trip that was measured, in microseconds; 0 before that.
    round_trip: AtomicU32,

    // Behind a lock of its own.
    /// How far its admission has got: the ServerInfo frame to be sent, then its entry in the table.
    pub(crate) admission: Admission<Box<[u8]>, Arc<Entry>>,
    /// What the control plane has not been told of it.
    pub(crate) news: News,
    /// Its way out, under the egress lock, and the inbox of packets that found the lock taken.
    pub(crate) egress: CombiningLock<Egress, Inbox>,
}

/// Figures of one admitted connection, or of one open link, since it was made.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// The connection's id; of a link, the number that the control plane gave it.
    pub id: u64,
    /// Packets that the relay has received from it; of a link, announcements of peers that come and go.
    pub packets_received: u64,
    /// Bytes of those packets, without headers and keys; 0 for a link.
    pub bytes_received: u64,
    /// Packets that the relay has sent to it.
    pub packets_sent: u64,
    /// Bytes of those packets, without headers and keys.
    pub bytes_sent: u64,
    /// Packets on their way to it that were dropped.
    pub packets_dropped: u64,
    /// Packets that wait in its queues now.
    pub queued_packets: u64,
    /// About how many peers have sent packets to it; 0 unless the policy has them counted.
    pub senders: u64,
    /// The round trip of its TCP connection, as it was measured last; `None` before that.
    pub round_trip: Option<Duration>,
    /// Those of the dropped ones that were at the head of a full queue. This and what follows is of the time since
    /// packets began to wait; 0 a minute after none does any more.
    pub dropped_head: u64,
    /// Those that found no queue, because its depth is 0.
    pub dropped_tail: u64,
    /// Those that stood for too long.
    pub dropped_age: u64,
    /// Those that were too much for all queues together.
    pub dropped_over_budget: u64,
    /// How long those have waited that were sent after they had, on average.
    pub mean_wait: Duration,
    /// How long the one has that has waited for longest.
    pub longest_wait: Duration,
}

impl Reporter for Conn {
    fn id(&self) -> u64 {
        self.id
    }

    fn key(&self) -> Option<&NodeKey> {
        self.key.get()
    }

    fn news(&self) -> &News {
        &self.news
    }
}

impl Conn {
    pub(crate) fn new(
        id: u64,
        worker: usize,
        peer: SocketAddr,
        writer: Option<SocketWriter>,
        tls: Option<Version>,
        now: Instant,
    ) -> Self {
        Self { tls, ..Self::having(id, worker, peer, Egress::new(writer, now)) }
    }

    /// Another relay that is about to be dialled, at `peer`.
    pub(crate) fn link(id: u64, link: u64, worker: usize, peer: SocketAddr, now: Instant) -> Self {
        Self { link: Some(link), ..Self::having(id, worker, peer, Egress::new(None, now)) }
    }

    fn having(id: u64, worker: usize, peer: SocketAddr, egress: Egress) -> Self {
        Self {
            id,
            worker,
            peer,
            tls: None,
            link: None,
            uncounted: false,
            key: OnceLock::new(),
            mesh: AtomicBool::new(false),
            open: AtomicBool::new(false),
            token: AtomicUsize::new(usize::MAX),
            admission: Admission::new(),
            news: News::default(),
            egress: CombiningLock::new(egress),
            packets_received: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
            round_trip: AtomicU32::new(0),
        }
    }

    /// The same, not to be seen.
    pub(crate) fn into_uncounted(self) -> Self {
        Self { uncounted: true, ..self }
    }

    /// Its owner has measured its round trip. One that is too short to be told in microseconds takes one.
    pub(crate) fn took(&self, round_trip: Duration) {
        let micros = u32::try_from(round_trip.as_micros()).unwrap_or(u32::MAX);
        self.round_trip.store(micros.max(1), Ordering::Relaxed);
    }

    pub(crate) fn round_trip(&self) -> Option<Duration> {
        let micros = self.round_trip.load(Ordering::Relaxed);
        (micros > 0).then(|| Duration::from_micros(micros.into()))
    }

    pub(crate) fn is_link(&self) -> bool {
        self.link.is_some()
    }

    /// What the control plane calls the link.
    pub(crate) fn link_id(&self) -> u64 {
        self.link.unwrap_or_default()
    }

    /// Whether a link takes packets. One that says so may have ended by the time it gets them: it drops them itself then.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// From here to its end it is among those over TLS, if it is one.
    pub(crate) fn count_tls(&self, counters: &Counters) {
        if let Some(counter) = self.tls_counter() {
            counters.add(counter, 1);
        }
    }

    pub(crate) fn uncount_tls(&self, counters: &Counters) {
        if let Some(counter) = self.tls_counter() {
            counters.subtract(counter, 1);
        }
    }

    fn tls_counter(&self) -> Option<Counter> {
        self.tls.map(|version| match version {
            Version::Tls12 => Counter::TLS_12_ACTIVE,
            Version::Tls13 => Counter::TLS_13_ACTIVE,
        })
    }

    /// The client's key, once it has proven it.
    pub(crate) fn key(&self) -> Option<&NodeKey> {
        self.key.get()
    }

    pub(crate) fn is_mesh(&self) -> bool {
        self.mesh.load(Ordering::Relaxed)
    }

    /// The client has proven `key`.
    pub(crate) fn logged_in(&self, key: NodeKey, server_info: Box<[u8]>) {
        // A connection logs in once.
        let _ = self.key.set(key);
        self.admission.wait(server_info);
    }

    pub(crate) fn is_admitted(&self) -> bool {
        self.admission.is_admitted()
    }

    /// Its place in the table, while it has one.
    pub(crate) fn entry(&self) -> Option<Arc<Entry>> {
        self.admission.entry()
    }

    /// Adds to what has been received. By the owner alone.
    pub(crate) fn count_received(&self, packets: u64, bytes: u64) {
        for (figure, count) in [(&self.packets_received, packets), (&self.bytes_received, bytes)] {
            figure.store(figure.load(Ordering::Relaxed) + count, Ordering::Relaxed);
        }
    }
}
