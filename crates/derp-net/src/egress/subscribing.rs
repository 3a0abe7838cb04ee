//! Whose leaving a way out is told of: the sources of the packets that leave by it.

use derp_proto::frame;
use derp_proto::key::NodeKey;
use derp_proto::wire::PeerGoneReason;

use super::context::EgressContext;
use super::{Egress, Frame};
use crate::io::writer::SLICES;
use crate::state::peer_gone::Added;

impl Egress {
    /// Tells the client that a source of packets has left, if it had packets of it and was not told already.
    pub(crate) fn peer_gone(&mut self, source: &NodeKey, reason: PeerGoneReason, cx: &EgressContext<'_>) {
        if self.sources.remove(source) {
            self.note_pairs(cx);
            self.control(&frame::peer_gone(source, reason), false, cx);
        }
    }

    /// The destination is told when this source leaves. Before the packet leaves: the source may be gone by the time it has.
    /// True if it was not so already.
    pub(super) fn subscribe(&mut self, source: &NodeKey, cx: &EgressContext<'_>) -> bool {
        if cx.link || self.leaving {
            return false;
        }
        match self.sources.add(source, cx.subscriptions) {
            Added::Known => return false,
            Added::New => {}
            Added::Instead(oldest) => cx.subscribers.remove(&oldest, cx.destination),
        }
        self.outcome.heard |= cx.subscribers.add(source, cx.destination);
        let grown = self.note_pairs(cx);
        self.outcome.many_pairs |= grown && cx.budgets.pairs.excess(cx.peer_gone_pairs, cx.counters) > 0;
        true
    }

    /// The same for what one write may take. Returns the new ones; mostly there is none.
    pub(super) fn subscribe_all(&mut self, frames: &[Frame<'_>], cx: &EgressContext<'_>) -> Vec<NodeKey> {
        let packets = frames.iter().take(SLICES).filter_map(|frame| frame.packet);
        packets.filter(|info| self.subscribe(&info.source, cx)).map(|info| info.source).collect()
    }

    /// Nothing of these was heard after all.
    pub(super) fn unsubscribe(&mut self, sources: &[NodeKey], cx: &EgressContext<'_>) {
        for source in sources {
            if self.sources.remove(source) {
                cx.subscribers.remove(source, cx.destination);
            }
        }
        if !sources.is_empty() {
            self.note_pairs(cx);
        }
    }
}
