//! What threads leave for a worker.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use derp_proto::key::MeshKey;
use derp_proto::token_bucket::Rate;
use derp_tls::ClientSettings;
use mio::Token;

use crate::base::budget::Share;
use crate::base::close_reason::CloseReason;
use crate::conn::Conn;
use crate::io::socket::{Accepted, Listener};
use crate::state::strangers::Guest;

/// Of the waker in a worker's poll.
pub(crate) const WAKE: Token = Token(usize::MAX);

/// What others leave for a worker.
pub(crate) enum Mail {
    /// With where to say what has become of it.
    Listen(Listener, SyncSender<io::Result<()>>),
    /// With its place among those that arrive, and with the room for its descriptor.
    Accepted(Accepted, Guest, Share),
    Adopted(Adopted),
    /// The control plane has let it in.
    Admitted {
        conn: Arc<Conn>,
        limit: Option<Rate>,
        keep_alive_at: Instant,
    },
    /// It has another receive limit of its own, or that of the policy again.
    Limit(Arc<Conn>, Option<Rate>),
    /// A link is to be made.
    Dial(Arc<Conn>, Box<Target>),
    /// The control plane has taken what a link has said.
    Heard(Arc<Conn>),
    /// Its socket is full: watch the write deadline.
    Stalled(Arc<Conn>),
    /// Packets are left in its inbox.
    Drain(Arc<Conn>),
    Close(Arc<Conn>, CloseReason),
    /// There are other certificates.
    Certificates,
    /// End a handshake that is parked, if this worker has it.
    CloseParked(u64),
    /// The policy is another one.
    Policy,
    /// A sign of life is asked for. With how many workers have not given theirs.
    Pulse(u64, Arc<AtomicUsize>),
    /// Connections hold too much of what they have sent, and one of this worker's holds the most.
    Relieve,
    /// There is something to see to that is no mail.
    #[cfg(feature = "fault-injection")]
    Look,
    /// Close everything, for this reason.
    End(CloseReason),
}

/// A connection that comes back, and begins with the greeting.
pub(crate) struct Adopted {
    pub(crate) conn: Arc<Conn>,
    pub(crate) guest: Guest,
    /// For its descriptor, if it had any.
    pub(crate) room: Share,
    pub(crate) not_ideal: bool,
    pub(crate) web_socket: bool,
    /// What was read of it beyond the request.
    pub(crate) leftover: Vec<u8>,
    /// The connection itself; or, of one over TLS, the HTTP server's end of the bridge that has this place.
    pub(crate) stream: Arc<TcpStream>,
    pub(crate) bridge: Option<usize>,
}

/// Where another relay is, and how to prove that it is the one, and we its peer.
pub struct Target {
    /// Where to connect to.
    pub address: SocketAddr,
    /// The relay's name, or its address without brackets: what its certificate has to be valid for.
    pub host: String,
    /// The Host header: [`Target::host`], an IPv6 address in brackets, with its port unless that is 443.
    pub authority: String,
    /// The certificates to trust; `None` for plain HTTP.
    pub roots: Option<ClientSettings>,
    /// The secret of the mesh, which makes us a mesh peer.
    pub mesh_key: MeshKey,
    /// For all of it, from the first SYN until the other relay has let us in.
    pub timeout: Duration,
    /// Whether the other relay is asked to announce its clients.
    pub watch: bool,
}
