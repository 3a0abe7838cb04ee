//! One socket: writing to it, TLS in both directions, and the bridge to the HTTP server.

pub(crate) mod bridge;
pub(crate) mod cipher_sweep;
pub(crate) mod socket;
pub(crate) mod tls;
pub(crate) mod writer;
