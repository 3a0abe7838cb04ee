//! How many peers have sent packets to one client, estimated in at most 4 KiB (HyperLogLog).
//!
//! `src/plane/js/sender-sketch.ts` is the same sketch, and `__test__/vectors/senders.json` holds both to the same numbers.

use crate::key::NodeKey;

/// Bits of a hash that choose its register.
const INDEX_BITS: u32 = 12;
/// The other bits of a hash.
const RANK_BITS: u32 = u32::BITS - INDEX_BITS;
const REGISTERS: usize = 1 << INDEX_BITS;
/// So many senders are counted one by one: their hashes take as much memory as the registers do.
const MOST_HASHES: usize = REGISTERS / size_of::<u32>();

/// The senders of one client. Up to a thousand of them are counted one by one, more are estimated: the standard error is 1.6 %.
#[derive(Debug)]
pub struct SenderSketch(Senders);

#[derive(Debug)]
enum Senders {
    /// Their hashes, ascending.
    Few(Vec<u32>),
    /// In each register the highest rank of the hashes that chose it.
    Many(Box<[u8]>),
}

impl Default for SenderSketch {
    fn default() -> Self {
        Self(Senders::Few(Vec::new()))
    }
}

impl SenderSketch {
    /// Counts a sender, unless it was counted before.
    pub fn insert(&mut self, sender: &NodeKey) {
        let hash = hash(sender);
        match &mut self.0 {
            Senders::Many(registers) => note(registers, hash),
            Senders::Few(hashes) => {
                let Err(at) = hashes.binary_search(&hash) else { return };
                if hashes.len() < MOST_HASHES {
                    hashes.insert(at, hash);
                    return;
                }
                let mut registers = vec![0; REGISTERS].into_boxed_slice();
                for hash in hashes.iter().chain([&hash]) {
                    note(&mut registers, *hash);
                }
                self.0 = Senders::Many(registers);
            }
        }
    }

    /// About how many senders there were.
    pub fn estimate(&self) -> u64 {
        match &self.0 {
            Senders::Few(hashes) => hashes.len() as u64,
            Senders::Many(registers) => estimate(registers),
        }
    }
}

/// 32 bits of a key, each of which depends on all of its bytes.
fn hash(key: &NodeKey) -> u32 {
    let mut hash = 0_u32;
    for word in key.as_bytes().chunks_exact(4) {
        let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
        hash = (hash ^ word).wrapping_mul(0x9e37_79b1);
        hash ^= hash >> 15;
    }
    // The last steps of MurmurHash3.
    hash = (hash ^ (hash >> 16)).wrapping_mul(0x85eb_ca6b);
    hash = (hash ^ (hash >> 13)).wrapping_mul(0xc2b2_ae35);
    hash ^ (hash >> 16)
}

fn note(registers: &mut [u8], hash: u32) {
    let register = &mut registers[(hash >> RANK_BITS) as usize];
    let rank = ((hash << INDEX_BITS).leading_zeros().min(RANK_BITS) + 1) as u8;
    *register = rank.max(*register);
}

/// The improved estimator of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches" (2017): it is
/// unbiased over the whole range, without tables.
fn estimate(registers: &[u8]) -> u64 {
    let mut ranks = [0.0; RANK_BITS as usize + 2];
    for rank in registers {
        ranks[usize::from(*rank)] += 1.0;
    }
    let size = REGISTERS as f64;
    let [empty, between @ .., full] = &ranks;
    let mut sum = size * tau(1.0 - full / size);
    for count in between.iter().rev() {
        sum = 0.5 * (sum + count);
    }
    sum += size * sigma(empty / size);
    (size * size / (2.0 * std::f64::consts::LN_2) / sum).round() as u64
}

/// What the empty registers are worth. Some register is not empty.
fn sigma(mut share: f64) -> f64 {
    let (mut sum, mut weight) = (share, 1.0);
    loop {
        share *= share;
        let before = sum;
        sum += share * weight;
        weight += weight;
        if sum == before {
            return sum;
        }
    }
}

/// What the registers of the highest rank are worth.
fn tau(mut share: f64) -> f64 {
    let (mut sum, mut weight) = (1.0 - share, 1.0);
    loop {
        share = share.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - share).powi(2) * weight;
        if sum == before {
            return sum / 3.0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The registers of so many senders, whose hashes are spread as evenly as they can be.
    fn even(senders: f64) -> Vec<u8> {
        let each = senders / REGISTERS as f64;
        // Of the registers, those with this rank at most. A hash in 2 to the power of the rank has a higher one.
        let share = |rank: u32| if rank > RANK_BITS { 1.0 } else { (-each * 0.5_f64.powi(rank as i32)).exp() };
        let places = (0..REGISTERS).map(|register| (register as f64 + 0.5) / REGISTERS as f64);
        places.map(|place| (0..).find(|rank| place < share(*rank)).unwrap() as u8).collect()
    }

    #[test]
    fn the_estimate_is_right_over_the_whole_range() {
        for senders in [1e3, 1e4, 1e6, 1e8, 1e9, 4e9, 1e10] {
            let estimate = estimate(&even(senders)) as f64;
            assert!((estimate / senders - 1.0).abs() < 0.005, "{estimate} of {senders}");
        }
    }

    #[test]
    fn where_every_register_is_full_it_is_beyond_all_numbers() {
        assert_eq!(estimate(&[RANK_BITS as u8 + 1; REGISTERS]), u64::MAX);
    }
}
