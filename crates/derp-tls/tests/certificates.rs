//! Which certificate a client gets, and what comes with it.
mod common;

use std::net::Ipv6Addr;
use std::sync::{Arc, LazyLock, Mutex};

use common::{AUTHORITY, ECDSA, LOCAL, NAME, Peer, Pem, RSA, SUITES, certificate, connect_client, connect_server};
use common::{meta_certificate, one_certificate, server_config_of};
use derp_tls::{
    Alert, Certificate, CertificateError, CertificateSet, Certified, ClientSettings, Handshake, HandshakeError, Need,
    Next, Otherwise, Progress,
};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{AlertDescription, ClientConfig, KeyLog};

const EVERY_NAME: [&str; 5] = ["a.test", "b.test", "c.test", "127.0.0.1", "::1"];

/// Certificates that clients cannot tell apart by their names.
static LEAVES: LazyLock<[Pem; 3]> = LazyLock::new(|| [(); 3].map(|()| AUTHORITY.leaf(&EVERY_NAME, false)));
static RSA_LEAF: LazyLock<Pem> = LazyLock::new(|| AUTHORITY.leaf(&EVERY_NAME, true));

fn der(pem: &Pem) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.chain.as_bytes()).unwrap().to_vec()
}

fn for_protocol(pem: &Pem, names: &[&str], protocol: &str) -> Certificate {
    Certificate { alpn: Some(protocol.to_owned()), ..certificate(pem, names) }
}

fn client(protocols: &[&str]) -> ClientConfig {
    let mut config = SUITES[0].client_config();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.as_bytes().to_vec()).collect();
    config
}

/// A handshake that has the ClientHello of the peer.
fn asking(peer: &mut Peer) -> Handshake {
    let mut handshake = Handshake::server();
    let (hello, mut out) = (peer.output(), Vec::new());
    let Progress { used, next } = handshake.read(&hello, &mut out).unwrap();
    assert!(used == hello.len() && matches!(next, Next::Certify) && out.is_empty());
    handshake
}

/// The leaf that a client sees, if one is chosen at once.
fn shown(set: &CertificateSet, name: &'static str, local: &str, config: ClientConfig) -> Option<Vec<u8>> {
    let mut peer = Peer::client_of(name, config);
    let mut handshake = asking(&mut peer);
    let mut out = Vec::new();
    match handshake.certify(set, local.parse().unwrap(), &mut out) {
        Ok(Certified::Yes) => {}
        Ok(Certified::Needed(_)) | Err(HandshakeError::UnknownName) => return None,
        Err(error) => panic!("{error}"),
    }
    peer.input(&out).unwrap();
    Some(peer.0.peer_certificates().unwrap()[0].to_vec())
}

#[test]
fn a_name_gets_its_own_whatever_its_case() {
    let [a, b, c] = &*LEAVES;
    let certificates = || vec![certificate(a, &["a.test"]), certificate(b, &["B.test"]), certificate(c, &["*.test"])];
    let set = |otherwise| CertificateSet::new(certificates(), otherwise).unwrap();
    for otherwise in [Otherwise::First, Otherwise::Refuse, Otherwise::Ask] {
        let shown = |name| shown(&set(otherwise), name, "127.0.0.1", client(&[]));
        assert_eq!(shown("a.test"), Some(der(a)));
        assert_eq!(shown("b.test"), Some(der(b)));
        assert_eq!(shown("B.TeST"), Some(der(b)));
        // A pattern stands for one label, and a name of its own goes before it.
        assert_eq!(shown("c.test"), Some(der(c)));
        // What no name and no pattern covers gets nothing of its own, nor does an address that is not listed.
        let other = (otherwise == Otherwise::First).then(|| der(a));
        if otherwise != Otherwise::First {
            assert_eq!(shown("d.c.test"), None);
        }
        assert_eq!(shown("127.0.0.1"), other);
    }
    assert_eq!(shown(&CertificateSet::new(vec![], Otherwise::First).unwrap(), "a.test", "::1", client(&[])), None);
}

#[test]
fn clients_without_a_name_get_what_is_for_the_address_they_came_to() {
    let [a, b, c] = &*LEAVES;
    let certificates =
        vec![certificate(a, &["a.test"]), certificate(b, &["127.0.0.1", "b.test"]), certificate(c, &["::1"])];
    let set = CertificateSet::new(certificates, Otherwise::Refuse).unwrap();
    for (local, leaf) in [("127.0.0.1", Some(b)), ("::ffff:127.0.0.1", Some(b)), ("::1", Some(c)), ("127.0.0.2", None)]
    {
        assert_eq!(shown(&set, "127.0.0.1", local, client(&[])), leaf.map(der), "{local}");
    }
    // Where there is a name, it decides.
    assert_eq!(shown(&set, "a.test", "::1", client(&[])), Some(der(a)));
    assert_eq!(shown(&set, "c.test", "::1", client(&[])), None);
}

#[test]
fn of_several_for_a_name_a_client_gets_the_first_that_it_can_verify() {
    // Signatures of handshakes with RSA only; the chain's own may be of any kind.
    let mut provider = default_provider();
    provider.kx_groups = vec![kx_group::X25519];
    let all = provider.signature_verification_algorithms;
    let is_rsa = |(scheme, _): &&(rustls::SignatureScheme, _)| scheme.as_str().unwrap().starts_with("RSA");
    let mapping: Vec<_> = all.mapping.iter().filter(is_rsa).copied().collect();
    provider.signature_verification_algorithms = WebPkiSupportedAlgorithms { all: all.all, mapping: mapping.leak() };
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY.root.as_bytes()).unwrap()).unwrap();
    let only_rsa = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();

    let both = vec![certificate(&LEAVES[0], &["a.test"]), certificate(&RSA_LEAF, &["a.test"])];
    let set = CertificateSet::new(both, Otherwise::Refuse).unwrap();
    assert_eq!(shown(&set, "a.test", "::1", client(&[])), Some(der(&LEAVES[0])));
    assert_eq!(shown(&set, "a.test", "::1", only_rsa.clone()), Some(der(&RSA_LEAF)));

    // With none of them, the handshake says why it fails.
    let set = CertificateSet::new(vec![certificate(&LEAVES[0], &["a.test"])], Otherwise::Refuse).unwrap();
    let mut peer = Peer::client_of("a.test", only_rsa);
    let mut out = Vec::new();
    let error = asking(&mut peer).certify(&set, LOCAL, &mut out).unwrap_err();
    assert!(matches!(error, HandshakeError::Tls(rustls::Error::PeerIncompatible(_))), "{error:?}");
    let alert = rustls::Error::AlertReceived(AlertDescription::HandshakeFailure);
    assert_eq!(peer.input(&out), Err(alert));
}

#[test]
fn a_certificate_for_one_protocol_is_for_that_one_only() {
    let [a, b, _] = &*LEAVES;
    let certificates = || vec![for_protocol(b, &["a.test"], "acme-tls/1"), certificate(a, &["a.test", "b.test"])];
    let set = CertificateSet::new(certificates(), Otherwise::Ask).unwrap();
    let shown = |name, protocols| shown(&set, name, "::1", client(protocols));
    assert_eq!(shown("a.test", &["acme-tls/1"]), Some(der(b)));
    assert_eq!(shown("a.test", &["http/1.1", "acme-tls/1"]), Some(der(b)));
    assert_eq!(shown("a.test", &[]), Some(der(a)));
    assert_eq!(shown("a.test", &["h2", "http/1.1"]), Some(der(a)));
    // The question of a certificate authority is not answered with a certificate for clients.
    assert_eq!(shown("b.test", &["acme-tls/1"]), None);

    // Where the authority alone is waited with, it is, and nobody else.
    let set_for_authority = CertificateSet::new(certificates(), Otherwise::Challenge).unwrap();
    let certify = |name, protocols: &[&str]| {
        let mut peer = Peer::client_of(name, client(protocols));
        asking(&mut peer).certify(&set_for_authority, LOCAL, &mut Vec::new()).map_err(|error| error.to_string())
    };
    assert!(matches!(certify("b.test", &["acme-tls/1"]), Ok(Certified::Needed(_))));
    for protocols in [&[][..], &["http/1.1"], &["http/1.1", "acme-tls/1"]] {
        assert_eq!(certify("b.test", protocols), Ok(Certified::Yes));
        assert_eq!(certify("c.test", protocols), Err(HandshakeError::UnknownName.to_string()));
    }

    let mut peer = Peer::client_of("a.test", client(&["acme-tls/1"]));
    let (established, _) = connect_server(&mut peer, &set, usize::MAX, b"");
    assert_eq!(established.alpn.as_deref(), Some(&b"acme-tls/1"[..]));
    assert_eq!(peer.0.alpn_protocol(), Some(&b"acme-tls/1"[..]));

    // It is nobody's first certificate.
    let set = CertificateSet::new(vec![for_protocol(b, &["a.test"], "acme-tls/1")], Otherwise::First).unwrap();
    assert_eq!(self::shown(&set, "a.test", "::1", client(&["http/1.1"])), None);
}

#[test]
fn of_what_clients_offer_only_http_1_1_is_taken() {
    let set = one_certificate(&ECDSA);
    for (offered, taken) in [(&["h2", "http/1.1"][..], Some(&b"http/1.1"[..])), (&[], None)] {
        let mut peer = Peer::client(client(offered));
        assert_eq!(connect_server(&mut peer, &set, usize::MAX, b"").0.alpn.as_deref(), taken);
        assert_eq!(peer.0.alpn_protocol(), taken);
    }
    let mut peer = Peer::client(client(&["h2"]));
    let mut out = Vec::new();
    assert!(asking(&mut peer).certify(&set, LOCAL, &mut out).is_err());
    assert_eq!(peer.input(&out), Err(rustls::Error::AlertReceived(AlertDescription::NoApplicationProtocol)));
}

#[test]
fn a_refused_name_is_told_so() {
    let set = CertificateSet::new(vec![certificate(&ECDSA, &["a.test"])], Otherwise::Refuse).unwrap();
    let mut peer = Peer::client(client(&[]));
    let mut handshake = asking(&mut peer);
    let mut out = b"before".to_vec();
    assert_eq!(handshake.certify(&set, LOCAL, &mut out), Err(HandshakeError::UnknownName));
    assert_eq!(out, [&b"before"[..], &[21, 3, 3, 0, 2, 2, Alert::UNRECOGNIZED_NAME.0]].concat());
    assert_eq!(peer.input(&out[6..]), Err(rustls::Error::AlertReceived(AlertDescription::UnrecognisedName)));
    assert_eq!(handshake.certify(&set, LOCAL, &mut out), Err(HandshakeError::Internal), "once is enough");
    assert_eq!(handshake.server_name(), NAME, "for logs");
}

#[test]
fn a_handshake_waits_for_a_certificate_and_goes_on_with_it() {
    let none = CertificateSet::new(vec![certificate(&ECDSA, &["a.test"])], Otherwise::Ask).unwrap();
    let mut peer = Peer::client_of("DERP.test", client(&["http/1.1", "spdy/\u{fffd}"]));
    let mut handshake = asking(&mut peer);
    let mut out = Vec::new();
    let alpn = vec!["http/1.1".to_owned(), "spdy/\u{fffd}".to_owned()];
    let need = Need { server_name: "derp.test".to_owned(), alpn };
    for _ in 0..2 {
        assert_eq!(handshake.certify(&none, LOCAL, &mut out), Ok(Certified::Needed(need.clone())));
        // Reading does not get it any further.
        let Progress { used, next } = handshake.read(b"whatever", &mut out).unwrap();
        assert!(used == 0 && matches!(next, Next::Certify) && out.is_empty());
        assert_eq!(format!("{handshake:?}"), "Handshake(Uncertified)");
        assert_eq!(handshake.server_name(), "derp.test");
    }
    let found = CertificateSet::new(vec![certificate(&ECDSA, &["derp.test"])], Otherwise::Ask).unwrap();
    assert_eq!(handshake.certify(&found, LOCAL, &mut out), Ok(Certified::Yes));
    peer.input(&out).unwrap();
    let finished = peer.output();
    let Progress { used, next } = handshake.read(&finished, &mut out).unwrap();
    assert!(used == finished.len() && matches!(next, Next::Done(_)));

    // Without a name.
    let mut handshake = asking(&mut Peer::client_of("127.0.0.1", client(&[])));
    assert_eq!(handshake.server_name(), "");
    let need = Need { server_name: String::new(), alpn: vec![] };
    assert_eq!(handshake.certify(&none, Ipv6Addr::LOCALHOST.into(), &mut out), Ok(Certified::Needed(need)));
}

#[test]
fn a_meta_certificate_at_the_end_of_the_chain_gets_to_the_client() {
    let meta = meta_certificate();
    for suite in SUITES {
        // Chains come to us as they come to everybody, from a server that is not ours too.
        let mut with_meta = certificate(suite.pem(), &[NAME]);
        with_meta.chain.push(meta.clone());
        let chain = with_meta.chain.clone();
        let mut peer = Peer::server(server_config_of(suite, chain.iter().cloned().map(Into::into).collect()));
        assert_eq!(connect_client(&mut peer, usize::MAX).0.peer_certificates, chain);

        let set = CertificateSet::new(vec![with_meta], Otherwise::Refuse).unwrap();
        let mut peer = Peer::client(suite.client_config());
        connect_server(&mut peer, &set, usize::MAX, b"");
        let seen: Vec<_> = peer.0.peer_certificates().unwrap().iter().map(|der| der.to_vec()).collect();
        assert_eq!(seen, chain);
        assert_eq!(seen.last(), Some(&meta));
    }
}

#[test]
fn what_is_no_certificate_or_no_key_is_told_apart() {
    let from_pem = |chain: &str, key: &str| Certificate::from_pem(vec![], chain, key).map(|_| ());
    assert_eq!(from_pem(&ECDSA.chain, &ECDSA.key), Ok(()));
    assert_eq!(from_pem(&ECDSA.chain.replace("MII", "*II"), &ECDSA.key), Err(CertificateError::Chain));
    assert_eq!(from_pem(&ECDSA.chain, &ECDSA.chain), Err(CertificateError::Key));

    let new = |change: &dyn Fn(&mut Certificate)| {
        let mut certificate = certificate(&ECDSA, &[]);
        change(&mut certificate);
        CertificateSet::new(vec![certificate], Otherwise::First).map(|_| ())
    };
    assert_eq!(new(&|_| {}), Ok(()));
    assert_eq!(new(&|certificate| certificate.chain.clear()), Err(CertificateError::Chain));
    assert_eq!(new(&|certificate| certificate.chain[0] = b"no DER".to_vec()), Err(CertificateError::Chain));
    assert_eq!(new(&|certificate| certificate.private_key.clear()), Err(CertificateError::Key));
    assert_eq!(new(&|certificate| certificate.private_key.truncate(40)), Err(CertificateError::Key));
    let other = common::certificate(&RSA, &[]);
    let mismatch = new(&|certificate| certificate.private_key.clone_from(&other.private_key));
    assert_eq!(mismatch, Err(CertificateError::Mismatch));
    for (error, word) in
        [(CertificateError::Chain, "chain"), (CertificateError::Key, "kind"), (CertificateError::Mismatch, "belong")]
    {
        assert!(error.to_string().contains(word), "{error}");
    }

    assert_eq!(ClientSettings::new(&["no PEM", ""]).map(|_| ()), Err(CertificateError::Chain));
    let odd = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    assert!(ClientSettings::new(&[odd, &AUTHORITY.root]).is_ok());
}

#[derive(Default, Debug)]
struct Logged(Mutex<Vec<Vec<u8>>>);

impl KeyLog for Logged {
    fn log(&self, _label: &str, _client_random: &[u8], secret: &[u8]) {
        self.0.lock().unwrap().push(secret.to_vec());
    }
}

/// No eight bytes of the secret in a row, in hexadecimal or as numbers.
fn assert_hidden(secret: &[u8], debug: &str) {
    for window in secret.windows(8) {
        let hex: String = window.iter().map(|byte| format!("{byte:02x}")).collect();
        let numbers = format!("{window:?}");
        let numbers = &numbers[1..numbers.len() - 1];
        for text in [&hex, &hex.to_uppercase(), numbers] {
            assert!(!debug.contains(text), "{text} in {debug}");
        }
    }
}

#[test]
fn debug_shows_no_secret() {
    let key = PrivateKeyDer::from_pem_slice(ECDSA.key.as_bytes()).unwrap();
    // The middle of it; the rest is the same for every key of its kind.
    let secret = &key.secret_der()[36..68];
    assert_hidden(secret, &format!("{:?} {:#?}", certificate(&ECDSA, &[NAME]), certificate(&ECDSA, &[NAME])));
    assert_hidden(secret, &format!("{:?}", one_certificate(&ECDSA)));
    assert!(format!("{:?}", certificate(&ECDSA, &[NAME])).contains(NAME));
    for suite in SUITES {
        let logged = Arc::new(Logged::default());
        let mut config = suite.client_config();
        config.key_log = logged.clone();
        let mut peer = Peer::client(config);
        let (mut established, _) = connect_server(&mut peer, &one_certificate(suite.pem()), usize::MAX, b"");
        let mut debug = format!("{established:?}");
        assert!(debug.contains("Sender") && debug.contains("Receiver"));
        // With the ciphers expanded too.
        peer.input(&common::seal(&mut established, &[b"x"])).unwrap();
        let _ = common::open(&mut established, &peer.write(b"x"), usize::MAX);
        debug += &format!("{established:?}");
        let secrets = logged.0.lock().unwrap();
        assert!(!secrets.is_empty());
        for secret in &*secrets {
            assert_hidden(secret, &debug);
        }
    }
    let mut out = Vec::new();
    let settings = ClientSettings::new(&[&AUTHORITY.root]).unwrap();
    let client = Handshake::client(&settings, NAME, &mut out).unwrap();
    assert_eq!(format!("{client:?} {settings:?}"), "Handshake(Under) ClientSettings(..)");
}
