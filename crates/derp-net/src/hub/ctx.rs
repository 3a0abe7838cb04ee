//! The plane and the time of one turn, which everything that happens is handed.

use std::net::{SocketAddr, TcpStream};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use derp_proto::counters::{Counter, Counters};
use derp_proto::key::NodeKey;

use crate::base::budget::Share;
use crate::base::budgets::Holder;
use crate::conn::Conn;
use crate::egress::context::EgressContext;
use crate::hub::shared::{Mailbox, Shared};
use crate::state::drops::Watched;
use crate::state::events::Event;
use crate::state::strangers::{Guest, Stage};
use crate::state::tap::Tapped;

/// What everything that happens needs: the plane, and the time it is.
#[derive(Clone, Copy)]
pub(crate) struct Ctx<'a> {
    shared: &'a Shared,
    /// Where things are counted: on the page of the plane, unless they are about a connection that counts nowhere.
    pub(crate) counters: &'a Counters,
    pub(crate) now: Instant,
}

impl<'a> Ctx<'a> {
    pub(crate) fn now(shared: &'a Shared) -> Self {
        Self { shared, counters: &shared.counters, now: Instant::now() }
    }

    #[cfg(test)]
    pub(crate) fn at(shared: &'a Shared, now: Instant) -> Self {
        Self { shared, counters: &shared.counters, now }
    }

    /// For what is done on behalf of `conn`.
    pub(crate) fn of(self, conn: &Conn) -> Self {
        Self { counters: self.page_of(conn), ..self }
    }

    /// For what is done on behalf of a connection that counts nowhere.
    pub(crate) fn uncounted(self) -> Self {
        Self { counters: &self.shared.uncounted, ..self }
    }

    /// Whether this is done on behalf of a connection that counts nowhere.
    pub(crate) fn is_uncounted(&self) -> bool {
        std::ptr::eq(self.counters, &raw const self.shared.uncounted)
    }

    fn page_of(&self, conn: &Conn) -> &'a Counters {
        if conn.uncounted { &self.shared.uncounted } else { &self.shared.counters }
    }

    /// Room for the descriptor of one more connection, unless the rest is to be left for everything else.
    pub(crate) fn may_connect(&self, peer: SocketAddr) -> Option<Share> {
        let room = self.room.take(1, self.policy.load().connections);
        if room.is_none() {
            self.failed(Counter::CONNECTIONS_REFUSED, peer);
        }
        room
    }

    /// Tells of something that has failed and costs no more than what it was for.
    pub(crate) fn trouble(&self, what: &str, why: impl std::fmt::Display) {
        self.events.push(Event::Trouble { message: format!("{what}: {why}") });
    }

    /// A place for a newcomer at this stage, unless there is none.
    pub(crate) fn enter(
        &self,
        listener: u64,
        stage: Stage,
        peer: SocketAddr,
        stream: &Arc<TcpStream>,
    ) -> Option<Guest> {
        match self.strangers.enter(listener, stage, peer.ip(), stream, &self.policy.load(), self.now) {
            Ok((guest, is_crowded)) => {
                if is_crowded {
                    self.crowded(peer);
                }
                Some(guest)
            }
            Err(full) => {
                self.turned_away(full, peer);
                None
            }
        }
    }

    /// Somebody watches what is dropped on its way to this key.
    pub(crate) fn watched(&self, key: &NodeKey) -> Option<Watched<'a>> {
        let Shared { policy, drops, events, .. } = self.shared;
        policy.load().watched_drops.contains(key).then_some(Watched { drops, bell: &events.bell, destination: *key })
    }

    /// Measures how far away the other side of a connection is, and counts it.
    pub(crate) fn sample(&self, conn: &Conn, stream: &TcpStream) {
        let Some(round_trip) = self.os.round_trip else { return };
        let counter = match round_trip(stream) {
            Some(Ok(length)) => {
                conn.took(length);
                Counter::round_trip(length)
            }
            Some(Err(_)) => Counter::TCP_RTT_ERROR,
            None => Counter::TCP_RTT_NON_TCP,
        };
        self.counters.add(counter, 1);
    }

    /// What writing to `conn` needs.
    pub(crate) fn egress_context(&self, conn: &Conn) -> EgressContext<'a> {
        let policy = self.policy.load();
        EgressContext {
            counters: self.page_of(conn),
            subscribers: &self.shared.subscribers,
            budgets: &self.shared.budgets,
            worker: conn.worker,
            holder: if conn.is_link() { Holder::Link(conn.link_id()) } else { Holder::Conn(conn.id) },
            queued_bytes: policy.queued_bytes,
            peer_gone_pairs: policy.peer_gone_pairs,
            link: conn.is_link(),
            queue_depth: if conn.is_link() { policy.link_queue_depth } else { policy.queue_depth },
            control_bytes: policy.control_bytes,
            subscriptions: policy.peer_gone_subscriptions,
            destination: conn.id,
            os: &self.shared.os,
            watched: if policy.watched_drops.is_empty() { None } else { conn.key().and_then(|key| self.watched(key)) },
            now: self.now,
        }
    }
}

impl Ctx<'_> {
    /// The cipher of this connection's way out has been expanded, by whichever thread.
    pub(crate) fn warmed(&self, conn: &Conn) {
        let Mailbox { warmed, waker, .. } = &self.mailboxes[conn.worker];
        if warmed.push((conn.token.load(Ordering::Relaxed), conn.id)) {
            // It may be asleep for long. Waking fails only if it is awake.
            let _ = waker.wake();
        }
    }

    /// Shows a packet to the tap, if that is on and the packet is none of the relay's own.
    #[inline]
    pub(crate) fn show(&self, packet: Tapped<'_>) {
        if self.tap.is_on() && !self.is_uncounted() {
            self.tap([packet]);
        }
    }

    /// Shows packets to the tap, which is on.
    pub(crate) fn tap<'p>(&self, packets: impl IntoIterator<Item = Tapped<'p>>) {
        if let Some(full) = self.shared.tap.record(packets) {
            self.events.bell.tapped(full);
        }
    }
}

impl Deref for Ctx<'_> {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        self.shared
    }
}
