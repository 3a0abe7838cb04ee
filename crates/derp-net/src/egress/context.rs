//! What writing to a connection needs beside the connection.

use std::time::Instant;

use derp_proto::counters::{Counters, Waits};
use derp_proto::drop_reason::DropReason;

use super::inbox::{INBOX_BYTES, LINK_INBOX_BYTES};
use super::outbound::PacketInfo;
use crate::base::budgets::{Budgets, Holder};
use crate::base::os_hooks::OsHooks;
use crate::state::drops::Watched;
use crate::state::peer_gone::Subscribers;

/// What every write needs of the plane.
pub(crate) struct EgressContext<'a> {
    pub(crate) counters: &'a Counters,
    pub(crate) subscribers: &'a Subscribers,
    pub(crate) queue_depth: usize,
    pub(crate) control_bytes: usize,
    pub(crate) subscriptions: usize,
    /// What all connections hold together, who of them this one is, and how much they may.
    pub(crate) budgets: &'a Budgets,
    pub(crate) worker: usize,
    pub(crate) holder: Holder,
    pub(crate) queued_bytes: usize,
    pub(crate) peer_gone_pairs: usize,
    /// The connection is a link to another relay: that watches whom it wants to, its figures are its own, and it drops
    /// under other names.
    pub(crate) link: bool,
    /// The id of the connection that is written to.
    pub(crate) destination: u64,
    /// What the system can do with sockets.
    pub(crate) os: &'a OsHooks,
    /// Set if somebody wants to know what is dropped on its way there.
    pub(crate) watched: Option<Watched<'a>>,
    pub(crate) now: Instant,
}

impl EgressContext<'_> {
    /// Counts a packet that will not get there, and tells the control plane if it watches the key.
    pub(crate) fn dropped(&self, reason: DropReason, info: &PacketInfo) {
        let reason = match reason {
            DropReason::QueueHead | DropReason::QueueTail if self.link => DropReason::MeshQueue,
            DropReason::GoneDisconnected | DropReason::WriteError if self.link => DropReason::MeshDown,
            other => other,
        };
        self.counters.dropped(reason, info.kind, info.payload);
        if let Some(watched) = &self.watched {
            watched.dropped(info.source, reason);
        }
    }

    /// What may wait for the worker that holds the lock.
    pub(crate) fn inbox_bytes(&self) -> usize {
        if self.link { LINK_INBOX_BYTES } else { INBOX_BYTES }
    }

    pub(super) fn waited(&self, waits: Waits) {
        if !self.link {
            self.counters.waited(waits);
        }
    }
}
