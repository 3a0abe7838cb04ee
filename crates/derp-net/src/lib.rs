//! The native data plane: listeners, login, forwarding. Every worker reads its own connections, and writes to anyone's.
#![forbid(unsafe_code)]

mod arrival;
mod conn;
mod egress;
mod events;
mod plane;
mod policy;
mod session;
mod shared;
mod table;
mod timer;
mod worker;

pub use events::{CloseReason, Event, Wake};
pub use plane::{Figures, Plane};
pub use policy::Policy;
