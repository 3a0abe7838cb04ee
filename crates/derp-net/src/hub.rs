//! What the threads of one plane share: the plane without its threads, the mail between them, and what is done with a
//! connection that needs both.

mod answers;
mod conn_ops;
pub(crate) mod ctx;
mod failing;
pub(crate) mod mail;
mod relief;
pub(crate) mod shared;
