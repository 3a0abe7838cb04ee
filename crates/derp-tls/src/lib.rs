//! TLS 1.2 and 1.3 without sockets, clocks or threads, for a worker that owns the reading side of a connection while any
//! other thread may write to it.
//!
//! rustls does the handshake. Then its connection is let go of, and the records are ours: rustls keeps both directions in one
//! object, which two threads cannot share, and which costs an idle client several times what its keys do.
//!
//! | module | what is inside |
//! |---|---|
//! | [`certificates`] | what a server shows, and which of it to whom |
//! | [`handshake`] | bytes in, bytes out, until both directions have their keys |
//! | [`client`], [`meta_cert`] | whom a client trusts, and what a relay's certificate says of its key |
//! | [`receive`] | opens records where they lie |
//! | [`send`] | seals records from where the plaintext lies |
//! | [`alert`] | what ends a connection |
//!
//! A connection that is idle, and that [`Receiver::cool`] and [`Sender::cool`] have let go of, holds no memory but the
//! two of them: [`IDLE_BYTES`].
#![forbid(unsafe_code)]
#![deny(missing_docs)]
// A new variant is never swallowed.
#![warn(clippy::wildcard_enum_match_arm)]
// A panic takes every connection with it: where one cannot happen, the code has to say why.
#![cfg_attr(not(test), warn(clippy::unwrap_used))]

pub mod alert;
pub mod certificates;
mod chain;
#[cfg(test)]
mod chain_tests;
pub mod client;
#[cfg(any(test, fuzzing))]
pub mod fuzz_records;
pub mod handshake;
#[cfg(test)]
mod hostile_tests;
mod key_log;
mod keys;
pub mod meta_cert;
pub mod receive;
mod record;
pub mod send;
mod tickets;
mod trust;

pub use alert::{Alert, Violation};
pub use certificates::{Certificate, CertificateError, CertificateSet, Otherwise};
pub use client::ClientSettings;
pub use handshake::{Certified, ClientFault, Established, Handshake, HandshakeError, Need, Next, Progress};
pub use keys::Version;
pub use receive::{End, Opened, Receiver};
pub use send::{SealError, Sender};

/// What a quiet connection costs here, in bytes, on a 64-bit machine: a [`Sender`] and a [`Receiver`], and nothing on the heap
/// (a client's receiver of TLS 1.3: 24 bytes there).
pub const IDLE_BYTES: usize = 168;
