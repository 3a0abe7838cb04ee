//! What is known of a connection whose socket was full within the last minute: how fast its link takes bytes, and what that
//! has meant for packets. Most connections never have it.

use std::time::{Duration, Instant};

use derp_proto::drain_rate::{DrainRate, FULL_PACKET};
use derp_proto::drop_reason::DropReason;

use super::context::EgressContext;
use crate::io::writer::SocketWriter;

/// A link that takes less than this in the time of [`DrainRate::ahead`] is narrow: its socket is bounded. Others are not: a
/// receiver that is kept from reading for a few milliseconds would lose packets.
const NARROW: usize = 256 << 10;
/// The socket holds as much that it has not sent as the system permits.
const UNBOUNDED: usize = 0;
/// Committed ahead of knowing that the socket takes it; what is committed is no longer dropped.
const COMMIT: usize = 16 << 10;
/// So long after something has last waited, a link is taken for as narrow as it was.
const REMEMBERED: Duration = Duration::from_secs(10);
/// A socket that is full again within this time was never empty meanwhile: it holds so much only for a link that takes less
/// than comes.
const FULL_AGAIN: Duration = Duration::from_secs(4);
/// So long after something has last waited, nothing is known any more.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// Guarded by the connection's egress lock.
pub(super) struct Narrow {
    /// The zero of its clock.
    begun: Instant,
    /// When something last waited.
    waited: Instant,
    pub(super) rate: DrainRate,
    /// When the socket was found full, and how many bytes of packets it had taken by then.
    full: Option<(Instant, u64)>,
    /// What the socket may hold that it has not sent, as it was told.
    unsent: usize,
    /// What the socket held and the other side had not acknowledged, when it was asked last; nothing while it is not bounded.
    unacknowledged: Option<usize>,
    pub(super) figures: QueueFigures,
}

/// What became of packets that waited, since the connection began to have such: see [`FORGOTTEN`].
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct QueueFigures {
    pub(crate) dropped_head: u64,
    pub(crate) dropped_tail: u64,
    pub(crate) dropped_age: u64,
    pub(crate) dropped_over_budget: u64,
    /// Packets that have waited and were sent, how long they all did together, and how long the longest.
    pub(crate) waited: u64,
    pub(crate) wait: Duration,
    pub(crate) longest_wait: Duration,
}

impl Narrow {
    pub(super) fn new(now: Instant) -> Self {
        let figures = QueueFigures::default();
        Self {
            begun: now,
            waited: now,
            rate: DrainRate::new(),
            full: None,
            unsent: UNBOUNDED,
            unacknowledged: None,
            figures,
        }
    }

    /// Its clock, in microseconds.
    pub(super) fn clock(&self, now: Instant) -> u64 {
        u64::try_from(now.saturating_duration_since(self.begun).as_micros()).unwrap_or(u64::MAX)
    }

    /// The socket is full, and was not before: it has taken `sent` bytes of packets in all. Often it takes a third of what it
    /// holds at once, and all that waits with it: then nothing waits for long enough to measure how it leaves.
    pub(super) fn is_full(&mut self, sent: u64, now: Instant) {
        let (since, before) = *self.full.get_or_insert((now, sent));
        let time = now.saturating_duration_since(since);
        if time > FULL_AGAIN || self.rate.sample(sent - before, time.as_micros() as u64) {
            self.full = Some((now, sent));
        }
    }

    /// Something waits.
    pub(super) fn waits(&mut self, now: Instant) {
        self.waited = now;
    }

    pub(super) fn is_forgotten(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.waited) > FORGOTTEN
    }

    /// What may be committed.
    pub(super) fn commit(&self) -> usize {
        if self.rate.rate() == 0 { COMMIT } else { (self.ahead() / 4).clamp(FULL_PACKET, COMMIT) }
    }

    fn ahead(&self) -> usize {
        self.rate.ahead(NARROW)
    }

    /// Has the socket hold no more than the link takes in a few milliseconds, if that is little.
    pub(super) fn follow(&mut self, writer: &mut SocketWriter, cx: &EgressContext<'_>) {
        let ahead = self.ahead();
        if ahead < NARROW {
            writer.write_about(Some(self.commit()));
            self.bound(ahead.next_power_of_two(), writer, cx);
        } else {
            self.release(writer, cx);
        }
    }

    /// Nothing waits: after a while the link may be another one.
    pub(super) fn widen(&mut self, writer: &mut SocketWriter, cx: &EgressContext<'_>) {
        if cx.now.saturating_duration_since(self.waited) > REMEMBERED {
            self.release(writer, cx);
        }
    }

    fn release(&mut self, writer: &mut SocketWriter, cx: &EgressContext<'_>) {
        writer.write_about(None);
        self.bound(UNBOUNDED, writer, cx);
    }

    fn bound(&mut self, unsent: usize, writer: &SocketWriter, cx: &EgressContext<'_>) {
        if unsent != self.unsent {
            self.unsent = unsent;
            writer.bound_unsent(unsent, cx.os);
            self.unacknowledged = if unsent == UNBOUNDED { None } else { writer.unacknowledged(cx.os) };
        }
    }

    /// Whether the link has taken something of what the socket holds, since this was asked last or the socket was bounded. A
    /// socket that was filled before that takes nothing until it holds less than its bound: on a slow link for many seconds.
    pub(super) fn takes(&mut self, writer: &SocketWriter, cx: &EgressContext<'_>) -> bool {
        let Some(before) = self.unacknowledged else { return false };
        self.unacknowledged = writer.unacknowledged(cx.os);
        self.unacknowledged.is_some_and(|now| now < before)
    }

    pub(super) fn dropped(&mut self, reason: DropReason, packets: u64) {
        let figures = &mut self.figures;
        match reason {
            DropReason::QueueHead => figures.dropped_head += packets,
            DropReason::QueueTail => figures.dropped_tail += packets,
            DropReason::QueueAge => figures.dropped_age += packets,
            DropReason::OverBudget => figures.dropped_over_budget += packets,
            // Those of a connection's end are not shown: the connection is gone.
            DropReason::UnknownDest
            | DropReason::UnknownDestOnFwd
            | DropReason::GoneDisconnected
            | DropReason::WriteError
            | DropReason::DupClient
            | DropReason::MeshQueue
            | DropReason::MeshDown => {}
        }
    }

    pub(super) fn left(&mut self, wait: Duration) {
        let figures = &mut self.figures;
        figures.waited += 1;
        figures.wait += wait;
        figures.longest_wait = figures.longest_wait.max(wait);
    }
}
