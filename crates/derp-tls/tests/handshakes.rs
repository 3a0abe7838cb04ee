//! Handshakes that fail, what the peer is told, and what those that do not fail agree on.
mod common;

use std::sync::Arc;

use common::{AUTHORITY, ECDSA, LOCAL, NAME, Peer, SUITES, advance, connect_client, connect_server, one_certificate};
use common::{open, seal, server_config_of};
use derp_tls::{
    Alert, CertificateSet, Certified, ClientFault, ClientSettings, Established, Handshake, HandshakeError, Next,
    Otherwise,
};
use rustls::crypto::aws_lc_rs::{default_provider, kx_group};
use rustls::crypto::{CryptoProvider, SupportedKxGroup};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{AlertDescription, ClientConfig, NamedGroup, ServerConfig};

const FATAL: [u8; 6] = [21, 3, 3, 0, 2, 2];

/// What a server makes of a client's bytes: the error and what it sends. It stays with it.
fn refused(chunks: &[&[u8]]) -> (HandshakeError, Vec<u8>) {
    let (mut handshake, mut out) = (Handshake::server(), Vec::new());
    let set = one_certificate(&ECDSA);
    for chunk in chunks {
        if let Err(error) = advance(&mut handshake, chunk, &set, &mut out) {
            assert_eq!(handshake.read(b"more", &mut Vec::new()).unwrap_err(), HandshakeError::Internal);
            return (error, out);
        }
    }
    panic!("nothing is wrong with it");
}

fn record(content_type: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[content_type, 3, 1], &length[..], body].concat()
}

/// A handshake message in records of so many bytes.
fn message(kind: u8, body: &[u8], cut: usize) -> Vec<u8> {
    let [_, length @ ..] = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[kind], &length[..], body].concat();
    message.chunks(cut).flat_map(|part| record(22, part)).collect()
}

/// The body of a ClientHello with X25519 and signatures of ECDSA, and these extensions.
fn hello(version: [u8; 2], suites: &[u16], more: &[(u16, &[u8])]) -> Vec<u8> {
    let mut extensions: Vec<u8> = [10_u16, 4, 2, 29, 13, 4, 2, 0x0403].iter().flat_map(|n| n.to_be_bytes()).collect();
    for (extension, content) in more {
        extensions.extend(extension.to_be_bytes());
        extensions.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
        extensions.extend(*content);
    }
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    let (suites_length, length) = ((suites.len() as u16).to_be_bytes(), (extensions.len() as u16).to_be_bytes());
    [&version[..], &[7; 32], &[0], &suites_length, &suites, &[1, 0], &length, &extensions].concat()
}

const SUITE: u16 = 0xc02b;
/// Extended master secret.
const HARMLESS: u16 = 23;

#[test]
fn a_small_hello_is_taken_in_records_of_any_size() {
    let body = hello([3, 3], &[SUITE], &[(HARMLESS, &[])]);
    for cut in 1..100 {
        let (mut handshake, mut out) = (Handshake::server(), Vec::new());
        let hello = message(1, &body, cut);
        assert!(advance(&mut handshake, &hello, &one_certificate(&ECDSA), &mut out).unwrap().0.is_none());
        assert_eq!(out[0], 22);
    }
}

#[test]
fn garbage_is_refused_as_soon_as_it_is_none_of_tls() {
    for (garbage, alert) in [
        (&b"GET / HTTP/1.1\r\n"[..], 50),
        (b"SSH-2.0-OpenSSH_10.0\r\n", 50),
        // A ClientHello of SSL 2.
        (&[0x80, 0x2e, 1, 0, 2, 0, 0x15, 0, 0], 50),
        // Data, an alert that is none, and a change of ciphers at first.
        (&[23, 3, 3, 0, 1, 0], 10),
        (&[21, 3, 3, 0, 2, 9, 9], 10),
        (&[20, 3, 3, 0, 1, 1], 10),
        // Records that are empty, or too long.
        (&[22, 3, 1, 0, 0], 50),
        (&[22, 3, 1, 0xff, 0xff], 50),
        // ServerHello; a message that is longer than 64 KiB.
        (&[22, 3, 1, 0, 4, 2, 0, 0, 0], 50),
        (&[22, 3, 1, 0, 4, 1, 1, 0, 0], 50),
    ] {
        let bytes: Vec<_> = garbage.chunks(1).collect();
        for chunks in [&[garbage][..], &bytes] {
            let (error, out) = refused(chunks);
            assert!(matches!(error, HandshakeError::Tls(_)), "{garbage:?}: {error:?}");
            assert_eq!((&out[..6], out[6]), (&FATAL[..], alert), "{garbage:?}: {error}");
            assert_eq!(out.len(), 7);
        }
    }
    // Whatever the first byte is, five are enough.
    for first in (0..22).chain(23..=255) {
        refused(&[&[first, 3, 1, 0, 1, 0]]);
    }
}

#[test]
fn a_cut_or_changed_hello_never_does_more_than_fail() {
    let hello = Peer::client(SUITES[0].client_config()).output();
    let set = one_certificate(&ECDSA);
    for end in 0..hello.len() {
        let (mut handshake, mut out) = (Handshake::server(), Vec::new());
        assert!(advance(&mut handshake, &hello[..end], &set, &mut out).unwrap().0.is_none());
        assert!(out.is_empty());
    }
    for at in 0..hello.len() {
        let mut bad = hello.clone();
        bad[at] ^= 0xff;
        let (mut handshake, mut out) = (Handshake::server(), Vec::new());
        if let Err(error) = advance(&mut handshake, &bad, &set, &mut out) {
            // Behind a ServerHello, alerts are encrypted.
            assert!(out.starts_with(&FATAL) || out[0] == 22, "{at}: {error:?} {out:?}");
            assert!(!error.to_string().is_empty());
        }
    }
}

#[test]
fn hellos_are_bounded() {
    // Of padding that fills the message, in records that do not make it too much, and in those that do.
    let body = hello([3, 3], &[SUITE], &[(21, &vec![0; 65_000])]);
    let (mut handshake, mut out) = (Handshake::server(), Vec::new());
    let set = one_certificate(&ECDSA);
    assert!(advance(&mut handshake, &message(1, &body, 16_000), &set, &mut out).unwrap().0.is_none());
    let (error, out) = refused(&[&message(1, &body, 500)]);
    assert_eq!((error, out), (HandshakeError::TooLong, [&FATAL[..], &[22]].concat()));

    // Small ones, of which the first asks for another: what counts is all of them.
    let padding = vec![0; 40_000];
    let without_share = [(43, &[2, 3, 4][..]), (51, &[0, 0]), (21, &padding)];
    let hellos = message(1, &hello([3, 3], &[0x1301], &without_share), 16_000);
    let (mut handshake, mut out) = (Handshake::server(), Vec::new());
    assert!(advance(&mut handshake, &hellos, &set, &mut out).unwrap().0.is_none());
    assert_eq!(out[0], 22);
    let error = advance(&mut handshake, &hellos, &set, &mut out).map(|_| ()).unwrap_err();
    assert_eq!(error, HandshakeError::TooLong);

    // A client of ours that a server tells without end.
    let settings = ClientSettings::new(&[&AUTHORITY.root]).unwrap();
    let (mut hello, mut alert) = (Vec::new(), Vec::new());
    let mut handshake = Handshake::client(&settings, NAME, &mut hello).unwrap();
    let endless = [&[22, 3, 3, 0x40, 0, 2, 0, 0xff, 0xff][..], &[0; (1 << 14) - 4]].concat();
    let error = (0..20).find_map(|_| advance(&mut handshake, &endless, &set, &mut alert).err());
    assert!(error.is_some());
    assert_eq!(&alert[..6], FATAL);
}

#[test]
fn a_handshake_has_as_many_bytes_as_it_may_and_no_more() {
    let without_share = |padding| {
        let padding = vec![0; padding];
        message(1, &hello([3, 3], &[0x1301], &[(43, &[2, 3, 4]), (51, &[0, 0]), (21, &padding)]), 16_000)
    };
    let (first, set) = (without_share(40_000), one_certificate(&ECDSA));
    for (length, is_too_long) in [(1 << 16, false), ((1 << 16) + 1, true)] {
        let second = without_share(length - first.len() - without_share(20_000).len() + 20_000);
        assert_eq!(first.len() + second.len(), length);
        let (mut handshake, mut out) = (Handshake::server(), Vec::new());
        assert!(advance(&mut handshake, &first, &set, &mut out).unwrap().0.is_none());
        let error = advance(&mut handshake, &second, &set, &mut out).map(|_| ()).unwrap_err();
        assert_eq!(error == HandshakeError::TooLong, is_too_long, "{error}");
    }
}

#[test]
fn clients_without_anything_in_common_are_told_so() {
    for (body, alert) in [
        // RSA key exchange with CBC; TLS 1.1; a name that can be none; a list of no names.
        (hello([3, 3], &[0x002f], &[(HARMLESS, &[])]), 40),
        (hello([3, 2], &[SUITE], &[(HARMLESS, &[])]), 70),
        (hello([3, 3], &[SUITE], &[(0, b"\0\x0c\0\0\x09not a na.")]), 47),
        (hello([3, 3], &[SUITE], &[(0, b"\0\x00")]), 50),
    ] {
        let (error, out) = refused(&[&message(1, &body, 9999)]);
        assert_eq!(out, [&FATAL[..], &[alert]].concat(), "{error}");
    }
    // Of TLS 1.0, which has no signature_algorithms.
    let mut body = hello([3, 1], &[0xc009], &[(HARMLESS, &[])]);
    let at = body.windows(4).position(|bytes| bytes == [0, 13, 0, 4]).unwrap();
    body[at] = 0xff;
    assert_eq!(refused(&[&message(1, &body, 9999)]).1, [&FATAL[..], &[70]].concat());
    // An address where a name belongs counts as none.
    let (mut handshake, mut out) = (Handshake::server(), Vec::new());
    let ask = CertificateSet::new(vec![], Otherwise::Ask).unwrap();
    let body = hello([3, 3], &[SUITE], &[(0, b"\0\x0c\0\0\x09127.0.0.1")]);
    assert!(matches!(handshake.read(&message(1, &body, 9999), &mut out).unwrap().next, Next::Certify));
    let Ok(Certified::Needed(need)) = handshake.certify(&ask, LOCAL, &mut out) else { panic!("it has one") };
    assert_eq!(need.server_name, "");
}

/// A server's handshake that waits for the client's last flight, and this flight.
fn last_flight(peer: &mut Peer) -> (Handshake, Vec<u8>) {
    let (mut handshake, mut out) = (Handshake::server(), Vec::new());
    let hello = peer.output();
    assert!(advance(&mut handshake, &hello, &one_certificate(&ECDSA), &mut out).unwrap().0.is_none());
    peer.input(&out).unwrap();
    (handshake, peer.output())
}

#[test]
fn a_flight_that_was_tampered_with_ends_in_an_alert_that_the_client_can_read() {
    for suite in [SUITES[0], SUITES[3]] {
        let mut peer = Peer::client(suite.client_config());
        let (mut handshake, mut flight) = last_flight(&mut peer);
        *flight.last_mut().unwrap() ^= 1;
        let (mut out, set) = (Vec::new(), one_certificate(&ECDSA));
        let error = advance(&mut handshake, &flight, &set, &mut out).map(|_| ()).unwrap_err();
        assert_eq!(error, HandshakeError::Tls(rustls::Error::DecryptError));
        let told = peer.input(&out).unwrap_err();
        assert_eq!(told, rustls::Error::AlertReceived(AlertDescription::BadRecordMac));
        assert_eq!(handshake.certify(&set, LOCAL, &mut out), Err(HandshakeError::Internal));
    }
}

#[test]
fn a_client_that_goes_away_within_a_handshake_is_no_connection() {
    let mut peer = Peer::client(SUITES[0].client_config());
    let (mut handshake, flight) = last_flight(&mut peer);
    // The change of ciphers for middleboxes, without Finished.
    let compatible = &flight[..6];
    let bytes = [compatible, &[21, 3, 3, 0, 2, 1, 0]].concat();
    let error = advance(&mut handshake, &bytes, &one_certificate(&ECDSA), &mut Vec::new()).map(|_| ()).unwrap_err();
    assert!(matches!(error, HandshakeError::Tls(_)), "{error:?}");
    assert_eq!(error.client_fault(), ClientFault::HungUp);
}

#[test]
fn a_client_that_trusts_nobody_here_says_so() {
    let mut config = SUITES[0].client_config();
    let other = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(other.cert.der().clone()).unwrap();
    config = ClientConfig::builder_with_provider(config.crypto_provider().clone())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let mut peer = Peer::client(config);
    let (mut handshake, mut out) = (Handshake::server(), Vec::new());
    let set = one_certificate(&ECDSA);
    advance(&mut handshake, &peer.output(), &set, &mut out).unwrap();
    peer.input(&out).unwrap_err();
    let error = advance(&mut handshake, &peer.output(), &set, &mut Vec::new()).map(|_| ()).unwrap_err();
    assert_eq!(error, HandshakeError::Tls(rustls::Error::AlertReceived(AlertDescription::UnknownCA)));
    assert_eq!(error.client_fault(), ClientFault::Alert(Alert(48)));
}

/// How a client of ours fails with this server, and what the server hears of it.
fn distrusted(config: ServerConfig, roots: &str, name: &str) -> (HandshakeError, rustls::Error) {
    let settings = ClientSettings::new(&[roots]).unwrap();
    let mut peer = Peer::server(config);
    let (mut hello, mut alert) = (Vec::new(), Vec::new());
    let mut handshake = Handshake::client(&settings, name, &mut hello).unwrap();
    peer.input(&hello).unwrap();
    let none = CertificateSet::new(vec![], Otherwise::Refuse).unwrap();
    let error = advance(&mut handshake, &peer.output(), &none, &mut alert).map(|_| ()).unwrap_err();
    (error, peer.input(&alert).unwrap_err())
}

#[test]
fn servers_have_to_prove_the_name_that_they_are_dialled_by() {
    let stranger = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap().cert.pem();
    for suite in [SUITES[0], SUITES[3]] {
        let told = |alert| rustls::Error::AlertReceived(alert);
        let (error, heard) = distrusted(suite.server_config(), &stranger, NAME);
        assert!(matches!(error, HandshakeError::Tls(rustls::Error::InvalidCertificate(_))), "{error:?}");
        assert_eq!(heard, told(AlertDescription::UnknownCA));
        let (error, heard) = distrusted(suite.server_config(), &AUTHORITY.root, "other.test");
        assert!(error.to_string().contains("other.test"), "{error}");
        assert_eq!(heard, told(AlertDescription::BadCertificate));
        distrusted(suite.server_config(), &AUTHORITY.root, "127.0.0.2");
        // A chain without its leaf in front.
        let root = CertificateDer::from_pem_slice(AUTHORITY.root.as_bytes()).unwrap();
        let leaf = CertificateDer::from_pem_slice(suite.pem().chain.as_bytes()).unwrap();
        let mut config = server_config_of(suite, vec![leaf]);
        config.cert_resolver = Arc::new(WithoutLeaf(vec![root], config.cert_resolver.clone()));
        distrusted(config, &AUTHORITY.root, NAME);
    }
    let settings = ClientSettings::new(&[&AUTHORITY.root]).unwrap();
    for name in ["", "no name", "a.test:443", "[::1]", &"a".repeat(300)] {
        let error = Handshake::client(&settings, name, &mut Vec::new()).unwrap_err();
        assert_eq!(error, HandshakeError::BadName, "{name}");
    }
}

/// Shows another chain with the key that it has.
#[derive(Debug)]
struct WithoutLeaf(Vec<CertificateDer<'static>>, Arc<dyn rustls::server::ResolvesServerCert>);

impl rustls::server::ResolvesServerCert for WithoutLeaf {
    fn resolve(&self, hello: rustls::server::ClientHello<'_>) -> Option<Arc<rustls::sign::CertifiedKey>> {
        let key = self.1.resolve(hello)?.key.clone();
        Some(Arc::new(rustls::sign::CertifiedKey::new(self.0.clone(), key)))
    }
}

fn grouped(groups: &[&'static dyn SupportedKxGroup]) -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider { kx_groups: groups.to_vec(), ..default_provider() })
}

fn client_with(groups: &[&'static dyn SupportedKxGroup]) -> Peer {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(AUTHORITY.root.as_bytes()).unwrap()).unwrap();
    Peer::client(
        ClientConfig::builder_with_provider(grouped(groups))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth(),
    )
}

fn talk(peer: &mut Peer, mut established: Established, rest: &[u8]) -> NamedGroup {
    assert_eq!(peer.input(&seal(&mut established, &[b"hello"])).unwrap(), b"hello");
    let bytes = [rest, &peer.write(b"there")].concat();
    assert_eq!(open(&mut established, &bytes, 9).0, b"there");
    peer.0.negotiated_key_exchange_group().unwrap().name()
}

#[test]
fn keys_are_exchanged_with_x25519mlkem768_wherever_the_peer_can() {
    use kx_group::{SECP256R1, SECP256R1MLKEM768, SECP384R1, X25519, X25519MLKEM768};
    for (offered, taken) in [
        (&[X25519MLKEM768, X25519][..], NamedGroup::X25519MLKEM768),
        (&[X25519], NamedGroup::X25519),
        (&[SECP256R1], NamedGroup::secp256r1),
        (&[SECP384R1], NamedGroup::secp384r1),
        // The share that comes with the ClientHello is of no use: it is asked for another. Or it would do, but for this.
        (&[X25519, X25519MLKEM768], NamedGroup::X25519MLKEM768),
        (&[SECP256R1MLKEM768, X25519MLKEM768], NamedGroup::X25519MLKEM768),
    ] {
        for chunk in [13, usize::MAX] {
            let mut peer = client_with(offered);
            let (established, rest) = connect_server(&mut peer, &one_certificate(&ECDSA), chunk, b"");
            assert_eq!(rest, b"");
            assert_eq!(talk(&mut peer, established, &rest), taken);

            // As a client, which offers everything, and shares of what it would rather have.
            let mut config = SUITES[0].server_config();
            let resolver = config.cert_resolver.clone();
            config = ServerConfig::builder_with_provider(grouped(offered))
                .with_safe_default_protocol_versions()
                .unwrap()
                .with_no_client_auth()
                .with_cert_resolver(resolver);
            let mut peer = Peer::server(config);
            let (established, rest) = connect_client(&mut peer, chunk);
            assert_eq!(talk(&mut peer, established, &rest), taken);
        }
    }
}

/// What a server answers to this ClientHello at once.
fn answer(hello: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    advance(&mut Handshake::server(), hello, &one_certificate(&ECDSA), &mut out).unwrap();
    out
}

/// The random of a ServerHello that asks for another share.
const RETRY: &[u8] = &[0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d];

#[test]
fn whoever_sends_a_share_of_x25519mlkem768_is_not_asked_again() {
    use kx_group::{SECP256R1, X25519, X25519MLKEM768};
    let retries = |groups: &[_]| answer(&client_with(groups).output())[11..].starts_with(RETRY);
    // Go's order, of which the first and its other half have shares; and orders in which another one has.
    assert!(!retries(&[X25519MLKEM768, X25519, SECP256R1]));
    assert!(!retries(&[X25519]));
    assert!(retries(&[X25519, X25519MLKEM768]));
}

#[test]
fn a_client_of_tls_12_may_list_x25519mlkem768() {
    let mut hello = client_with(&[kx_group::X25519MLKEM768, kx_group::X25519]).output();
    // Its supported versions, TLS 1.3 and 1.2, become something that nobody knows.
    let versions = [0, 43, 0, 5, 4, 3, 4, 3, 3];
    let at = hello.windows(versions.len()).position(|bytes| bytes == versions).unwrap();
    hello[at] = 0xfa;
    let out = answer(&hello);
    // A ServerHello of TLS 1.2, and behind it, in the open, the certificate.
    assert_eq!((&out[..3], out[5]), (&[22, 3, 3][..], 2));
    let certificate = CertificateDer::from_pem_slice(ECDSA.chain.as_bytes()).unwrap();
    assert!(out.windows(certificate.len()).any(|bytes| bytes == &certificate[..]));
}
