//! What every floor above stands on: locks, bounds, deadlines, the policy, and where threads meet. Knows no socket of a client.

pub(crate) mod admission;
pub(crate) mod budget;
pub(crate) mod budgets;
pub(crate) mod close_reason;
pub(crate) mod combining_lock;
pub(crate) mod faults;
pub(crate) mod ledger;
pub(crate) mod linger;
pub(crate) mod network;
pub(crate) mod os_hooks;
pub(crate) mod policy;
pub(crate) mod sync;
pub(crate) mod thread;
pub(crate) mod timer_wheel;
pub(crate) mod wakeup;
