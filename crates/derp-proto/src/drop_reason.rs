//! Why a packet was dropped, and of which kind it was: derper's words, then ours, which are the labels of the metrics.

/// Why a packet was dropped.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum DropReason {
    /// No connection here has the destination's key, and no mesh link leads to it.
    UnknownDest,
    /// The same, for a packet that came over a mesh link; those go no further.
    UnknownDestOnFwd,
    /// The destination's connection ended while the packet waited, or just before.
    GoneDisconnected,
    /// The queue was full, and of the source with the most bytes in it this was the oldest packet.
    QueueHead,
    /// There was no queue to wait in: its depth is 0.
    QueueTail,
    /// The packet was being written when the connection broke.
    WriteError,
    /// The key's connections contend for it, so that none is active. Counted by derper; not met with here.
    DupClient,
    /// The queue of a mesh link was full, and this was its oldest packet.
    MeshQueue,
    /// The mesh link that leads to the destination had ended, or did while the packet waited.
    MeshDown,
    /// All queues together held more than they may, and the destination's held the most.
    OverBudget,
    /// Packets to the destination stood in its queue for too long, and this one was at the head.
    QueueAge,
}

impl DropReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 11] = [
        Self::UnknownDest,
        Self::UnknownDestOnFwd,
        Self::GoneDisconnected,
        Self::QueueHead,
        Self::QueueTail,
        Self::WriteError,
        Self::DupClient,
        Self::MeshQueue,
        Self::MeshDown,
        Self::OverBudget,
        Self::QueueAge,
    ];

    /// Those that derper does not have.
    pub const OWN: [Self; 4] = [Self::MeshQueue, Self::MeshDown, Self::OverBudget, Self::QueueAge];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnknownDest => "unknown_dest",
            Self::UnknownDestOnFwd => "unknown_dest_on_fwd",
            Self::GoneDisconnected => "gone_disconnected",
            Self::QueueHead => "queue_head",
            Self::QueueTail => "queue_tail",
            Self::WriteError => "write_error",
            Self::DupClient => "dup_client",
            Self::MeshQueue => "mesh_queue",
            Self::MeshDown => "mesh_down",
            Self::OverBudget => "over_budget",
            Self::QueueAge => "queue_age",
        }
    }
}

/// Discovery packets, and the rest.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[repr(u8)]
pub enum PacketKind {
    /// Tailscale's search for a direct path: it ends the need for relaying.
    Disco,
    /// Everything else.
    Other,
}

impl PacketKind {
    /// Both kinds, in the order of the counters.
    pub const ALL: [Self; 2] = [Self::Disco, Self::Other];

    /// Of a packet, by [`looks_like_disco`](crate::wire::looks_like_disco).
    #[inline]
    pub fn of(packet: &[u8]) -> Self {
        if crate::wire::looks_like_disco(packet) { Self::Disco } else { Self::Other }
    }

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disco => "disco",
            Self::Other => "other",
        }
    }
}
