//! The relay that is measured.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use derp_proto::key::NodeKey;

use crate::driver::Driver;
use crate::session::Identity;
use crate::transport::{self, Security};

/// Where it is, and how to log in to it.
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    fast_start: bool,
    pub(crate) security: Security,
    server: NodeKey,
    /// What TLS has agreed on.
    pub(crate) cipher: Option<String>,
    /// Its process, if its costs are to be measured.
    pub(crate) process: Option<u32>,
    /// Logins under way at a time.
    pub(crate) at_once: usize,
}

/// For all clients to be logged in.
const PATIENCE: Duration = Duration::from_secs(60);

impl Target {
    /// Asks the relay for its key.
    pub(crate) fn new(
        address: SocketAddr,
        security: Security,
        fast_start: bool,
        process: Option<u32>,
        at_once: usize,
    ) -> io::Result<Self> {
        let greeting = transport::greeting(address, &security, Duration::from_secs(5))?;
        let (server, cipher) = (greeting.key, greeting.cipher);
        Ok(Self { address, fast_start, security, server, cipher, process, at_once })
    }

    pub(crate) fn driver(&self) -> io::Result<Driver> {
        Driver::new(self.address, self.fast_start, self.security.clone())
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
