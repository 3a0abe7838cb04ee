//! What has to be told once the egress lock is released.

/// What has come of a write, for others to know.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Outcome {
    /// The socket became full: its owner has to watch the write deadline.
    pub(crate) stalled: bool,
    /// There is room for what is sent with `pull`.
    pub(crate) pulled: bool,
    /// More control frames wait than are permitted.
    pub(crate) overflow: bool,
    /// All queues together hold more than they may.
    pub(crate) crowded: bool,
    /// There are more sources that connections are told of than there may be.
    pub(crate) many_pairs: bool,
    /// Where a new source of packets comes from has to be looked at.
    pub(crate) heard: bool,
    /// It held the most and had no packet to lose: its owner has to close it.
    pub(crate) condemned: bool,
    /// A cipher has been expanded, that its owner has to let go of when it is not used.
    pub(crate) warmed: bool,
}

impl Outcome {
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            stalled: self.stalled | other.stalled,
            pulled: self.pulled | other.pulled,
            overflow: self.overflow | other.overflow,
            crowded: self.crowded | other.crowded,
            many_pairs: self.many_pairs | other.many_pairs,
            heard: self.heard | other.heard,
            condemned: self.condemned | other.condemned,
            warmed: self.warmed | other.warmed,
        }
    }
}
