//! A connection of a TLS listener until its handshake is done.

use std::time::Instant;

use crate::base::budget::Share;
use crate::io::socket::Accepted;
use crate::io::tls::TlsHandshake;
use crate::state::strangers::Guest;

/// An accepted connection whose TLS handshake is under way.
pub(super) struct TlsAccept {
    pub(super) tls: TlsHandshake,
    pub(super) accepted: Accepted<()>,
    /// Its place among the connections that arrive, or among those that are parked.
    pub(super) guest: Guest,
    /// The handshake has to be done by then; while it is parked, its certificate has to be there.
    pub(super) deadline: Instant,
    /// Set while it waits for a certificate.
    pub(super) parked: Option<ParkedHandshake>,
}

/// A handshake that waits for a certificate is not read.
pub(super) struct ParkedHandshake {
    /// Counts it among those of all workers.
    pub(super) _one: Option<Share>,
    /// What was read behind the ClientHello.
    pub(super) unread: Vec<u8>,
}

impl TlsAccept {
    pub(super) fn new(accepted: Accepted<()>, guest: Guest, deadline: Instant) -> Self {
        Self { tls: TlsHandshake::new(), accepted, guest, deadline, parked: None }
    }
}
