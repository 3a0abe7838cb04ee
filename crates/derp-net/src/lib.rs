//! The native data plane: listeners, login, forwarding. Every worker reads its own connections, and writes to anyone's.
//!
//! | module | what is inside |
//! |---|---|
//! | `plane` | the threads, and the commands of the control plane |
//! | `worker`, `acceptor`, `connections` | one thread: its mail, the listeners, its connections and their deadlines |
//! | `strangers` | who is here without having been admitted, and makes room for others |
//! | `arriving`, `session`, `traffic`, `batch` | a connection's way in: request head, login, frames, the packets of one read |
//! | `conn`, `egress` | what everybody knows of a connection, and its way out |
//! | `dial`, `link` | another relay: connecting to it, and what it says |
//! | `table`, `subscribers` | which connection has the packets of a key, and who is told that a key has left |
//! | `events`, `reason` | what the control plane is told |
//! | `stun` | answers to STUN requests, on their own thread |
//! | `tap` | copies of packets for whoever looks |
//! | `handover`, `wakeup`, `admission` | where threads meet; each is tried in every interleaving |
//! | `budgets`, `ledger` | what all connections hold together, and whose goes if it is too much |
//! | `timer`, `budget`, `policy`, `sync` | deadlines, bounds, locks |
//! | `faults` | bugs to be planted by tests |
#![forbid(unsafe_code)]

mod acceptor;
mod admission;
mod arriving;
mod batch;
mod bridge;
mod budget;
mod budgets;
mod conn;
mod connections;
mod dial;
mod drops;
mod egress;
mod events;
mod faults;
mod handover;
mod ledger;
mod line;
mod link;
mod plane;
mod policy;
mod reason;
mod secure;
mod session;
mod shared;
mod strangers;
mod stun;
mod subscribers;
mod sync;
mod system;
mod table;
mod tap;
#[cfg(all(test, not(loom)))]
mod testing;
mod timer;
mod traffic;
mod wakeup;
mod warmth;
mod worker;

pub use conn::Figures;
pub use dial::Target;
pub use drops::Dropped;
pub use events::{Event, LinkChange, Wake};
#[cfg(feature = "fault-injection")]
pub use faults::Fault;
pub use plane::{Adoption, Plane};
pub use policy::Policy;
pub use reason::CloseReason;
pub use strangers::Prefix;
pub use system::{RoundTrip, System};
#[cfg(feature = "micro-benchmarks")]
#[doc(hidden)]
pub use table::micro;
pub use tap::Slab;
