//! Chains of certificates by Go's rules. Unlike webpki's they let a server show an authority's certificate as its own (as
//! `openssl req -x509` makes them), or one that is trusted itself; its certificate may have policies, whatever they are, and a
//! wildcard a single label behind it. And only an authority may sign, even if it is trusted. Name constraints are not read:
//! where they decide, webpki does.
use std::fmt;
use std::net::IpAddr;

use rustls::pki_types::{
    CertificateDer, ServerName, SignatureVerificationAlgorithm, SubjectPublicKeyInfoDer, UnixTime,
};
use webpki::RawPublicKeyEntity;
use x509_parser::prelude::{FromDer, GeneralName, ParsedExtension, X509Certificate, X509Version};

/// Signatures that one chain may cost, as in Go: an impostor can send many certificates with one name.
const MOST_SIGNATURES: usize = 100;
/// Certificates from the leaf to what is trusted.
const LONGEST: usize = 8;

/// What a chain is held to.
pub(crate) struct Rules<'a> {
    pub(crate) trusted: &'a [CertificateDer<'static>],
    pub(crate) algorithms: &'a [&'static dyn SignatureVerificationAlgorithm],
    pub(crate) now: UnixTime,
}

/// Why a server is not believed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Untrusted {
    Unreadable,
    NotYet,
    Expired,
    /// These are the names that it is for, and none of them is meant.
    Name(Vec<String>),
    /// The certificate is for something else than a server.
    Usage,
    /// It has a critical extension, by its object identifier, that is not known here.
    Extension(String),
    Issuer,
    /// An authority with name constraints would have to be believed.
    Constrained,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable => f.write_str("it cannot be read"),
            Self::NotYet => f.write_str("it is not valid yet"),
            Self::Expired => f.write_str("it has expired"),
            Self::Name(names) if names.is_empty() => f.write_str("it has no alternative names"),
            Self::Name(names) => write!(f, "it is for the names {}", names.join(", ")),
            Self::Usage => f.write_str("it is not for servers"),
            Self::Extension(id) => write!(f, "it has the critical extension {id}, which is not known here"),
            Self::Issuer | Self::Constrained => f.write_str("no trusted root has signed it"),
        }
    }
}

impl std::error::Error for Untrusted {}

/// Whether `leaf` is for the server of this name, and leads to something that is trusted by way of `others`.
pub(crate) fn check(
    leaf: &CertificateDer<'_>,
    others: &[CertificateDer<'_>],
    name: &ServerName<'_>,
    rules: &Rules<'_>,
) -> Result<(), Untrusted> {
    let parsed = read(leaf).ok_or(Untrusted::Unreadable)?;
    valid(&parsed, rules.now)?;
    serves(&parsed)?;
    let names = names_of(&parsed);
    if !is_for(&names, name) {
        return Err(Untrusted::Name(names));
    }
    if rules.trusted.contains(leaf) {
        return Ok(());
    }
    let trusted: Vec<_> = rules.trusted.iter().filter_map(|der| read(der)).collect();
    let others: Vec<_> = others.iter().filter_map(|der| read(der)).collect();
    let mut search = Search { trusted: &trusted, others: &others, rules, signatures: MOST_SIGNATURES };
    if search.leads_to_trust(&mut vec![&parsed]) {
        return Ok(());
    }
    let is_constrained = |certificate: &X509Certificate<'_>| !matches!(certificate.name_constraints(), Ok(None));
    if trusted.iter().chain(&others).any(is_constrained) { Err(Untrusted::Constrained) } else { Err(Untrusted::Issuer) }
}

/// Whether something that is trusted may sign for servers, its time aside.
pub(crate) fn may_vouch(der: &CertificateDer<'_>) -> bool {
    read(der).is_some_and(|certificate| may_sign(&certificate, 0) && serves(&certificate).is_ok())
}

struct Search<'a> {
    trusted: &'a [X509Certificate<'a>],
    others: &'a [X509Certificate<'a>],
    rules: &'a Rules<'a>,
    signatures: usize,
}

impl<'a> Search<'a> {
    /// Whether something trusted has signed the last of `chain`, or another certificate that something trusted has.
    fn leads_to_trust(&mut self, chain: &mut Vec<&'a X509Certificate<'a>>) -> bool {
        let (trusted, others) = (self.trusted, self.others);
        if trusted.iter().any(|issuer| self.has_signed(issuer, chain)) {
            return true;
        }
        if chain.len() + 1 >= LONGEST {
            return false;
        }
        for issuer in others {
            if chain.iter().any(|known| std::ptr::eq(*known, issuer)) || !self.has_signed(issuer, chain) {
                continue;
            }
            chain.push(issuer);
            if self.leads_to_trust(chain) {
                return true;
            }
            chain.pop();
        }
        false
    }

    fn has_signed(&mut self, issuer: &X509Certificate<'_>, chain: &[&X509Certificate<'_>]) -> bool {
        let [.., signed] = chain else { return false };
        if signed.issuer().as_raw() != issuer.subject().as_raw()
            || signed.signature_algorithm != signed.tbs_certificate.signature
            || !is_authority(issuer, chain.len() - 1)
            || valid(issuer, self.rules.now).is_err()
            || serves(issuer).is_err()
            || self.signatures == 0
        {
            return false;
        }
        self.signatures -= 1;
        let key = SubjectPublicKeyInfoDer::from(issuer.public_key().raw);
        let Ok(key) = RawPublicKeyEntity::try_from(&key) else { return false };
        let id = signed.signature_algorithm.algorithm.as_bytes();
        let verifies = |algorithm: &&&'static dyn SignatureVerificationAlgorithm| {
            // The identifier's tag and length stand before it.
            algorithm.signature_alg_id().get(2..).is_some_and(|known| known.starts_with(id))
                && key
                    .verify_signature(**algorithm, signed.tbs_certificate.as_ref(), &signed.signature_value.data)
                    .is_ok()
        };
        self.rules.algorithms.iter().any(|algorithm| verifies(&algorithm))
    }
}

fn read<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().filter(|(rest, _)| rest.is_empty()).map(|(_, certificate)| certificate)
}

/// Whether it may sign whatever others, with `below` certificates of authorities between it and the leaf.
fn is_authority(certificate: &X509Certificate<'_>, below: usize) -> bool {
    may_sign(certificate, below) && matches!(certificate.name_constraints(), Ok(None))
}

fn may_sign(certificate: &X509Certificate<'_>, below: usize) -> bool {
    let Ok(constraints) = certificate.basic_constraints() else { return false };
    let Ok(usage) = certificate.key_usage() else { return false };
    let is_authority = match constraints {
        Some(known) => known.value.ca && known.value.path_len_constraint.is_none_or(|most| below <= most as usize),
        // Before version 3 there was no way to say so.
        None => certificate.version() != X509Version::V3,
    };
    is_authority && usage.is_none_or(|usage| usage.value.key_cert_sign())
}

/// In time, and without extensions that have to be understood and are not.
fn valid(certificate: &X509Certificate<'_>, now: UnixTime) -> Result<(), Untrusted> {
    let validity = certificate.validity();
    let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
    if now < validity.not_before.timestamp() {
        return Err(Untrusted::NotYet);
    }
    if now > validity.not_after.timestamp() {
        return Err(Untrusted::Expired);
    }
    match certificate.extensions().iter().find(|extension| {
        extension.critical
            && matches!(
                extension.parsed_extension(),
                ParsedExtension::UnsupportedExtension { .. }
                    | ParsedExtension::ParseError { .. }
                    | ParsedExtension::Unparsed
            )
    }) {
        Some(unknown) => Err(Untrusted::Extension(unknown.oid.to_id_string())),
        None => Ok(()),
    }
}

/// It says nothing of what it is for, or servers are among it.
fn serves(certificate: &X509Certificate<'_>) -> Result<(), Untrusted> {
    match certificate.extended_key_usage() {
        Ok(usage) if usage.as_ref().is_none_or(|usage| usage.value.any || usage.value.server_auth) => Ok(()),
        _ => Err(Untrusted::Usage),
    }
}

/// The names and addresses that it is for.
fn names_of(certificate: &X509Certificate<'_>) -> Vec<String> {
    let Ok(Some(names)) = certificate.subject_alternative_name() else { return Vec::new() };
    let text = |name: &GeneralName<'_>| {
        if let GeneralName::DNSName(name) = name {
            return Some((*name).to_owned());
        }
        let GeneralName::IPAddress(bytes) = name else { return None };
        address(bytes).map(|address| address.to_string())
    };
    names.value.general_names.iter().filter_map(text).collect()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn is_for(names: &[String], meant: &ServerName<'_>) -> bool {
    match meant {
        ServerName::DnsName(host) => names.iter().any(|name| covers(name, host.as_ref())),
        ServerName::IpAddress(address) => {
            let address = IpAddr::from(*address).to_canonical();
            names.iter().filter_map(|name| name.parse::<IpAddr>().ok()).any(|name| name.to_canonical() == address)
        }
        _ => false,
    }
}

/// As `covers` in `src/protocol/host-name.ts`.
fn covers(pattern: &str, host: &str) -> bool {
    let bare = host.strip_suffix('.').unwrap_or(host);
    let labels: Vec<&str> = pattern.split('.').collect();
    let is_wild = labels[0] == "*";
    if !labels[usize::from(is_wild)..].iter().all(|label| is_label(label)) || !bare.split('.').all(is_label) {
        return pattern.eq_ignore_ascii_case(host);
    }
    match pattern.strip_prefix("*.") {
        Some(behind) => bare.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(behind)),
        None => pattern.eq_ignore_ascii_case(bare),
    }
}

fn is_label(label: &str) -> bool {
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty() && !label.starts_with('-') && label.bytes().all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_covered_as_go_has_it() {
        for (pattern, host) in [
            ("relay.internal", "relay.internal"),
            ("Relay.Internal", "rELAY.iNTERNAL"),
            ("relay.internal", "relay.internal."),
            ("*.internal", "relay.internal"),
            ("*.internal", "relay.internal."),
            ("*.lan", "a_b-c.lan"),
            ("localhost", "localhost"),
            // What is no host name covers itself.
            ("relay.internal.", "relay.internal."),
            ("-a.internal", "-a.internal"),
        ] {
            assert!(covers(pattern, host), "{pattern} {host}");
        }
        for (pattern, host) in [
            ("*.internal", "internal"),
            ("*.internal", "a.b.internal"),
            ("*", "localhost"),
            ("r*.internal", "relay.internal"),
            ("relay.*", "relay.internal"),
            ("*.*.test", "a.b.test"),
            ("relay.internal.", "relay.internal"),
            ("relay", "relay.internal"),
            ("", "relay"),
            ("*.internal", "-a.internal"),
            ("*.internal", "a*.internal"),
        ] {
            assert!(!covers(pattern, host), "{pattern} {host}");
        }
    }
}
