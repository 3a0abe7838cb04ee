//! What all threads of a plane read and change: the table of keys, events for the control plane, and who is to be told what.

pub(crate) mod bell;
pub(crate) mod drops;
pub(crate) mod events;
pub(crate) mod failures;
pub(crate) mod heard;
pub(crate) mod lookups;
pub(crate) mod peer_gone;
pub(crate) mod senders;
pub(crate) mod strangers;
pub(crate) mod table;
pub(crate) mod tap;
