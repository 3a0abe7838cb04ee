//! STUN as Tailscale's clients speak it (RFC 5389, of which they need little): a request that names itself, and the answer
//! that says where it came from.
//!
//! ```text
//! request   00 01, length (ignored), cookie 21 12 a4 42, transaction id (12)
//!           attributes, padded to 4 bytes: type (2), length (2), value
//!             80 22 "tailnode" is among them; 80 28, CRC-32 of everything before it ^ 53 54 55 4e, is the last
//! answer    01 01, length 12 or 24, cookie, transaction id
//!             00 20, length 8 or 20, 00, family 1 or 2, port ^ cookie, address ^ cookie and transaction id
//! ```
use std::net::{IpAddr, SocketAddr};

/// The longest answer, which is IPv6's.
pub const MAX_RESPONSE_LENGTH: usize = HEADER_LENGTH + ATTRIBUTE_HEADER_LENGTH + 4 + 16;

const HEADER_LENGTH: usize = 20;
const ATTRIBUTE_HEADER_LENGTH: usize = 4;
const BINDING_REQUEST: [u8; 2] = [0x00, 0x01];
const BINDING_RESPONSE: [u8; 2] = [0x01, 0x01];
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const XOR_MAPPED_ADDRESS: [u8; 2] = [0x00, 0x20];
const SOFTWARE: [u8; 2] = [0x80, 0x22];
const FINGERPRINT: [u8; 2] = [0x80, 0x28];
const FINGERPRINT_XOR: u32 = 0x5354_554e;
const TAILNODE: &[u8] = b"tailnode";

/// A binding request of a Tailscale client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BindingRequest {
    /// Cookie and transaction id: what the answer repeats, and hides the address with.
    mask: [u8; 16],
}

impl BindingRequest {
    /// Reads a datagram. Nothing if it is anything else, which gets no answer. The length that it gives for itself is not
    /// looked at: the datagram's own is what counts.
    pub fn parse(datagram: &[u8]) -> Option<Self> {
        let (header, mut attributes) = datagram.split_first_chunk::<HEADER_LENGTH>()?;
        let [a, b, _, _, mask @ ..] = *header;
        if [a, b] != BINDING_REQUEST || !mask.starts_with(&COOKIE) {
            return None;
        }
        let mut names_itself = false;
        loop {
            let before = datagram.len() - attributes.len();
            let (&[a, b, c, d], rest) = attributes.split_first_chunk()?;
            let length = usize::from(u16::from_be_bytes([c, d]));
            let value = rest.get(..length)?;
            attributes = rest.get(length.next_multiple_of(4)..)?;
            names_itself |= [a, b] == SOFTWARE && value == TAILNODE;
            if attributes.is_empty() {
                let is_last_right = [a, b] == FINGERPRINT && value == fingerprint(&datagram[..before]);
                return (names_itself && is_last_right).then_some(Self { mask });
            }
        }
    }

    /// The answer to a request that came from here, and how many bytes it has. A mapped IPv4 address is IPv4.
    pub fn answer(&self, from: SocketAddr) -> ([u8; MAX_RESPONSE_LENGTH], usize) {
        let mut answer = [0; MAX_RESPONSE_LENGTH];
        let (family, ip): (u8, &[u8]) = match &from.ip().to_canonical() {
            IpAddr::V4(ip) => (1, &ip.octets()),
            IpAddr::V6(ip) => (2, &ip.octets()),
        };
        let value_length = 4 + ip.len();
        let length = ATTRIBUTE_HEADER_LENGTH + value_length;
        answer[..2].copy_from_slice(&BINDING_RESPONSE);
        answer[3] = length as u8;
        answer[4..20].copy_from_slice(&self.mask);
        answer[20..22].copy_from_slice(&XOR_MAPPED_ADDRESS);
        answer[23] = value_length as u8;
        answer[25] = family;
        let address = [&from.port().to_be_bytes(), ip].concat();
        let masks = self.mask[..2].iter().chain(&self.mask);
        for ((byte, plain), mask) in answer[26..].iter_mut().zip(address).zip(masks) {
            *byte = plain ^ mask;
        }
        (answer, HEADER_LENGTH + length)
    }
}

fn fingerprint(before: &[u8]) -> [u8; 4] {
    (crc32(before) ^ FINGERPRINT_XOR).to_be_bytes()
}

/// CRC-32 of ISO 3309, as in Ethernet and zip.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |sum, byte| CRC_TABLE[usize::from(sum as u8 ^ byte)] ^ (sum >> 8))
}

const CRC_TABLE: [u32; 256] = {
    let mut table = [0; 256];
    let mut index = 0;
    while index < 256 {
        let mut sum = index as u32;
        let mut bit = 0;
        while bit < 8 {
            sum = if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 };
            bit += 1;
        }
        table[index] = sum;
        index += 1;
    }
    table
};

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_check_of_the_crc() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_mapped_address_is_ipv4() {
        let request = BindingRequest { mask: [7; 16] };
        let mapped = request.answer("[::ffff:192.0.2.1]:9".parse().unwrap());
        assert_eq!(mapped, request.answer("192.0.2.1:9".parse().unwrap()));
        assert_eq!(mapped.1, 32);
    }

    #[test]
    fn the_longest_answer_is_that_to_ipv6() {
        let request = BindingRequest { mask: [7; 16] };
        assert_eq!(request.answer("[2001:db8::1]:9".parse().unwrap()).1, MAX_RESPONSE_LENGTH);
    }
}
