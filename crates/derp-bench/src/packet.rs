//! What the packets carry: enough to tell, on arrival, that it is the one that was sent, and when.
//!
//! `magic u32 · flow u32 · sequence u64 · stamp u64 · check u64`, big-endian, then bytes of a fixed pattern. Where in the
//! pattern they begin is taken from the check, so that two packets of a flow differ in every byte: a relay that puts the
//! head of one before the tail of another is found out. Verifying is one comparison, cheap beside the system calls.

/// The shortest packet there is.
pub(crate) const MIN_LENGTH: usize = 32;

/// First, so that no packet looks like one of Tailscale's discovery.
const MAGIC: [u8; 4] = *b"load";
/// The bodies begin at this many places of the pattern; small, so that it stays in the first cache.
const PLACES: usize = 4096;

/// One packet's head.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Stamp {
    pub(crate) flow: u32,
    pub(crate) sequence: u64,
    /// Nanoseconds since the run's zero.
    pub(crate) at: u64,
}

/// Pseudo-random bytes, the same in every process.
pub(crate) struct Pattern {
    bytes: Vec<u8>,
}

impl Pattern {
    /// For packets of up to `length` bytes.
    pub(crate) fn new(length: usize) -> Self {
        let words = (PLACES + length).div_ceil(8) as u64;
        Self { bytes: (0..words).flat_map(|word| mix(word).to_be_bytes()).collect() }
    }

    /// Fills `packet`, which is at least [`MIN_LENGTH`] long.
    pub(crate) fn write(&self, stamp: Stamp, packet: &mut [u8]) {
        let check = check(stamp, packet.len());
        let (head, body) = packet.split_at_mut(MIN_LENGTH);
        head[..4].copy_from_slice(&MAGIC);
        head[4..8].copy_from_slice(&stamp.flow.to_be_bytes());
        head[8..16].copy_from_slice(&stamp.sequence.to_be_bytes());
        head[16..24].copy_from_slice(&stamp.at.to_be_bytes());
        head[24..].copy_from_slice(&check.to_be_bytes());
        body.copy_from_slice(self.body(check, body.len()));
    }

    /// The stamp of a packet that is, to its last byte, as [`Pattern::write`] made it.
    pub(crate) fn read(&self, packet: &[u8]) -> Option<Stamp> {
        let (head, body) = packet.split_first_chunk::<MIN_LENGTH>()?;
        let (magic, rest) = head.split_first_chunk::<4>()?;
        let (flow, rest) = rest.split_first_chunk()?;
        let ([sequence, at, claimed], []) = rest.as_chunks::<8>() else {
            return None;
        };
        let stamp = Stamp {
            flow: u32::from_be_bytes(*flow),
            sequence: u64::from_be_bytes(*sequence),
            at: u64::from_be_bytes(*at),
        };
        let check = check(stamp, packet.len());
        let whole = *magic == MAGIC && u64::from_be_bytes(*claimed) == check;
        (whole && self.bytes.len() >= PLACES + body.len() && body == self.body(check, body.len())).then_some(stamp)
    }

    fn body(&self, check: u64, length: usize) -> &[u8] {
        &self.bytes[check as usize % PLACES..][..length]
    }
}

fn check(stamp: Stamp, length: usize) -> u64 {
    let place = u64::from(stamp.flow) << 32 | length as u64;
    mix(mix(mix(place) ^ stamp.sequence) ^ stamp.at)
}

/// SplitMix64's finish: every bit of the input reaches every bit of the output.
fn mix(word: u64) -> u64 {
    let word = word.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let word = (word ^ word >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    word ^ word >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAMP: Stamp = Stamp { flow: 3, sequence: 1 << 40, at: 123_456_789 };

    #[test]
    fn what_was_written_is_read() {
        let pattern = Pattern::new(65536);
        for length in [MIN_LENGTH, 33, 100, 1400, 65536] {
            let mut packet = vec![0; length];
            pattern.write(STAMP, &mut packet);
            assert_eq!(pattern.read(&packet), Some(STAMP));
        }
    }

    #[test]
    fn every_changed_bit_is_found() {
        let pattern = Pattern::new(200);
        let mut packet = vec![0; 200];
        pattern.write(STAMP, &mut packet);
        for bit in 0..8 * packet.len() {
            packet[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(pattern.read(&packet), None, "bit {bit}");
            packet[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn cut_lengthened_and_mixed_packets_are_found() {
        let pattern = Pattern::new(300);
        let [mut one, mut other] = [vec![0; 200], vec![0; 200]];
        pattern.write(STAMP, &mut one);
        pattern.write(Stamp { sequence: STAMP.sequence + 1, ..STAMP }, &mut other);
        for length in 0..200 {
            assert_eq!(pattern.read(&one[..length]), None);
        }
        assert_eq!(pattern.read(&[&one[..], &other[..1]].concat()), None);
        assert_eq!(pattern.read(&[&one[..MIN_LENGTH], &other[MIN_LENGTH..]].concat()), None);
        assert_eq!(pattern.read(&[&one[..199], &other[199..]].concat()).is_some(), one[199] == other[199]);
    }
}
