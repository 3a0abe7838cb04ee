//! Copies of relayed packets, for a reader that wants to look at them: in slabs of a small pool, which come back when they have
//! been read. No worker waits for that; without a slab, packets are passed over and counted.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::key::NodeKey;
use derp_proto::wire::KEY_LENGTH;

use crate::base::sync::Lock;

/// Room of one slab. More than the longest packet takes.
const SLAB: usize = 256 << 10;
/// Slabs of one tap, wherever they are: 2 MiB.
const SLABS: usize = 8;
/// At the head of a slab: how many packets were passed over before it, f64.
const SLAB_HEAD: usize = 8;
/// At the head of a packet: time f64, length u32, captured u32, kind u8, reason u8, 6 bytes of nothing, source,
/// destination. All in little endian; as many bytes as captured follow.
const PACKET_HEAD: usize = 24 + 2 * KEY_LENGTH;

/// One packet that was relayed, or had nowhere to go.
#[derive(Clone, Copy)]
pub(crate) struct Tapped<'a> {
    pub(crate) source: &'a NodeKey,
    pub(crate) destination: &'a NodeKey,
    pub(crate) kind: PacketKind,
    pub(crate) payload: &'a [u8],
    pub(crate) dropped: Option<DropReason>,
}

/// Packets as they lie in memory: a count of those passed over, then packet after packet. Dropping it gives the memory
/// back to the tap that it is from.
pub struct Slab {
    bytes: Vec<u8>,
    pool: Arc<Pool>,
}

/// Memory that is not in use. Grows to its size as it is used the first time.
struct Pool(Lock<Vec<Vec<u8>>>);

/// The tap of one plane, which is off most of the time.
#[derive(Default)]
pub(crate) struct Tap {
    on: AtomicBool,
    open: Lock<Option<Recording>>,
}

struct Recording {
    /// Only packets from or to this key.
    key: Option<NodeKey>,
    snap_length: usize,
    pool: Arc<Pool>,
    filling: Option<Slab>,
    full: VecDeque<Slab>,
    /// Packets passed over since a slab was taken.
    missed: u64,
}

impl Tap {
    /// Whether to call [`Tap::record`]. All that an idle tap costs.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.on.load(Ordering::Relaxed)
    }

    /// False if it is on already.
    pub(crate) fn start(&self, key: Option<NodeKey>, snap_length: usize) -> bool {
        let mut open = self.open.lock();
        if open.is_some() {
            return false;
        }
        let pool = Arc::new(Pool(Lock::new(vec![Vec::new(); SLABS])));
        *open = Some(Recording { key, snap_length, pool, filling: None, full: VecDeque::new(), missed: 0 });
        self.on.store(true, Ordering::Relaxed);
        true
    }

    /// Forgets what has not been taken.
    pub(crate) fn stop(&self) {
        self.on.store(false, Ordering::Relaxed);
        self.open.lock().take();
    }

    /// Copies packets that have just been read. Says whether a slab is full, if anything was copied at all.
    pub(crate) fn record<'a>(&self, packets: impl IntoIterator<Item = Tapped<'a>>) -> Option<bool> {
        let mut open = self.open.lock();
        let open = open.as_mut()?;
        let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64() * 1000.0);
        let mut copied = false;
        for packet in packets {
            copied |= open.wants(&packet) && open.copy(&packet, time);
        }
        copied.then_some(!open.full.is_empty())
    }

    /// The oldest slab with something in it.
    pub(crate) fn take(&self) -> Option<Slab> {
        let mut open = self.open.lock();
        let open = open.as_mut()?;
        let mut slab = open.full.pop_front().or_else(|| open.filling.take())?;
        slab.bytes[..SLAB_HEAD].copy_from_slice(&(std::mem::take(&mut open.missed) as f64).to_le_bytes());
        Some(slab)
    }
}

impl Recording {
    fn wants(&self, packet: &Tapped<'_>) -> bool {
        self.key.is_none_or(|key| *packet.source == key || *packet.destination == key)
    }

    /// False if there is no room.
    fn copy(&mut self, packet: &Tapped<'_>, time: f64) -> bool {
        let captured = &packet.payload[..packet.payload.len().min(self.snap_length)];
        let needed = PACKET_HEAD + captured.len();
        if let Some(slab) = self.filling.take_if(|slab| slab.bytes.len() + needed > SLAB) {
            self.full.push_back(slab);
        }
        if self.filling.is_none() {
            self.filling = Slab::begin(&self.pool);
        }
        let Some(Slab { bytes, .. }) = &mut self.filling else {
            self.missed += 1;
            return false;
        };
        bytes.extend_from_slice(&time.to_le_bytes());
        bytes.extend_from_slice(&(packet.payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&(captured.len() as u32).to_le_bytes());
        bytes.extend_from_slice(&[packet.kind as u8, packet.dropped.map_or(0, |reason| reason as u8 + 1)]);
        bytes.extend_from_slice(&[0; 6]);
        bytes.extend_from_slice(packet.source.as_bytes());
        bytes.extend_from_slice(packet.destination.as_bytes());
        bytes.extend_from_slice(captured);
        true
    }
}

impl Slab {
    fn begin(pool: &Arc<Pool>) -> Option<Self> {
        let mut bytes = pool.0.lock().pop()?;
        bytes.reserve_exact(SLAB);
        bytes.resize(SLAB_HEAD, 0);
        Some(Self { bytes, pool: pool.clone() })
    }

    /// The memory, which stays where it is until the slab is dropped.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Slab {
    fn drop(&mut self) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        self.pool.0.lock().push(bytes);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::secret;

    fn key(number: u64) -> NodeKey {
        secret(number).public_key()
    }

    /// Sources, lengths, and captured bytes of what is in a slab, and how many were missed.
    fn read(slab: &mut Slab) -> (f64, Vec<(NodeKey, u32, Vec<u8>)>) {
        let bytes = slab.bytes_mut();
        let mut at = SLAB_HEAD;
        let mut packets = Vec::new();
        while at < bytes.len() {
            let number = |at: usize| u32::from_le_bytes(*bytes[at..].first_chunk().unwrap());
            let (length, captured) = (number(at + 8), number(at + 12) as usize);
            let source = NodeKey::first_of(&bytes[at + 24..]).unwrap();
            at += PACKET_HEAD;
            packets.push((source, length, bytes[at..at + captured].to_vec()));
            at += captured;
        }
        (f64::from_le_bytes(*bytes.first_chunk().unwrap()), packets)
    }

    fn packet<'a>(source: &'a NodeKey, destination: &'a NodeKey, payload: &'a [u8]) -> Tapped<'a> {
        Tapped { source, destination, kind: PacketKind::Other, payload, dropped: None }
    }

    #[test]
    fn only_while_it_is_on() {
        let tap = Tap::default();
        let keys = [key(1), key(2)];
        assert!(!tap.is_on());
        assert_eq!(tap.record([packet(&keys[0], &keys[1], b"before")]), None);
        assert!(tap.start(None, 100));
        assert!(!tap.start(None, 100), "one at a time");
        assert!(tap.is_on());
        assert!(tap.take().is_none());
        assert_eq!(tap.record([packet(&keys[0], &keys[1], b"while")]), Some(false));
        assert_eq!(read(&mut tap.take().unwrap()), (0.0, vec![(keys[0], 5, b"while".to_vec())]));
        assert_eq!(tap.record([packet(&keys[0], &keys[1], b"not taken")]), Some(false));
        tap.stop();
        assert!(!tap.is_on());
        assert!(tap.take().is_none());
        assert!(tap.start(None, 100));
        assert!(tap.take().is_none(), "what the one before has left is no part of this one");
    }

    #[test]
    fn of_one_key_and_as_long_as_wanted() {
        let tap = Tap::default();
        let keys = [key(1), key(2), key(3)];
        assert!(tap.start(Some(keys[0]), 4));
        assert_eq!(tap.record([packet(&keys[1], &keys[2], b"neither")]), None);
        let both = [packet(&keys[0], &keys[1], b"from"), packet(&keys[2], &keys[0], b"to whom")];
        assert_eq!(tap.record(both), Some(false));
        let (missed, packets) = read(&mut tap.take().unwrap());
        assert_eq!(missed, 0.0);
        assert_eq!(packets, [(keys[0], 4, b"from".to_vec()), (keys[2], 7, b"to w".to_vec())]);
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let tap = Tap::default();
        let keys = [key(1), key(2)];
        let payload = [7; 65536];
        assert!(tap.start(None, payload.len()));
        let each = (SLAB - SLAB_HEAD) / (PACKET_HEAD + payload.len());
        for _ in 0..each * SLABS {
            tap.record([packet(&keys[0], &keys[1], &payload)]).unwrap();
        }
        for _ in 0..5 {
            assert_eq!(tap.record([packet(&keys[0], &keys[1], &payload)]), None);
        }
        let mut first = tap.take().unwrap();
        assert_eq!(read(&mut first).0, 5.0);
        assert_eq!(read(&mut first).1.len(), each);
        assert_eq!(tap.record([packet(&keys[0], &keys[1], b"no room")]), None, "a slab that is read is not free");
        drop(first);
        assert_eq!(tap.record([packet(&keys[0], &keys[1], b"room")]), Some(true));
        let mut slabs: Vec<_> = std::iter::from_fn(|| tap.take()).collect();
        assert_eq!(slabs.len(), SLABS);
        assert_eq!(
            slabs.iter_mut().map(|slab| read(slab).0).collect::<Vec<_>>(),
            [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]
        );
        assert_eq!(read(&mut slabs[SLABS - 1]).1, [(keys[0], 4, b"room".to_vec())]);
        tap.stop();
        assert!(tap.start(None, 1));
        drop(slabs);
        assert_eq!(tap.record([packet(&keys[0], &keys[1], b"another tap has its own")]), Some(false));
    }
}
