//! A pair of clients that has no part in what goes on, and feels it: its packets are paced, few, and small.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::flow;
use crate::load::{Pace, Plan};
use crate::pacing::Comb;

/// Bytes of a bystander's packet.
const SIZE: usize = 100;

/// What one pair sends during the given window.
pub(crate) fn plan(rate: NonZeroU64, warm_up: Duration, length: Duration) -> Plan {
    let pace = Pace::Comb(Comb { rate, batch: 1, senders: 1 });
    Plan { pace, ..Plan::new(flow::pairs(1), SIZE, warm_up, length) }
}

/// Packets a second that a pair sends unless the command line says otherwise: enough for a 99th percentile within seconds.
pub(crate) const RATE: NonZeroU64 = NonZeroU64::new(200).expect("it is not zero");

/// Clients of the pair.
pub(crate) const CLIENTS: usize = 2;
