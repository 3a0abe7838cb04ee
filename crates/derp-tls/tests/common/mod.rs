//! Certificates, and rustls as the other end.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, LazyLock};

use derp_tls::{
    Certificate, CertificateSet, Certified, ClientSettings, Established, Handshake, HandshakeError, Otherwise,
};
use derp_tls::{Next, Opened, Progress};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, PKCS_ECDSA_P256_SHA256};
use rcgen::{PKCS_ED25519, PKCS_RSA_SHA256, RsaKeySize};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, ClientConfig, ClientConnection, Connection, RootCertStore, ServerConfig, ServerConnection};

pub const NAME: &str = "derp.test";
pub const LOCAL: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A leaf's key and chain in PEM.
pub struct Pem {
    pub chain: String,
    pub key: String,
}

pub struct Authority {
    pub root: String,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

pub static AUTHORITY: LazyLock<Authority> = LazyLock::new(|| {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "a root");
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    Authority { root: issuer.pem(), issuer }
});
pub static ECDSA: LazyLock<Pem> = LazyLock::new(|| AUTHORITY.leaf(&[NAME, "127.0.0.1"], false));
pub static RSA: LazyLock<Pem> = LazyLock::new(|| AUTHORITY.leaf(&[NAME, "127.0.0.1"], true));

impl Authority {
    pub fn leaf(&self, names: &[&str], rsa: bool) -> Pem {
        let key = if rsa {
            KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048)
        } else {
            KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)
        };
        let key = key.unwrap();
        let params = CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap();
        Pem { chain: params.signed_by(&key, &self.issuer).unwrap().pem(), key: key.serialize_pem() }
    }

    /// A certificate with anything in it, and its key.
    pub fn signed(&self, params: &CertificateParams) -> (CertificateDer<'static>, KeyPair) {
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().der().clone(), key)
    }
}

/// A certificate like a relay's meta certificate: Ed25519, self-signed, with a common name of 71 characters.
pub fn meta_certificate() -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("derpkey{}", "0a".repeat(32)));
    params.serial_number = Some(2.into());
    params.is_ca = IsCa::ExplicitNoCa;
    params.self_signed(&KeyPair::generate_for(&PKCS_ED25519).unwrap()).unwrap().der().to_vec()
}

pub fn certificate(pem: &Pem, names: &[&str]) -> Certificate {
    let names = names.iter().map(ToString::to_string).collect();
    Certificate::from_pem(names, &pem.chain, &pem.key).unwrap()
}

pub fn one_certificate(pem: &Pem) -> CertificateSet {
    CertificateSet::new(vec![certificate(pem, &[])], Otherwise::First).unwrap()
}

/// A suite, with whatever it takes to agree on it.
#[derive(Clone, Copy, Debug)]
pub struct Suite {
    pub name: CipherSuite,
    pub rsa: bool,
}

pub const SUITES: [Suite; 9] = [
    Suite { name: CipherSuite::TLS13_AES_128_GCM_SHA256, rsa: false },
    Suite { name: CipherSuite::TLS13_AES_256_GCM_SHA384, rsa: false },
    Suite { name: CipherSuite::TLS13_CHACHA20_POLY1305_SHA256, rsa: true },
    Suite { name: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, rsa: false },
    Suite { name: CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, rsa: false },
    Suite { name: CipherSuite::TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, rsa: false },
    Suite { name: CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, rsa: true },
    Suite { name: CipherSuite::TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, rsa: true },
    Suite { name: CipherSuite::TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256, rsa: true },
];

impl Suite {
    pub fn is_13(&self) -> bool {
        self.name.as_str().unwrap().starts_with("TLS13")
    }

    pub fn pem(&self) -> &'static Pem {
        if self.rsa { &RSA } else { &ECDSA }
    }

    fn provider(&self) -> Arc<CryptoProvider> {
        let mut provider = default_provider();
        provider.cipher_suites.retain(|suite| suite.suite() == self.name);
        // As Go's client offers them.
        provider.kx_groups = vec![kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1];
        Arc::new(provider)
    }

    fn versions(&self) -> [&'static rustls::SupportedProtocolVersion; 1] {
        [if self.is_13() { &TLS13 } else { &TLS12 }]
    }

    pub fn client_config(&self) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(AUTHORITY.root.as_bytes()).unwrap()).unwrap();
        ClientConfig::builder_with_provider(self.provider())
            .with_protocol_versions(&self.versions())
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth()
    }

    pub fn server_config(&self) -> ServerConfig {
        let chain = CertificateDer::pem_slice_iter(self.pem().chain.as_bytes()).map(Result::unwrap).collect();
        server_config_of(*self, chain)
    }
}

/// With a chain of its own for the suite's key.
pub fn server_config_of(suite: Suite, chain: Vec<CertificateDer<'static>>) -> ServerConfig {
    let key = PrivateKeyDer::from_pem_slice(suite.pem().key.as_bytes()).unwrap();
    ServerConfig::builder_with_provider(suite.provider())
        .with_protocol_versions(&suite.versions())
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap()
}

/// rustls with its buffers.
pub struct Peer(pub Connection);

impl Peer {
    pub fn client(config: ClientConfig) -> Self {
        Self::client_of(NAME, config)
    }

    /// Sends `name` as the server's, unless it is an address.
    pub fn client_of(name: &'static str, config: ClientConfig) -> Self {
        let mut connection = ClientConnection::new(Arc::new(config), name.try_into().unwrap()).unwrap();
        connection.set_buffer_limit(None);
        Self(connection.into())
    }

    pub fn server(config: ServerConfig) -> Self {
        let mut connection = ServerConnection::new(Arc::new(config)).unwrap();
        connection.set_buffer_limit(None);
        Self(connection.into())
    }

    /// What it has to send.
    pub fn output(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while self.0.wants_write() {
            self.0.write_tls(&mut out).unwrap();
        }
        out
    }

    /// Gives it bytes; the plaintext that comes of them.
    pub fn input(&mut self, mut bytes: &[u8]) -> Result<Vec<u8>, rustls::Error> {
        let mut plaintext = Vec::new();
        while !bytes.is_empty() {
            self.0.read_tls(&mut bytes).unwrap();
            let new = self.0.process_new_packets()?.plaintext_bytes_to_read();
            let at = plaintext.len();
            plaintext.resize(at + new, 0);
            std::io::Read::read_exact(&mut self.0.reader(), &mut plaintext[at..]).unwrap();
        }
        Ok(plaintext)
    }

    pub fn write(&mut self, plaintext: &[u8]) -> Vec<u8> {
        std::io::Write::write_all(&mut self.0.writer(), plaintext).unwrap();
        self.output()
    }
}

/// Feeds `input` until the handshake wants more or is done, certifying by `set`; gives what was not used.
pub fn advance<'a>(
    handshake: &mut Handshake,
    mut input: &'a [u8],
    set: &CertificateSet,
    out: &mut Vec<u8>,
) -> Result<(Option<Box<Established>>, &'a [u8]), HandshakeError> {
    loop {
        let Progress { used, next } = handshake.read(input, out)?;
        input = &input[used..];
        match next {
            Next::Read => {
                assert!(input.is_empty());
                return Ok((None, input));
            }
            Next::Certify => assert_eq!(handshake.certify(set, LOCAL, out)?, Certified::Yes),
            Next::Done(established) => return Ok((Some(established), input)),
        }
    }
}

/// Handshakes of both; in chunks of at most `chunk` bytes. The client's first data comes along with its Finished.
pub fn connect_server(peer: &mut Peer, set: &CertificateSet, chunk: usize, early: &[u8]) -> (Established, Vec<u8>) {
    let mut handshake = Handshake::server();
    let mut sent = false;
    loop {
        let bytes = peer.output();
        assert!(!bytes.is_empty(), "the peer has nothing to say");
        let mut out = Vec::new();
        let mut done = None;
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + chunk);
            let (established, rest) = advance(&mut handshake, &bytes[at..end], set, &mut out).unwrap();
            at = end - rest.len();
            if let Some(established) = established {
                done = Some((*established, bytes[at..].to_vec()));
                break;
            }
        }
        assert_eq!(peer.input(&out).unwrap(), b"");
        if !std::mem::replace(&mut sent, true) {
            std::io::Write::write_all(&mut peer.0.writer(), early).unwrap();
        }
        if let Some((established, mut rest)) = done {
            rest.extend(peer.output());
            return (established, rest);
        }
    }
}

pub fn connect_client(peer: &mut Peer, chunk: usize) -> (Established, Vec<u8>) {
    let settings = ClientSettings::new(&[&AUTHORITY.root]).unwrap();
    let none = CertificateSet::new(Vec::new(), Otherwise::Refuse).unwrap();
    let mut out = Vec::new();
    let mut handshake = Handshake::client(&settings, NAME, &mut out).unwrap();
    loop {
        assert!(!out.is_empty(), "the client has nothing to say");
        assert_eq!(peer.input(&out).unwrap(), b"");
        out.clear();
        let bytes = peer.output();
        let mut at = 0;
        while at < bytes.len() {
            let end = bytes.len().min(at + chunk);
            let (established, rest) = advance(&mut handshake, &bytes[at..end], &none, &mut out).unwrap();
            at = end - rest.len();
            if let Some(established) = established {
                assert_eq!(peer.input(&out).unwrap(), b"");
                let rest = [&bytes[at..], &peer.output()].concat();
                return (*established, rest);
            }
        }
    }
}

/// How much is in each of the records of TLS 1.3, which are whole.
pub fn contents_13(mut records: &[u8]) -> Vec<usize> {
    let mut contents = Vec::new();
    while let Some((&[_, _, _, high, low], rest)) = records.split_first_chunk() {
        let body = usize::from(u16::from_be_bytes([high, low]));
        contents.push(body - 17);
        records = &rest[body..];
    }
    contents
}

/// Seals into a Vec of the right size.
pub fn seal(established: &mut Established, pieces: &[&[u8]]) -> Vec<u8> {
    let mut out = vec![0; established.sender.room_for(pieces.iter().map(|piece| piece.len()).sum())];
    let length = established.sender.seal(pieces, &mut out).unwrap();
    out.truncate(length);
    out
}

/// Opens what came in chunks, as a worker does: the rest of a record and the plaintext are kept. Gives all of the plaintext.
pub fn open(established: &mut Established, ciphertext: &[u8], chunk: usize) -> (Vec<u8>, Opened) {
    let (mut plaintext, mut rest) = (Vec::new(), Vec::new());
    let mut requested = false;
    let mut last = None;
    for bytes in ciphertext.chunks(chunk) {
        let mut buffer = [plaintext.as_slice(), rest.as_slice(), bytes].concat();
        let opened = established.receiver.open(&mut buffer, plaintext.len());
        plaintext = buffer[opened.plaintext.clone()].to_vec();
        rest = buffer[opened.rest..].to_vec();
        requested |= opened.key_update_requested;
        let ended = opened.end.is_some();
        last = Some(opened);
        if ended {
            break;
        }
    }
    let mut last = last.expect("some ciphertext");
    last.key_update_requested = requested;
    (plaintext, last)
}
