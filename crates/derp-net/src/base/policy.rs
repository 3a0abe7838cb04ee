//! What bounds the plane. The control plane replaces it as a whole; it is read where it is needed.
//!
//! Each limit is spelled once here, with its name in `PlanePolicy` of `src/plane/policy.ts`: the binding passes the numbers in
//! the order of [`Policy::rows`], so that there is no third list of them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use derp_proto::key::NodeKey;
use derp_proto::token_bucket::Rate;

use crate::base::network::{Network, Prefix};

/// Clients on the relay's own machine, be they behind a proxy there, are no strangers of one address.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// How the control plane is asked for keys that have neither a connection nor a route: `PlaneLookups` of
/// `src/plane/policy.ts`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct LookupBounds {
    /// Lookups that one connection may cause.
    pub rate: Rate,
    /// Keys that may be asked for at the same time.
    pub keys: usize,
    /// How many of them one address may ask for.
    pub keys_per_address: usize,
    /// Memory of all packets that wait for answers.
    pub bytes: usize,
    /// Memory of those of one address.
    pub bytes_per_address: usize,
    /// Keys that are known to be nowhere.
    pub misses: usize,
    /// How long they are.
    pub miss_time: Duration,
}

/// A value that crosses as numbers.
trait Crossing: Sized {
    /// Reads what [`Crossing::write`] writes; as many numbers as the value has names.
    fn read(numbers: &[f64]) -> Self;
    fn write(&self, numbers: &mut Vec<f64>);
}

macro_rules! policy {
    ($($(#[$doc:meta])* $field:ident: $kind:ty = $default:expr, $($name:literal),+;)*) => {
        /// Limits, deadlines, depths and rates: the twin of `PlanePolicy` in `src/plane/policy.ts`. The default is that of a
        /// relay without settings.
        #[derive(Clone, PartialEq, Debug)]
        pub struct Policy {
            $($(#[$doc])* pub $field: $kind,)*
            /// Networks for whose addresses [`Policy::per_address`] does not hold.
            pub exempt: Vec<Prefix>,
            /// Another number with every rate that was given as [`Policy::receive`]: with it, buckets are full, even if the
            /// rate is the same as before.
            pub receive_epoch: u32,
            /// Keys for which the plane reports packets to them that are dropped.
            pub watched_drops: HashSet<NodeKey>,
        }

        impl Default for Policy {
            fn default() -> Self {
                Self {
                    $($field: $default,)*
                    exempt: LOOPBACK.iter().filter_map(|prefix| Prefix::parse(prefix)).collect(),
                    receive_epoch: 0,
                    watched_drops: HashSet::new(),
                }
            }
        }

        impl Policy {
            /// The names of the numbers in `PlanePolicy`, in their order: `limits.headBytes` is `policy.limits.headBytes`.
            pub fn rows() -> impl Iterator<Item = &'static str> {
                [$($($name),+),*].into_iter()
            }

            /// The numbers, in the order of [`Policy::rows`]: bytes, counts, milliseconds. A rate that there is none of is
            /// `NaN`, a deadline that there is none of is 0.
            pub fn numbers(&self) -> Vec<f64> {
                let mut numbers = Vec::new();
                $(self.$field.write(&mut numbers);)*
                numbers
            }

            /// A policy with these numbers; `None` if there are not as many as [`Policy::rows`].
            pub fn from_numbers(numbers: &[f64]) -> Option<Self> {
                if numbers.len() != Self::rows().count() {
                    return None;
                }
                let mut rest = numbers;
                let mut take = |count: usize| {
                    let (these, others) = rest.split_at(count);
                    rest = others;
                    these
                };
                Some(Self {
                    $($field: Crossing::read(take([$($name),+].len())),)*
                    ..Self::default()
                })
            }
        }
    };
}

policy! {
    /// Bytes of the request head of a raw DERP upgrade; a longer head goes to the HTTP server.
    head_bytes: usize = 16 << 10, "limits.headBytes";
    /// Bytes of the body of a ClientInfo frame; a longer one ends the login.
    client_info_bytes: usize = 256 << 10, "limits.clientInfoBytes";
    /// Descriptors that connections of listeners may have: one each, three if it is over TLS and the HTTP server's.
    connections: usize = i32::MAX as usize, "limits.connections";
    /// Connections of one listener that have sent no whole request head yet, TLS handshake included.
    handshakes: usize = 4096, "limits.handshakes";
    /// Handshakes that wait for a certificate; further ones are refused.
    parked_handshakes: usize = 1024, "limits.parkedHandshakes";
    /// Connections of one listener between the greeting and admission.
    pending_logins: usize = 4096, "limits.pendingLogins";
    /// Bytes of ClientInfo frames that are not whole yet, over all connections.
    login_bytes: usize = 16 << 20, "limits.loginBytes";
    /// Connections of one listener that go to the HTTP server and that it has not taken yet.
    duplexes: usize = 4096, "limits.duplexes";
    /// Unadmitted connections of one IPv4 address, or of the /64 of an IPv6 address, on all listeners.
    per_address: usize = 256, "limits.perAddress";
    /// Bytes of control frames that may wait for one connection; more closes it.
    control_bytes: usize = 1 << 20, "limits.controlBytes";
    /// Bytes that a connection may send ahead while it waits for admission.
    leftover_bytes: usize = 64 << 10, "limits.leftoverBytes";
    /// Sources for each connection that it is told the leaving of: the most recent ones.
    peer_gone_subscriptions: usize = 65536, "limits.peerGoneSubscriptions";
    /// Bytes of partial frames and records and of what waits for admission or a receive limit, over all connections.
    partial_bytes: usize = 64 << 20, "limits.partialBytes";
    /// Bytes on their way out that the system has not taken, over all connections.
    queued_bytes: usize = 256 << 20, "limits.queuedBytes";
    /// Pairs of a connection and a source that it is told the leaving of, over all connections.
    peer_gone_pairs: usize = 1_000_000, "limits.peerGonePairs";
    /// For a TLS handshake.
    handshake_deadline: Duration = Duration::from_secs(10), "deadlines.handshake";
    /// For the certificate that a parked handshake waits for.
    certificate_deadline: Duration = Duration::from_secs(300), "deadlines.certificate";
    /// For a whole request head, from the end of the handshake.
    head_deadline: Duration = Duration::from_secs(10), "deadlines.head";
    /// From the greeting until the whole ClientInfo is here.
    client_info_deadline: Duration = Duration::from_secs(10), "deadlines.clientInfo";
    /// From the login until it is admitted or refused.
    admission_deadline: Duration = Duration::from_secs(15), "deadlines.admission";
    /// For what waits for a client's socket, without any progress; `None` for ever.
    write_deadline: Option<Duration> = Some(Duration::from_secs(2)), "deadlines.write";
    /// The write deadline of connections with mesh permission, whose dumps are long.
    mesh_write_deadline: Option<Duration> = Some(Duration::from_secs(30)), "deadlines.meshWrite";
    /// The write deadline of links to other relays.
    link_write_deadline: Option<Duration> = Some(Duration::from_secs(5)), "deadlines.linkWrite";
    /// How long the relay at the other end of a link may be silent.
    link_silence: Duration = Duration::from_secs(120), "deadlines.linkSilence";
    /// Packets in each of a connection's two queues.
    queue_depth: usize = 32, "queueDepth";
    /// Packets in each of a link's two queues.
    link_queue_depth: usize = 512, "linkQueueDepth";
    /// The least time from one KeepAlive frame to the next.
    keep_alive: Duration = Duration::from_secs(60), "keepAlive.interval";
    /// The most that is added to it at random.
    keep_alive_jitter: Duration = Duration::from_secs(5), "keepAlive.jitter";
    /// PeerGone frames to one connection about peers that are not here.
    not_here: Rate = Rate { per_second: 1.0, burst: 3.0 }, "notHere.perSecond", "notHere.burst";
    /// The bounds of lookups; `None` if packets to unknown keys are dropped at once.
    lookups: Option<LookupBounds> = None, "lookups.perSecond", "lookups.burst", "lookups.keys",
        "lookups.keysPerAddress", "lookups.bytes", "lookups.bytesPerAddress", "lookups.misses", "lookups.missTime";
    /// Connections that each worker's TLS listeners take; `None` for any number.
    accept: Option<Rate> = None, "acceptRate.perSecond", "acceptRate.burst";
    /// Bytes of frames that one connection may send; `None` for any number.
    receive: Option<Rate> = None, "receiveRate.bytesPerSecond", "receiveRate.burst";
    /// The idle time of TCP keepalive; `None` for the system's.
    tcp_keep_alive: Option<Duration> = Some(Duration::from_secs(600)), "tcp.keepAlive";
    /// How long sent data may go unacknowledged; `None` for the system's.
    tcp_user_timeout: Option<Duration> = Some(Duration::from_secs(15)), "tcp.userTimeout";
    /// How often the round trip of each connection is counted; `None` for never.
    round_trips: Option<Duration> = Some(Duration::from_secs(10)), "tcp.roundTrips";
    /// Whether handshakes and logins that fail are told one by one.
    tell_failures: bool = false, "tellFailures";
    /// Whether it is estimated how many peers send packets to each connection.
    count_senders: bool = false, "countSenders";
}

impl Policy {
    /// When a connection gets its next KeepAlive: a while from `now`, and a random part of the jitter, so that clients that
    /// came together are kept alive apart.
    pub(crate) fn next_keep_alive(&self, now: Instant) -> Instant {
        let mut random = [0; 4];
        // Without randomness all clients would be kept alive at once, which costs the relay a burst and nothing else.
        let _ = getrandom::fill(&mut random);
        let share = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
        now + self.keep_alive + self.keep_alive_jitter.mul_f64(share)
    }

    /// In whose share a connection from this address counts; `None` if the address is exempt, or not known.
    pub(crate) fn share_of(&self, peer: IpAddr) -> Option<Network> {
        if self.exempt.iter().any(|prefix| prefix.contains(peer)) { None } else { Network::of(peer) }
    }
}

impl Crossing for usize {
    fn read(numbers: &[f64]) -> Self {
        numbers[0] as Self
    }

    fn write(&self, numbers: &mut Vec<f64>) {
        numbers.push(*self as f64);
    }
}

impl Crossing for bool {
    fn read(numbers: &[f64]) -> Self {
        numbers[0] != 0.0
    }

    fn write(&self, numbers: &mut Vec<f64>) {
        numbers.push(f64::from(u8::from(*self)));
    }
}

impl Crossing for Duration {
    fn read(numbers: &[f64]) -> Self {
        Self::from_secs_f64(numbers[0].clamp(0.0, 1e12) / 1000.0)
    }

    fn write(&self, numbers: &mut Vec<f64>) {
        numbers.push(self.as_secs_f64() * 1000.0);
    }
}

/// 0 stands for none.
impl Crossing for Option<Duration> {
    fn read(numbers: &[f64]) -> Self {
        (numbers[0] > 0.0).then(|| Duration::read(numbers))
    }

    fn write(&self, numbers: &mut Vec<f64>) {
        self.unwrap_or_default().write(numbers);
    }
}

impl Crossing for Rate {
    fn read(numbers: &[f64]) -> Self {
        Self { per_second: numbers[0], burst: numbers[1] }
    }

    fn write(&self, numbers: &mut Vec<f64>) {
        numbers.extend([self.per_second, self.burst]);
    }
}

/// `NaN` stands for none.
impl Crossing for Option<Rate> {
    fn read(numbers: &[f64]) -> Self {
        (!numbers[0].is_nan()).then(|| Rate::read(numbers))
    }

    fn write(&self, numbers: &mut Vec<f64>) {
        self.unwrap_or(Rate { per_second: f64::NAN, burst: f64::NAN }).write(numbers);
    }
}

/// `NaN` in front stands for none.
impl Crossing for Option<LookupBounds> {
    fn read(numbers: &[f64]) -> Self {
        Some(LookupBounds {
            rate: Option::read(&numbers[..2])?,
            keys: Crossing::read(&numbers[2..]),
            keys_per_address: Crossing::read(&numbers[3..]),
            bytes: Crossing::read(&numbers[4..]),
            bytes_per_address: Crossing::read(&numbers[5..]),
            misses: Crossing::read(&numbers[6..]),
            miss_time: Crossing::read(&numbers[7..]),
        })
    }

    fn write(&self, numbers: &mut Vec<f64>) {
        let Some(bounds) = self else { return numbers.extend([f64::NAN; 8]) };
        bounds.rate.write(numbers);
        let LookupBounds { keys, keys_per_address, bytes, bytes_per_address, misses, .. } = bounds;
        [keys, keys_per_address, bytes, bytes_per_address, misses].iter().for_each(|count| count.write(numbers));
        bounds.miss_time.write(numbers);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_policy_comes_back_from_its_numbers() {
        // Of a truth value there are only two.
        let number =
            |(index, row)| if ["tellFailures", "countSenders"].contains(&row) { 1.0 } else { (index + 2) as f64 };
        let distinct: Vec<f64> = Policy::rows().enumerate().map(number).collect();
        let policy = Policy::from_numbers(&distinct).unwrap();
        assert_eq!(policy.numbers(), distinct);
        for policy in [policy, Policy::default()] {
            assert_eq!(Policy::from_numbers(&policy.numbers()), Some(policy));
        }
    }

    #[test]
    fn a_policy_with_a_number_too_few_or_too_many_is_none() {
        let numbers = Policy::default().numbers();
        assert_eq!(Policy::from_numbers(&numbers[1..]), None);
        assert_eq!(Policy::from_numbers(&[&numbers[..], &[0.0]].concat()), None);
    }

    #[test]
    fn each_number_of_a_policy_has_a_name_of_its_own() {
        let names: HashSet<_> = Policy::rows().collect();
        assert_eq!(names.len(), Policy::rows().count());
    }
}
