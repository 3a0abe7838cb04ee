//! How long a connection that has ended keeps its socket.

use std::time::Duration;

/// How long the peer may take to end its side, once the relay has said that the connection has ended: what the relay said last
/// is lost if the socket is closed while the peer still sends.
pub(crate) const LINGER: Duration = Duration::from_secs(1);
/// How long a client that sends no more may take for the bytes that wait for it, however steadily it reads.
pub(crate) const FLUSH: Duration = Duration::from_secs(30);
