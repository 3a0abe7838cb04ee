//! What a server shows, and which of it to whom. A set is replaced as a whole: connections that have finished their handshake
//! do not need it any more, and handshakes take the set in force when they need a certificate.
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{ActiveKeyExchange, CompletedKeyExchange, CryptoProvider, SupportedKxGroup};
use rustls::ffdhe_groups::FfdheGroup;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{NamedGroup, ProtocolVersion, ServerConfig};
use zeroize::Zeroizing;

use crate::trust::key_of;

/// DERP cannot run over HTTP/2, so nothing else is offered; DERP clients ask for nothing at all.
pub(crate) const HTTP: &[u8] = b"http/1.1";
/// A handshake for this alone is a certificate authority's question, not a client.
const ACME: &[u8] = b"acme-tls/1";

/// The first one, and the other half of it, are what a client offers shares of. A server takes the first of the client's
/// that is among these.
static GROUPS: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, kx_group::X25519, kx_group::SECP256R1, kx_group::SECP384R1];
/// For clients that have the first one: whatever they would rather have, and if they are to be asked for a share of it. As
/// Go's server does it, for a key exchange that is recorded today and broken later is worth a round trip.
static POST_QUANTUM: [&dyn SupportedKxGroup; 4] =
    [kx_group::X25519MLKEM768, &Of12(kx_group::X25519), &Of12(kx_group::SECP256R1), &Of12(kx_group::SECP384R1)];

/// A certificate with its key, and for whom it is.
pub struct Certificate {
    /// Server names, in any letter case, or the addresses that clients without a name have come to. `*.example.com` is for
    /// one label in place of the star.
    pub names: Vec<String>,
    /// Shown only in handshakes that ask for this protocol, if set.
    pub alpn: Option<String>,
    /// DER, in the order they are sent: leaf, intermediates, and the meta certificate last.
    pub chain: Vec<Vec<u8>>,
    /// PKCS#8, SEC1 or PKCS#1 in DER; RSA, ECDSA or Ed25519.
    pub private_key: Zeroizing<Vec<u8>>,
}

impl Certificate {
    /// Reads a chain and a key in PEM.
    ///
    /// # Errors
    /// [`CertificateError::Chain`] or [`CertificateError::Key`] where there is none.
    pub fn from_pem(names: Vec<String>, chain: &str, key: &str) -> Result<Self, CertificateError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
            .map(|der| der.map(|der| der.to_vec()))
            .collect::<Result<_, _>>()
            .map_err(|_| CertificateError::Chain)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| CertificateError::Key)?;
        let private_key = Zeroizing::new(key.secret_der().to_vec());
        Ok(Self { names, alpn: None, chain, private_key })
    }
}

/// Without the key.
impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("names", &self.names).field("alpn", &self.alpn).finish_non_exhaustive()
    }
}

/// What becomes of a server name that no certificate lists, or of a client that says none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Otherwise {
    /// It gets the first certificate that is not for one protocol only.
    First,
    /// It is refused with the alert `unrecognized_name`.
    Refuse,
    /// The handshake waits for a set that has a certificate for it.
    Ask,
    /// It is refused, unless the client is a certificate authority that asks for `acme-tls/1` alone, which waits.
    Challenge,
}

/// Why there is no [`CertificateSet`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CertificateError {
    /// There is no certificate, or the first one cannot be read.
    Chain,
    /// There is no private key, or none of a kind that can be used.
    Key,
    /// The private key does not belong to the first certificate.
    Mismatch,
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Chain => "there is no certificate in the chain, or it cannot be read",
            Self::Key => "there is no private key, or it is of a kind that cannot be used",
            Self::Mismatch => "the private key does not belong to the certificate",
        })
    }
}

impl std::error::Error for CertificateError {}

/// The certificates in force, ready for handshakes.
#[derive(Debug)]
pub struct CertificateSet {
    ready: Vec<Ready>,
    by_name: HashMap<String, Vec<usize>>,
    by_address: HashMap<IpAddr, Vec<usize>>,
    otherwise: Otherwise,
}

#[derive(Debug)]
struct Ready {
    config: Arc<ServerConfig>,
    /// The same for clients that have X25519MLKEM768.
    post_quantum: Arc<ServerConfig>,
    certified: Arc<CertifiedKey>,
    alpn: Option<Vec<u8>>,
}

/// Which certificate a client gets.
pub(crate) enum Choice {
    Use(Arc<ServerConfig>),
    Ask,
    Refuse,
}

impl CertificateSet {
    /// Makes the certificates ready. A set may be empty: then every client is asked about or refused.
    ///
    /// # Errors
    /// See [`CertificateError`].
    pub fn new(certificates: Vec<Certificate>, otherwise: Otherwise) -> Result<Self, CertificateError> {
        let mut set = Self { ready: Vec::new(), by_name: HashMap::new(), by_address: HashMap::new(), otherwise };
        let providers = [GROUPS, POST_QUANTUM].map(|groups| Arc::new(with_groups(&groups)));
        for (index, certificate) in certificates.into_iter().enumerate() {
            for name in certificate.names.iter().map(|name| name.to_ascii_lowercase()) {
                match name.parse::<IpAddr>() {
                    Ok(address) => set.by_address.entry(address.to_canonical()).or_default().push(index),
                    Err(_) => set.by_name.entry(name).or_default().push(index),
                }
            }
            set.ready.push(Ready::new(certificate, &providers)?);
        }
        Ok(set)
    }

    /// Of the certificates for the name (or for the address, where there is no name) the first that the client can verify.
    pub(crate) fn choose(&self, hello: &ClientHello<'_>, local: IpAddr) -> Choice {
        let protocols: Vec<&[u8]> = hello.alpn().map(Iterator::collect).unwrap_or_default();
        let for_acme = protocols == [ACME];
        let listed = match hello.server_name() {
            // A star stands for one whole label.
            Some(name) => self.by_name.get(name).or_else(|| {
                let (first, rest) = name.split_once('.')?;
                if first.is_empty() { None } else { self.by_name.get(&format!("*.{rest}")) }
            }),
            None => self.by_address.get(&local.to_canonical()),
        };
        let fit = |ready: &&Ready| match &ready.alpn {
            Some(alpn) => protocols.contains(&alpn.as_slice()),
            None => !for_acme,
        };
        let candidates: Vec<&Ready> =
            listed.into_iter().flatten().map(|&index| &self.ready[index]).filter(fit).collect();
        let verifiable = |ready: &&&Ready| ready.certified.key.choose_scheme(hello.signature_schemes()).is_some();
        // What was asked for by protocol comes first.
        let best = |special: bool| candidates.iter().filter(move |ready| ready.alpn.is_some() == special);
        let chosen = best(true)
            .find(verifiable)
            .or_else(|| best(false).find(verifiable))
            .or_else(|| candidates.first())
            .copied();
        let first = || self.ready.iter().find(|ready| ready.alpn.is_none());
        match (chosen, self.otherwise) {
            (Some(ready), _) => Choice::Use(ready.config(hello)),
            (None, Otherwise::First) => first().map_or(Choice::Refuse, |ready| Choice::Use(ready.config(hello))),
            (None, Otherwise::Ask) => Choice::Ask,
            (None, Otherwise::Challenge) if for_acme => Choice::Ask,
            (None, Otherwise::Refuse | Otherwise::Challenge) => Choice::Refuse,
        }
    }
}

impl Ready {
    fn new(certificate: Certificate, providers: &[Arc<CryptoProvider>; 2]) -> Result<Self, CertificateError> {
        let Certificate { alpn, chain, private_key, names: _ } = certificate;
        if chain.is_empty() {
            return Err(CertificateError::Chain);
        }
        let chain: Vec<_> = chain.into_iter().map(CertificateDer::from).collect();
        let key = PrivateKeyDer::try_from(private_key.as_slice()).map_err(|_| CertificateError::Key)?;
        let key = providers[0].key_provider.load_private_key(key.clone_key()).map_err(|_| CertificateError::Key)?;
        // Not by rustls, which refuses what it need not understand: a leaf's critical extensions, such as those of answers to
        // a CA, are the client's to judge.
        let leaf = key_of(&chain[0]).map_err(|_| CertificateError::Chain)?;
        if key.public_key().is_some_and(|public| public != leaf) {
            return Err(CertificateError::Mismatch);
        }
        let certified = Arc::new(CertifiedKey::new(chain, key));
        let alpn = alpn.map(String::into_bytes);
        let [config, post_quantum] = providers.each_ref().map(|provider| {
            let mut config = ServerConfig::builder_with_provider(provider.clone())
                .with_safe_default_protocol_versions()
                .expect("the provider has suites of both versions")
                .with_no_client_auth()
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone())));
            config.alpn_protocols = vec![alpn.clone().unwrap_or_else(|| HTTP.to_vec())];
            // Relays are connected to for days, so resumption saves nothing worth the keys that it needs.
            config.send_tls13_tickets = 0;
            config.session_storage = Arc::new(NoServerSessionStorage {});
            config.enable_secret_extraction = true;
            Arc::new(config)
        });
        Ok(Self { config, post_quantum, certified, alpn })
    }

    fn config(&self, hello: &ClientHello<'_>) -> Arc<ServerConfig> {
        let groups = hello.named_groups().unwrap_or_default();
        let has_post_quantum = groups.contains(&NamedGroup::X25519MLKEM768);
        if has_post_quantum { self.post_quantum.clone() } else { self.config.clone() }
    }
}

pub(crate) fn provider() -> CryptoProvider {
    with_groups(&GROUPS)
}

fn with_groups(groups: &[&'static dyn SupportedKxGroup]) -> CryptoProvider {
    CryptoProvider { kx_groups: groups.to_vec(), ..default_provider() }
}

/// A group that is for TLS 1.2 alone.
#[derive(Debug)]
struct Of12(&'static dyn SupportedKxGroup);

impl SupportedKxGroup for Of12 {
    fn start(&self) -> Result<Box<dyn ActiveKeyExchange>, rustls::Error> {
        self.0.start()
    }

    fn start_and_complete(&self, peer: &[u8]) -> Result<CompletedKeyExchange, rustls::Error> {
        self.0.start_and_complete(peer)
    }

    /// None of `GROUPS` is one of finite fields.
    fn ffdhe_group(&self) -> Option<FfdheGroup<'static>> {
        None
    }

    fn name(&self) -> NamedGroup {
        self.0.name()
    }

    fn usable_for_version(&self, version: ProtocolVersion) -> bool {
        version == ProtocolVersion::TLSv1_2 && self.0.usable_for_version(version)
    }
}
