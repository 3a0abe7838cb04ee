//! Relays' meta certificates: one behind the chain says the relay's key, so that a client need not wait for its greeting.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// The only part of the subject, as DER has it: attribute `commonName` of 71 characters.
const COMMON_NAME: &[u8] = &[0x06, 0x03, 0x55, 0x04, 0x03];
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const PREFIX: &[u8] = b"derpkey";
const KEY_DIGITS: usize = 64;

/// The key that one of the certificates says, and the version of the protocol, which is its serial number; neither is
/// zero. To be believed only where certificates are not sent in the clear, and where the peer has proven who it is:
/// TLS 1.3.
pub fn relay_key<T: AsRef<[u8]>>(certificates: &[T]) -> Option<([u8; 32], u8)> {
    certificates.iter().find_map(|der| {
        let der = CertificateDer::from(der.as_ref());
        let certificate = EndEntityCert::try_from(&der).ok()?;
        let &[version] = certificate.serial() else { return None };
        let key = key(certificate.subject())?;
        (version != 0 && key != [0; 32]).then_some((key, version))
    })
}

fn key(subject: &[u8]) -> Option<[u8; 32]> {
    let at = subject.windows(COMMON_NAME.len()).position(|window| window == COMMON_NAME)?;
    let (&[kind, length], name) = subject[at + COMMON_NAME.len()..].split_first_chunk()?;
    let is_name = matches!(kind, UTF8_STRING | PRINTABLE_STRING) && usize::from(length) == name.len();
    let digits = name.strip_prefix(PREFIX).filter(|digits| is_name && digits.len() == KEY_DIGITS)?;
    let mut key = [0; 32];
    for (byte, pair) in key.iter_mut().zip(digits.chunks(2)) {
        let [high, low] = [pair[0], pair[1]].map(|digit| char::from(digit).to_digit(16));
        *byte = (16 * high? + low?) as u8;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, DnType, DnValue, KeyPair, PKCS_ED25519, SerialNumber};

    use super::*;

    fn certificate(name: impl Into<DnValue>, serial: &[u8]) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from_slice(serial));
        let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
        params.self_signed(&key).unwrap().der().to_vec()
    }

    #[test]
    fn the_key_of_a_meta_certificate() {
        let name = format!("derpkey{}", "0a".repeat(32));
        let other = certificate("relay.test", &[2]);
        let meta = certificate(&name, &[2]);
        assert_eq!(relay_key(&[&other, &meta]), Some(([10; 32], 2)));
        assert_eq!(relay_key(&[&other]), None);
        let (text, digits) = ("0123456789abcdef", [0x01_u8, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef]);
        let every_digit = certificate(format!("derpkey{}", text.repeat(4)), &[127]);
        assert_eq!(relay_key(&[&every_digit]).unwrap(), (digits.repeat(4).try_into().unwrap(), 127));
        assert_eq!(relay_key(&[&b"nonsense"[..], &meta]), Some(([10; 32], 2)));
        for (name, serial) in [
            (&name[..70], &[2][..]),
            (&format!("{name}0"), &[2]),
            (&format!("derpkey{}", "0g".repeat(32)), &[2]),
            (&format!("derpkey{}", "00".repeat(32)), &[2]),
            (&name.replace("derpkey", "derpkez"), &[2]),
            (&name, &[1, 2]),
            (&name, &[0]),
        ] {
            assert_eq!(relay_key(&[certificate(name, serial)]), None, "{name} {serial:?}");
        }
        // A text of another kind, as other software may make them.
        let ia5 = DnValue::Ia5String(name.as_str().try_into().unwrap());
        assert_eq!(relay_key(&[certificate(ia5, &[2])]), None);
        for cut in 0..meta.len() {
            assert_eq!(relay_key(&[&meta[..cut]]), None);
        }
    }
}
