//! What all workers, and the control plane, know of one connection.

use std::cell::Cell;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use derp_proto::counters::{Counter, Counters};
use derp_proto::drop_reason::DropReason;
use derp_proto::key::NodeKey;
use derp_proto::token_bucket::Rate;
use derp_proto::wire::PeerGoneReason;
use derp_tls::{Alert, Version};

use crate::base::admission::{Admission, End};
use crate::base::close_reason::CloseReason;
use crate::base::combining_lock::{CombiningLock, Left};
use crate::egress::{Egress, EgressContext, EgressFigures, Frame, Inbox, Outcome};
use crate::hub::shared::Ctx;
use crate::ingress::forward::next_keep_alive;
use crate::io::writer::SocketWriter;
use crate::state::events::{Event, News};
use crate::state::strangers::Guest;
use crate::state::table::Entry;
use crate::worker::Mail;

/// A connection that has been upgraded, or a link to another relay, from its dial on. Shared by reference counting; the socket itself is closed by its owner alone.
pub(crate) struct Conn {
    // Set once.
    pub(crate) id: u64,
    /// The worker that owns it: reads it, and looks after its deadlines.
    pub(crate) worker: usize,
    pub(crate) peer: SocketAddr,
    pub(crate) tls: Option<Version>,
    /// What the control plane calls it, if it is a link.
    link: Option<u64>,
    key: OnceLock<NodeKey>,
    /// May forward, watch and close; set by the admission.
    mesh: AtomicBool,
    /// The link takes packets.
    open: AtomicBool,
    /// Its place on the owner, for the owner alone.
    pub(crate) token: AtomicUsize,

    /// The ServerInfo frame to be sent, and the place in the table.
    admission: Admission<Box<[u8]>, Arc<Entry>>,
    pub(crate) news: News,
    egress: CombiningLock<Egress, Inbox>,

    // Counted by the owner, read by snapshots. A link receives what its relay says of others.
    packets_received: AtomicU64,
    bytes_received: AtomicU64,
}

/// Figures of one admitted connection.
#[derive(Clone, Copy, Debug)]
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each is")]
pub struct Figures {
    pub id: u64,
    pub packets_received: u64,
    pub bytes_received: u64,
    pub packets_sent: u64,
    pub bytes_sent: u64,
    pub packets_dropped: u64,
    pub queued_packets: u64,
}

impl Conn {
    pub(crate) fn new(
        id: u64,
        worker: usize,
        peer: SocketAddr,
        writer: Option<SocketWriter>,
        tls: Option<Version>,
        now: Instant,
    ) -> Self {
        Self { tls, ..Self::having(id, worker, peer, Egress::new(writer, now)) }
    }

    /// Another relay that is about to be dialled, at `peer`.
    pub(crate) fn link(id: u64, link: u64, worker: usize, peer: SocketAddr, now: Instant) -> Self {
        Self { link: Some(link), ..Self::having(id, worker, peer, Egress::new(None, now)) }
    }

    fn having(id: u64, worker: usize, peer: SocketAddr, egress: Egress) -> Self {
        Self {
            id,
            worker,
            peer,
            tls: None,
            link: None,
            key: OnceLock::new(),
            mesh: AtomicBool::new(false),
            open: AtomicBool::new(false),
            token: AtomicUsize::new(usize::MAX),
            admission: Admission::new(),
            news: News::default(),
            egress: CombiningLock::new(egress),
            packets_received: AtomicU64::new(0),
            bytes_received: AtomicU64::new(0),
        }
    }

    pub(crate) fn is_link(&self) -> bool {
        self.link.is_some()
    }

    /// What the control plane calls the link.
    pub(crate) fn link_id(&self) -> u64 {
        self.link.unwrap_or_default()
    }

    /// Whether a link takes packets. One that says so may have ended by the time it gets them: it drops them itself then.
    pub(crate) fn is_open(&self) -> bool {
        self.open.load(Ordering::Relaxed)
    }

    /// The other relay has let the link in.
    pub(crate) fn open(self: &Arc<Self>, writer: SocketWriter, ctx: Ctx<'_>) {
        self.write(ctx, |egress, cx| egress.open(writer, cx));
        self.open.store(true, Ordering::Relaxed);
    }

    /// From here to its end it is among those over TLS, if it is one.
    pub(crate) fn count_tls(&self, counters: &Counters) {
        if let Some(counter) = self.tls_counter() {
            counters.add(counter, 1);
        }
    }

    pub(crate) fn uncount_tls(&self, counters: &Counters) {
        if let Some(counter) = self.tls_counter() {
            counters.subtract(counter, 1);
        }
    }

    fn tls_counter(&self) -> Option<Counter> {
        self.tls.map(|version| match version {
            Version::Tls12 => Counter::TLS_12_ACTIVE,
            Version::Tls13 => Counter::TLS_13_ACTIVE,
        })
    }

    /// The client's key, once it has proven it.
    pub(crate) fn key(&self) -> Option<&NodeKey> {
        self.key.get()
    }

    pub(crate) fn is_mesh(&self) -> bool {
        self.mesh.load(Ordering::Relaxed)
    }

    /// The client has proven `key`.
    pub(crate) fn logged_in(&self, key: NodeKey, server_info: Box<[u8]>) {
        // A connection logs in once.
        let _ = self.key.set(key);
        self.admission.wait(server_info);
    }

    /// Lets the connection in, as one step: table entry, ServerInfo, packets. Not if it has ended, or was let in before.
    pub(crate) fn admit(self: &Arc<Self>, mesh: bool, limit: Option<Rate>, ctx: Ctx<'_>) {
        let Some(key) = self.key() else { return };
        // By the policy that is in force now, whenever its worker comes to it.
        let keep_alive_at = next_keep_alive(ctx);
        let server_info = self.admission.admit(|server_info| {
            self.mesh.store(mesh, Ordering::Relaxed);
            (ctx.table.add(*key, self, &ctx.events), server_info)
        });
        if let Some(server_info) = server_info {
            self.write(ctx, |egress, cx| egress.welcome(&server_info, cx));
            ctx.mail(self.worker, Mail::Admitted { conn: self.clone(), limit, keep_alive_at });
        }
    }

    pub(crate) fn is_admitted(&self) -> bool {
        self.admission.is_admitted()
    }

    /// Its place in the table, while it has one.
    pub(crate) fn entry(&self) -> Option<Arc<Entry>> {
        self.admission.entry()
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
        self.write(ctx, |egress, _| since = egress.watch(watched));
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

    /// Adds to what has been received. By the owner alone.
    pub(crate) fn count_received(&self, packets: u64, bytes: u64) {
        for (figure, count) in [(&self.packets_received, packets), (&self.bytes_received, bytes)] {
            figure.store(figure.load(Ordering::Relaxed) + count, Ordering::Relaxed);
        }
    }

    pub(crate) fn figures(self: &Arc<Self>, ctx: Ctx<'_>) -> Figures {
        let mut egress = EgressFigures::default();
        self.write(ctx, |guarded, _| egress = guarded.figures());
        Figures {
            id: self.id,
            packets_received: self.packets_received.load(Ordering::Relaxed),
            bytes_received: self.bytes_received.load(Ordering::Relaxed),
            packets_sent: egress.sent.packets,
            bytes_sent: egress.sent.bytes,
            packets_dropped: egress.dropped,
            queued_packets: egress.queued as u64,
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
        let end = self.admission.end();
        ctx.conns.lock().remove(&self.id);
        match &end {
            End::Early => ctx.counters.add(Counter::LOGINS_FAILED, 1),
            End::Admitted(entry) => ctx.table.remove(entry, self, &ctx.events, &ctx.faults),
            End::Again => {}
        }
        // What is on its way here, or in the inbox, is dropped by the closed egress, and counted.
        let mut sources = Vec::new();
        self.write(ctx, |egress, cx| sources = close(egress, cx));
        for source in sources {
            ctx.subscribers.remove(&source, self.id);
        }
        if !matches!(end, End::Again) {
            self.uncount_tls(&ctx.counters);
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

    /// Tells whoever has to know what the writes have come to. After the lock is released.
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
