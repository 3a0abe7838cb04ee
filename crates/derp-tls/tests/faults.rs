//! What a server says of clients whose handshakes fail: metrics and logs tell these faults apart.
mod common;

use common::{ECDSA, Peer, SUITES, advance, certificate, one_certificate};
use derp_tls::{CertificateSet, ClientFault, Handshake, Otherwise};

fn fault(client: &[u8], set: &CertificateSet) -> ClientFault {
    let error = advance(&mut Handshake::server(), client, set, &mut Vec::new()).map(|_| ()).unwrap_err();
    error.client_fault()
}

#[test]
fn a_client_asks_for_what_the_server_does_not_have() {
    let set = one_certificate(&ECDSA);
    let elsewhere = CertificateSet::new(vec![certificate(&ECDSA, &["a.test"])], Otherwise::Refuse).unwrap();
    assert_eq!(fault(&Peer::client(SUITES[0].client_config()).output(), &elsewhere), ClientFault::Name);
    for suite in [SUITES[0], SUITES[3]] {
        let mut config = suite.client_config();
        config.alpn_protocols = vec![b"h2".to_vec()];
        assert_eq!(fault(&Peer::client(config).output(), &set), ClientFault::Protocol);
    }
    // Signatures of RSA alone, and TLS 1.1 alone.
    assert_eq!(fault(&Peer::client(SUITES[6].client_config()).output(), &set), ClientFault::Cipher);
    let mut hello = Peer::client(SUITES[3].client_config()).output();
    let versions = [0, 43, 0, 3, 2, 3, 3];
    let at = hello.windows(versions.len()).position(|bytes| bytes == versions).unwrap();
    hello[at + 6] = 2;
    assert_eq!(fault(&hello, &set), ClientFault::Version);
}

#[test]
fn what_is_no_tls_is_malformed() {
    let set = one_certificate(&ECDSA);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], &[22, 3, 1, 0, 4, 2, 0, 0, 0]] {
        assert_eq!(fault(bytes, &set), ClientFault::Malformed);
    }
}
