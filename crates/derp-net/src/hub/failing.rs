//! Connections that come to nothing before they are admitted: counted, and told of where that is wanted.

use std::net::SocketAddr;

use derp_proto::counters::Counter;
use derp_tls::Alert;

use crate::hub::ctx::Ctx;
use crate::state::events::Event;
use crate::state::failures::Failure;
use crate::state::strangers::Full;

/// The most of a server name that is told of: no name of DNS is longer.
const MAX_NAME: usize = 255;

impl Ctx<'_> {
    /// A connection has come to nothing.
    pub(crate) fn failed(&self, what: Counter, peer: SocketAddr) {
        self.counters.add(what, 1);
        self.tell_failed(what, peer, "", None);
    }

    /// The same of a TLS handshake.
    pub(crate) fn handshake_failed(&self, what: Counter, peer: SocketAddr, server_name: &str, alert: Option<Alert>) {
        self.counters.add(what, 1);
        self.tell_failed(what, peer, server_name, alert);
    }

    /// No place was there for a connection, and that is counted.
    pub(crate) fn turned_away(&self, full: Full, peer: SocketAddr) {
        self.tell_failed(full.refused(), peer, "", None);
        if full == Full::Share {
            self.crowded(peer);
        }
    }

    /// The share of an address is full.
    pub(crate) fn crowded(&self, peer: SocketAddr) {
        if self.failures.may_tell_of_crowd(self.now.saturating_duration_since(self.start)) {
            self.events.push(Event::Crowded { address: peer.ip() });
        }
    }

    fn tell_failed(&self, what: Counter, peer: SocketAddr, server_name: &str, alert: Option<Alert>) {
        if !self.policy.load().tell_failures {
            return;
        }
        let server_name = server_name.chars().take(MAX_NAME).collect();
        self.failures.add(Failure { what, peer, server_name, alert });
        self.events.bell.ring_later();
    }
}
