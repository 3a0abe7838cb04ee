//! The counters page: one 64-bit number per row, written by the workers, read by everyone else without a call.
//!
//! The rows and their order are those of `COUNTER_NAMES` in `src/plane/counters.ts`; a test compares the two.
use std::array;
use std::fmt;
use std::time::Duration;

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
    /// Connections ended between the greeting and admission: the sum of the rows that say why.
    LOGINS_FAILED "logins_failed",
    /// Connections closed because a limit on unadmitted ones was reached, and none of these could make room.
    CONNECTIONS_REFUSED "connections_refused",
    /// Connections that made room for a newcomer because the share of their address was full.
    STRANGERS_EVICTED_ADDRESS "strangers_evicted:address",
    /// Connections that made room for a newcomer because their pool was full.
    STRANGERS_EVICTED_POOL "strangers_evicted:pool",
    /// Connections refused because the share of their address was full, and none of it could make room.
    STRANGERS_REFUSED_ADDRESS "strangers_refused:address",
    /// Connections refused because their pool was full, and none of it could make room.
    STRANGERS_REFUSED_POOL "strangers_refused:pool",
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
    /// STUN requests of which the system did not say which of its addresses they were sent to.
    STUN_NO_LOCAL_ADDR "stun_no_local_addr",
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
    /// How often a worker found that another one was writing to a connection, and left its packets to that one.
    EGRESS_CONTENDED "egress_contended",
    /// Of connections over TLS 1.2 that became DERP, those that have not ended.
    TLS_12_ACTIVE "tls_active:tls12",
    /// The same over TLS 1.3.
    TLS_13_ACTIVE "tls_active:tls13",
    /// A moving average, in nanoseconds: how long packets have waited in a queue.
    QUEUE_TIME "queue_time",
    /// Writes with which at most 0 frames left whole, and more than the row before says.
    WRITE_FRAMES_0 "write_frames:0",
    /// Writes with which at most 1 frames left whole, and more than the row before says.
    WRITE_FRAMES_1 "write_frames:1",
    /// Writes with which at most 2 frames left whole, and more than the row before says.
    WRITE_FRAMES_2 "write_frames:2",
    /// Writes with which at most 3 frames left whole, and more than the row before says.
    WRITE_FRAMES_3 "write_frames:3",
    /// Writes with which at most 4 frames left whole, and more than the row before says.
    WRITE_FRAMES_4 "write_frames:4",
    /// Writes with which at most 5 frames left whole, and more than the row before says.
    WRITE_FRAMES_5 "write_frames:5",
    /// Writes with which at most 6 frames left whole, and more than the row before says.
    WRITE_FRAMES_6 "write_frames:6",
    /// Writes with which at most 7 frames left whole, and more than the row before says.
    WRITE_FRAMES_7 "write_frames:7",
    /// Writes with which at most 8 frames left whole, and more than the row before says.
    WRITE_FRAMES_8 "write_frames:8",
    /// Writes with which at most 9 frames left whole, and more than the row before says.
    WRITE_FRAMES_9 "write_frames:9",
    /// Writes with which at most 10 frames left whole, and more than the row before says.
    WRITE_FRAMES_10 "write_frames:10",
    /// Writes with which at most 15 frames left whole, and more than the row before says.
    WRITE_FRAMES_15 "write_frames:15",
    /// Writes with which at most 20 frames left whole, and more than the row before says.
    WRITE_FRAMES_20 "write_frames:20",
    /// Writes with which at most 25 frames left whole, and more than the row before says.
    WRITE_FRAMES_25 "write_frames:25",
    /// Writes with which at most 50 frames left whole, and more than the row before says.
    WRITE_FRAMES_50 "write_frames:50",
    /// Writes with which at most 100 frames left whole, and more than the row before says.
    WRITE_FRAMES_100 "write_frames:100",
    /// Writes with which more left.
    WRITE_FRAMES_MORE "write_frames:more",
    /// Frames that left whole with all these.
    FRAMES_WRITTEN "frames_written",
    /// Round trips of at most 10ms, and more than the row before says.
    TCP_RTT_10MS "tcp_rtt:10ms",
    /// Round trips of at most 20ms, and more than the row before says.
    TCP_RTT_20MS "tcp_rtt:20ms",
    /// Round trips of at most 50ms, and more than the row before says.
    TCP_RTT_50MS "tcp_rtt:50ms",
    /// Round trips of at most 100ms, and more than the row before says.
    TCP_RTT_100MS "tcp_rtt:100ms",
    /// Round trips of at most 150ms, and more than the row before says.
    TCP_RTT_150MS "tcp_rtt:150ms",
    /// Round trips of at most 250ms, and more than the row before says.
    TCP_RTT_250MS "tcp_rtt:250ms",
    /// Round trips of at most 500ms, and more than the row before says.
    TCP_RTT_500MS "tcp_rtt:500ms",
    /// Longer round trips.
    TCP_RTT_INF "tcp_rtt:inf",
    /// Round trips that the system did not tell.
    TCP_RTT_ERROR "tcp_rtt:error",
    /// Connections that are none of TCP's.
    TCP_RTT_NON_TCP "tcp_rtt:non_tcp",
    /// Bytes of frames and records that are not whole, and of what waits to be acted upon, of those that hold many.
    HELD_PARTIAL_BYTES "held:partial_bytes",
    /// Bytes on their way out that the system has not taken, of those that hold many.
    HELD_QUEUED_BYTES "held:queued_bytes",
    /// Sources that connections are told the leaving of, of those that have several.
    HELD_PEER_GONE_PAIRS "held:peer_gone_pairs",
    /// Connections that were closed because they held the most partial bytes.
    OVER_BUDGET_PARTIAL_BYTES "over_budget:partial_bytes",
    /// How often the largest queue lost packets, or its connection was closed.
    OVER_BUDGET_QUEUED_BYTES "over_budget:queued_bytes",
    /// How often the connection with the most sources forgot some.
    OVER_BUDGET_PEER_GONE_PAIRS "over_budget:peer_gone_pairs",
    /// Keys that the control plane was asked for.
    LOOKUPS_ASKED "lookups:asked",
    /// Keys that the control plane has found nowhere; or would have, had the policy still had lookups.
    LOOKUPS_MISSING "lookups:missing",
    /// Packets to keys that were known to be nowhere.
    LOOKUPS_MISSED "lookups:missed",
    /// Packets to unknown keys of connections that have caused as many lookups as they may.
    LOOKUPS_LIMITED "lookups:limited",
    /// Packets to unknown keys while too many keys, or bytes, waited for answers.
    LOOKUPS_CROWDED "lookups:crowded",
    /// Packets to unknown keys while too many keys, or bytes, of their address waited for answers.
    LOOKUPS_SHARE "lookups:share",
    /// Lookups, and packets that waited, that have made room for those of an address with fewer.
    LOOKUPS_EVICTED "lookups:evicted",
    /// TLS handshakes for a server name that no certificate is for.
    HANDSHAKES_FAILED_UNKNOWN_NAME "handshakes_failed:unknown_name",
    /// TLS handshakes without a server name, where no certificate is for such.
    HANDSHAKES_FAILED_NO_NAME "handshakes_failed:no_name",
    /// TLS handshakes while there was no certificate, or for one that did not come.
    HANDSHAKES_FAILED_NO_CERTIFICATE "handshakes_failed:no_certificate",
    /// TLS handshakes of clients with neither TLS 1.2 nor 1.3.
    HANDSHAKES_FAILED_NO_COMMON_VERSION "handshakes_failed:no_common_version",
    /// TLS handshakes without a cipher suite, group or signature scheme in common.
    HANDSHAKES_FAILED_NO_COMMON_CIPHER "handshakes_failed:no_common_cipher",
    /// TLS handshakes that offer protocols, and HTTP/1.1 is none of them.
    HANDSHAKES_FAILED_NO_COMMON_PROTOCOL "handshakes_failed:no_common_protocol",
    /// TLS handshakes that the client has ended with an alert.
    HANDSHAKES_FAILED_CLIENT_ALERT "handshakes_failed:client_alert",
    /// Requests in the clear to a TLS listener.
    HANDSHAKES_FAILED_HTTP "handshakes_failed:http",
    /// TLS handshakes that are none, or break the rules.
    HANDSHAKES_FAILED_MALFORMED "handshakes_failed:malformed",
    /// TLS handshakes that the client has left.
    HANDSHAKES_FAILED_HUNG_UP "handshakes_failed:hung_up",
    /// TLS handshakes that were not done in time.
    HANDSHAKES_FAILED_TIMEOUT "handshakes_failed:timeout",
    /// TLS handshakes that made room for a newcomer.
    HANDSHAKES_FAILED_EVICTED "handshakes_failed:evicted",
    /// Connections that ended before their request head did.
    REQUESTS_FAILED_HUNG_UP "requests_failed:hung_up",
    /// Request heads that were not whole in time.
    REQUESTS_FAILED_TIMEOUT "requests_failed:timeout",
    /// Connections that made room for a newcomer before their request head was whole.
    REQUESTS_FAILED_EVICTED "requests_failed:evicted",
    /// Logins that begin with another frame than ClientInfo.
    LOGINS_FAILED_NO_CLIENT_INFO "logins_failed:no_client_info",
    /// Logins with a ClientInfo that is too short or too long.
    LOGINS_FAILED_BAD_LENGTH "logins_failed:bad_length",
    /// Logins with a key that is zero, or of low order.
    LOGINS_FAILED_BAD_KEY "logins_failed:bad_key",
    /// Logins whose box does not open.
    LOGINS_FAILED_BAD_BOX "logins_failed:bad_box",
    /// Logins whose box opens on something else.
    LOGINS_FAILED_BAD_INFO "logins_failed:bad_info",
    /// Logins that went beyond what all may hold together.
    LOGINS_FAILED_OVER_BUDGET "logins_failed:over_budget",
    /// Logins that the client has left.
    LOGINS_FAILED_HUNG_UP "logins_failed:hung_up",
    /// Logins that were not whole in time.
    LOGINS_FAILED_TIMEOUT "logins_failed:timeout",
    /// Logins that made room for a newcomer.
    LOGINS_FAILED_EVICTED "logins_failed:evicted",
    /// Logins that admission has refused.
    LOGINS_FAILED_REFUSED "logins_failed:refused",
    /// Logins that admission did not decide about in time.
    LOGINS_FAILED_ADMISSION_TIMEOUT "logins_failed:admission_timeout",
    /// Logins that the relay has ended, because it closes or has failed.
    LOGINS_FAILED_CLOSED "logins_failed:closed",
}

/// What the rows of [`Counter::write_frames`] say.
const WRITE_FRAMES_BOUNDS: [usize; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 15, 20, 25, 50, 100];
/// The same of [`Counter::round_trip`], in milliseconds.
const ROUND_TRIP_BOUNDS: [u64; 7] = [10, 20, 50, 100, 150, 250, 500];
/// What a packet weighs in the average of [`Counter::QUEUE_TIME`].
const WAIT_WEIGHT: f64 = 0.1;

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

    /// Writes with which so many frames left whole.
    #[inline]
    pub fn write_frames(frames: usize) -> Self {
        Self(Self::WRITE_FRAMES_0.0 + WRITE_FRAMES_BOUNDS.partition_point(|bound| *bound < frames) as u8)
    }

    /// Round trips of this length.
    pub fn round_trip(length: Duration) -> Self {
        let index = ROUND_TRIP_BOUNDS.partition_point(|bound| Duration::from_millis(*bound) < length);
        Self(Self::TCP_RTT_10MS.0 + index as u8)
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

    /// Adds to one row. Workers share the cache lines: code that counts much adds once per turn.
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

    /// Takes from one row what was added to it before.
    pub fn subtract(&self, counter: Counter, count: u64) {
        self.0[counter.index()].fetch_sub(count, Ordering::Relaxed);
    }

    /// One write has taken so many whole frames.
    #[inline]
    pub fn wrote(&self, frames: usize) {
        self.add(Counter::write_frames(frames), 1);
        if frames > 0 {
            self.add(Counter::FRAMES_WRITTEN, frames as u64);
        }
    }

    /// Puts how long packets have waited into the average.
    #[inline]
    pub fn waited(&self, waits: Waits) {
        // Mostly no packet has waited, now or before.
        let _ = self.0[Counter::QUEUE_TIME.index()].fetch_update(Ordering::Relaxed, Ordering::Relaxed, |old| {
            let new = (old as f64 * waits.keep + waits.sum) as u64;
            (old != 0 || waits.sum > 0.0).then_some(new)
        });
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

/// How long some packets have waited, and what that makes of an average in which each weighs the same: of any average
/// `keep` is left, and `sum` comes to it, in nanoseconds.
#[derive(Clone, Copy, Debug)]
pub struct Waits {
    keep: f64,
    sum: f64,
}

impl Waits {
    /// So many packets that passed at once.
    #[inline]
    pub fn none(packets: u64) -> Self {
        Self { keep: (1.0 - WAIT_WEIGHT).powi(packets.min(10_000) as i32), sum: 0.0 }
    }

    /// One more packet, that has waited for so long.
    pub fn add(&mut self, wait: Duration) {
        self.keep *= 1.0 - WAIT_WEIGHT;
        self.sum = self.sum * (1.0 - WAIT_WEIGHT) + WAIT_WEIGHT * wait.as_nanos() as f64;
    }
}

impl Default for Counters {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
