//! One connection of a worker, and what it is at the moment.

use std::net::TcpStream;
use std::sync::Arc;

use super::leaving::Leaving;
use crate::arriving::Arriving;
use crate::bridge::Bridge;
use crate::budget::Share;
use crate::conn::Conn;
use crate::dial::Dialling;
use crate::ledger::Note;
use crate::link::Link;
use crate::secure::{Opening, Shaking};
use crate::session::Session;
use crate::timer::Visit;

pub(super) struct Local {
    /// Guards against mail and visits for a connection that had this place before.
    pub(super) id: u64,
    /// Dropping it closes the socket: by then the connection has ended, and nobody else has one.
    pub(super) stream: Arc<TcpStream>,
    pub(super) phase: Phase,
    /// For its descriptors, if a listener has brought it.
    pub(super) room: Share,
    /// Set once the connection has its keys, if it is TLS.
    pub(super) opening: Option<Box<Opening>>,
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
    Shaking(Box<Shaking>),
    Arriving(Box<Arriving>),
    Derp(Box<Session>),
    Dialling(Box<Dialling>),
    Link(Box<Link>),
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
            Self::Dialling(dialling) => Some(dialling.conn()),
            Self::Link(link) => Some(link.conn()),
            Self::Shaking(_) | Self::Arriving(_) | Self::Bridge(_) | Self::Pair(_) | Self::Leaving(_) => None,
        }
    }
}
