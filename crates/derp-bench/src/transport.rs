//! The byte stream between a client and the relay: TCP, or TLS over it. All other modules read and write plaintext.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use derp_proto::decode::{Decoder, Step};
use derp_proto::key::NodeKey;
use derp_proto::login;
use mio::{Interest, Registry, Token};
use rustix::net::sockopt::set_socket_recv_buffer_size;

use crate::session;
use crate::tls::{Records, Tls, agreed};

/// TLS, or none.
pub(crate) type Security = Option<Arc<Tls>>;

/// A non-blocking stream.
pub(crate) struct Transport {
    stream: mio::net::TcpStream,
    records: Option<Box<Records>>,
}

/// What one read came to.
pub(crate) struct Arrived {
    /// Bytes of plaintext; of TLS it may be none.
    pub(crate) count: usize,
    /// The socket may have more: the poll will not say so again.
    pub(crate) more: bool,
    /// Nothing comes after these bytes.
    pub(crate) ended: bool,
}

impl Transport {
    /// Begins to connect, and has the poll tell of everything that happens to it.
    pub(crate) fn connect(
        target: SocketAddr,
        security: &Security,
        registry: &Registry,
        token: Token,
    ) -> io::Result<Self> {
        let records = security.as_ref().map(|tls| Records::new(tls).map(Box::new)).transpose()?;
        let mut stream = mio::net::TcpStream::connect(target)?;
        registry.register(&mut stream, token, Interest::READABLE | Interest::WRITABLE)?;
        Ok(Self { stream, records })
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

    /// Has the kernel keep no more than this for us, or about so much: a slow reader is to be felt soon.
    pub(crate) fn receive_buffer(&self, bytes: usize) -> io::Result<()> {
        Ok(set_socket_recv_buffer_size(&self.stream, bytes)?)
    }

    /// Reads once, at most about `limit` bytes. `sealed` is a place to work in.
    pub(crate) fn read(&mut self, into: &mut [u8], limit: usize, sealed: &mut [u8]) -> io::Result<Arrived> {
        let Some(records) = &mut self.records else {
            let limit = limit.min(into.len());
            let count = self.stream.read(&mut into[..limit])?;
            return Ok(Arrived { count, more: count == limit, ended: count == 0 });
        };
        let limit = limit.min(into.len() - Records::MARGIN).min(sealed.len());
        let read = self.stream.read(&mut sealed[..limit])?;
        let (count, ended) = records.open(&sealed[..read], into)?;
        Ok(Arrived { count, more: read == limit, ended: ended || read == 0 })
    }

    /// Returns how many of the bytes were taken, and whether the socket is full after that. Of TLS, none are taken before
    /// the handshake is over.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<(usize, bool)> {
        match &mut self.records {
            None => self.stream.write(bytes).map(|count| (count, count < bytes.len())),
            Some(records) => records.write(bytes, &mut self.stream).map(|count| (count, records.owes())),
        }
    }

    /// Whether bytes that were taken have not left.
    pub(crate) fn owes(&self) -> bool {
        self.records.as_ref().is_some_and(|records| records.owes())
    }

    /// Bytes that were taken and cannot have arrived.
    pub(crate) fn unsent(&self) -> usize {
        self.records.as_ref().map_or(0, |records| records.unsent())
    }
}

/// What a relay says first.
pub(crate) struct Greeting {
    pub(crate) key: NodeKey,
    /// Suite and key exchange.
    pub(crate) cipher: Option<String>,
}

/// Asks a relay for its key, waiting for the answer: the rest of the run has its logins sealed beforehand.
pub(crate) fn greeting(target: SocketAddr, security: &Security, patience: Duration) -> io::Result<Greeting> {
    let mut stream = TcpStream::connect_timeout(&target, patience)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let Some(tls) = security else {
        return Ok(Greeting { key: ask(&mut stream, target)?, cipher: None });
    };
    let mut stream = tls.over(stream)?;
    let key = ask(&mut stream, target)?;
    Ok(Greeting { key, cipher: Some(agreed(&stream.conn)) })
}

fn ask(stream: &mut (impl Read + Write), target: SocketAddr) -> io::Result<NodeKey> {
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
