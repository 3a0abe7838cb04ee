//! The byte stream between a client and the relay. Plain TCP for now; whoever adds TLS does it here, behind the same
//! five functions: everybody else reads and writes plaintext.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use derp_proto::decode::{Decoder, Step};
use derp_proto::key::NodeKey;
use derp_proto::login;
use mio::{Interest, Registry, Token};

use crate::session;

/// A non-blocking stream.
pub(crate) struct Transport {
    stream: mio::net::TcpStream,
}

impl Transport {
    /// Begins to connect, and has the poll tell of everything that happens to it.
    pub(crate) fn connect(target: SocketAddr, registry: &Registry, token: Token) -> io::Result<Self> {
        let mut stream = mio::net::TcpStream::connect(target)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream })
    }

    /// Whether connecting is over; asked when the poll says that the stream is writable.
    pub(crate) fn established(&self) -> io::Result<bool> {
        if let Some(error) = self.stream.take_error()? {
            return Err(error);
        }
        match self.stream.peer_addr() {
            Ok(_) => self.stream.set_nodelay(true).map(|()| true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.write(bytes)
    }
}

/// Asks a relay for its key, waiting for the answer: the rest of the run has its logins sealed beforehand.
pub(crate) fn server_key(target: SocketAddr, patience: Duration) -> io::Result<NodeKey> {
    let mut stream = TcpStream::connect_timeout(&target, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.write_all(&session::request(target, false))?;
    let mut received = Vec::new();
    let mut chunk = [0; 4096];
    loop {
        if let Some(key) = key_in(&received)? {
            return Ok(key);
        }
        match stream.read(&mut chunk)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => received.extend_from_slice(&chunk[..count]),
        }
    }
}

fn key_in(received: &[u8]) -> io::Result<Option<NodeKey>> {
    let no_relay = || io::Error::other("this is no DERP relay");
    let Some(end) = session::head_end(received).map_err(|_| no_relay())? else {
        return Ok(None);
    };
    let mut decoder = Decoder::default();
    match decoder.next(&received[end..]) {
        Step::Header(_) => {}
        _ => return Ok(None),
    }
    match decoder.next(&received[end..]) {
        Step::Frame(length) => {
            let body = &received[end..end + length][derp_proto::wire::HEADER_LENGTH..];
            login::read_greeting(body).map(Some).map_err(|_| no_relay())
        }
        _ => Ok(None),
    }
}
