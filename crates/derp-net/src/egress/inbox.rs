//! Packets that found the egress lock taken.

use std::collections::VecDeque;

use derp_proto::drop_reason::PacketKind;

use super::outbound::{Frame, OwnedFrame, PacketInfo};

/// As much as two reads can bring: a worker holds the lock for no longer than that takes. More than this has a
/// receiver that all workers send to at once, and drops as any queue does.
pub(super) const INBOX_BYTES: usize = 256 << 10;
/// The same for a link, which all workers do send to at once.
pub(super) const LINK_INBOX_BYTES: usize = 1 << 20;

/// In the order in which they came, for each kind.
#[derive(Default)]
pub(crate) struct Inbox {
    disco: VecDeque<OwnedFrame>,
    regular: VecDeque<OwnedFrame>,
    pub(crate) bytes: usize,
    /// Packets that had to go.
    pub(crate) dropped: u64,
}

impl Inbox {
    /// Appends a packet. To make room within `most` bytes others have to go, the oldest first, and discovery last.
    pub(crate) fn push(&mut self, frame: Frame<'_>, most: usize, mut drop: impl FnMut(PacketInfo)) {
        let disco = frame.packet.is_some_and(|info| info.kind == PacketKind::Disco);
        self.bytes += cost(frame.len());
        if disco { &mut self.disco } else { &mut self.regular }.push_back(frame.owned());
        while self.bytes > most
            && let Some(oldest) = self.regular.pop_front().or_else(|| self.disco.pop_front())
        {
            self.bytes -= cost(oldest.bytes.len());
            if let Some(info) = oldest.packet {
                self.dropped += 1;
                drop(info);
            }
        }
    }

    pub(crate) fn into_frames(self) -> impl Iterator<Item = OwnedFrame> {
        self.disco.into_iter().chain(self.regular)
    }
}

/// Small packets cost more than their bytes.
fn cost(bytes: usize) -> usize {
    bytes + size_of::<OwnedFrame>()
}

#[cfg(all(test, not(loom)))]
mod tests {
    use derp_proto::key::NodeKey;

    use super::*;

    #[test]
    fn a_full_inbox_drops_its_oldest_and_discovery_last() {
        let mut inbox = Inbox::default();
        let mut dropped = Vec::new();
        for number in 0..400_usize {
            let kind = if number.is_multiple_of(10) { PacketKind::Disco } else { PacketKind::Other };
            let info = PacketInfo { source: NodeKey::from_bytes([7; 32]), kind, payload: number };
            let frame = Frame { head: &[], bytes: &[0; 1000], packet: Some(info) };
            inbox.push(frame, INBOX_BYTES, |info| dropped.push((info.kind, info.payload)));
        }
        let oldest = (0..400).filter(|number| number % 10 != 0).map(|number| (PacketKind::Other, number));
        assert!(dropped.len() > 100);
        assert!(oldest.take(dropped.len()).eq(dropped.iter().copied()));
        assert_eq!(inbox.dropped, dropped.len() as u64);
        assert_eq!(inbox.into_frames().count(), 400 - dropped.len());
    }
}
