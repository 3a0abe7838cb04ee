//! One connection of a worker, and what it is at the moment.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::handshake::TlsAccept;
use super::leaving::Leaving;
use crate::base::budget::Share;
use crate::base::close_reason::CloseReason;
use crate::base::ledger::Note;
use crate::base::timer_wheel::Visit;
use crate::conn::Conn;
use crate::hub::ctx::Ctx;
use crate::ingress::mesh_dial::MeshDial;
use crate::ingress::mesh_link::MeshLink;
use crate::ingress::request_head::RequestHead;
use crate::ingress::session::Session;
use crate::io::bridge::Bridge;
use crate::io::tls::{HandshakeFault, TlsReader};

/// One connection of a worker.
pub(super) struct ConnSlot {
    /// Guards against mail and visits for a connection that had this place before.
    pub(super) id: u64,
    /// Dropping it closes the socket: by then the connection has ended, and no other worker has one.
    pub(super) stream: Arc<TcpStream>,
    /// What it is at the moment.
    pub(super) phase: Phase,
    /// For its descriptors, if a listener has brought it.
    pub(super) room: Share,
    /// Set once the connection has its keys, if it is TLS.
    pub(super) tls_reader: Option<Box<TlsReader>>,
    /// When its deadlines are looked at next.
    pub(super) visit: Visit,
    /// What is noted of what it has sent that cannot be acted upon yet.
    pub(super) kept: Note,
    /// It was stopped by its share of a turn, and is read in the next one.
    pub(super) is_ready: bool,
    /// It stands in the worker's cipher sweep.
    pub(super) is_warm: bool,
    /// The peer's end has been announced, which happens once.
    pub(super) hung_up: bool,
}

/// As much as is read at a time of a peer that is not trusted with more.
const FIRST_READ: usize = 16 << 10;

/// What a connection is at the moment. Bytes that arrive are matched with it in `Connections::arrived`, time that passes in
/// [`Phase::on_time`].
///
/// | phase | the read side | the write side | ends in |
/// |---|---|---|---|
/// | `TlsHandshake` | 16 KiB a read, to the handshake; nothing while it waits for a certificate | what the handshake says | `RequestHead` |
/// | `RequestHead` | 16 KiB a read, until it is known what the connection is | an alert at its end | `Derp`, `Bridge`, or the HTTP server's |
/// | `Derp` | what its session permits: little before admission, nothing while it is over its receive limit | its egress, from any thread | `Leaving`, or its end |
/// | `MeshDial` | 16 KiB a read, once it is connected: the handshake, then the login | both, as far as they are | `MeshLink` |
/// | `MeshLink` | everything; nothing while the control plane has not taken what was said | its egress, from any thread | its end |
/// | `Bridge` | as much as its pair takes | as much as its pair brings | `Derp`, or its end |
/// | `Pair` | read and written by its bridge | by its bridge | with its bridge |
/// | `Leaving` | up to 1 MiB, passed over; nothing while something waits to be sent | what waits, for up to 30 s | its end |
pub(super) enum Phase {
    /// A server's TLS handshake.
    TlsHandshake(Box<TlsAccept>),
    /// It has not said what it is.
    RequestHead(Box<RequestHead>),
    /// A client, from the greeting on.
    Derp(Box<Session>),
    /// Another relay that is being connected to.
    MeshDial(Box<MeshDial>),
    /// Another relay that has let us in.
    MeshLink(Box<MeshLink>),
    /// TLS that is Node's.
    Bridge(Box<Bridge>),
    /// The plane's end of the pair of sockets of the bridge in this slot.
    Pair(usize),
    /// It has ended, and its socket has not.
    Leaving(Leaving),
}

/// Why the time of a connection is over.
pub(super) enum Late {
    /// It has not said in time what it is.
    Failed(HandshakeFault),
    Ended(CloseReason),
}

impl From<CloseReason> for Late {
    fn from(reason: CloseReason) -> Self {
        Self::Ended(reason)
    }
}

impl Phase {
    /// What others know of it.
    pub(super) fn conn(&self) -> Option<&Arc<Conn>> {
        match self {
            Self::Derp(session) => Some(session.conn()),
            Self::MeshDial(dial) => Some(dial.conn()),
            Self::MeshLink(link) => Some(link.conn()),
            Self::TlsHandshake(_) | Self::RequestHead(_) | Self::Bridge(_) | Self::Pair(_) | Self::Leaving(_) => None,
        }
    }

    /// How many bytes may be read now. `None` if it is not to be read, not even to see its end.
    pub(super) fn room(&self, ctx: Ctx<'_>) -> Option<usize> {
        match self {
            Self::TlsHandshake(handshake) if handshake.parked.is_some() => Some(0),
            Self::TlsHandshake(_) | Self::RequestHead(_) => Some(FIRST_READ),
            Self::Derp(session) => Some(session.room(ctx)),
            Self::MeshDial(dial) => Some(dial.room()),
            // What it has said is still to be heard; a hang-up is seen then.
            Self::MeshLink(link) => (!link.is_unheard()).then_some(usize::MAX),
            // A client that reads on has said all that it had to say.
            Self::Leaving(leaving) => leaving.conn().is_none().then_some(FIRST_READ),
            Self::Bridge(_) | Self::Pair(_) => None,
        }
    }

    /// Does what is due. Returns when to come again, if time matters to it, or why the connection has to end.
    pub(super) fn on_time(&mut self, ctx: Ctx<'_>) -> Result<Option<Instant>, Late> {
        let before = |deadline| {
            if ctx.now >= deadline { Err(Late::Failed(HandshakeFault::Timeout)) } else { Ok(Some(deadline)) }
        };
        match self {
            Self::TlsHandshake(handshake) => before(handshake.deadline),
            Self::RequestHead(head) => before(head.deadline),
            Self::Derp(session) => Ok(Some(session.on_time(ctx)?)),
            Self::MeshDial(dial) => Ok(Some(dial.on_time(ctx)?)),
            Self::MeshLink(link) => Ok(Some(link.on_time(ctx)?)),
            Self::Leaving(leaving) => Ok(Some(leaving.on_time(ctx)?)),
            Self::Bridge(bridge) => bridge.on_time(ctx.now).map_err(|()| CloseReason::Disconnected.into()),
            Self::Pair(_) => Ok(None),
        }
    }
}
