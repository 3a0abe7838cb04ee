//! What the threads of one plane share.

pub(crate) mod shared;
