//! The packets to one key that wait for an answer.

use std::collections::VecDeque;

use derp_proto::drop_reason::PacketKind;
use derp_proto::key::NodeKey;

use super::shares::Asker;

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

/// A packet in a queue.
pub(super) struct Waiting {
    /// Those of packets that came later are larger.
    pub(super) number: u64,
    pub(super) asker: Asker,
    pub(super) packet: WaitingPacket,
}

/// In the order in which they came, bounded for each kind.
#[derive(Default)]
pub(super) struct Queue {
    disco: VecDeque<Waiting>,
    other: VecDeque<Waiting>,
}

impl Queue {
    /// Appends a packet. Returns the oldest of its kind if there are more than `depth`.
    pub(super) fn push(&mut self, waiting: Waiting, depth: usize) -> Option<Waiting> {
        let queue = match waiting.packet.measure.kind {
            PacketKind::Disco => &mut self.disco,
            PacketKind::Other => &mut self.other,
        };
        queue.push_back(waiting);
        if queue.len() > depth { queue.pop_front() } else { None }
    }

    /// Takes a packet out.
    pub(super) fn remove(&mut self, number: u64) -> Option<Waiting> {
        [&mut self.disco, &mut self.other].into_iter().find_map(|queue| {
            let at = queue.binary_search_by_key(&number, |waiting| waiting.number).ok()?;
            queue.remove(at)
        })
    }

    /// Whose packet came first, of those for which that holds.
    pub(super) fn first_asker(&self, is_wanted: impl Fn(&Asker) -> bool) -> Option<Asker> {
        let all = self.disco.iter().chain(&self.other).filter(|waiting| is_wanted(&waiting.asker));
        all.min_by_key(|waiting| waiting.number).map(|waiting| waiting.asker)
    }

    pub(super) fn into_waiting(self) -> Vec<Waiting> {
        let mut all: Vec<_> = self.disco.into_iter().chain(self.other).collect();
        all.sort_unstable_by_key(|waiting| waiting.number);
        all
    }
}
