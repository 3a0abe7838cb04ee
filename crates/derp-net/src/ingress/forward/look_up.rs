//! Packets to keys that are not known: the control plane is asked where they are, within bounds.

use std::sync::Arc;

use derp_proto::counters::Counter;
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::key::NodeKey;
use derp_proto::token_bucket::{Rate, TokenBucket};

use super::{Forwarding, may_say_not_here, send, take};
use crate::conn::Conn;
use crate::egress::PacketInfo;
use crate::hub::ctx::Ctx;
use crate::ingress::fanout::Fanout;
use crate::ingress::packet::Packet;
use crate::state::events::Event;
use crate::state::lookups::{Asker, Fate, Sender, WaitingPacket};

impl Forwarding {
    /// A packet of a client whose destination has no connection here, and no link that leads to it.
    pub(super) fn look_up(&mut self, packet: Packet<'_>, conn: &Arc<Conn>, fanout: &mut Fanout, ctx: Ctx<'_>) {
        let policy = ctx.policy.load();
        if policy.lookups.is_none() {
            return self.unknown(&packet, DropReason::UnknownDest, fanout, ctx);
        }
        let (not_here, lookups) = (&mut self.not_here, &mut self.lookups);
        let mut seeker = Seeker { packet: &packet, conn, not_here, lookups, ctx };
        let key = &packet.destination;
        let verdict = ctx.lookups.wait(key, packet.measure(), policy.queue_depth, ctx.now, &mut seeker);
        ctx.evict(&verdict.evicted);
        match verdict.fate {
            Fate::Routed(to) => send(packet, &to, fanout, ctx),
            Fate::Waits { asks, evicted } => {
                ask_for(key, asks, ctx);
                let is_queue = policy.queue_depth > 0;
                let reason = if is_queue { DropReason::QueueHead } else { DropReason::QueueTail };
                ctx.drop_waiting(key, evicted.as_slice(), reason);
            }
            Fate::Refused { why, asks } => {
                ask_for(key, asks, ctx);
                if let Some(why) = why {
                    ctx.counters.add(why, 1);
                }
                self.unknown(&packet, DropReason::UnknownDest, fanout, ctx);
            }
        }
    }
}

/// Asks the control plane where a key is. Answers bound how many questions wait to be read.
fn ask_for(key: &NodeKey, asks: bool, ctx: Ctx<'_>) {
    if asks {
        ctx.counters.add(Counter::LOOKUPS_ASKED, 1);
        ctx.events.push(Event::Lookup { key: *key });
    }
}

/// The sender of a packet that may have to wait.
struct Seeker<'a, 'p> {
    packet: &'a Packet<'p>,
    conn: &'a Arc<Conn>,
    not_here: &'a mut Option<Box<TokenBucket>>,
    lookups: &'a mut Option<Box<TokenBucket>>,
    ctx: Ctx<'a>,
}

impl Sender for Seeker<'_, '_> {
    type Route = Arc<Conn>;

    fn route(&mut self) -> Option<Arc<Conn>> {
        self.ctx.table.lookup(&self.packet.destination)?.active().clone()
    }

    fn asker(&self) -> Asker {
        let Self { conn, ctx, .. } = self;
        ctx.policy.load().share_of(conn.peer.ip()).map_or(Asker::Conn(conn.id), Asker::Network)
    }

    fn may_ask(&mut self, rate: Rate) -> bool {
        take(self.lookups, rate, self.ctx)
    }

    fn packet(&mut self) -> WaitingPacket {
        let Packet { info: PacketInfo { source, .. }, destination, .. } = self.packet;
        let measure = self.packet.measure();
        WaitingPacket {
            from: self.conn.id,
            source: *source,
            measure,
            is_answered: measure.kind == PacketKind::Disco && may_say_not_here(self.not_here, self.ctx),
            is_uncounted: self.ctx.is_uncounted(),
            body: [destination.as_bytes(), self.packet.payload()].concat().into(),
        }
    }
}
