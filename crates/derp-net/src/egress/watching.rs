//! Whether what waits for a socket leaves in time: the owner of the connection asks.

use std::time::Instant;

use super::Egress;
use super::context::EgressContext;

impl Egress {
    /// Something waits from here on: the owner is told, unless it asks already.
    pub(super) fn stalled(&mut self) {
        self.outcome.stalled |= !self.watched;
        self.watched = true;
    }

    /// Since when nothing has left; `None` if nothing waits. For the owner, which asks again in time; `watched` says so.
    pub(crate) fn watch(&mut self, watched: bool, cx: &EgressContext<'_>) -> Option<Instant> {
        if let (Some(backlog), Some(narrow), Some(writer)) = (&mut self.backlog, &mut self.narrow, &self.writer)
            && narrow.takes(writer, cx)
        {
            backlog.moved(cx.now);
        }
        let since = self.backlog.as_ref().map(|backlog| backlog.progress());
        self.watched = watched && since.is_some();
        since
    }

    /// Lets go of what is known of queues that nothing has waited in for long.
    pub(crate) fn forget(&mut self, now: Instant) {
        if self.backlog.is_none() && self.narrow.as_ref().is_some_and(|narrow| narrow.is_forgotten(now)) {
            self.narrow = None;
        }
    }
}
