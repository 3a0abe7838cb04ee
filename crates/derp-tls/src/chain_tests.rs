//! Chains of certificates, one for each rule, made with what the rule permits and with what it does not.
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, CustomExtension, DnType, ExtendedKeyUsagePurpose,
    GeneralSubtree, IsCa, Issuer, KeyPair, KeyUsagePurpose, NameConstraints, SanType, date_time_ymd,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};

use crate::chain::{Rules, Untrusted, check, may_vouch};

type Authority = CertifiedIssuer<'static, KeyPair>;
type Der = CertificateDer<'static>;

const NAME: &str = "relay.test";
/// In January 2027.
const NOW: u64 = 1_800_000_000;

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

fn with(mut params: CertificateParams, change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    change(&mut params);
    params
}

fn server(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(ToString::to_string).collect::<Vec<_>>()).unwrap()
}

fn key() -> KeyPair {
    KeyPair::generate().unwrap()
}

fn root(params: CertificateParams) -> Authority {
    CertifiedIssuer::self_signed(params, key()).unwrap()
}

fn below(issuer: &Authority, params: CertificateParams) -> Authority {
    CertifiedIssuer::signed_by(params, key(), issuer).unwrap()
}

fn signed(issuer: &Authority, params: &CertificateParams) -> Der {
    params.signed_by(&key(), issuer).unwrap().der().clone()
}

fn ders(authorities: &[&Authority]) -> Vec<Der> {
    authorities.iter().map(|authority| authority.der().clone()).collect()
}

/// What a client that trusts `trusted` says at a second since 1970 of the server that it means by `name`.
fn check_at(second: u64, name: &str, leaf: &Der, others: &[Der], trusted: &[Der]) -> Result<(), Untrusted> {
    let name = match name.parse::<IpAddr>() {
        Ok(address) => address.into(),
        Err(_) => ServerName::try_from(name).unwrap(),
    };
    let now = UnixTime::since_unix_epoch(Duration::from_secs(second));
    let algorithms = default_provider().signature_verification_algorithms.all;
    check(leaf, others, &name, &Rules { trusted, algorithms, now })
}

fn checked(leaf: &Der, others: &[&Authority], trusted: &[&Authority]) -> Result<(), Untrusted> {
    check_at(NOW, NAME, leaf, &ders(others), &ders(trusted))
}

/// Whether a server is believed whose certificate an authority like this one has signed: one that is trusted itself, and one that
/// a trusted root has signed.
fn may_sign(params: &CertificateParams) -> bool {
    let leaf = server(&[NAME]);
    let trusted = root(params.clone());
    let at_the_top = checked(&signed(&trusted, &leaf), &[], &[&trusted]);
    let top = root(authority("top"));
    let between = below(&top, params.clone());
    let in_the_middle = checked(&signed(&between, &leaf), &[&between], &[&top]);
    assert_eq!(at_the_top, in_the_middle);
    at_the_top != Err(Untrusted::Issuer)
}

#[test]
fn a_server_is_believed_if_what_it_shows_leads_to_something_trusted() {
    let top = root(authority("top"));
    let upper = below(&top, authority("upper"));
    let lower = below(&upper, authority("lower"));
    let leaf = signed(&lower, &server(&[NAME]));
    // In any order, with what does not belong to it, and from anything that is trusted on.
    let stranger = root(authority("stranger"));
    for (others, trusted) in [
        (&[&lower, &upper][..], &[&top][..]),
        (&[&upper, &lower], &[&top]),
        (&[&stranger, &lower, &lower, &upper], &[&stranger, &top]),
        (&[&lower], &[&upper]),
        (&[], &[&lower]),
    ] {
        assert_eq!(checked(&leaf, others, trusted), Ok(()));
    }
    for (others, trusted) in [
        (&[&lower, &upper][..], &[&stranger][..]),
        (&[&lower], &[&top]),
        (&[&upper], &[&top]),
        (&[], &[&top]),
        (&[&lower, &upper, &top], &[]),
    ] {
        assert_eq!(checked(&leaf, others, trusted), Err(Untrusted::Issuer));
    }
    assert_eq!(check_at(NOW, NAME, &leaf, &[], std::slice::from_ref(&leaf)), Ok(()), "it is trusted itself");
    // A genuine authority does not vouch for the server of another one.
    assert_eq!(checked(&signed(&stranger, &server(&[NAME])), &[&upper, &lower], &[&top]), Err(Untrusted::Issuer));
}

#[test]
fn what_cannot_be_read_is_refused_as_a_server_and_passed_over_elsewhere() {
    let top = root(authority("top"));
    let leaf = signed(&top, &server(&[NAME]));
    let nonsense = Der::from(b"nonsense".to_vec());
    let trusted = [nonsense.clone(), top.der().clone()];
    assert_eq!(check_at(NOW, NAME, &leaf, &trusted[..1], &trusted), Ok(()));
    let longer = Der::from([&leaf[..], &[0]].concat());
    for unreadable in [nonsense, longer] {
        assert_eq!(check_at(NOW, NAME, &unreadable, &[], &trusted), Err(Untrusted::Unreadable));
    }
}

#[test]
fn a_chain_has_eight_certificates_at_most() {
    let top = root(authority("top"));
    let mut between: Vec<Authority> = Vec::new();
    for length in 3..10 {
        let next = below(between.last().unwrap_or(&top), authority(&format!("authority {length}")));
        between.push(next);
        let leaf = signed(between.last().unwrap(), &server(&[NAME]));
        let expected = if length <= 8 { Ok(()) } else { Err(Untrusted::Issuer) };
        assert_eq!(checked(&leaf, &between.iter().collect::<Vec<_>>(), &[&top]), expected, "{length}");
    }
}

#[test]
fn only_an_authority_may_sign() {
    let usages = |usages: &[KeyUsagePurpose]| with(authority("a"), |params| params.key_usages = usages.to_vec());
    assert!(may_sign(&authority("a")));
    assert!(may_sign(&usages(&[KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign])));
    assert!(!may_sign(&usages(&[KeyUsagePurpose::DigitalSignature])));
    assert!(!may_sign(&with(authority("a"), |params| params.is_ca = IsCa::NoCa)));
    assert!(!may_sign(&with(authority("a"), |params| params.is_ca = IsCa::ExplicitNoCa)));
}

#[test]
fn before_version_3_a_certificate_could_not_say_that_it_is_an_authoritys() {
    let other = root(with(authority("old"), |params| params.is_ca = IsCa::NoCa));
    let leaf = signed(&other, &server(&[NAME]));
    let mut old = other.der().to_vec();
    let version = [0xa0, 3, 2, 1, 2];
    let at = old.windows(version.len()).position(|bytes| bytes == version).unwrap();
    for (number, expected) in [(0, Ok(())), (1, Ok(())), (2, Err(Untrusted::Issuer))] {
        old[at + 4] = number;
        assert_eq!(check_at(NOW, NAME, &leaf, &[], &[old.clone().into()]), expected, "{number}");
    }
}

#[test]
fn an_authority_is_for_servers_and_in_time() {
    let changed = |change: fn(&mut CertificateParams)| with(authority("a"), change);
    for purpose in [ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any] {
        assert!(may_sign(&with(authority("a"), |params| params.extended_key_usages = vec![purpose])));
    }
    assert!(!may_sign(&changed(|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth])));
    assert!(!may_sign(&changed(|params| params.not_after = date_time_ymd(2026, 1, 1))));
    assert!(!may_sign(&changed(|params| params.not_before = date_time_ymd(2028, 1, 1))));
    assert!(!may_sign(&changed(|params| params.custom_extensions = vec![extension(true)])));
    assert!(may_sign(&changed(|params| params.custom_extensions = vec![extension(false)])));
}

#[test]
fn an_authority_says_how_many_others_may_follow_it() {
    let bounded =
        |name: &str, most| with(authority(name), |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(most)));
    for (most, followers) in [(0, 0), (0, 1), (1, 0), (1, 1), (1, 2)] {
        let top = root(bounded("top", most));
        let mut between: Vec<Authority> = Vec::new();
        for name in ["upper", "lower"].into_iter().take(followers) {
            between.push(below(between.last().unwrap_or(&top), authority(name)));
        }
        let leaf = signed(between.last().unwrap_or(&top), &server(&[NAME]));
        let expected = if followers <= usize::from(most) { Ok(()) } else { Err(Untrusted::Issuer) };
        assert_eq!(checked(&leaf, &between.iter().collect::<Vec<_>>(), &[&top]), expected, "{most} {followers}");
    }
}

#[test]
fn an_issuer_has_the_name_and_the_key_that_a_certificate_was_signed_with() {
    let top = root(authority("top"));
    let renamed = authority("another");
    let leaf = server(&[NAME]).signed_by(&key(), &Issuer::from_params(&renamed, top.key())).unwrap();
    assert_eq!(checked(leaf.der(), &[], &[&top]), Err(Untrusted::Issuer));
    let impostor = root(authority("top"));
    assert_eq!(checked(&signed(&impostor, &server(&[NAME])), &[], &[&top]), Err(Untrusted::Issuer));
    assert_eq!(checked(&signed(&impostor, &server(&[NAME])), &[], &[&top, &impostor]), Ok(()));
}

#[test]
fn a_chain_costs_a_hundred_signatures_at_most() {
    let top = root(authority("top"));
    let genuine = below(&top, authority("between"));
    let leaf = signed(&genuine, &server(&[NAME]));
    let impostor = root(authority("between"));
    // Two more prove the genuine chain.
    for (impostors, expected) in [(98, Ok(())), (99, Err(Untrusted::Issuer)), (1000, Err(Untrusted::Issuer))] {
        let mut others = vec![impostor.der().clone(); impostors];
        others.push(genuine.der().clone());
        assert_eq!(check_at(NOW, NAME, &leaf, &others, &ders(&[&top])), expected, "{impostors}");
    }
}

#[test]
fn a_certificate_is_valid_from_its_first_second_to_its_last() {
    let top = root(authority("top"));
    let (first, last) = (date_time_ymd(2026, 2, 1), date_time_ymd(2026, 5, 1));
    let leaf = signed(&top, &with(server(&[NAME]), |params| (params.not_before, params.not_after) = (first, last)));
    let [first, last] = [first, last].map(|time| u64::try_from(time.unix_timestamp()).unwrap());
    for (second, expected) in [
        (first - 1, Err(Untrusted::NotYet)),
        (first, Ok(())),
        (last, Ok(())),
        (last + 1, Err(Untrusted::Expired)),
        (u64::MAX, Err(Untrusted::Expired)),
    ] {
        assert_eq!(check_at(second, NAME, &leaf, &[], &ders(&[&top])), expected, "{second}");
    }
}

/// An extension that no reader knows.
fn extension(critical: bool) -> CustomExtension {
    let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99999, 7], vec![5, 0]);
    extension.set_criticality(critical);
    extension
}

#[test]
fn a_certificate_has_no_critical_extension_that_is_not_understood() {
    let top = root(authority("top"));
    let shown = |extension: CustomExtension| {
        let params = with(server(&[NAME]), |params| params.custom_extensions = vec![extension]);
        checked(&signed(&top, &params), &[], &[&top])
    };
    let unknown = |id: &str| Err(Untrusted::Extension(id.to_owned()));
    assert_eq!(shown(extension(false)), Ok(()));
    assert_eq!(shown(extension(true)), unknown("1.3.6.1.4.1.99999.7"));
    // Policies, whatever they are, but not what is none.
    let policies = |content: &[u8]| {
        let mut policies = CustomExtension::from_oid_content(&[2, 5, 29, 32], content.to_vec());
        policies.set_criticality(true);
        policies
    };
    assert_eq!(shown(policies(&[0x30, 7, 0x30, 5, 6, 3, 0x2a, 3, 4])), Ok(()));
    assert_eq!(shown(policies(&[5, 0])), unknown("2.5.29.32"));
}

#[test]
fn a_certificate_says_nothing_of_its_use_or_that_it_is_for_servers() {
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, ServerAuth};
    let top = root(authority("top"));
    for (purposes, expected) in [
        (vec![], Ok(())),
        (vec![ServerAuth], Ok(())),
        (vec![Any], Ok(())),
        (vec![ClientAuth, ServerAuth], Ok(())),
        (vec![ClientAuth], Err(Untrusted::Usage)),
    ] {
        let params = with(server(&[NAME]), |params| params.extended_key_usages = purposes);
        assert_eq!(checked(&signed(&top, &params), &[], &[&top]), expected);
    }
}

#[test]
fn a_certificate_is_for_the_names_and_addresses_in_it() {
    let top = root(authority("top"));
    let trusted = ders(&[&top]);
    let params = with(server(&["*.a.test", "127.0.0.1", "2001:db8::1"]), |params| {
        params.subject_alt_names.insert(0, SanType::Rfc822Name("relay@b.test".try_into().unwrap()));
    });
    let leaf = signed(&top, &params);
    for name in ["relay.a.test", "127.0.0.1", "::ffff:127.0.0.1", "2001:db8::1"] {
        assert_eq!(check_at(NOW, name, &leaf, &[], &trusted), Ok(()), "{name}");
    }
    let names = ["*.a.test", "127.0.0.1", "2001:db8::1"].map(str::to_owned).to_vec();
    for name in ["a.test", "b.test", "127.0.0.2", "::1"] {
        assert_eq!(check_at(NOW, name, &leaf, &[], &trusted), Err(Untrusted::Name(names.clone())), "{name}");
    }
    let nameless = checked(&signed(&top, &server(&[])), &[], &[&top]).unwrap_err();
    assert_eq!(nameless.to_string(), "it has no alternative names");
    assert_eq!(Untrusted::Name(names).to_string(), "it is for the names *.a.test, 127.0.0.1, 2001:db8::1");
}

/// An authority for the names below `test`.
fn constrained(name: &str) -> CertificateParams {
    let permitted_subtrees = vec![GeneralSubtree::DnsName("test".to_owned())];
    with(authority(name), |params| {
        params.name_constraints = Some(NameConstraints { permitted_subtrees, excluded_subtrees: vec![] });
    })
}

#[test]
fn authorities_with_name_constraints_are_left_to_webpki() {
    let (top, bounded) = (root(authority("top")), root(constrained("bounded")));
    let leaf = |issuer: &Authority| signed(issuer, &server(&[NAME]));
    assert_eq!(checked(&leaf(&bounded), &[], &[&bounded]), Err(Untrusted::Constrained));
    let between = below(&top, constrained("between"));
    assert_eq!(checked(&leaf(&between), &[&between], &[&top]), Err(Untrusted::Constrained));
    // Where others lead to something trusted, there is nothing to ask.
    assert_eq!(checked(&leaf(&top), &[&between], &[&top, &bounded]), Ok(()));
}

#[test]
fn webpki_trusts_authorities_for_servers_alone() {
    let vouches = |params: CertificateParams| may_vouch(root(params).der());
    assert!(vouches(authority("a")));
    assert!(vouches(constrained("a")));
    assert!(vouches(with(authority("a"), |params| params.not_after = date_time_ymd(2000, 1, 1))));
    assert!(!vouches(with(authority("a"), |params| params.is_ca = IsCa::ExplicitNoCa)));
    assert!(!vouches(server(&[NAME])));
    let for_clients = vec![ExtendedKeyUsagePurpose::ClientAuth];
    assert!(!vouches(with(authority("a"), |params| params.extended_key_usages = for_clients)));
    assert!(!may_vouch(&Der::from(b"nonsense".to_vec())));
}
