//! The relay that is measured.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use derp_proto::key::NodeKey;

use crate::driver::Driver;
use crate::session::Identity;
use crate::transport;

/// Where it is, and how to log in to it.
pub(crate) struct Target {
    address: SocketAddr,
    fast_start: bool,
    server: NodeKey,
    /// Its process, if its costs are to be measured.
    pub(crate) process: Option<u32>,
    /// Logins under way at a time.
    pub(crate) at_once: usize,
}

/// For all clients to be logged in.
const PATIENCE: Duration = Duration::from_secs(60);

impl Target {
    /// Asks the relay for its key.
    pub(crate) fn new(address: SocketAddr, fast_start: bool, process: Option<u32>, at_once: usize) -> io::Result<Self> {
        let server = transport::server_key(address, Duration::from_secs(5))?;
        Ok(Self { address, fast_start, server, process, at_once })
    }

    pub(crate) fn driver(&self) -> io::Result<Driver> {
        Driver::new(self.address, self.fast_start)
    }

    /// So many new clients, ready to log in.
    pub(crate) fn identities(&self, count: usize) -> io::Result<Vec<Arc<Identity>>> {
        let one = |_| Identity::random(self.server).map(Arc::new);
        (0..count).map(one).collect::<Result<_, _>>().map_err(|fault| io::Error::other(fault.to_string()))
    }

    pub(crate) fn deadline(&self) -> Instant {
        Instant::now() + PATIENCE
    }
}
