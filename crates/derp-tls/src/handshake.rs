//! Handshakes: bytes in, bytes out, until both directions have their keys.
//!
//! rustls is fed one record at a time, and nothing more once it is done. So what belongs to the established connection never
//! gets into its buffers, and has not to be got out of them.
use std::fmt;
use std::mem;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use rustls::server::{Accepted, Acceptor, ServerConnection};
use rustls::{AlertDescription, CertificateError, ClientConnection, Connection, PeerIncompatible, ProtocolVersion};

use crate::alert::Alert;
use crate::certificates::{CertificateSet, Choice};
use crate::chain::Untrusted;
use crate::client::ClientSettings;
use crate::key_log::{HandshakeKeyLog, TrafficSecret};
use crate::keys::{Keys, Version};
use crate::receive::Receiver;
use crate::record::{RecordCursor, plain_alert};
use crate::send::Sender;

/// The most bytes that a client's handshake may have: a ClientHello of any client in use is below 4 KiB.
const MAX_FROM_CLIENT: usize = 1 << 16;
/// The most bytes that a server's may have: a long chain of certificates.
const MAX_FROM_SERVER: usize = 1 << 18;

/// A client that is asked about has a ClientHello of any length, and is told of by these.
const MAX_PROTOCOLS: usize = 16;

/// A handshake under way. It does not read a clock: deadlines, and how many there may be, are the caller's.
pub struct Handshake(Box<State>);

struct State {
    stage: Stage,
    /// What the client asks for; empty if it has not.
    server_name: String,
    record: RecordCursor,
    taken: usize,
    most: usize,
}

enum Stage {
    /// Waits for the ClientHello.
    Hello(Acceptor),
    /// Has it, and waits for a certificate.
    Uncertified(Accepted),
    Under(Connection, Arc<HandshakeKeyLog>),
    /// Done or failed.
    Over,
}

/// What [`Handshake::read`] did.
#[derive(Debug)]
#[must_use]
pub struct Progress {
    /// How many bytes of the input were taken. All, unless it is the caller's turn or the handshake is done.
    pub used: usize,
    /// What is next.
    pub next: Next,
}

/// What a handshake waits for.
#[derive(Debug)]
pub enum Next {
    /// More bytes of the peer.
    Read,
    /// [`Handshake::certify`].
    Certify,
    /// Nothing. What was not used of the input is ciphertext for the [`Receiver`].
    Done(Box<Established>),
}

/// Whether a handshake has its certificate.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Certified {
    /// It goes on with [`Handshake::read`], which first gets what was not used of the input.
    Yes,
    /// There is none in the set. To be tried again with another one.
    Needed(Need),
}

/// The certificate that a client wants.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Need {
    /// In lower case; empty if the client sent none.
    pub server_name: String,
    /// The protocols that it offers, the first few of them.
    pub alpn: Vec<String>,
}

/// A connection that is ready for data.
#[derive(Debug)]
pub struct Established {
    /// The version agreed on.
    pub version: Version,
    /// The cipher suite, by its name in the TLS registry.
    pub suite: &'static str,
    /// The protocol agreed on, if the client offered any.
    pub alpn: Option<Vec<u8>>,
    /// For the thread that reads.
    pub receiver: Receiver,
    /// For the worker that holds the connection's egress lock.
    pub sender: Sender,
    /// A server's certificates, in DER, as it sent them: leaf first, and a relay's meta certificate among them. Empty for a
    /// server's side.
    pub peer_certificates: Vec<Vec<u8>>,
}

/// Why a handshake has failed. There may be an alert in the output, to be sent before the connection is closed.
#[derive(Clone, PartialEq, Debug)]
pub enum HandshakeError {
    /// No certificate is for this server name, or for a client that says none.
    UnknownName,
    /// More bytes than a handshake may have.
    TooLong,
    /// What rustls says: a peer that breaks rules, has nothing in common with us, or is not trusted.
    Tls(rustls::Error),
    /// [`Handshake::client`] was given neither a host name nor an address.
    BadName,
    /// The call has no place at this stage, or rustls gave out keys that do not fit its secrets.
    Internal,
}

impl fmt::Display for HandshakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownName => f.write_str("no certificate for this server name"),
            Self::TooLong => f.write_str("the handshake is too long"),
            Self::Tls(error) => fmt::Display::fmt(error, f),
            Self::BadName => f.write_str("neither a host name nor an address"),
            Self::Internal => f.write_str("the handshake is out of step"),
        }
    }
}

impl HandshakeError {
    /// What is wrong with the peer's certificate, if that is why.
    pub fn certificate(&self) -> Option<String> {
        let Self::Tls(rustls::Error::InvalidCertificate(error)) = self else { return None };
        // What `trust` says, in our own words; what else there is comes of signatures of the handshake.
        #[expect(clippy::wildcard_enum_match_arm, reason = "nothing here says anything else")]
        let known = match error {
            CertificateError::UnknownIssuer => Untrusted::Issuer,
            CertificateError::Expired => Untrusted::Expired,
            CertificateError::NotValidYet => Untrusted::NotYet,
            CertificateError::BadEncoding => Untrusted::Unreadable,
            CertificateError::NotValidForNameContext { presented, .. } => Untrusted::Name(presented.clone()),
            CertificateError::Other(why) => return Some(why.0.to_string()),
            CertificateError::BadSignature => return Some("the relay has not its private key".into()),
            _ => return Some("it cannot be used".into()),
        };
        Some(known.to_string())
    }
}

/// What a client did that its handshake has failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientFault {
    /// It has asked for a name that no certificate is for, or for none.
    Name,
    /// It speaks no version of TLS that the server does.
    Version,
    /// No cipher suite, group or signature scheme is in common.
    Cipher,
    /// No protocol is in common.
    Protocol,
    /// It has said with this alert that it does not go on.
    Alert(Alert),
    /// It has said that it leaves.
    HungUp,
    /// It has broken a rule, or does not speak TLS.
    Malformed,
}

impl HandshakeError {
    /// What the client did, on a server's side.
    pub fn client_fault(&self) -> ClientFault {
        match self {
            Self::UnknownName => ClientFault::Name,
            Self::TooLong | Self::BadName | Self::Internal => ClientFault::Malformed,
            Self::Tls(error) => tls_fault(error),
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "what is not named here breaks a rule, or is a client's to see")]
fn tls_fault(error: &rustls::Error) -> ClientFault {
    match error {
        rustls::Error::AlertReceived(AlertDescription::CloseNotify) => ClientFault::HungUp,
        rustls::Error::AlertReceived(alert) => ClientFault::Alert(Alert(u8::from(*alert))),
        rustls::Error::NoApplicationProtocol => ClientFault::Protocol,
        rustls::Error::PeerIncompatible(why) => match why {
            // Every client says this but those of versions before 1.2.
            PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::SupportedVersionsExtensionRequired
            | PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled => ClientFault::Version,
            PeerIncompatible::KeyShareExtensionRequired
            | PeerIncompatible::NamedGroupsExtensionRequired
            | PeerIncompatible::NoCipherSuitesInCommon
            | PeerIncompatible::NoEcPointFormatsInCommon
            | PeerIncompatible::NoKxGroupsInCommon
            | PeerIncompatible::NoSignatureSchemesInCommon
            | PeerIncompatible::UncompressedEcPointsRequired => ClientFault::Cipher,
            _ => ClientFault::Malformed,
        },
        _ => ClientFault::Malformed,
    }
}

impl std::error::Error for HandshakeError {}

impl From<rustls::Error> for HandshakeError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

impl Handshake {
    /// The server's side.
    pub fn server() -> Self {
        Self::new(Stage::Hello(Acceptor::default()), MAX_FROM_CLIENT)
    }

    /// The client's side, for a server that proves to be `name`: a host name or an IP address. Appends the ClientHello.
    ///
    /// # Errors
    /// [`HandshakeError::BadName`], or what rustls says.
    pub fn client(settings: &ClientSettings, name: &str, out: &mut Vec<u8>) -> Result<Self, HandshakeError> {
        let name = ServerName::try_from(name.to_owned()).map_err(|_| HandshakeError::BadName)?;
        let secrets = Arc::new(HandshakeKeyLog::default());
        let mut config = (*settings.config).clone();
        config.key_log = secrets.clone();
        let mut connection = Connection::from(ClientConnection::new(Arc::new(config), name)?);
        write(&mut connection, out);
        Ok(Self::new(Stage::Under(connection, secrets), MAX_FROM_SERVER))
    }

    fn new(stage: Stage, most: usize) -> Self {
        let server_name = String::new();
        Self(Box::new(State { stage, server_name, record: RecordCursor::default(), taken: 0, most }))
    }

    /// Takes bytes of the peer, cut as they may be, and appends to `out` what is to be sent.
    ///
    /// # Errors
    /// See [`HandshakeError`]. The handshake is over then.
    pub fn read(&mut self, input: &[u8], out: &mut Vec<u8>) -> Result<Progress, HandshakeError> {
        let mut used = 0;
        let next = loop {
            if let Some(next) = self.0.step(out)? {
                break next;
            }
            let taken = self.0.record.next(&input[used..]);
            if taken == 0 {
                break Next::Read;
            }
            self.0.feed(&input[used..used + taken], out).inspect_err(|_| self.0.stage = Stage::Over)?;
            used += taken;
        };
        Ok(Progress { used, next })
    }

    /// Gives the handshake a certificate of the set, and appends what is to be sent. `local` is the address that the client
    /// has connected to.
    ///
    /// # Errors
    /// [`HandshakeError::UnknownName`], or what rustls says. The handshake is over then.
    pub fn certify(
        &mut self,
        set: &CertificateSet,
        local: IpAddr,
        out: &mut Vec<u8>,
    ) -> Result<Certified, HandshakeError> {
        let Stage::Uncertified(accepted) = mem::replace(&mut self.0.stage, Stage::Over) else {
            return Err(HandshakeError::Internal);
        };
        let config = match set.choose(&accepted.client_hello(), local) {
            Choice::Use(config) => config,
            Choice::Ask => {
                let need = Need::of(&accepted);
                self.0.stage = Stage::Uncertified(accepted);
                return Ok(Certified::Needed(need));
            }
            Choice::Refuse => {
                self.refuse(out);
                return Err(HandshakeError::UnknownName);
            }
        };
        let secrets = Arc::new(HandshakeKeyLog::default());
        let mut config = (*config).clone();
        config.key_log = secrets.clone();
        let connection: ServerConnection =
            accepted.into_connection(Arc::new(config)).map_err(|(error, mut alert)| {
                alert.write_all(out).expect("a Vec takes everything");
                error
            })?;
        let mut connection = Connection::from(connection);
        write(&mut connection, out);
        self.0.stage = Stage::Under(connection, secrets);
        Ok(Certified::Yes)
    }

    /// The server name that the client has asked for, in lower case, and also after the handshake has failed; empty if it
    /// has asked for none yet.
    pub fn server_name(&self) -> &str {
        &self.0.server_name
    }

    /// Ends a handshake whose [`Need`] is not going to be seen to, with the alert `unrecognized_name`.
    pub fn refuse(&mut self, out: &mut Vec<u8>) {
        self.0.stage = Stage::Over;
        out.extend_from_slice(&plain_alert(Alert::UNRECOGNIZED_NAME));
    }
}

impl fmt::Debug for Handshake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0.stage {
            Stage::Hello(_) => "Handshake(Hello)",
            Stage::Uncertified(_) => "Handshake(Uncertified)",
            Stage::Under(..) => "Handshake(Under)",
            Stage::Over => "Handshake(Over)",
        })
    }
}

impl State {
    /// What is next, if it is not to read on.
    fn step(&mut self, out: &mut Vec<u8>) -> Result<Option<Next>, HandshakeError> {
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Hello(mut acceptor) => match acceptor.accept() {
                Ok(None) => {
                    self.stage = Stage::Hello(acceptor);
                    Ok(None)
                }
                Ok(Some(accepted)) => {
                    accepted.client_hello().server_name().unwrap_or_default().clone_into(&mut self.server_name);
                    self.stage = Stage::Uncertified(accepted);
                    Ok(Some(Next::Certify))
                }
                Err((error, mut alert)) => {
                    let before = out.len();
                    alert.write_all(out).expect("a Vec takes everything");
                    if error == rustls::PeerIncompatible::SignatureAlgorithmsExtensionRequired.into() {
                        // What every client says but those of versions before 1.2.
                        out.truncate(before);
                        out.extend_from_slice(&plain_alert(Alert::PROTOCOL_VERSION));
                    } else if out.len() == before {
                        // rustls has none for messages that it does not get to see.
                        let is_misplaced = matches!(error, rustls::Error::InappropriateMessage { .. });
                        let alert = if is_misplaced { Alert::UNEXPECTED_MESSAGE } else { Alert::DECODE_ERROR };
                        out.extend_from_slice(&plain_alert(alert));
                    }
                    Err(error.into())
                }
            },
            Stage::Uncertified(accepted) => {
                self.stage = Stage::Uncertified(accepted);
                Ok(Some(Next::Certify))
            }
            Stage::Under(connection, secrets) if connection.is_handshaking() => {
                self.stage = Stage::Under(connection, secrets);
                Ok(None)
            }
            Stage::Under(connection, secrets) => {
                let established = Established::new(connection, &secrets)?;
                Ok(Some(Next::Done(Box::new(established))))
            }
            Stage::Over => Err(HandshakeError::Internal),
        }
    }

    fn feed(&mut self, mut bytes: &[u8], out: &mut Vec<u8>) -> Result<(), HandshakeError> {
        self.taken += bytes.len();
        if self.taken > self.most {
            return Err(too_long(out));
        }
        while !bytes.is_empty() {
            let taken = match &mut self.stage {
                Stage::Hello(acceptor) => acceptor.read_tls(&mut bytes),
                Stage::Under(connection, _) => connection.read_tls(&mut bytes),
                Stage::Uncertified(_) | Stage::Over => return Err(HandshakeError::Internal),
            };
            // Its buffer is full, or it has seen what ends the connection.
            if !taken.is_ok_and(|taken| taken > 0) {
                return Err(too_long(out));
            }
            if let Stage::Under(connection, _) = &mut self.stage {
                let processed = connection.process_new_packets();
                write(connection, out);
                let closed = processed?.peer_has_closed();
                if closed {
                    return Err(rustls::Error::AlertReceived(rustls::AlertDescription::CloseNotify).into());
                }
            }
        }
        Ok(())
    }
}

impl Need {
    fn of(accepted: &Accepted) -> Self {
        let hello = accepted.client_hello();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let few = |protocols| Iterator::take(protocols, MAX_PROTOCOLS).map(text).collect();
        Self {
            server_name: hello.server_name().unwrap_or_default().to_owned(),
            alpn: hello.alpn().map(few).unwrap_or_default(),
        }
    }
}

impl Established {
    fn new(connection: Connection, secrets: &HandshakeKeyLog) -> Result<Self, HandshakeError> {
        let version = match connection.protocol_version() {
            Some(ProtocolVersion::TLSv1_3) => Version::Tls13,
            Some(ProtocolVersion::TLSv1_2) => Version::Tls12,
            _ => return Err(HandshakeError::Internal),
        };
        let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
        let is_client = matches!(connection, Connection::Client(_));
        let certificates = connection.peer_certificates().unwrap_or_default();
        let peer_certificates = certificates.iter().map(|der| der.to_vec()).collect();
        let alpn = connection.alpn_protocol().map(<[u8]>::to_vec);
        let extracted = connection.dangerous_extract_secrets()?;
        let (ours, theirs) = match version {
            Version::Tls12 => (None, None),
            Version::Tls13 => {
                let (client, server) = secrets.take().ok_or(HandshakeError::Internal)?;
                let (ours, theirs) = if is_client { (client, server) } else { (server, client) };
                (Some(ours), Some(theirs))
            }
        };
        let keys = |keys, secret: &Option<TrafficSecret>| {
            Keys::new(keys, secret.as_ref().map(|secret| secret.as_slice())).ok_or(HandshakeError::Internal)
        };
        Ok(Self {
            version,
            suite: suite.unwrap_or_default(),
            alpn,
            receiver: Receiver::new(keys(&extracted.rx, &theirs)?, is_client),
            sender: Sender::new(keys(&extracted.tx, &ours)?),
            peer_certificates,
        })
    }
}

fn too_long(out: &mut Vec<u8>) -> HandshakeError {
    out.extend_from_slice(&plain_alert(Alert::RECORD_OVERFLOW));
    HandshakeError::TooLong
}

fn write(connection: &mut Connection, out: &mut Vec<u8>) {
    while connection.wants_write() {
        connection.write_tls(out).expect("a Vec takes everything");
    }
}
