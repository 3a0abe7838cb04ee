//! The native data plane: listeners, login, forwarding. Every worker reads its own connections, and writes to anyone's.
//!
//! Imports go down only:
//!
//! | floor | what is inside |
//! |---|---|
//! | `plane` | the threads, and the commands of the control plane |
//! | `worker` | one thread: its mail, the listeners, its connections and their deadlines; `stun`: the thread that answers STUN |
//! | `ingress` | a connection's way in: request head, login, frames, the packets of one read; links to other relays |
//! | `hub` | what the threads of a plane share |
//! | `conn` | what all threads know of one connection |
//! | `egress` | a connection's way out: its queues, its writes, its drops |
//! | `io`, `state` | one socket and its TLS; the table of keys, events, the tap, peers that are told when a source leaves, packets that wait for answers |
//! | `base` | locks, bounds, deadlines, the policy, and where threads meet |
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod base;
mod conn;
mod egress;
mod hub;
mod ingress;
mod io;
mod plane;
mod state;
mod stun;
#[cfg(all(test, not(loom)))]
mod testing;
mod worker;

pub use base::close_reason::CloseReason;
#[cfg(feature = "fault-injection")]
pub use base::faults::Fault;
pub use base::network::Prefix;
pub use base::os_hooks::{BoundUnsent, OsHooks, RoundTrip, Unacknowledged};
pub use base::policy::{LookupBounds, Policy};
pub use conn::Figures;
pub use hub::mail::Target;
pub use plane::{Adoption, Plane};
pub use state::bell::Wake;
pub use state::drops::Dropped;
pub use state::events::{Event, LinkChange};
pub use state::failures::Failure;
#[cfg(feature = "micro-benchmarks")]
#[doc(hidden)]
pub use state::table::micro;
pub use state::tap::Slab;
