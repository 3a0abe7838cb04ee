//! What bounds the plane. Replaced as a whole by the control plane; read where it is needed.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use derp_proto::key::NodeKey;
use derp_proto::token_bucket::Rate;

use crate::base::network::Prefix;

/// Limits, deadlines, depths and rates. The twin of `PlanePolicy` in `src/plane/policy.ts`, which says what each is.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each is")]
pub struct Policy {
    pub head_bytes: usize,
    pub client_info_bytes: usize,
    pub connections: usize,
    pub handshakes: usize,
    pub parked_handshakes: usize,
    pub pending_logins: usize,
    pub login_bytes: usize,
    pub duplexes: usize,
    pub per_address: usize,
    pub exempt: Vec<Prefix>,
    pub control_bytes: usize,
    pub leftover_bytes: usize,
    pub peer_gone_subscriptions: usize,
    pub partial_bytes: usize,
    pub queued_bytes: usize,
    pub peer_gone_pairs: usize,
    pub handshake_deadline: Duration,
    pub certificate_deadline: Duration,
    pub head_deadline: Duration,
    pub client_info_deadline: Duration,
    pub admission_deadline: Duration,
    /// `None`: for ever.
    pub write_deadline: Option<Duration>,
    pub mesh_write_deadline: Option<Duration>,
    pub link_write_deadline: Option<Duration>,
    pub link_silence: Duration,
    pub queue_depth: usize,
    pub link_queue_depth: usize,
    pub keep_alive: Duration,
    pub keep_alive_jitter: Duration,
    pub not_here: Rate,
    /// Connections that TLS listeners take.
    pub accept: Option<Rate>,
    /// Bytes of frames that one connection may send.
    pub receive: Option<Rate>,
    /// Another number with every rate that was given: with it, buckets are full, even if the rate is the same.
    pub receive_epoch: u32,
    pub tcp_keep_alive: Option<Duration>,
    pub tcp_user_timeout: Option<Duration>,
    pub round_trips: Option<Duration>,
    pub tell_failures: bool,
    pub watched_drops: HashSet<NodeKey>,
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
}
