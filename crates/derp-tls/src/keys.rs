//! The keys of one direction: kept small, expanded while records flow.
use std::fmt;

use aws_lc_rs::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::{error::Unspecified, hkdf};
use rustls::ConnectionTrafficSecrets;
use zeroize::Zeroizing;

/// A version of TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Version {
    /// RFC 5246.
    Tls12,
    /// RFC 8446.
    Tls13,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cipher {
    Aes128Gcm,
    Aes256Gcm,
    ChaCha20Poly1305,
}

impl Cipher {
    fn algorithm(self) -> &'static aead::Algorithm {
        match self {
            Self::Aes128Gcm => &aead::AES_128_GCM,
            Self::Aes256Gcm => &aead::AES_256_GCM,
            Self::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        }
    }

    /// The hash of the one TLS 1.3 suite that has this cipher.
    fn hash(self) -> hkdf::Algorithm {
        match self {
            Self::Aes128Gcm | Self::ChaCha20Poly1305 => hkdf::HKDF_SHA256,
            Self::Aes256Gcm => hkdf::HKDF_SHA384,
        }
    }

    pub(crate) fn key_length(self) -> usize {
        self.algorithm().key_len()
    }

    pub(crate) fn secret_length(self) -> usize {
        match self {
            Self::Aes128Gcm | Self::ChaCha20Poly1305 => 32,
            Self::Aes256Gcm => 48,
        }
    }
}

const IV_LENGTH: usize = aead::NONCE_LEN;
/// The longest traffic secret; a key and an IV are 44 bytes at most.
const MATERIAL_LENGTH: usize = 48;

/// What a direction needs to go on, in 72 bytes. While records flow, the expanded cipher stands beside it. Both wipe themselves
/// when they are dropped: aws-lc clears what it frees.
pub(crate) struct Keys {
    /// TLS 1.3: the traffic secret, from which key and IV follow. TLS 1.2: the key, then the IV.
    material: Zeroizing<[u8; MATERIAL_LENGTH]>,
    /// Records since this key, in this direction. Part of the nonce: never used twice.
    sequence: u64,
    expanded: Option<Box<Expanded>>,
    /// Since [`Keys::cool`] was asked last.
    used: bool,
    version: Version,
    cipher: Cipher,
}

/// A cipher that is ready. AES-GCM keeps tables beside its key, so this is most of what a busy connection holds.
pub(crate) struct Expanded {
    key: LessSafeKey,
    iv: [u8; IV_LENGTH],
}

impl Keys {
    /// The first keys of a direction, as rustls gives them out. For TLS 1.3, `secret` is the traffic secret. `None` if the two
    /// do not belong together, which would be a fault of this crate, or if the cipher is none that it knows.
    pub(crate) fn new((sequence, keys): &(u64, ConnectionTrafficSecrets), secret: Option<&[u8]>) -> Option<Self> {
        let (cipher, key, iv) = match keys {
            ConnectionTrafficSecrets::Aes128Gcm { key, iv } => (Cipher::Aes128Gcm, key, iv),
            ConnectionTrafficSecrets::Aes256Gcm { key, iv } => (Cipher::Aes256Gcm, key, iv),
            ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv } => (Cipher::ChaCha20Poly1305, key, iv),
            _ => return None,
        };
        let key = key.as_ref().get(..cipher.key_length())?;
        let Some(secret) = secret else {
            return Some(Self::tls12(cipher, key, iv.as_ref(), *sequence));
        };
        let made = Self::tls13(cipher, secret, *sequence)?;
        let (made_key, made_iv) = made.key_and_iv().ok()?;
        (made_key.get(..key.len()) == Some(key) && made_iv == iv.as_ref()).then_some(made)
    }

    pub(crate) fn tls12(cipher: Cipher, key: &[u8], iv: &[u8], sequence: u64) -> Self {
        let mut material = Zeroizing::new([0; MATERIAL_LENGTH]);
        material[..key.len()].copy_from_slice(key);
        material[key.len()..key.len() + iv.len()].copy_from_slice(iv);
        Self { material, sequence, expanded: None, used: false, version: Version::Tls12, cipher }
    }

    /// `None` if the secret does not have the length of the cipher's hash.
    pub(crate) fn tls13(cipher: Cipher, secret: &[u8], sequence: u64) -> Option<Self> {
        if secret.len() != cipher.secret_length() {
            return None;
        }
        let mut material = Zeroizing::new([0; MATERIAL_LENGTH]);
        material[..secret.len()].copy_from_slice(secret);
        Some(Self { material, sequence, expanded: None, used: false, version: Version::Tls13, cipher })
    }

    pub(crate) fn version(&self) -> Version {
        self.version
    }

    /// Whether records carry a part of their nonce.
    pub(crate) fn has_explicit_nonce(&self) -> bool {
        self.version == Version::Tls12 && self.cipher != Cipher::ChaCha20Poly1305
    }

    /// How many records may be sealed with one key. ChaCha20-Poly1305 has no limit that a connection could reach.
    pub(crate) fn wears_out(&self) -> bool {
        self.cipher != Cipher::ChaCha20Poly1305
    }

    /// The number of the next record.
    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The cipher, expanded now if it is not, and the number of the record to use it on. The caller calls [`Keys::advance`]
    /// before it asks again, unless the connection ends.
    pub(crate) fn expanded(&mut self) -> Result<(&Expanded, u64), Unspecified> {
        let expanded = match self.expanded.take() {
            Some(expanded) => expanded,
            None => Box::new(self.expand()?),
        };
        self.used = true;
        Ok((self.expanded.insert(expanded), self.sequence))
    }

    /// The record has been sealed or opened.
    pub(crate) fn advance(&mut self) -> Result<(), Unspecified> {
        self.sequence = self.sequence.checked_add(1).ok_or(Unspecified)?;
        Ok(())
    }

    /// Goes on to the next traffic secret of TLS 1.3, and lets go of this one.
    pub(crate) fn update(&mut self) -> Result<(), Unspecified> {
        let mut next = Zeroizing::new([0; MATERIAL_LENGTH]);
        let length = self.cipher.secret_length();
        self.derive(b"tls13 traffic upd", &mut next[..length])?;
        self.material = next;
        self.sequence = 0;
        self.expanded = None;
        Ok(())
    }

    /// Lets go of the expanded cipher, if there is one; the next record expands it again.
    pub(crate) fn quiet(&mut self) {
        self.expanded = None;
    }

    pub(crate) fn is_expanded(&self) -> bool {
        self.expanded.is_some()
    }

    /// Lets go of the expanded cipher if it has not been used since this was called last. False if there is none any more.
    pub(crate) fn cool(&mut self) -> bool {
        if !std::mem::take(&mut self.used) {
            self.quiet();
        }
        self.is_expanded()
    }

    fn expand(&self) -> Result<Expanded, Unspecified> {
        let (key, iv) = self.key_and_iv()?;
        let key = UnboundKey::new(self.cipher.algorithm(), &key[..self.cipher.key_length()])?;
        Ok(Expanded { key: LessSafeKey::new(key), iv })
    }

    fn key_and_iv(&self) -> Result<(Zeroizing<[u8; 32]>, [u8; IV_LENGTH]), Unspecified> {
        let (mut key, mut iv) = (Zeroizing::new([0; 32]), [0; IV_LENGTH]);
        let length = self.cipher.key_length();
        match self.version {
            Version::Tls12 => {
                key[..length].copy_from_slice(&self.material[..length]);
                iv.copy_from_slice(&self.material[length..length + IV_LENGTH]);
            }
            Version::Tls13 => {
                self.derive(b"tls13 key", &mut key[..length])?;
                self.derive(b"tls13 iv", &mut iv)?;
            }
        }
        Ok((key, iv))
    }

    /// HKDF-Expand-Label of RFC 8446, 7.1, with an empty context.
    fn derive(&self, label: &[u8], into: &mut [u8]) -> Result<(), Unspecified> {
        struct Length(usize);
        impl hkdf::KeyType for Length {
            fn len(&self) -> usize {
                self.0
            }
        }
        let secret = &self.material[..self.cipher.secret_length()];
        let prk = hkdf::Prk::new_less_safe(self.cipher.hash(), secret);
        let length = (into.len() as u16).to_be_bytes();
        prk.expand(&[&length, &[label.len() as u8], label, &[0]], Length(into.len()))?.fill(into)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("version", &self.version)
            .field("cipher", &self.cipher)
            .field("sequence", &self.sequence)
            .finish_non_exhaustive()
    }
}

impl Expanded {
    /// The nonce of a record: the IV, its last eight bytes xored with the record's number.
    pub(crate) fn nonce(&self, sequence: u64) -> [u8; IV_LENGTH] {
        let mut nonce = self.iv;
        for (byte, number) in nonce[IV_LENGTH - 8..].iter_mut().zip(sequence.to_be_bytes()) {
            *byte ^= number;
        }
        nonce
    }

    /// The nonce of a record that brings a part of it.
    pub(crate) fn nonce_with(&self, explicit: &[u8]) -> [u8; IV_LENGTH] {
        let mut nonce = self.iv;
        nonce[IV_LENGTH - explicit.len()..].copy_from_slice(explicit);
        nonce
    }

    /// Opens, in place, ciphertext with the tag behind it. Gives the length of the plaintext.
    pub(crate) fn open(&self, nonce: [u8; IV_LENGTH], aad: &[u8], in_out: &mut [u8]) -> Result<usize, Unspecified> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        Ok(self.key.open_in_place(nonce, Aad::from(aad), in_out)?.len())
    }

    /// Seals `plaintext` into `ciphertext`, which is as long; then `extra`, and the tag, into `extra_and_tag`.
    pub(crate) fn seal(
        &self,
        nonce: [u8; IV_LENGTH],
        aad: &[u8],
        plaintext: &[u8],
        ciphertext: &mut [u8],
        extra: &[u8],
        extra_and_tag: &mut [u8],
    ) -> Result<(), Unspecified> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_out_of_place_scatter(nonce, Aad::from(aad), plaintext, ciphertext, extra, extra_and_tag)
    }

    /// The same for plaintext that lies where the ciphertext is to be.
    pub(crate) fn seal_in_place(
        &self,
        nonce: [u8; IV_LENGTH],
        aad: &[u8],
        in_out: &mut [u8],
        extra: &[u8],
        extra_and_tag: &mut [u8],
    ) -> Result<(), Unspecified> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.seal_in_place_scatter(nonce, Aad::from(aad), in_out, extra, extra_and_tag)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// RFC 8448, 3: the client's application traffic secret, its key and IV, and the client's first record of data.
    #[test]
    fn rfc_8448() {
        let secret = hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
        let mut keys = Keys::tls13(Cipher::Aes128Gcm, &secret, 0).unwrap();
        let (key, iv) = keys.key_and_iv().unwrap();
        assert_eq!(key[..16], hex("17422dda596ed5d9acd890e3c63f5051"));
        assert_eq!(iv[..], hex("5b78923dee08579033e523d9"));
        let mut record = hex(
            "1703030043 a23f7054b62c94d0affafe8228ba55cbefacea42f914aa66bcab3f2b9819a8a5b46b395bd54a9a20441e2b62974e
             1f5a6292a2977014bd1e3deae63aeebb21694915e4",
        );
        let (header, body) = record.split_at_mut(5);
        let (cipher, sequence) = keys.expanded().unwrap();
        assert_eq!(cipher.open(cipher.nonce(sequence), header, body), Ok(51));
        assert_eq!(body[..50], (0..50).collect::<Vec<u8>>());
        assert_eq!(body[50], 23);
        // And the second one, an alert.
        keys.advance().unwrap();
        let mut record = hex("1703030013 c9872760655666b74d7ff1153efd6db6d0b0e3");
        let (header, body) = record.split_at_mut(5);
        let (cipher, sequence) = keys.expanded().unwrap();
        assert_eq!(cipher.open(cipher.nonce(sequence), header, body), Ok(3));
        assert_eq!(body[..3], [1, 0, 21]);
    }

    #[test]
    fn secrets_of_another_length_and_keys_of_another_secret_are_refused() {
        assert!(Keys::tls13(Cipher::Aes256Gcm, &[0; 32], 0).is_none());
        let keys = || {
            let (key, iv) = ([0; 32].into(), [0; 12].into());
            (0, ConnectionTrafficSecrets::Chacha20Poly1305 { key, iv })
        };
        assert!(Keys::new(&keys(), Some(&[0; 32])).is_none());
        assert!(Keys::new(&keys(), None).is_some());
    }

    /// RFC 8448, 3: as rustls would give them out with the traffic secret.
    #[test]
    fn a_key_and_an_iv_have_to_follow_from_the_secret_both() {
        let secret = hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
        let (key, iv) = Keys::tls13(Cipher::Aes128Gcm, &secret, 0).unwrap().key_and_iv().unwrap();
        let made = |key: [u8; 32], iv: [u8; 12]| {
            let (key, iv) = (key.into(), iv.into());
            Keys::new(&(5, ConnectionTrafficSecrets::Aes128Gcm { key, iv }), Some(&secret))
        };
        assert_eq!(made(*key, iv).unwrap().sequence(), 5);
        assert!(made([1; 32], iv).is_none());
        assert!(made(*key, [1; 12]).is_none());
    }

    #[test]
    fn debug_shows_no_secret() {
        let keys = Keys::tls12(Cipher::Aes128Gcm, &[0xab; 16], &[0xcd; 12], 7);
        assert_eq!(format!("{keys:?}"), "Keys { version: Tls12, cipher: Aes128Gcm, sequence: 7, .. }");
    }
}
