//! One connection of a worker, and what it is at the moment.

use std::net::TcpStream;
use std::sync::Arc;

use super::handshake::TlsAccept;
use super::leaving::Leaving;
use crate::base::budget::Share;
use crate::base::ledger::Note;
use crate::base::timer_wheel::Visit;
use crate::conn::Conn;
use crate::ingress::mesh_dial::MeshDial;
use crate::ingress::mesh_link::MeshLink;
use crate::ingress::request_head::RequestHead;
use crate::ingress::session::Session;
use crate::io::bridge::Bridge;
use crate::io::tls::TlsReader;

pub(super) struct ConnSlot {
    /// Guards against mail and visits for a connection that had this place before.
    pub(super) id: u64,
    /// Dropping it closes the socket: by then the connection has ended, and nobody else has one.
    pub(super) stream: Arc<TcpStream>,
    pub(super) phase: Phase,
    /// For its descriptors, if a listener has brought it.
    pub(super) room: Share,
    /// Set once the connection has its keys, if it is TLS.
    pub(super) tls_reader: Option<Box<TlsReader>>,
    pub(super) visit: Visit,
    /// What is noted of what it has sent that cannot be acted upon yet.
    pub(super) kept: Note,
    pub(super) is_ready: bool,
    /// Its ciphers are swept.
    pub(super) is_warm: bool,
    /// The peer's end has been announced, which happens once.
    pub(super) hung_up: bool,
}

pub(super) enum Phase {
    TlsHandshake(Box<TlsAccept>),
    RequestHead(Box<RequestHead>),
    Derp(Box<Session>),
    MeshDial(Box<MeshDial>),
    MeshLink(Box<MeshLink>),
    /// TLS that is Node's.
    Bridge(Box<Bridge>),
    /// The plane's end of the pair of sockets of the bridge that has this place.
    Pair(usize),
    /// It has ended, and its socket has not.
    Leaving(Leaving),
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
}
