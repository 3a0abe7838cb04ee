//! Links over TLS: whom they trust, and what the certificates say of the relay.

mod far;
mod support;

use std::io::Write;
use std::net::{Shutdown, SocketAddr};

use derp_net::Plane;
use derp_proto::counters::Counter;
use derp_proto::key::NodeKey;
use derp_tls::{Certificate, CertificateSet, ClientSettings, Otherwise};
use far::{Far, end_of, open, target};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DistinguishedName, DnType, IsCa, KeyPair, PKCS_ED25519,
    date_time_ymd,
};
use support::{Client, Relay, policy, secret};

struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        Self::called("a root")
    }

    fn called(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    fn roots(&self) -> Option<ClientSettings> {
        Some(ClientSettings::from_der([b"no certificate".to_vec(), self.0.der().to_vec()]).unwrap())
    }

    /// Certificates that `plane` shows from now on: one for a name, and others behind it.
    fn show(&self, plane: &Plane, name: &str, end: i32, behind: &[Vec<u8>]) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.not_after = date_time_ymd(end, 1, 1);
        let leaf = params.signed_by(&key, &self.0).unwrap().der().to_vec();
        let chain = [&[leaf], behind].concat();
        let certificate =
            Certificate { names: vec![name.into()], alpn: None, chain, private_key: key.serialize_der().into() };
        plane.certificates(CertificateSet::new(vec![certificate], Otherwise::First).unwrap());
    }
}

/// As a relay makes it of its key.
fn meta(key: &NodeKey) -> Vec<u8> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, format!("derpkey{key:x}"));
    params.serial_number = Some(2.into());
    params.is_ca = IsCa::ExplicitNoCa;
    params.self_signed(&KeyPair::generate_for(&PKCS_ED25519).unwrap()).unwrap().der().to_vec()
}

fn listen(relay: &Relay) -> SocketAddr {
    relay.plane.listen("127.0.0.1:0".parse().unwrap(), true, true).unwrap().1
}

const YEAR: i32 = 4000;

#[test]
fn links_over_tls() {
    let (authority, there) = (Authority::new(), Relay::start_as(50, 2, policy()));
    let here = Relay::start(2, policy());
    let address = listen(&there);
    let key = secret(50).public_key();
    let mut b = Client::connect(&there, 2);
    let mut a = Client::connect(&here, 1);
    for (link, behind) in (1..).zip([vec![], vec![meta(&key)]]) {
        authority.show(&there.plane, "relay.test", YEAR, &behind);
        here.plane.dial(link, target(address, authority.roots()));
        assert_eq!(open(&here, link), key);
        here.plane.route(&b.key, Some(link));
        for number in 0..200_usize {
            let packet = vec![number as u8; number * 327];
            a.send_packet(&b.key, &packet);
            b.expect_packet(&a.key, &packet);
        }
        here.plane.hang_up(link);
        end_of(&here, link);
    }
    assert_eq!(there.count(Counter::TLS_13_UPGRADES), 2);
    assert_eq!(there.count(Counter::PACKETS_FORWARDED_IN), 400);
    assert_eq!(here.dropped() + there.dropped(), 0);
}

#[test]
fn the_key_in_the_certificate_is_the_one_that_is_spoken_to() {
    let (authority, there) = (Authority::new(), Relay::start_as(50, 1, policy()));
    let here = Relay::start(1, policy());
    let address = listen(&there);
    // The box is sealed before the greeting is there: it does not open.
    authority.show(&there.plane, "relay.test", YEAR, &[meta(&secret(51).public_key())]);
    here.plane.dial(1, target(address, authority.roots()));
    let reason = end_of(&here, 1);
    let either =
        ["its greeting and its certificate have different keys", "the relay closed the connection before the login"];
    assert!(either.contains(&&*reason), "{reason}");
    assert_eq!(there.count(Counter::LOGINS_FAILED), 1);
}

#[test]
fn certificates_that_prove_nothing() {
    let (authority, there) = (Authority::new(), Relay::start_as(50, 1, policy()));
    let here = Relay::start(1, policy());
    let address = listen(&there);
    let other = Authority::called("another root");
    let cases = [
        ("relay.test", YEAR, &other, "no trusted root has signed it"),
        ("other.test", YEAR, &authority, "it is for the names other.test"),
        ("relay.test", 2001, &authority, "it has expired"),
    ];
    for (link, (name, end, trusted, what)) in (1..).zip(cases) {
        authority.show(&there.plane, name, end, &[]);
        here.plane.dial(link, target(address, trusted.roots()));
        assert_eq!(end_of(&here, link), format!("its certificate is not trusted: {what}"));
    }
    assert_eq!(there.count(Counter::ACCEPTS), 0);
}

#[test]
fn what_is_no_tls() {
    let (authority, relay) = (Authority::new(), Relay::start(1, policy()));
    let mut far = Far::listen();
    let cases: [(&[u8], &str); 3] = [
        (b"", "the relay closed the connection during the TLS handshake"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "TLS: "),
        (b"\x15\x03\x03\0\x02\x02\x28", "TLS: "),
    ];
    for (link, (answer, reason)) in (1..).zip(cases) {
        relay.plane.dial(link, target(far.address, authority.roots()));
        let mut peer = far.accept();
        peer.stream.write_all(answer).unwrap();
        peer.stream.shutdown(Shutdown::Write).unwrap();
        let said = end_of(&relay, link);
        assert!(said.starts_with(reason), "{said}");
    }
}
