//! Networks: whose address a connection's share belongs to, and which addresses have no share.

use std::fmt;
use std::net::IpAddr;

/// What has one share: an IPv4 address, or the /64 of an IPv6 address, which one host has to itself.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) enum Network {
    V4(u32),
    V6(u64),
}

impl Network {
    /// `None` where the address is not known.
    pub(crate) fn of(ip: IpAddr) -> Option<Self> {
        match ip.to_canonical() {
            ip if ip.is_unspecified() => None,
            IpAddr::V4(ip) => Some(Self::V4(ip.to_bits())),
            IpAddr::V6(ip) => Some(Self::V6((ip.to_bits() >> 64) as u64)),
        }
    }
}

/// The addresses that begin with the same bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Prefix {
    ip: IpAddr,
    bits: u8,
}

impl Prefix {
    /// Reads `address/bits`, or an address that stands for itself.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let ip: IpAddr = address.parse().ok()?;
        let most = if ip.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok()).filter(|bits| *bits <= most)?;
        Some(Self { ip, bits })
    }

    /// Whether the address is one of them. One that is mapped from IPv4 is an IPv4 address.
    pub(crate) fn contains(&self, ip: IpAddr) -> bool {
        match (self.ip, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                (own.to_bits() ^ ip.to_bits()).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => {
                (own.to_bits() ^ ip.to_bits()).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) == 0
            }
            _ => false,
        }
    }
}

/// As [`Prefix::parse`] reads it, with all bits of the address.
impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.ip, self.bits)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_an_ipv4_address_or_a_64_of_ipv6() {
        let of = |text: &str| Network::of(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:2"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!((of("0.0.0.0"), of("::")), (None, None));
    }

    #[test]
    fn a_prefix_has_the_addresses_that_begin_with_it() {
        let within = |prefix: &str, ip: &str| Prefix::parse(prefix).unwrap().contains(ip.parse().unwrap());
        assert!(within("127.0.0.0/8", "127.9.9.9") && within("127.0.0.0/8", "::ffff:127.0.0.1"));
        assert!(!within("127.0.0.0/8", "128.0.0.1") && !within("127.0.0.0/8", "::1"));
        assert!(within("::1", "::1") && !within("::1", "::2"));
        assert!(within("0.0.0.0/0", "203.0.113.7") && within("::/0", "2001:db8::1"));
        assert!(within("192.0.2.7/31", "192.0.2.6") && !within("192.0.2.7/32", "192.0.2.6"));
        for text in ["", "x", "1.2.3.4/33", "::/129", "1.2.3.4/-1", "1.2.3.4/"] {
            assert_eq!(Prefix::parse(text), None, "{text}");
        }
    }
}
