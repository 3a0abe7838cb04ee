//! TLS as a client of relays has it: rustls, and a certificate that is compared, or not looked at, but never looked up.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConnection, Resumption};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{CipherSuite, ClientConfig, DigitallySignedStruct, SignatureScheme, StreamOwned};

/// The name that clients ask for, and that the bench's own certificate has.
pub(crate) const HOSTNAME: &str = "bench.test";
/// What rustls puts into a record at most.
const RECORD: usize = 16 << 10;

/// How to speak TLS to one relay. Only one cipher is offered, so that all relays are measured with the same.
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// A cipher suite of TLS 1.3, by the name that people know it by.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, clap::ValueEnum)]
pub(crate) enum Cipher {
    /// What Go's client and server agree on where the CPU has AES instructions
    #[default]
    Aes128Gcm,
    Aes256Gcm,
    Chacha20Poly1305,
}

impl Cipher {
    fn suite(self) -> CipherSuite {
        match self {
            Self::Aes128Gcm => CipherSuite::TLS13_AES_128_GCM_SHA256,
            Self::Aes256Gcm => CipherSuite::TLS13_AES_256_GCM_SHA384,
            Self::Chacha20Poly1305 => CipherSuite::TLS13_CHACHA20_POLY1305_SHA256,
        }
    }
}

impl Tls {
    /// Offers `cipher` alone, and the key exchanges that Go's client does, in its order: X25519MLKEM768 first, with a share. With a `pin` (a certificate, DER), no other certificate will do.
    pub(crate) fn new(cipher: Cipher, pin: Option<Vec<u8>>) -> io::Result<Self> {
        let mut provider = aws_lc_rs::default_provider();
        provider.cipher_suites.retain(|suite| suite.suite() == cipher.suite());
        use aws_lc_rs::kx_group::{SECP256R1, SECP384R1, X25519, X25519MLKEM768};
        provider.kx_groups = vec![X25519MLKEM768, X25519, SECP256R1, SECP384R1];
        let provider = Arc::new(provider);
        let verifier = Pinned { pin, provider: provider.clone() };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .map_err(io::Error::other)?;
        let mut config = builder.dangerous().with_custom_certificate_verifier(Arc::new(verifier)).with_no_client_auth();
        // Tailscale's client keeps no sessions either: each connection costs a whole handshake.
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(HOSTNAME).map_err(io::Error::other)?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// A stream that waits. The handshake takes place with the first byte.
    pub(crate) fn over(&self, stream: TcpStream) -> io::Result<StreamOwned<ClientConnection, TcpStream>> {
        Ok(StreamOwned::new(self.connection()?, stream))
    }

    fn connection(&self) -> io::Result<ClientConnection> {
        ClientConnection::new(self.config.clone(), self.name.clone()).map_err(io::Error::other)
    }
}

/// Suite and key exchange, as they were agreed on.
pub(crate) fn agreed(connection: &ClientConnection) -> String {
    let suite = connection.negotiated_cipher_suite().map(|suite| format!("{:?}", suite.suite()));
    let group = connection.negotiated_key_exchange_group().map(|group| format!("{:?}", group.name()));
    [suite, group].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// One connection's records. The code that reads and writes the socket hands the bytes through here.
pub(crate) struct Records {
    connection: ClientConnection,
    /// Records that have not all left.
    sealed: Vec<u8>,
    left: usize,
    /// Bytes of plaintext in `sealed`.
    plain: usize,
}

impl Records {
    pub(crate) fn new(tls: &Tls) -> io::Result<Self> {
        Ok(Self { connection: tls.connection()?, sealed: Vec::new(), left: 0, plain: 0 })
    }

    /// Whether something has to be written before anything else can be.
    pub(crate) fn owes(&self) -> bool {
        self.left < self.sealed.len() || self.connection.wants_write()
    }

    /// Plaintext in records of which the last byte has not left: the other side cannot open them.
    pub(crate) fn unsent(&self) -> usize {
        if self.left == self.sealed.len() {
            return 0;
        }
        let records = self.plain.div_ceil(RECORD).max(1);
        let overhead = (self.sealed.len() - self.plain) / records;
        self.plain.saturating_sub(self.left / (RECORD + overhead) * RECORD)
    }

    /// Writes what is owed, then seals as much of `bytes` as goes at once and writes that. Returns how many bytes were
    /// taken: none during the handshake, and when the socket is full.
    pub(crate) fn write(&mut self, bytes: &[u8], socket: &mut impl Write) -> io::Result<usize> {
        self.drain(socket)?;
        if self.connection.wants_write() {
            self.seal(0)?;
            self.drain(socket)?;
        }
        if self.connection.is_handshaking() || bytes.is_empty() {
            return Ok(0);
        }
        let taken = self.connection.writer().write(bytes)?;
        self.seal(taken)?;
        match self.drain(socket) {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            // They are sealed, and leave before anything else does.
            _ => Ok(taken),
        }
    }

    fn seal(&mut self, plain: usize) -> io::Result<()> {
        while self.connection.wants_write() {
            self.connection.write_tls(&mut self.sealed)?;
        }
        self.plain = plain;
        Ok(())
    }

    fn drain(&mut self, socket: &mut impl Write) -> io::Result<()> {
        while self.left < self.sealed.len() {
            match socket.write(&self.sealed[self.left..]) {
                Ok(count) => self.left += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.sealed.clear();
        (self.left, self.plain) = (0, 0);
        Ok(())
    }

    /// Opens what came from the socket. Returns the bytes of plaintext, and whether the relay has said that no more come.
    /// `into` has room for as many bytes as `sealed` has, and a record more.
    pub(crate) fn open(&mut self, mut sealed: &[u8], into: &mut [u8]) -> io::Result<(usize, bool)> {
        let (mut count, mut ended) = (0, false);
        while !sealed.is_empty() && !ended {
            self.connection.read_tls(&mut sealed)?;
            let state = self.connection.process_new_packets().map_err(io::Error::other)?;
            let end = count + state.plaintext_bytes_to_read();
            while count < end {
                count += self.connection.reader().read(&mut into[count..end])?;
            }
            ended = state.peer_has_closed();
        }
        Ok((count, ended))
    }

    /// Room that [`Records::open`] needs beyond the bytes that it is given.
    pub(crate) const MARGIN: usize = RECORD + 256;
}

#[derive(Debug)]
struct Pinned {
    pin: Option<Vec<u8>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match &self.pin {
            Some(pin) if pin != certificate.as_ref() => {
                Err(rustls::Error::General("the relay has another certificate than the one it was given".into()))
            }
            _ => Ok(ServerCertVerified::assertion()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
