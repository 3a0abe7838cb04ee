//! rustls as the other end: both versions, every suite, every fragmentation.
mod common;

use common::{Peer, SUITES, connect_client, connect_server, contents_13, one_certificate, open, seal};
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

#[test]
fn keys_are_updated_by_either_side_and_a_request_is_answered_first() {
    for suite in SUITES.into_iter().filter(common::Suite::is_13) {
        for as_client in [false, true] {
            let (mut peer, mut established, mut rest);
            if as_client {
                peer = Peer::server(suite.server_config());
                (established, rest) = connect_client(&mut peer, usize::MAX);
            } else {
                peer = Peer::client(suite.client_config());
                (established, rest) = connect_server(&mut peer, &one_certificate(suite.pem()), usize::MAX, b"");
            }
            established.sender.limit_records(3);
            for round in 0..20_u8 {
                peer.0.refresh_traffic_keys().unwrap();
                rest.extend(peer.write(&[round; 100]));
                let (plaintext, opened) = open(&mut established, &std::mem::take(&mut rest), 11);
                assert_eq!((plaintext, opened.end), (vec![round; 100], None));
                assert!(opened.key_update_requested);
                established.sender.owe_key_update();
                assert!(established.sender.owes_key_update());
                established.sender.quiet();
                established.receiver.quiet();
                let sealed = seal(&mut established, &[&[round; 50], &[round; 20_000], &[round; 20_000]]);
                assert!(!established.sender.owes_key_update());
                // The answer, two records, the update that the limit of three demands, the last record.
                assert_eq!(contents_13(&sealed), [5, 16384, 16384, 5, 7282]);
                assert_eq!(peer.input(&sealed).unwrap(), [round; 40_050]);
            }
        }
    }
}

#[test]
fn requests_for_new_keys_that_come_at_once_are_one() {
    for count in 1..4 {
        let mut peer = Peer::client(SUITES[0].client_config());
        let (mut established, rest) = connect_server(&mut peer, &one_certificate(SUITES[0].pem()), usize::MAX, b"");
        let mut buffer = rest;
        for _ in 0..count {
            peer.0.refresh_traffic_keys().unwrap();
            buffer.extend(peer.write(b"data"));
        }
        let opened = established.receiver.open(&mut buffer, 0);
        assert!(opened.key_update_requested, "{count}");
        assert_eq!(buffer[opened.plaintext], *b"data".repeat(count));
    }
}
