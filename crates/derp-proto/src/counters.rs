//! The counters page: one 64-bit number per row, written by the workers, read by everyone else without a call.
//!
//! The rows and their order are those of `COUNTER_NAMES` in `src/plane/counters.ts`; a test compares the two.
use std::array;
use std::fmt;

use crate::drop_reason::{DropReason, PacketKind};
use crate::sync::{AtomicU64, Ordering};

/// A row of the page.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Counter(u8);

macro_rules! plain_counters {
    ($($(#[$doc:meta])* $row:ident $name:literal,)*) => {
        /// Numbers the rows.
        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Row { $($row,)* Count }

        const PLAIN_NAMES: [&str; Row::Count as usize] = [$($name,)*];

        impl Counter {
            $($(#[$doc])* pub const $row: Self = Self(Row::$row as u8);)*
        }
    };
}

plain_counters! {
    /// Connections handed to DERP: upgraded, not yet logged in.
    ACCEPTS "accepts",
    /// SendPacket frames with a discovery packet, dropped ones included.
    PACKETS_RECEIVED_DISCO "packets_received:disco",
    /// SendPacket frames with any other packet, dropped ones included.
    PACKETS_RECEIVED_OTHER "packets_received:other",
    /// Payload bytes of SendPacket frames, dropped ones included.
    BYTES_RECEIVED "bytes_received",
    /// RecvPacket frames that a socket took.
    PACKETS_SENT "packets_sent",
    /// Payload bytes of RecvPacket frames that a socket took.
    BYTES_SENT "bytes_sent",
    /// ForwardPacket frames from mesh peers.
    PACKETS_FORWARDED_IN "packets_forwarded_in",
    /// Packets handed to mesh links.
    PACKETS_FORWARDED_OUT "packets_forwarded_out",
    /// PeerGone frames that say Disconnected.
    PEER_GONE_DISCONNECTED_FRAMES "peer_gone_disconnected_frames",
    /// PeerGone frames that say NotHere.
    PEER_GONE_NOT_HERE_FRAMES "peer_gone_not_here_frames",
    /// Ping frames, those of a wrong length included.
    GOT_PING "got_ping",
    /// Pong frames.
    SENT_PONG "sent_pong",
    /// Stays 0, as derper's does: unknown frames are passed over without a word.
    UNKNOWN_FRAMES "unknown_frames",
    /// Connections ended because nothing had left them for too long.
    WRITE_TIMEOUTS "write_timeouts",
    /// Connections ended before they were admitted: deadline, bad login, refusal, hang-up.
    LOGINS_FAILED "logins_failed",
    /// Connections closed at accept because a limit on unadmitted ones was reached.
    CONNECTIONS_REFUSED "connections_refused",
    /// STUN requests answered.
    STUN_SUCCESS "stun_requests:success",
    /// Datagrams on the STUN port that are none of ours to answer.
    STUN_NOT_STUN "stun_requests:not_stun",
    /// Failed reads of the STUN socket.
    STUN_READ_ERROR "stun_requests:read_error",
    /// Failed writes of the STUN socket.
    STUN_WRITE_ERROR "stun_requests:write_error",
    /// STUN requests over IPv4, mapped addresses included.
    STUN_IPV4 "stun_addrfamily:ipv4",
    /// STUN requests over IPv6.
    STUN_IPV6 "stun_addrfamily:ipv6",
    /// Callbacks across the binding.
    CROSSINGS_UP "crossings_up",
    /// Calls across the binding.
    CROSSINGS_DOWN "crossings_down",
    /// Connections that a TLS listener took.
    TLS_ACCEPTS "tls_accepts",
    /// Connections beyond the accept limit.
    TLS_REJECTS "tls_rejects",
    /// Raw DERP upgrades over TLS 1.2.
    TLS_12_UPGRADES "tls_upgrades:tls12",
    /// Raw DERP upgrades over TLS 1.3.
    TLS_13_UPGRADES "tls_upgrades:tls13",
    /// How often the reading of a connection was put off because of its receive limit.
    RATE_LIMIT_WAITS "rate_limit_waits",
}

const KINDS: usize = PacketKind::ALL.len();

impl Counter {
    /// How many rows the page has.
    pub const COUNT: usize = PLAIN_NAMES.len() + 2 * KINDS * DropReason::ALL.len();

    /// Every row, in order.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        (0..Self::COUNT as u8).map(Self)
    }

    /// SendPacket frames of a kind, dropped ones included.
    #[inline]
    pub const fn packets_received(kind: PacketKind) -> Self {
        match kind {
            PacketKind::Disco => Self::PACKETS_RECEIVED_DISCO,
            PacketKind::Other => Self::PACKETS_RECEIVED_OTHER,
        }
    }

    /// Packets of a kind that were dropped for a reason.
    #[inline]
    pub const fn packets_dropped(reason: DropReason, kind: PacketKind) -> Self {
        Self((PLAIN_NAMES.len() + 2 * (KINDS * reason as usize + kind as usize)) as u8)
    }

    /// Their payload bytes.
    #[inline]
    pub const fn bytes_dropped(reason: DropReason, kind: PacketKind) -> Self {
        Self(Self::packets_dropped(reason, kind).0 + 1)
    }

    /// Where on the page it stands: below [`Counter::COUNT`].
    #[inline]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// The name, with labels behind colons: `packets_dropped:queue_head:disco`.
impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = PLAIN_NAMES.get(self.index()) {
            return f.write_str(name);
        }
        let drop = self.index() - PLAIN_NAMES.len();
        let what = if drop.is_multiple_of(2) { "packets" } else { "bytes" };
        let reason = DropReason::ALL[drop / (2 * KINDS)].as_str();
        let kind = PacketKind::ALL[drop / 2 % KINDS].as_str();
        write!(f, "{what}_dropped:{reason}:{kind}")
    }
}

/// The page. Rows are independent: who reads two of them may see one from before and one from after an event.
#[derive(Debug)]
pub struct Counters([AtomicU64; Counter::COUNT]);

impl Counters {
    /// All rows 0.
    pub fn new() -> Self {
        Self(array::from_fn(|_| AtomicU64::new(0)))
    }

    /// Adds to one row. Workers share the cache lines: whoever counts much adds once per turn.
    #[inline]
    pub fn add(&self, counter: Counter, count: u64) {
        self.0[counter.index()].fetch_add(count, Ordering::Relaxed);
    }

    /// Counts a dropped packet of `bytes`.
    #[inline]
    pub fn dropped(&self, reason: DropReason, kind: PacketKind, bytes: usize) {
        self.add(Counter::packets_dropped(reason, kind), 1);
        self.add(Counter::bytes_dropped(reason, kind), bytes as u64);
    }

    /// One row.
    pub fn read(&self, counter: Counter) -> u64 {
        self.0[counter.index()].load(Ordering::Relaxed)
    }

    /// The page itself, to be looked at from elsewhere.
    pub const fn cells(&self) -> &[AtomicU64; Counter::COUNT] {
        &self.0
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_row_counts_alone() {
        let counters = Counters::new();
        for counter in Counter::all() {
            counters.add(counter, counter.index() as u64 + 1);
        }
        for (index, counter) in Counter::all().enumerate() {
            assert_eq!(counter.index(), index);
            assert_eq!(counters.read(counter), index as u64 + 1, "{counter}");
            assert_eq!(counters.cells()[index].load(Ordering::Relaxed), index as u64 + 1);
        }
    }

    #[test]
    fn a_drop_is_a_packet_and_its_bytes() {
        for reason in DropReason::ALL {
            for kind in PacketKind::ALL {
                let counters = Counters::new();
                counters.dropped(reason, kind, 100);
                let counted: Vec<_> = Counter::all().filter(|&counter| counters.read(counter) > 0).collect();
                let [packets, bytes] = counted[..] else { panic!("{counted:?}") };
                assert_eq!(packets.to_string(), format!("packets_dropped:{}:{}", reason.as_str(), kind.as_str()));
                assert_eq!(bytes.to_string(), format!("bytes_dropped:{}:{}", reason.as_str(), kind.as_str()));
                assert_eq!([packets, bytes].map(|counter| counters.read(counter)), [1, 100]);
            }
        }
    }

    #[test]
    fn threads_lose_nothing() {
        let counters = Counters::new();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| (0..1000).for_each(|_| counters.add(Counter::PACKETS_SENT, 3)));
            }
        });
        assert_eq!(counters.read(Counter::PACKETS_SENT), 12_000);
    }
}
