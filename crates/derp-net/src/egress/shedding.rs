//! What one way out holds of what all of them together may, and how it gives something back.

use derp_proto::drop_reason::DropReason;

use super::Egress;
use super::context::EgressContext;
use crate::io::writer::SocketWriter;

impl Egress {
    /// Drops packets, the oldest of the source that has the most, until so many bytes are free. If there is none to drop, everything goes: what is left was
    /// begun, or is control.
    pub(crate) fn shed(&mut self, bytes: usize, cx: &EgressContext<'_>) {
        let mut freed = 0;
        while freed < bytes
            && let (Some(backlog), Some(narrow)) = (&mut self.backlog, &self.narrow)
            && let Some(frame) = backlog.shed(narrow, cx)
        {
            freed += frame.cost();
            if let Some(info) = &frame.packet {
                self.drop_packet(DropReason::OverBudget, info, cx);
            }
        }
        if self.backlog.as_ref().is_some_and(|backlog| backlog.is_empty()) && !self.has_tail() {
            self.backlog = None;
        }
        // It may have sent everything since it was found.
        if freed == 0 && self.held() > 0 {
            self.writer = None;
            self.give_up(cx);
            self.outcome.condemned = true;
        }
    }

    /// Forgets so many sources, the oldest.
    pub(crate) fn forget_sources(&mut self, count: usize, cx: &EgressContext<'_>) {
        for _ in 0..count {
            let Some(oldest) = self.sources.take_oldest() else { break };
            cx.subscribers.remove(&oldest, cx.destination);
        }
        self.note_pairs(cx);
    }

    /// Notes what waits here, after anything has happened. Mostly nothing does, and nothing has.
    pub(crate) fn settle(&mut self, cx: &EgressContext<'_>) {
        let held = self.held();
        let grown = cx.budgets.queued.note(cx.worker, &mut self.queued, cx.holder, held, cx.counters);
        self.outcome.crowded |= grown && cx.budgets.queued.excess(cx.queued_bytes, cx.counters) > 0;
    }

    /// True if there are more of them.
    pub(super) fn note_pairs(&mut self, cx: &EgressContext<'_>) -> bool {
        cx.budgets.pairs.note(cx.worker, &mut self.pairs, cx.holder, self.sources.len(), cx.counters)
    }

    /// What waits here. Behind a tail there is always a backlog.
    fn held(&self) -> usize {
        let tail = || self.writer.as_ref().map_or(0, SocketWriter::waiting);
        self.backlog.as_ref().map_or(0, |backlog| backlog.bytes() + tail())
    }

    pub(super) fn has_tail(&self) -> bool {
        self.writer.as_ref().is_some_and(SocketWriter::has_tail)
    }

    pub(super) fn control_bytes(&self) -> usize {
        self.backlog.as_ref().map_or(0, |backlog| backlog.control_bytes())
    }
}
