//! What is known of one packet of a read, until it is delivered or dropped.

use std::ops::Range;

use derp_proto::drop_reason::PacketKind;
use derp_proto::frame::{self, FORWARDED_PACKET_AT, KEY_AT, PACKET_AT};
use derp_proto::key::NodeKey;

use crate::egress::PacketInfo;
use crate::state::lookups::Measure;

/// Which memory a frame of a read lies in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Buffer {
    /// The frame that had begun in an earlier read.
    Gathered,
    /// The read itself.
    Read,
}

/// One whole frame, header included, and where it lies.
pub(crate) struct ReadFrame<'a> {
    pub(crate) bytes: &'a mut [u8],
    pub(crate) buffer: Buffer,
    /// Where in that memory it begins.
    pub(crate) at: usize,
}

/// Where the bytes that are sent on lie: a whole RecvPacket frame, or what follows the head of a ForwardPacket.
pub(crate) struct Located {
    pub(crate) buffer: Buffer,
    pub(crate) range: Range<usize>,
}

/// A packet that a client or a mesh peer has sent.
pub(crate) struct Packet<'a> {
    frame: ReadFrame<'a>,
    /// Where in the frame the payload begins.
    payload_at: usize,
    pub(crate) info: PacketInfo,
    pub(crate) destination: NodeKey,
}

impl<'a> Packet<'a> {
    /// Reads a SendPacket frame of the client whose key is `source`. `None` if it is too short for one.
    pub(crate) fn sent(frame: ReadFrame<'a>, source: NodeKey) -> Option<Self> {
        let destination = NodeKey::first_of(&frame.bytes[KEY_AT..])?;
        Some(Self::of(frame, PACKET_AT, source, destination))
    }

    /// Reads a ForwardPacket frame of a mesh peer. `None` if it is too short for one.
    pub(crate) fn forwarded(frame: ReadFrame<'a>) -> Option<Self> {
        let source = NodeKey::first_of(&frame.bytes[KEY_AT..])?;
        let destination = NodeKey::first_of(&frame.bytes[PACKET_AT..])?;
        Some(Self::of(frame, FORWARDED_PACKET_AT, source, destination))
    }

    fn of(frame: ReadFrame<'a>, payload_at: usize, source: NodeKey, destination: NodeKey) -> Self {
        let payload = &frame.bytes[payload_at..];
        let info = PacketInfo { source, kind: PacketKind::of(payload), payload: payload.len() };
        Self { frame, payload_at, info, destination }
    }

    /// What a packet that waits is measured by.
    pub(crate) fn measure(&self) -> Measure {
        Measure { kind: self.info.kind, payload: self.info.payload }
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.frame.bytes[self.payload_at..]
    }

    /// Makes a RecvPacket frame of the SendPacket frame, where it lies: both have the same length.
    pub(crate) fn into_recv(self) -> (Located, PacketInfo) {
        let start = if self.payload_at == PACKET_AT {
            frame::rewrite_send_to_recv(self.frame.bytes, &self.info.source);
            0
        } else {
            frame::rewrite_forward_to_recv(self.frame.bytes)
        };
        (self.located(start), self.info)
    }

    /// Destination and payload, as they lie, for another relay: what follows the head of a ForwardPacket.
    pub(crate) fn into_forward(self) -> (Located, PacketInfo) {
        (self.located(KEY_AT), self.info)
    }

    fn located(&self, start: usize) -> Located {
        let ReadFrame { bytes, buffer, at } = &self.frame;
        Located { buffer: *buffer, range: at + start..at + bytes.len() }
    }
}
