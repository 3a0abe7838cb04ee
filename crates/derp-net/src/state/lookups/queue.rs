//! The packets to one key that wait for an answer.

use std::collections::VecDeque;

use derp_proto::drop_reason::PacketKind;
use derp_proto::key::NodeKey;

/// Memory of a waiting packet beside its bytes; the other plane counts the same.
const OVERHEAD: usize = 128;

/// A packet that waits.
pub(crate) struct WaitingPacket {
    /// The id of the connection that has sent it, and may have ended since.
    pub(crate) from: u64,
    pub(crate) source: NodeKey,
    pub(crate) measure: Measure,
    /// That connection is told if the key is nowhere.
    pub(crate) is_answered: bool,
    /// That connection is the relay's own: no counter and no tap shows its packets.
    pub(crate) is_uncounted: bool,
    /// Destination and packet: what follows the head of a ForwardPacket frame.
    pub(crate) body: Box<[u8]>,
}

/// What bounds look at.
#[derive(Clone, Copy)]
pub(crate) struct Measure {
    pub(crate) kind: PacketKind,
    /// Bytes of the packet alone.
    pub(crate) payload: usize,
}

impl Measure {
    /// What a packet takes while it waits.
    pub(super) fn cost(self) -> usize {
        self.payload + OVERHEAD
    }
}

impl WaitingPacket {
    /// The packet itself.
    pub(crate) fn payload(&self) -> &[u8] {
        &self.body[self.body.len() - self.measure.payload..]
    }
}

/// In the order in which they came, bounded for each kind.
#[derive(Default)]
pub(super) struct Queue {
    disco: VecDeque<(u64, WaitingPacket)>,
    other: VecDeque<(u64, WaitingPacket)>,
    last_number: u64,
}

impl Queue {
    /// Appends a packet. Returns the oldest of its kind if there are more than `depth`.
    pub(super) fn push(&mut self, packet: WaitingPacket, depth: usize) -> Option<WaitingPacket> {
        self.last_number += 1;
        let queue = match packet.measure.kind {
            PacketKind::Disco => &mut self.disco,
            PacketKind::Other => &mut self.other,
        };
        queue.push_back((self.last_number, packet));
        if queue.len() > depth { queue.pop_front().map(|(_, oldest)| oldest) } else { None }
    }

    pub(super) fn into_packets(self) -> Vec<WaitingPacket> {
        let mut packets: Vec<_> = self.disco.into_iter().chain(self.other).collect();
        packets.sort_unstable_by_key(|(number, _)| *number);
        packets.into_iter().map(|(_, packet)| packet).collect()
    }
}
