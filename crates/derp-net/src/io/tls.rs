//! TLS of one connection on its worker: the handshake, and the records that come after it.

use std::net::{IpAddr, TcpStream};
use std::sync::Arc;

use derp_proto::counters::Counter;
use derp_proto::http_head::{HTTP_TO_TLS, is_http_to_tls};
use derp_tls::{
    Alert, CertificateSet, Certified, ClientFault, End, Handshake, HandshakeError, Need, Next, Receiver, Sender,
    Version,
};

use crate::io::writer::SocketWriter;

/// A server's handshake under way. What the socket has to send of it waits in `out`.
pub(crate) struct TlsHandshake {
    handshake: Handshake,
    /// The first bytes have shown that the client speaks TLS and not HTTP.
    is_tls: bool,
    /// The first bytes, until then.
    first: Vec<u8>,
    /// Still to be sent.
    pub(crate) out: Vec<u8>,
}

/// How far a handshake has got.
pub(crate) enum HandshakeProgress {
    /// It waits for the client.
    Reading,
    /// It waits for a certificate. So much of what was read belonged to the ClientHello.
    NeedsCertificate(Need, usize),
    Done(HandshakeOutcome),
}

/// Why a handshake has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum HandshakeFault {
    /// The client speaks HTTP.
    Http,
    /// There is no certificate, or none has come.
    NoCertificate,
    /// The client has hung up, or its transport has failed.
    HungUp,
    /// Its time is over.
    Timeout,
    Client(ClientFault),
}

impl HandshakeFault {
    /// What counts it. `has_name`: the client has asked for one.
    pub(crate) fn counter(self, has_name: bool) -> Counter {
        match self {
            Self::Http => Counter::HANDSHAKES_FAILED_HTTP,
            Self::NoCertificate => Counter::HANDSHAKES_FAILED_NO_CERTIFICATE,
            Self::HungUp | Self::Client(ClientFault::HungUp) => Counter::HANDSHAKES_FAILED_HUNG_UP,
            Self::Timeout => Counter::HANDSHAKES_FAILED_TIMEOUT,
            Self::Client(ClientFault::Name) if has_name => Counter::HANDSHAKES_FAILED_UNKNOWN_NAME,
            Self::Client(ClientFault::Name) => Counter::HANDSHAKES_FAILED_NO_NAME,
            Self::Client(ClientFault::Version) => Counter::HANDSHAKES_FAILED_NO_COMMON_VERSION,
            Self::Client(ClientFault::Cipher) => Counter::HANDSHAKES_FAILED_NO_COMMON_CIPHER,
            Self::Client(ClientFault::Protocol) => Counter::HANDSHAKES_FAILED_NO_COMMON_PROTOCOL,
            Self::Client(ClientFault::Alert(_)) => Counter::HANDSHAKES_FAILED_CLIENT_ALERT,
            Self::Client(ClientFault::Malformed) => Counter::HANDSHAKES_FAILED_MALFORMED,
        }
    }

    /// The alert that the client has sent.
    pub(crate) fn alert(self) -> Option<Alert> {
        if let Self::Client(ClientFault::Alert(alert)) = self { Some(alert) } else { None }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is for map_err")]
fn client_fault(error: HandshakeError) -> HandshakeFault {
    HandshakeFault::Client(error.client_fault())
}

/// What a handshake has come to in the end.
pub(crate) struct HandshakeOutcome {
    pub(crate) receiver: Receiver,
    pub(crate) tls_writer: TlsWriter,
    /// How much of what was read belonged to the handshake.
    pub(crate) used: usize,
}

/// The sending side, until it is known what the connection is.
pub(crate) struct TlsWriter {
    pub(crate) sender: Sender,
    pub(crate) version: Version,
    /// What is still to be sent of the handshake.
    pub(crate) tail: Vec<u8>,
}

impl TlsWriter {
    /// The way out of a connection of which it is known what it is, and the version of its TLS, if it has any.
    pub(crate) fn socket_writer(of: Option<Self>, stream: &Arc<TcpStream>) -> (SocketWriter, Option<Version>) {
        match of {
            None => (SocketWriter::plain(stream.clone()), None),
            Some(Self { sender, version, tail }) => (SocketWriter::tls(stream.clone(), sender, tail), Some(version)),
        }
    }
}

impl TlsHandshake {
    pub(crate) fn new() -> Self {
        Self { handshake: Handshake::server(), is_tls: false, first: Vec::new(), out: Vec::new() }
    }

    /// Takes bytes of the client, which has come to `local`. An error ends the connection, after what is to be sent.
    pub(crate) fn feed(
        &mut self,
        read: &[u8],
        local: IpAddr,
        certificates: &CertificateSet,
    ) -> Result<HandshakeProgress, HandshakeFault> {
        if !self.is_tls {
            let held = self.first.len();
            self.first.extend_from_slice(&read[..read.len().min(5)]);
            match is_http_to_tls(&self.first) {
                None => return Ok(HandshakeProgress::Reading),
                Some(true) => {
                    self.out.extend_from_slice(HTTP_TO_TLS);
                    return Err(HandshakeFault::Http);
                }
                Some(false) => self.is_tls = true,
            }
            if held > 0 {
                // It has begun as HTTP does, and so is nothing at all.
                let _ = self.handshake.read(&self.first, &mut self.out).map_err(client_fault)?;
            }
        }
        let mut used = 0;
        loop {
            let progress = self.handshake.read(&read[used..], &mut self.out).map_err(client_fault)?;
            used += progress.used;
            match progress.next {
                Next::Read => return Ok(HandshakeProgress::Reading),
                Next::Certify => {
                    if let Some(need) = self.certify(local, certificates)? {
                        return Ok(HandshakeProgress::NeedsCertificate(need, used));
                    }
                }
                Next::Done(established) => {
                    let tail = std::mem::take(&mut self.out);
                    let tls_writer = TlsWriter { sender: established.sender, version: established.version, tail };
                    return Ok(HandshakeProgress::Done(HandshakeOutcome {
                        receiver: established.receiver,
                        tls_writer,
                        used,
                    }));
                }
            }
        }
    }

    /// Looks for a certificate; says which one is missing, if there is none.
    pub(crate) fn certify(
        &mut self,
        local: IpAddr,
        certificates: &CertificateSet,
    ) -> Result<Option<Need>, HandshakeFault> {
        match self.handshake.certify(certificates, local, &mut self.out).map_err(client_fault)? {
            Certified::Yes => Ok(None),
            Certified::Needed(need) => Ok(Some(need)),
        }
    }

    /// The server name that the client has asked for; empty if it has not.
    pub(crate) fn server_name(&self) -> &str {
        self.handshake.server_name()
    }

    /// Leaves, with the alert of a name that has no certificate here.
    pub(crate) fn refuse(&mut self) {
        self.handshake.refuse(&mut self.out);
    }
}

/// The receiving side of an established connection.
pub(crate) struct TlsReader {
    receiver: Receiver,
    /// A record that is not whole.
    partial: Vec<u8>,
}

/// What was in a read.
pub(crate) struct Decrypted {
    /// Where the plaintext lies.
    pub(crate) plaintext: std::ops::Range<usize>,
    pub(crate) key_update_requested: bool,
    /// Nothing more comes; what is to be said about it.
    pub(crate) end: Option<Alert>,
}

impl TlsReader {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self { receiver, partial: Vec::new() }
    }

    /// Puts what was left of the last read in front of the next one; says how much that is.
    pub(crate) fn put_back(&self, scratch: &mut [u8]) -> usize {
        scratch[..self.partial.len()].copy_from_slice(&self.partial);
        self.partial.len()
    }

    /// The memory that it keeps between reads.
    pub(crate) fn kept(&self) -> usize {
        self.partial.capacity()
    }

    /// Opens what was read, with what was put back.
    pub(crate) fn open(&mut self, read: &mut [u8]) -> Decrypted {
        let opened = self.receiver.open(read, 0);
        self.partial = read[opened.rest..].to_vec();
        let end = opened.end.map(|end| match end {
            End::Closed | End::Alert(_) => Alert::CLOSE_NOTIFY,
            End::Violation(violation) => violation.alert(),
        });
        Decrypted { plaintext: opened.plaintext, key_update_requested: opened.key_update_requested, end }
    }

    /// Lets go of the cipher; the next record expands it again.
    pub(crate) fn quiet(&mut self) {
        self.receiver.quiet();
    }

    /// Lets go of the cipher, unless it has been used since this was called last. False once it is gone.
    pub(crate) fn cool(&mut self) -> bool {
        self.receiver.cool()
    }
}
