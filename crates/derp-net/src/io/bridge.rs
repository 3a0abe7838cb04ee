//! What of TLS is not DERP: the plane ends the TLS, and Node has the plaintext through a pair of sockets. Whoever does not
//! read stops the other side: what is between them is bounded by the two sockets and one read.

use std::io::{ErrorKind, Read};
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Instant;

use derp_tls::Alert;

use crate::base::linger::{FLUSH, LINGER};
use crate::io::tls::TlsReader;
use crate::io::writer::{SocketWriter, Written, write_to};

/// A read of either side.
const CHUNK: usize = 16 << 10;

/// Two sockets: the client's, and the plane's end of the pair.
pub(crate) struct Bridge {
    /// Where the pair's end is registered.
    pub(crate) pair_token: usize,
    pair: Arc<TcpStream>,
    writer: SocketWriter,
    tls_reader: TlsReader,
    /// Plaintext that the pair has not taken, from `offset` on.
    inward: Vec<u8>,
    offset: usize,
    /// Nothing more comes of the client, and the pair has been told.
    client_ended: bool,
    told_pair: bool,
    /// Node takes nothing more: what the client goes on sending is dropped, until it has its answer.
    node_gone: bool,
    /// Nothing more comes of Node, and the client has been told.
    node_ended: bool,
    told_client: bool,
    /// Node has closed its end, both ways: the worker has to end this then.
    ends: Option<Instant>,
}

/// Whether a bridge is to be gone on with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Crossed {
    /// Once something happens on either side.
    Waits,
    /// In the next turn.
    More,
    Over,
}

impl Bridge {
    /// With Node's end of the pair, and the plane's.
    pub(crate) fn new(writer: SocketWriter, tls_reader: TlsReader) -> std::io::Result<(Self, TcpStream)> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let pair = Arc::new(TcpStream::from(OwnedFd::from(near)));
        let bridge = Self {
            pair_token: usize::MAX,
            pair,
            writer,
            tls_reader,
            inward: Vec::new(),
            offset: 0,
            client_ended: false,
            told_pair: false,
            node_gone: false,
            node_ended: false,
            told_client: false,
            ends: None,
        };
        Ok((bridge, TcpStream::from(OwnedFd::from(far))))
    }

    pub(crate) fn pair(&self) -> &Arc<TcpStream> {
        &self.pair
    }

    /// Lets go of the ciphers, unless they have been used since this was called last. False once both are gone.
    pub(crate) fn cool(&mut self) -> bool {
        self.writer.cool() | self.tls_reader.cool()
    }

    /// Nothing more comes of the client behind what the bridge was made with.
    pub(crate) fn client_ends(&mut self) {
        self.client_ended = true;
    }

    /// Says why the connection ends.
    pub(crate) fn alert(&mut self, alert: Alert) {
        self.writer.end(alert);
    }

    /// Takes it down, because the client is the plane's again: what Node has written is on its way, and `leftover` gets what
    /// Node, whose end this is, has not read. True if nothing more comes of the client; `None` if one of the two has gone.
    pub(crate) fn take_down(
        mut self,
        node: &TcpStream,
        leftover: &mut Vec<u8>,
        scratch: &mut [u8],
    ) -> Option<(SocketWriter, TlsReader, bool)> {
        // Both are bounded by what the pair's buffers hold.
        while let Some(count) = read(&self.pair, &mut scratch[..CHUNK]).ok()? {
            if count == 0 || !self.writer.push(&scratch[..count]) {
                return None;
            }
        }
        while let Some(count) = read(node, &mut scratch[..CHUNK]).ok()?.filter(|count| *count > 0) {
            leftover.extend_from_slice(&scratch[..count]);
        }
        leftover.extend_from_slice(&self.inward[self.offset..]);
        Some((self.writer, self.tls_reader, self.client_ended))
    }

    /// Node has let go of its end. Returns when to look whether it is over.
    pub(crate) fn left_by_node(&mut self, now: Instant) -> Instant {
        self.ends.get_or_insert(now + FLUSH);
        now + LINGER
    }

    /// When to look again; nothing while Node is there, and an error if it is over.
    pub(crate) fn on_time(&self, now: Instant) -> Result<Option<Instant>, ()> {
        match self.ends {
            Some(ends) if self.told_client || now >= ends => Err(()),
            Some(ends) => Ok(Some(ends.min(now + LINGER))),
            None => Ok(None),
        }
    }

    /// Carries what there is, both ways, but not for ever.
    pub(crate) fn cross(&mut self, client: &TcpStream, scratch: &mut [u8]) -> Crossed {
        let mut moved = true;
        for _ in 0..8 {
            moved = false;
            for step in [self.inwards(client, scratch), self.outwards(client, scratch)] {
                match step {
                    Ok(something) => moved |= something,
                    Err(()) => return Crossed::Over,
                }
            }
            if !moved {
                break;
            }
        }
        match (self.told_pair && self.told_client, moved) {
            (true, _) => Crossed::Over,
            (false, true) => Crossed::More,
            (false, false) => Crossed::Waits,
        }
    }

    /// From the client to Node. True if something has moved; an error ends the bridge.
    fn inwards(&mut self, client: &TcpStream, scratch: &mut [u8]) -> Result<bool, ()> {
        if self.offset < self.inward.len() {
            return match write_to(&self.pair, &self.inward[self.offset..]) {
                Written::Bytes(bytes) => {
                    self.offset += bytes;
                    Ok(true)
                }
                Written::Full => Ok(false),
                // What it has written before is still the client's.
                Written::Failed => {
                    self.node_gone = true;
                    self.offset = self.inward.len();
                    Ok(true)
                }
            };
        }
        (self.inward, self.offset) = (Vec::new(), 0);
        if self.client_ended {
            if !self.told_pair {
                self.told_pair = true;
                let _ = self.pair.shutdown(Shutdown::Write);
            }
            return Ok(false);
        }
        let kept = self.tls_reader.put_back(scratch);
        let count = match read(client, &mut scratch[kept..kept + CHUNK])? {
            None => return Ok(false),
            Some(0) => {
                self.client_ended = true;
                return Ok(true);
            }
            Some(count) => count,
        };
        let opened = self.tls_reader.open(&mut scratch[..kept + count]);
        if opened.key_update_requested {
            self.writer.owe_key_update();
        }
        if !self.node_gone {
            self.inward = scratch[opened.plaintext].to_vec();
        }
        match opened.end {
            None => {}
            Some(Alert::CLOSE_NOTIFY) => self.client_ended = true,
            Some(alert) => {
                self.writer.end(alert);
                return Err(());
            }
        }
        Ok(true)
    }

    /// From Node to the client.
    fn outwards(&mut self, client: &TcpStream, scratch: &mut [u8]) -> Result<bool, ()> {
        match self.writer.flush() {
            Written::Bytes(_) => {}
            Written::Full => return Ok(false),
            Written::Failed => return Err(()),
        }
        if self.node_ended {
            if !self.told_client {
                self.told_client = true;
                self.writer.end(Alert::CLOSE_NOTIFY);
                let _ = client.shutdown(Shutdown::Write);
            }
            return Ok(false);
        }
        // Node's end of the pair resets it where a request has a body that was not read.
        match read(&self.pair, &mut scratch[..CHUNK]).unwrap_or(Some(0)) {
            None => Ok(false),
            Some(0) => {
                self.node_ended = true;
                Ok(true)
            }
            Some(count) => match self.writer.write([&scratch[..count]].into_iter()) {
                Written::Failed => Err(()),
                Written::Bytes(_) | Written::Full => Ok(true),
            },
        }
    }
}

/// `None` if there is nothing to read now, 0 at the end.
fn read(mut stream: &TcpStream, into: &mut [u8]) -> Result<Option<usize>, ()> {
    loop {
        return match stream.read(into) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Ok(None),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => Err(()),
        };
    }
}
