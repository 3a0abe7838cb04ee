//! Keys: public node keys, a relay's or client's secret key, what two of them share, and the key of a mesh.
//!
//! None of the secret ones shows its bytes in `Debug`, and the public one only its short form: logs must never hold
//! a whole key.
use std::fmt;

use aws_lc_rs::agreement::{PrivateKey, UnparsedPublicKey, X25519, agree};
use crypto_secretbox::aead::{AeadInPlace, KeyInit};
use crypto_secretbox::{Tag, XSalsa20Poly1305};
use salsa20::cipher::consts::U10;
use salsa20::hsalsa;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::wire::{BOX_OVERHEAD, KEY_LENGTH, NONCE_LENGTH};

/// Never to be used twice with one key; 24 random bytes are enough to be sure of it.
pub type Nonce = [u8; NONCE_LENGTH];

/// A public node key. `Display` and `Debug` give the short form, `{:x}` all 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeKey([u8; KEY_LENGTH]);

impl NodeKey {
    /// No client has this key: logins with it are refused.
    pub const ZERO: Self = Self([0; KEY_LENGTH]);

    /// Every 32 bytes are a key; whether anyone holds its secret is seen when a box opens.
    #[inline]
    pub const fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Self {
        Self(bytes)
    }

    /// The key that `bytes` begin with; `None` if they are fewer than 32.
    #[inline]
    pub fn first_of(bytes: &[u8]) -> Option<Self> {
        bytes.first_chunk().copied().map(Self)
    }

    /// The key as it stands on the wire.
    #[inline]
    pub const fn as_bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }

    /// Whether all bytes are zero.
    #[inline]
    pub fn is_zero(&self) -> bool {
        *self == Self::ZERO
    }
}

/// The first five base64 characters in brackets: the form that Tailscale's logs use.
impl fmt::Display for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let [a, b, c, d, ..] = self.0;
        let bits = u32::from_be_bytes([a, b, c, d]);
        f.write_str("[")?;
        for character in 0..5 {
            let six = (bits >> (26 - 6 * character)) & 63;
            write!(f, "{}", ALPHABET[six as usize] as char)?;
        }
        f.write_str("]")
    }
}

impl fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::LowerHex for NodeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// A peer's public key is a point of low order: the secret would not depend on our own key.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LowOrderKey;

impl fmt::Display for LowOrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key is of low order")
    }
}

impl std::error::Error for LowOrderKey {}

/// The secret half of a [`NodeKey`]. Wiped when dropped.
pub struct SecretKey(PrivateKey);

impl SecretKey {
    /// Any 32 bytes serve; X25519 clamps them where it uses them.
    pub fn from_bytes(bytes: [u8; KEY_LENGTH]) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self(PrivateKey::from_private_key(&X25519, &*bytes).expect("they are as many as a key has"))
    }

    /// The public half. Costs a scalar multiplication: keep it.
    pub fn public_key(&self) -> NodeKey {
        let public = self.0.compute_public_key().expect("an X25519 key has a public half");
        NodeKey::first_of(public.as_ref()).expect("it has as many bytes")
    }

    /// What this key and `peer`'s secret one have in common. Costs a scalar multiplication.
    ///
    /// # Errors
    /// If `peer` is zero or another point of low order.
    pub fn agree(&self, peer: &NodeKey) -> Result<SharedKey, LowOrderKey> {
        agree(&self.0, UnparsedPublicKey::new(&X25519, peer.0), LowOrderKey, |secret| {
            let secret = secret.first_chunk::<KEY_LENGTH>().ok_or(LowOrderKey)?;
            // NaCl's crypto_box: HSalsa20 of the X25519 secret is the key of an ordinary secretbox.
            let key = hsalsa::<U10>(secret.into(), &[0; 16].into());
            Ok(SharedKey(Zeroizing::new(key.into())))
        })
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(..)")
    }
}

/// Seals and opens the boxes between two keys, in both directions. Wiped when dropped.
pub struct SharedKey(Zeroizing<[u8; KEY_LENGTH]>);

impl SharedKey {
    /// Appends `nonce`, then the box of `text`: 40 bytes more than `text`.
    pub fn seal(&self, nonce: &Nonce, text: &[u8], into: &mut Vec<u8>) {
        into.extend_from_slice(nonce);
        let tag_at = into.len();
        into.extend_from_slice(&[0; BOX_OVERHEAD]);
        into.extend_from_slice(text);
        let (tag, text) = into[tag_at..].split_at_mut(BOX_OVERHEAD);
        let sealed = self.secretbox().encrypt_in_place_detached(nonce.into(), &[], text);
        tag.copy_from_slice(&sealed.expect("a text that fits into memory is not too long for the cipher"));
    }

    /// Opens, in place, what [`SharedKey::seal`] has appended. `None`, and nothing changed, if the box does not open.
    pub fn open<'a>(&self, sealed: &'a mut [u8]) -> Option<&'a [u8]> {
        let (nonce, sealed) = sealed.split_first_chunk_mut::<NONCE_LENGTH>()?;
        let (tag, text) = sealed.split_first_chunk_mut::<BOX_OVERHEAD>()?;
        let nonce: &Nonce = nonce;
        self.secretbox().decrypt_in_place_detached(nonce.into(), &[], text, Tag::from_slice(tag)).ok()?;
        Some(text)
    }

    fn secretbox(&self) -> XSalsa20Poly1305 {
        XSalsa20Poly1305::new((&*self.0).into())
    }
}

impl fmt::Debug for SharedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SharedKey(..)")
    }
}

/// What the relays of a mesh have in common. Compares in constant time. Wiped when dropped.
#[derive(Clone)]
pub struct MeshKey(Zeroizing<[u8; KEY_LENGTH]>);

impl MeshKey {
    /// As an operator writes it: 64 hex digits in either case, blanks around them.
    pub fn parse(text: &str) -> Option<Self> {
        Self::from_hex(text.trim())
    }

    /// As it travels in a ClientInfo: exactly 64 hex digits in either case, nothing around them.
    pub fn from_hex(text: &str) -> Option<Self> {
        let mut key = Zeroizing::new([0; KEY_LENGTH]);
        let (digits, []) = text.as_bytes().as_chunks::<2>() else {
            return None;
        };
        if digits.len() != KEY_LENGTH {
            return None;
        }
        for (byte, &[high, low]) in key.iter_mut().zip(digits) {
            *byte = 16 * hex_digit(high)? + hex_digit(low)?;
        }
        Some(Self(key))
    }

    /// 64 lower-case digits: a secret.
    pub fn to_hex(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The key itself: a secret.
    pub fn as_bytes(&self) -> &[u8; KEY_LENGTH] {
        &self.0
    }

    /// An all-zero key is well-formed, and opens nothing.
    pub fn is_zero(&self) -> bool {
        self.0.as_slice().ct_eq(&[0; KEY_LENGTH]).into()
    }
}

impl PartialEq for MeshKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_slice().ct_eq(other.0.as_slice()).into()
    }
}

impl Eq for MeshKey {}

impl fmt::Debug for MeshKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MeshKey(..)")
    }
}

fn hex_digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        b'A'..=b'F' => Some(character - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The points of low order and their aliases, little-endian: whatever the secret key, X25519 makes zero of them.
    fn low_order_keys() -> Vec<NodeKey> {
        let p = |low: u8, high: u8| {
            let mut bytes = [0xff; KEY_LENGTH];
            bytes[0] = low;
            bytes[31] = high;
            bytes
        };
        let mut one = [0; KEY_LENGTH];
        one[0] = 1;
        let eighth = *b"\xe0\xeb\x7a\x7c\x3b\x41\xb8\xae\x16\x56\xe3\xfa\xf1\x9f\xc4\x6a\
                        \xda\x09\x8d\xeb\x9c\x32\xb1\xfd\x86\x62\x05\x16\x5f\x49\xb8\x00";
        let other_eighth = *b"\x5f\x9c\x95\xbc\xa3\x50\x8c\x24\xb1\xd0\xb1\x55\x9c\x83\xef\x5b\
                              \x04\x44\x5c\xc4\x58\x1c\x8e\x86\xd8\x22\x4e\xdd\xd0\x9f\x11\x57";
        let canonical = [[0; KEY_LENGTH], one, eighth, other_eighth, p(0xec, 0x7f), p(0xed, 0x7f), p(0xee, 0x7f)];
        // The top bit is ignored.
        let aliases = canonical.map(|mut bytes| {
            bytes[31] |= 0x80;
            bytes
        });
        canonical.into_iter().chain(aliases).map(NodeKey).collect()
    }

    #[test]
    fn low_order_keys_agree_with_nobody() {
        let secret = SecretKey::from_bytes([7; KEY_LENGTH]);
        for key in low_order_keys() {
            assert_eq!(secret.agree(&key).err(), Some(LowOrderKey), "{key:x}");
        }
    }

    #[test]
    fn secrets_do_not_show() {
        let secret = SecretKey::from_bytes([0xab; KEY_LENGTH]);
        let shared = secret.agree(&SecretKey::from_bytes([0xcd; KEY_LENGTH]).public_key()).unwrap();
        let mesh = MeshKey::from_hex(&"ab".repeat(KEY_LENGTH)).unwrap();
        assert_eq!(format!("{secret:?} {shared:?} {mesh:?}"), "SecretKey(..) SharedKey(..) MeshKey(..)");
        assert_eq!(format!("{:?}", NodeKey::from_bytes([0xff; KEY_LENGTH])), "[/////]");
    }

    #[test]
    fn a_mesh_key_equals_itself_alone() {
        let key = MeshKey(Zeroizing::new([1; KEY_LENGTH]));
        assert_eq!(key, MeshKey::parse(&format!(" {}\n", "01".repeat(KEY_LENGTH))).unwrap());
        for bit in 0..8 * KEY_LENGTH {
            let mut other = key.clone();
            other.0[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(key, other);
        }
    }

    proptest! {
        #[test]
        fn both_sides_share_a_key(
            a: [u8; 32], b: [u8; 32], nonce: [u8; 24], text in prop::collection::vec(any::<u8>(), 0..200),
        ) {
            let (a, b) = (SecretKey::from_bytes(a), SecretKey::from_bytes(b));
            let mut sealed = b"before".to_vec();
            a.agree(&b.public_key()).unwrap().seal(&nonce, &text, &mut sealed);
            prop_assert_eq!(sealed.len(), 6 + 40 + text.len());
            let opened = b.agree(&a.public_key()).unwrap();
            prop_assert_eq!(opened.open(&mut sealed[6..]), Some(&text[..]));
        }

        #[test]
        fn a_changed_box_does_not_open_and_stays(
            key: [u8; 32],
            nonce: [u8; 24],
            text in prop::collection::vec(any::<u8>(), 0..50),
            at: prop::sample::Index,
            bit in 0..8_u8,
        ) {
            let key = SharedKey(Zeroizing::new(key));
            let mut sealed = Vec::new();
            key.seal(&nonce, &text, &mut sealed);
            let at = at.index(sealed.len());
            sealed[at] ^= 1 << bit;
            let before = sealed.clone();
            prop_assert_eq!(key.open(&mut sealed), None);
            prop_assert_eq!(sealed, before);
        }

        #[test]
        fn a_cut_box_does_not_open(key: [u8; 32], nonce: [u8; 24], length in 0..50_usize) {
            let key = SharedKey(Zeroizing::new(key));
            let mut sealed = Vec::new();
            key.seal(&nonce, b"0123456789", &mut sealed);
            sealed.truncate(length.min(sealed.len() - 1));
            prop_assert_eq!(key.open(&mut sealed), None);
        }
    }
}
