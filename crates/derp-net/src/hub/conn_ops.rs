//! What is done with a connection that needs the hub: letting it in, writing to it, and ending it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use derp_proto::counters::Counter;
use derp_proto::drop_reason::DropReason;
use derp_proto::key::NodeKey;
use derp_proto::token_bucket::Rate;
use derp_proto::wire::PeerGoneReason;
use derp_tls::Alert;

use crate::base::admission::End;
use crate::base::close_reason::CloseReason;
use crate::base::combining_lock::Left;
use crate::conn::{Conn, Figures};
use crate::egress::context::EgressContext;
use crate::egress::outcome::Outcome;
use crate::egress::{Egress, EgressFigures, Frame};
use crate::hub::ctx::Ctx;
use crate::hub::mail::Mail;
use crate::hub::shared::Shared;
use crate::io::writer::SocketWriter;
use crate::state::events::Event;
use crate::state::strangers::Guest;

impl Conn {
    /// The other relay has let the link in.
    pub(crate) fn open(self: &Arc<Self>, writer: SocketWriter, ctx: Ctx<'_>) {
        self.write(ctx, |egress, cx| egress.open(writer, cx));
        self.open.store(true, Ordering::Relaxed);
    }

    /// Lets the connection in, as one step: table entry, ServerInfo, packets. Not if it has ended, or was let in before.
    pub(crate) fn admit(self: &Arc<Self>, mesh: bool, limit: Option<Rate>, ctx: Ctx<'_>) {
        let Some(key) = self.key() else { return };
        // By the policy that is in force now, whenever its worker comes to it.
        let keep_alive_at = ctx.policy.load().next_keep_alive(ctx.now);
        let server_info = self.admission.admit(|server_info| {
            self.mesh.store(mesh, Ordering::Relaxed);
            (ctx.table.add(*key, self, &ctx.events), server_info)
        });
        if let Some(server_info) = server_info {
            ctx.is_found(key);
            self.write(ctx, |egress, cx| egress.welcome(&server_info, cx));
            ctx.mail(self.worker, Mail::Admitted { conn: self.clone(), limit, keep_alive_at });
        }
    }

    /// Packets of one source, in order, from wherever they were read. Never waits.
    pub(crate) fn deliver(self: &Arc<Self>, packets: &[Frame<'_>], ctx: Ctx<'_>) {
        let cx = ctx.egress_context(self);
        let outcome = Gathered::default();
        let left = self.egress.offer(
            |egress, inbox| outcome.of(egress, &cx, |egress| egress.inbox(inbox, &cx)),
            |egress| outcome.of(egress, &cx, |egress| egress.packets(packets, &cx)),
            |inbox| {
                cx.counters.add(Counter::EGRESS_CONTENDED, 1);
                let before = inbox.bytes;
                for packet in packets {
                    inbox.push(*packet, cx.inbox_bytes(), |info| cx.dropped(DropReason::QueueHead, &info));
                }
                // Less, if what went was larger.
                cx.counters.add(Counter::HELD_QUEUED_BYTES, (inbox.bytes as u64).wrapping_sub(before as u64));
            },
        );
        let outcome = outcome.0.get();
        self.tell(outcome, left, ctx);
        relieve(outcome, ctx);
    }

    /// Drops its oldest packets, until so many bytes are free.
    pub(crate) fn shed(self: &Arc<Self>, bytes: usize, ctx: Ctx<'_>) {
        self.visit(ctx, |egress, cx| egress.shed(bytes, cx));
    }

    /// Forgets so many of the sources that it would be told the leaving of.
    pub(crate) fn forget_sources(self: &Arc<Self>, count: usize, ctx: Ctx<'_>) {
        self.visit(ctx, |egress, cx| egress.forget_sources(count, cx));
    }

    /// Sends whole control frames.
    pub(crate) fn control(self: &Arc<Self>, frames: &[u8], pull: bool, ctx: Ctx<'_>) {
        self.write(ctx, |egress, cx| egress.control(frames, pull, cx));
    }

    pub(crate) fn pong(self: &Arc<Self>, frame: &[u8], ctx: Ctx<'_>) {
        self.write(ctx, |egress, cx| egress.pong(frame, cx));
    }

    pub(crate) fn peer_gone(self: &Arc<Self>, source: &NodeKey, reason: PeerGoneReason, ctx: Ctx<'_>) {
        self.write(ctx, |egress, cx| egress.peer_gone(source, reason, cx));
    }

    /// The socket takes bytes again. Waits for the lock: the edge comes once.
    pub(crate) fn writable(self: &Arc<Self>, ctx: Ctx<'_>) {
        self.write(ctx, |egress, cx| egress.drain(cx));
    }

    /// Since when nothing has left, if anything waits. `watched`: the caller asks again before the deadline.
    pub(crate) fn stalled_since(self: &Arc<Self>, watched: bool, ctx: Ctx<'_>) -> Option<Instant> {
        let mut since = None;
        self.write(ctx, |egress, cx| {
            since = egress.watch(watched, cx);
            egress.forget(ctx.now);
        });
        since
    }

    /// The client has asked for new keys: they go before the next data.
    pub(crate) fn owe_key_update(self: &Arc<Self>, ctx: Ctx<'_>) {
        self.write(ctx, |egress, _| egress.owe_key_update());
    }

    /// Says why the connection ends.
    pub(crate) fn alert(self: &Arc<Self>, alert: Alert, ctx: Ctx<'_>) {
        self.write(ctx, |egress, _| egress.alert(alert));
    }

    /// Lets go of the cipher of the way out; the next record expands it again.
    pub(crate) fn quiet(self: &Arc<Self>, ctx: Ctx<'_>) {
        self.write(ctx, |egress, _| egress.quiet());
    }

    /// Lets go of the cipher of the way out, unless it has been used since this was called last. False once it is gone.
    pub(crate) fn cool(self: &Arc<Self>, ctx: Ctx<'_>) -> bool {
        let mut is_warm = false;
        self.write(ctx, |egress, _| is_warm = egress.cool());
        is_warm
    }

    /// Its way out is there.
    pub(crate) fn connect(self: &Arc<Self>, writer: SocketWriter, ctx: Ctx<'_>) {
        self.write(ctx, |egress, cx| egress.connect(writer, cx));
    }

    /// Answers a ping of the WebSocket itself.
    pub(crate) fn web_socket_pong(self: &Arc<Self>, payload: &[u8], ctx: Ctx<'_>) {
        self.write(ctx, |egress, cx| egress.web_socket_pong(payload, cx));
    }

    /// What the close frame of the WebSocket will say.
    pub(crate) fn owe_close(self: &Arc<Self>, payload: &[u8], ctx: Ctx<'_>) {
        self.write(ctx, |egress, _| egress.owe_close(payload));
    }

    pub(crate) fn figures(self: &Arc<Self>, ctx: Ctx<'_>) -> Figures {
        let mut egress = EgressFigures::default();
        self.write(ctx, |guarded, _| {
            guarded.forget(ctx.now);
            egress = guarded.figures();
        });
        let queue = egress.queue;
        Figures {
            id: self.id,
            packets_received: self.packets_received.load(Ordering::Relaxed),
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
            packets_sent: egress.sent.packets,
            bytes_sent: egress.sent.bytes,
            packets_dropped: egress.dropped,
            queued_packets: egress.queued as u64,
            senders: ctx.subscribers.senders.estimate(self.id),
            round_trip: self.round_trip(),
            dropped_head: queue.dropped_head,
            dropped_tail: queue.dropped_tail,
            dropped_age: queue.dropped_age,
            dropped_over_budget: queue.dropped_over_budget,
            mean_wait: queue.wait.checked_div(u32::try_from(queue.waited).unwrap_or(u32::MAX)).unwrap_or_default(),
            longest_wait: queue.longest_wait,
        }
    }

    /// The end of a link, or of a dial. Told once.
    pub(crate) fn end_link(self: &Arc<Self>, reason: String, ctx: Ctx<'_>) {
        self.open.store(false, Ordering::Relaxed);
        let end = self.admission.end();
        ctx.links.lock().remove(&self.link_id());
        self.write(ctx, |egress, cx| egress.close(cx).for_each(drop));
        if !matches!(end, End::Again) {
            ctx.events.push(Event::LinkClosed { link: self.link_id(), reason });
        }
    }

    /// Whether something waits for the socket.
    pub(crate) fn waits(self: &Arc<Self>, ctx: Ctx<'_>) -> bool {
        let mut waits = false;
        self.write(ctx, |egress, _| waits = egress.waits());
        waits
    }

    /// The end of what [`Conn::leave`] has left.
    pub(crate) fn let_go(self: &Arc<Self>, ctx: Ctx<'_>) {
        ctx.leaving.lock().remove(&self.id);
        self.write(ctx, |egress, cx| egress.close(cx).for_each(drop));
    }

    /// The end of everything but the socket. Told once, with the connection's place among the logins if it still has it.
    pub(crate) fn end(self: &Arc<Self>, reason: CloseReason, guest: Option<Guest>, ctx: Ctx<'_>) {
        self.end_writing(reason, guest, ctx, |egress, cx| egress.close(cx).collect());
    }

    /// The same, but for what waits for the socket: that is for its owner to let go of.
    pub(crate) fn leave(self: &Arc<Self>, reason: CloseReason, guest: Option<Guest>, ctx: Ctx<'_>) {
        ctx.leaving.lock().insert(self.id, self.clone());
        self.end_writing(reason, guest, ctx, |egress, cx| egress.leave(cx).collect());
    }

    /// `close` ends the way out, and hands the sources back.
    fn end_writing(
        self: &Arc<Self>,
        reason: CloseReason,
        guest: Option<Guest>,
        ctx: Ctx<'_>,
        close: impl FnOnce(&mut Egress, &EgressContext<'_>) -> Vec<NodeKey>,
    ) {
        let ctx = ctx.of(self);
        let end = self.admission.end();
        ctx.conns.lock().remove(&self.id);
        match &end {
            End::Early => {
                ctx.counters.add(Counter::LOGINS_FAILED, 1);
                // To one that made room its end looks like a hang-up.
                let is_evicted = reason == CloseReason::Disconnected && guest.as_ref().is_some_and(Guest::is_evicted);
                let what = if is_evicted { Counter::LOGINS_FAILED_EVICTED } else { reason.login_counter() };
                ctx.failed(what, self.peer);
            }
            End::Admitted(entry) => ctx.table.remove(entry, self, &ctx.events, &ctx.faults),
            End::Again => {}
        }
        // What is on its way here, or in the inbox, is dropped by the closed egress, and counted.
        let mut sources = Vec::new();
        self.write(ctx, |egress, cx| sources = close(egress, cx));
        for source in sources {
            ctx.subscribers.remove(&source, self.id);
        }
        ctx.subscribers.senders.forget(self.id);
        if !matches!(end, End::Again) {
            self.uncount_tls(ctx.counters);
        }
        if !matches!(end, End::Again) && self.key().is_some() {
            ctx.events.closed(self, reason, guest);
        }
    }

    fn write(self: &Arc<Self>, ctx: Ctx<'_>, act: impl FnOnce(&mut Egress, &EgressContext<'_>)) {
        relieve(self.visit(ctx, act), ctx);
    }

    fn visit(self: &Arc<Self>, ctx: Ctx<'_>, act: impl FnOnce(&mut Egress, &EgressContext<'_>)) -> Outcome {
        let cx = ctx.egress_context(self);
        let outcome = Gathered::default();
        let left = self.egress.enter(
            |egress, inbox| outcome.of(egress, &cx, |egress| egress.inbox(inbox, &cx)),
            |egress| outcome.of(egress, &cx, |egress| act(egress, &cx)),
        );
        let outcome = outcome.0.get();
        self.tell(outcome, left, ctx);
        outcome
    }

    /// Tells the parts that have to know what the writes have come to. After the lock is released.
    fn tell(self: &Arc<Self>, outcome: Outcome, left: Left, ctx: Ctx<'_>) {
        if outcome.overflow {
            ctx.mail(self.worker, Mail::Close(self.clone(), CloseReason::ControlOverflow));
        }
        if outcome.condemned {
            ctx.mail(self.worker, Mail::Close(self.clone(), CloseReason::OverBudget));
        }
        if outcome.stalled {
            ctx.mail(self.worker, Mail::Stalled(self.clone()));
        }
        if left == Left::Work {
            ctx.mail(self.worker, Mail::Drain(self.clone()));
        }
        if outcome.warmed {
            ctx.warmed(self);
        }
        if outcome.pulled {
            ctx.events.pulled(self);
        }
        if outcome.heard {
            ctx.tell_heard();
        }
    }
}

impl Shared {
    /// Ends the connections that no worker looks after any more: those of `worker`, or of all.
    pub(crate) fn end_orphans(&self, worker: Option<usize>, reason: CloseReason) {
        let orphans: Vec<_> = self.conns.lock().values().cloned().collect();
        for conn in orphans.iter().filter(|conn| worker.is_none_or(|worker| conn.worker == worker)) {
            conn.end(reason, None, Ctx::now(self));
        }
        let orphans: Vec<_> = self.links.lock().values().cloned().collect();
        for conn in orphans.iter().filter(|conn| worker.is_none_or(|worker| conn.worker == worker)) {
            conn.end_link(reason.of_link().into(), Ctx::now(self));
        }
    }
}

/// What has come may be more than all may hold together. Not for those who give something back.
fn relieve(outcome: Outcome, ctx: Ctx<'_>) {
    if outcome.crowded {
        ctx.relieve_queues();
    }
    if outcome.many_pairs {
        ctx.relieve_pairs();
    }
}

/// The outcome of several writes of one visit.
#[derive(Default)]
struct Gathered(Cell<Outcome>);

impl Gathered {
    fn of(&self, egress: &mut Egress, cx: &EgressContext<'_>, act: impl FnOnce(&mut Egress)) {
        act(egress);
        egress.settle(cx);
        self.0.set(self.0.get().and(egress.take_outcome()));
    }
}
