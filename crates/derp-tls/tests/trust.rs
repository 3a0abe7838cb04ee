//! Which servers a client believes, and what it says of the others: to them by an alert, and for logs.
mod common;

use std::sync::Arc;

use common::{AUTHORITY, NAME, Peer, RSA, SUITES, Suite, advance};
use derp_tls::{CertificateError, CertificateSet, ClientSettings, Handshake, HandshakeError, Otherwise};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree,
    IsCa, KeyPair, NameConstraints, date_time_ymd,
};
use rustls::AlertDescription;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};

type Der = CertificateDer<'static>;

/// A client's handshake with a server that shows this certificate and has this key: what the client says of the certificate, and
/// the alert that the server gets.
fn dial(suite: Suite, trusted: &[Der], shown: &Der, key: &KeyPair) -> Result<(), (String, AlertDescription)> {
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let certified = CertifiedKey::new(vec![shown.clone()], any_supported_type(&key).unwrap());
    let mut config = suite.server_config();
    config.cert_resolver = Arc::new(SingleCertAndKey::from(certified));
    let mut peer = Peer::server(config);
    let settings = ClientSettings::from_der(trusted.iter().map(|der| der.to_vec())).unwrap();
    let none = CertificateSet::new(vec![], Otherwise::Refuse).unwrap();
    let mut out = Vec::new();
    let mut handshake = Handshake::client(&settings, NAME, &mut out).unwrap();
    loop {
        peer.input(&out).unwrap();
        out.clear();
        match advance(&mut handshake, &peer.output(), &none, &mut out) {
            Ok((Some(_), _)) => return Ok(()),
            Ok((None, _)) => assert!(!out.is_empty(), "the client has nothing to say"),
            Err(error) => {
                let why = error.certificate().expect("it is the certificate");
                let Err(rustls::Error::AlertReceived(alert)) = peer.input(&out) else { panic!("no alert") };
                return Err((why, alert));
            }
        }
    }
}

fn root() -> Der {
    CertificateDer::from_pem_slice(AUTHORITY.root.as_bytes()).unwrap()
}

fn server(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

fn changed(change: impl FnOnce(&mut CertificateParams)) -> (Der, KeyPair) {
    let mut params = server(&[NAME]);
    change(&mut params);
    AUTHORITY.signed(&params)
}

#[test]
fn a_server_that_is_not_believed_is_told_so_and_logs_have_the_reason() {
    let good = || changed(|_| {});
    let stranger = rcgen::generate_simple_self_signed(vec![NAME.to_owned()]).unwrap();
    let mut unknown = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 7], vec![5, 0]);
    unknown.set_criticality(true);
    let cases = [
        (
            changed(|params| params.not_after = date_time_ymd(2000, 1, 1)),
            "it has expired",
            AlertDescription::CertificateExpired,
        ),
        (
            changed(|params| params.not_before = date_time_ymd(3000, 1, 1)),
            "it is not valid yet",
            AlertDescription::CertificateExpired,
        ),
        (
            changed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth]),
            "it is not for servers",
            AlertDescription::CertificateUnknown,
        ),
        (
            changed(|params| params.custom_extensions = vec![unknown]),
            "it has the critical extension 1.3.6.1.4.1.99999.7, which is not known here",
            AlertDescription::CertificateUnknown,
        ),
        (
            AUTHORITY.signed(&server(&["a.test", "127.0.0.1"])),
            "it is for the names a.test, 127.0.0.1",
            AlertDescription::BadCertificate,
        ),
        (AUTHORITY.signed(&server(&[])), "it has no alternative names", AlertDescription::BadCertificate),
        (
            (stranger.cert.der().clone(), stranger.signing_key),
            "no trusted root has signed it",
            AlertDescription::UnknownCA,
        ),
        ((b"nonsense".to_vec().into(), good().1), "it cannot be read", AlertDescription::BadCertificate),
        ((good().0, good().1), "the relay has not its private key", AlertDescription::DecryptError),
    ];
    for suite in [SUITES[0], SUITES[3]] {
        let (leaf, key) = good();
        assert_eq!(dial(suite, &[root()], &leaf, &key), Ok(()));
        for ((leaf, key), why, alert) in &cases {
            assert_eq!(dial(suite, &[root()], leaf, key), Err((why.to_string(), *alert)), "{suite:?}");
        }
    }
    // The signature of another kind of key than the certificate has.
    let rsa = CertificateDer::from_pem_slice(RSA.chain.as_bytes()).unwrap();
    for (suite, why) in [(SUITES[0], "it cannot be used"), (SUITES[3], "the relay has not its private key")] {
        let expected = Err((why.to_owned(), AlertDescription::DecryptError));
        assert_eq!(dial(suite, &[root()], &rsa, &good().1), expected);
    }
}

#[test]
fn what_fails_for_another_reason_says_nothing_of_a_certificate() {
    for error in [
        HandshakeError::TooLong,
        HandshakeError::UnknownName,
        HandshakeError::Tls(rustls::Error::AlertReceived(AlertDescription::BadCertificate)),
    ] {
        assert_eq!(error.certificate(), None);
    }
}

#[test]
fn a_client_that_would_trust_nothing_is_refused() {
    let refused = Some(CertificateError::Chain);
    assert_eq!(ClientSettings::from_der([]).err(), refused);
    assert_eq!(ClientSettings::from_der([b"nonsense".to_vec()]).err(), refused);
    assert_eq!(ClientSettings::from_der([b"nonsense".to_vec(), root().to_vec()]).err(), None);
}

/// An authority for names below this one alone.
fn bounded(permitted: &str) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let permitted_subtrees = vec![GeneralSubtree::DnsName(permitted.to_owned())];
    params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[test]
fn an_authority_with_name_constraints_is_believed_for_its_names_alone() {
    for suite in [SUITES[0], SUITES[3]] {
        for (permitted, believed) in [("test", true), (NAME, true), ("other", false)] {
            let authority = bounded(permitted);
            let key = KeyPair::generate().unwrap();
            let leaf = server(&[NAME]).signed_by(&key, &authority).unwrap();
            let refused = ("no trusted root has signed it".to_owned(), AlertDescription::UnknownCA);
            let expected = if believed { Ok(()) } else { Err(refused) };
            assert_eq!(dial(suite, &[authority.der().clone()], leaf.der(), &key), expected, "{permitted}");
        }
    }
}

#[test]
fn a_server_that_is_trusted_itself_signs_for_no_other() {
    let trusted = CertifiedIssuer::self_signed(server(&["a.test"]), KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = server(&[NAME]).signed_by(&key, &trusted).unwrap();
    let refused = Err(("no trusted root has signed it".to_owned(), AlertDescription::UnknownCA));
    // Nor where another authority has name constraints, for which webpki is asked.
    for trusted in [vec![trusted.der().clone()], vec![trusted.der().clone(), bounded("test").der().clone()]] {
        for suite in [SUITES[0], SUITES[3]] {
            assert_eq!(dial(suite, &trusted, leaf.der(), &key), refused);
        }
    }
}
