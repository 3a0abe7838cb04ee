//! What bounds the plane. Replaced as a whole by the control plane; read where it is needed.

use std::collections::HashSet;
use std::time::Duration;

use derp_proto::key::NodeKey;
use derp_proto::token_bucket::Rate;

use crate::state::strangers::{Prefix, Stage};

/// Limits, deadlines, depths and rates. The twin of `PlanePolicy` in `src/plane/plane.ts`, which says what each is.
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
    pub watched_drops: HashSet<NodeKey>,
}

impl Policy {
    /// How many connections of one listener there may be that are not admitted.
    pub(crate) fn strangers(&self, stage: Stage) -> usize {
        match stage {
            Stage::Arriving => self.handshakes,
            Stage::LoggingIn => self.pending_logins,
            Stage::Http => self.duplexes,
        }
    }
}
