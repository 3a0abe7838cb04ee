//! rustls as the other end: both versions, every suite, every fragmentation.
mod common;

use common::{Peer, SUITES, connect_client, connect_server, one_certificate, open, seal};
use derp_tls::Version;

#[test]
fn every_suite_as_a_server() {
    for suite in SUITES {
        let mut peer = Peer::client(suite.client_config());
        let (mut established, rest) = connect_server(&mut peer, &one_certificate(suite.pem()), 7, b"early");
        assert_eq!(established.suite, suite.name.as_str().unwrap());
        assert_eq!(established.version == Version::Tls13, suite.is_13());
        assert_eq!(open(&mut established, &rest, 3).0, b"early");
        assert_eq!(peer.input(&seal(&mut established, &[b"hello", b"", b" there"])).unwrap(), b"hello there");
        let answer = peer.write(b"indeed");
        assert_eq!(open(&mut established, &answer, usize::MAX).0, b"indeed");
    }
}

#[test]
fn every_suite_as_a_client() {
    for suite in SUITES {
        let mut peer = Peer::server(suite.server_config());
        let (mut established, rest) = connect_client(&mut peer, 7);
        assert_eq!(established.peer_certificates.len(), 1);
        assert_eq!(peer.input(&seal(&mut established, &[b"hello"])).unwrap(), b"hello");
        let bytes = [rest, peer.write(b"indeed")].concat();
        let (plaintext, opened) = open(&mut established, &bytes, 5);
        assert_eq!((plaintext.as_slice(), opened.end), (&b"indeed"[..], None));
    }
}
