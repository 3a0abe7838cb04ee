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
    pub(crate) bytes: &'a [u8],
    /// `None` for control frames, of which `bytes` may hold several.
    pub(crate) packet: Option<PacketInfo>,
}

/// Frames that had to wait.
pub(crate) struct OwnedFrame {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) packet: Option<PacketInfo>,
}

impl Frame<'_> {
    pub(crate) fn owned(self) -> OwnedFrame {
        OwnedFrame { bytes: self.bytes.into(), packet: self.packet }
    }
}

impl OwnedFrame {
    pub(crate) fn borrow(&self) -> Frame<'_> {
        Frame { bytes: &self.bytes, packet: self.packet }
    }
}
