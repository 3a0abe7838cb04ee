//! What is on its way out.

use derp_proto::drop_reason::PacketKind;
use derp_proto::key::NodeKey;

/// What has to be known of a packet on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PacketInfo {
    pub(crate) source: NodeKey,
    pub(crate) kind: PacketKind,
    /// Bytes of the packet alone.
    pub(crate) payload: usize,
}

/// Frames that lie in somebody else's memory.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// What stands in front of `bytes`, and lies elsewhere; mostly nothing does.
    pub(crate) head: &'a [u8],
    pub(crate) bytes: &'a [u8],
    /// `None` for control frames, of which `bytes` may hold several.
    pub(crate) packet: Option<PacketInfo>,
}

/// Frames that had to wait.
pub(crate) struct OwnedFrame {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) packet: Option<PacketInfo>,
}

impl<'a> Frame<'a> {
    pub(crate) fn control(bytes: &'a [u8]) -> Self {
        Self { head: &[], bytes, packet: None }
    }

    pub(crate) fn len(&self) -> usize {
        self.head.len() + self.bytes.len()
    }

    /// What is to be written, none of it empty.
    pub(crate) fn parts(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        [self.head, self.bytes].into_iter().skip(usize::from(self.head.is_empty()))
    }

    pub(crate) fn owned(self) -> OwnedFrame {
        let bytes = if self.head.is_empty() { self.bytes.into() } else { [self.head, self.bytes].concat().into() };
        OwnedFrame { bytes, packet: self.packet }
    }
}

impl OwnedFrame {
    /// What it takes: small packets cost more than their bytes.
    pub(crate) fn cost(&self) -> usize {
        self.bytes.len() + size_of::<Self>()
    }

    pub(crate) fn borrow(&self) -> Frame<'_> {
        Frame { head: &[], bytes: &self.bytes, packet: self.packet }
    }
}
