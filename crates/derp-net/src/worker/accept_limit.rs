//! The rate at which TLS listeners take connections.

use std::net::SocketAddr;

use derp_proto::counters::Counter;
use derp_proto::token_bucket::TokenBucket;

use crate::hub::ctx::Ctx;

/// The rate at which TLS listeners take connections. Over it they are closed at once: a client that is told so soon tries
/// again, later.
#[derive(Default)]
pub(crate) struct AcceptLimit(Option<TokenBucket>);

impl AcceptLimit {
    pub(crate) fn may_accept(&mut self, peer: SocketAddr, ctx: Ctx<'_>) -> bool {
        let clock = ctx.now.saturating_duration_since(ctx.start);
        let limit = ctx.policy.load().accept;
        if self.0.as_ref().map(|bucket| bucket.rate()) != limit {
            self.0 = limit.map(|rate| TokenBucket::new(rate, clock));
        }
        let may = self.0.as_mut().is_none_or(|bucket| bucket.take(1, clock));
        if may {
            ctx.counters.add(Counter::TLS_ACCEPTS, 1);
        } else {
            ctx.failed(Counter::TLS_REJECTS, peer);
        }
        may
    }
}
