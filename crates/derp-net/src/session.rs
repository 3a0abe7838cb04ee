//! One DERP connection on its worker, from the greeting to its end. A packet's way through it is in `packets`.

mod packets;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use derp_proto::counters::Counter;
use derp_proto::decode::FrameHeader;
use derp_proto::frame::{self, KEY_AT};
use derp_proto::inbound::{self, Body};
use derp_proto::key::NodeKey;
use derp_proto::limit::TokenBucket;
use derp_proto::login;
use derp_proto::wire::{FrameType, HEADER_LENGTH, NONCE_LENGTH, PING_LENGTH};

use crate::conn::Conn;
use crate::events::{CloseReason, Event};
use crate::policy::Policy;
use crate::shared::Shared;
use crate::table::Entry;
use packets::Outbox;

/// What a step came to.
pub(crate) enum Step {
    Go,
    Close(CloseReason),
}

enum Phase {
    Login,
    Waiting,
    Open,
}

/// Where a connection has sent packets lately. It holds the table's entries, so a change of route needs no word here.
type Cache = [Option<(NodeKey, Arc<Entry>)>; 4];

/// Owned by the worker.
pub(crate) struct Session {
    conn: Arc<Conn>,
    phase: Phase,
    not_ideal: bool,
    /// Of the phase, while it has one.
    deadline: Option<Instant>,
    keep_alive_at: Option<Instant>,
    /// A deadline has been set that the wheel does not know yet.
    rearm: Option<Instant>,

    /// A frame that is not whole: `have` bytes of it, in an allocation that grows with what came.
    partial: Vec<u8>,
    have: usize,
    /// Bytes of an unwanted body still to come.
    skip: usize,
    /// What came before admission.
    leftover: Vec<u8>,
    charged: usize,

    // Once admitted.
    entry: Option<Arc<Entry>>,
    cache: Option<Box<Cache>>,
    /// Connections that are known to be subscribed to this one's leaving.
    told: [u64; 8],
    not_here: Option<TokenBucket>,
}

impl Session {
    /// One place among the logins that wait is taken for it; it gives that back.
    pub(crate) fn new(conn: Arc<Conn>, not_ideal: bool, shared: &Shared, now: Instant) -> Self {
        shared.counters.add(Counter::ACCEPTS, 1);
        shared.conns.lock().insert(conn.id, conn.clone());
        Self {
            conn,
            phase: Phase::Login,
            not_ideal,
            deadline: Some(now + shared.policy.load().client_info_deadline),
            keep_alive_at: None,
            rearm: None,
            partial: Vec::new(),
            have: 0,
            skip: 0,
            leftover: Vec::new(),
            charged: 0,
            entry: None,
            cache: None,
            told: [0; 8],
            not_here: None,
        }
    }

    pub(crate) fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    /// When to be visited first.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline.unwrap_or_else(Instant::now)
    }

    /// A visit that is to be arranged.
    pub(crate) fn take_rearm(&mut self) -> Option<Instant> {
        self.rearm.take()
    }

    /// When to be visited because of a full socket: in good time before the deadline, whichever it is.
    pub(crate) fn write_deadline(&self) -> Option<Instant> {
        self.conn.stalled_since()
    }

    /// Whether reading waits for admission. A hang-up is seen only while reading, so it goes on within bounds.
    pub(crate) fn is_paused(&self, shared: &Shared) -> bool {
        matches!(self.phase, Phase::Waiting) && self.leftover.len() > shared.policy.load().leftover_bytes
    }

    /// Where the next bytes are to be read to: behind a frame that is not whole, or into the worker's scratch.
    pub(crate) fn buffer<'a>(&'a mut self, scratch: &'a mut [u8]) -> &'a mut [u8] {
        if self.have == 0 {
            return scratch;
        }
        let room = self.need().min((2 * self.have).max(512));
        self.partial.resize(room, 0);
        &mut self.partial[self.have..]
    }

    /// `count` bytes came into [`Session::buffer`].
    pub(crate) fn read(&mut self, count: usize, scratch: &mut [u8], shared: &Shared, now: Instant) -> Step {
        if self.have == 0 {
            return self.bytes(&mut scratch[..count], shared, now);
        }
        self.have += count;
        self.partial.truncate(self.have);
        self.continue_partial(shared, now)
    }

    /// The same for bytes that were read otherwise.
    pub(crate) fn feed(&mut self, bytes: &[u8], scratch: &mut [u8], shared: &Shared, now: Instant) -> Step {
        let mut rest = bytes;
        while !rest.is_empty() {
            let buffer = self.buffer(scratch);
            let count = rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&rest[..count]);
            rest = &rest[count..];
            if let Step::Close(reason) = self.read(count, scratch, shared, now) {
                return Step::Close(reason);
            }
        }
        Step::Go
    }

    /// The control plane has let the connection in.
    pub(crate) fn admitted(&mut self, keep_alive: Instant, scratch: &mut [u8], shared: &Shared, now: Instant) -> Step {
        if !matches!(self.phase, Phase::Waiting) {
            return Step::Go;
        }
        self.phase = Phase::Open;
        self.deadline = None;
        shared.pending_logins.fetch_sub(1, Ordering::Relaxed);
        self.entry = self.conn.entry();
        self.keep_alive_next(keep_alive);
        let leftover = std::mem::take(&mut self.leftover);
        self.feed(&leftover, scratch, shared, now)
    }

    /// Does what is due. Returns when to come again, or why the connection has to end.
    pub(crate) fn on_time(&mut self, shared: &Shared, now: Instant) -> Result<Instant, CloseReason> {
        if self.deadline.is_some_and(|deadline| now >= deadline) {
            let waiting = matches!(self.phase, Phase::Waiting);
            return Err(if waiting { CloseReason::AdmissionTimeout } else { CloseReason::LoginTimeout });
        }
        if self.keep_alive_at.is_some_and(|when| now >= when) {
            self.conn.control(frame::KEEP_ALIVE.as_slice().into(), false, shared, now);
            self.keep_alive_next(next_keep_alive(&shared.policy.load(), now));
        }
        let mut next = self.deadline.or(self.keep_alive_at).unwrap_or(now);
        let policy = shared.policy.load();
        let mesh = self.conn.mesh.load(Ordering::Relaxed);
        let limit = if mesh { policy.mesh_write_deadline } else { policy.write_deadline };
        if let (Some(since), Some(limit)) = (self.conn.stalled_since(), limit) {
            if now >= since + limit {
                shared.counters.add(Counter::WRITE_TIMEOUTS, 1);
                return Err(CloseReason::WriteTimeout);
            }
            next = next.min(since + limit);
        }
        Ok(next)
    }

    pub(crate) fn close(self, reason: CloseReason, shared: &Shared, now: Instant) {
        shared.login_bytes.fetch_sub(self.charged, Ordering::Relaxed);
        if !matches!(self.phase, Phase::Open) {
            shared.pending_logins.fetch_sub(1, Ordering::Relaxed);
            shared.counters.add(Counter::LOGINS_FAILED, 1);
        }
        shared.conns.lock().remove(&self.conn.id);
        if let Some(entry) = self.conn.end()
            && shared.table.remove(&entry, &self.conn)
            && let Some(active) = entry.active()
        {
            shared.events.active(entry.key, &active);
        }
        self.conn.close(shared, now);
        if self.conn.key().is_some() {
            shared.events.closed(&self.conn, reason);
        }
    }

    fn need(&self) -> usize {
        match FrameHeader::parse(&self.partial[..self.have.min(self.partial.len())]) {
            Some(header) => HEADER_LENGTH + header.length as usize,
            None => HEADER_LENGTH,
        }
    }

    fn continue_partial(&mut self, shared: &Shared, now: Instant) -> Step {
        if self.have == HEADER_LENGTH {
            // The header has just become whole: it is judged before any of the body is kept.
            let Some(header) = FrameHeader::parse(&self.partial) else {
                return Step::Go;
            };
            match self.judge(header, shared) {
                Err(reason) => return Step::Close(reason),
                Ok(false) => {
                    self.forget_partial();
                    self.skip = header.length as usize;
                    return Step::Go;
                }
                Ok(true) => {}
            }
        }
        let mut step = Step::Go;
        if self.have >= HEADER_LENGTH && self.have == self.need() {
            let mut whole = std::mem::take(&mut self.partial);
            self.forget_partial();
            step = self.whole(&mut whole, shared, now);
        }
        self.charge(shared, step)
    }

    /// Bytes from the front of a frame on.
    fn bytes(&mut self, bytes: &mut [u8], shared: &Shared, now: Instant) -> Step {
        let mut at = 0;
        let mut outbox = Outbox::default();
        let mut step = Step::Go;
        while at < bytes.len() {
            if matches!(self.phase, Phase::Waiting) {
                self.leftover.extend_from_slice(&bytes[at..]);
                break;
            }
            if self.skip > 0 {
                let passed = self.skip.min(bytes.len() - at);
                self.skip -= passed;
                at += passed;
                continue;
            }
            let Some(header) = FrameHeader::parse(&bytes[at..]) else {
                self.keep(&bytes[at..]);
                break;
            };
            match self.judge(header, shared) {
                Err(reason) => {
                    step = Step::Close(reason);
                    break;
                }
                Ok(false) => {
                    self.skip = header.length as usize;
                    at += HEADER_LENGTH;
                    continue;
                }
                Ok(true) => {}
            }
            let end = at + HEADER_LENGTH + header.length as usize;
            if end > bytes.len() {
                self.keep(&bytes[at..]);
                break;
            }
            match self.frame(&mut bytes[at..end], at, &mut outbox, shared, now) {
                Step::Go => {}
                close => {
                    step = close;
                    break;
                }
            }
            at = end;
        }
        self.deliver(bytes, &mut outbox, shared, now);
        self.charge(shared, step)
    }

    /// One frame that had come in pieces.
    fn whole(&mut self, bytes: &mut [u8], shared: &Shared, now: Instant) -> Step {
        let mut outbox = Outbox::default();
        let step = self.frame(bytes, 0, &mut outbox, shared, now);
        self.deliver(bytes, &mut outbox, shared, now);
        step
    }

    /// Whether the body of a frame is wanted; an error ends the connection.
    fn judge(&mut self, header: FrameHeader, shared: &Shared) -> Result<bool, CloseReason> {
        match self.phase {
            Phase::Login => {
                let longest = shared.policy.load().client_info_bytes;
                inbound::check_first(header, longest).map(|()| true).map_err(|_| CloseReason::LoginFailed)
            }
            // Bytes are kept as they are then.
            Phase::Waiting => Ok(true),
            Phase::Open => {
                if let Some(entry) = &self.entry
                    && entry.activity(&self.conn)
                {
                    shared.events.active(entry.key, &self.conn);
                }
                if header.kind == FrameType::Ping as u8 {
                    shared.counters.add(Counter::GOT_PING, 1);
                }
                let body = inbound::check(header, self.conn.mesh.load(Ordering::Relaxed));
                body.map(|body| body == Body::Wanted).map_err(|_| CloseReason::ProtocolError)
            }
        }
    }

    /// A whole frame, at `at` in the read buffer. Packets are made ready, everything else is done.
    fn frame(&mut self, bytes: &mut [u8], at: usize, outbox: &mut Outbox, shared: &Shared, now: Instant) -> Step {
        if matches!(self.phase, Phase::Login) {
            return self.log_in(&mut bytes[HEADER_LENGTH..], shared, now);
        }
        match FrameType::from_u8(bytes[0]) {
            Some(FrameType::SendPacket) => {
                self.send_packet(bytes, at, outbox, shared, now);
            }
            Some(FrameType::ForwardPacket) => {
                self.forward_packet(bytes, at, outbox, shared, now);
            }
            Some(FrameType::NotePreferred) => {
                let home = bytes[HEADER_LENGTH] != 0;
                if self.conn.home.swap(home, Ordering::SeqCst) != home {
                    shared.events.prefer(&self.conn);
                }
            }
            Some(FrameType::WatchConns) => shared.events.push(Event::Watch { id: self.conn.id }),
            Some(FrameType::ClosePeer) => {
                if let Some(target) = NodeKey::first_of(&bytes[KEY_AT..]) {
                    shared.events.push(Event::ClosePeer { id: self.conn.id, target });
                }
            }
            Some(FrameType::Ping) => {
                if let Some(data) = bytes[HEADER_LENGTH..].first_chunk::<PING_LENGTH>() {
                    self.conn.pong(Box::new(frame::pong(data)), shared, now);
                }
            }
            _ => {}
        }
        Step::Go
    }

    fn log_in(&mut self, body: &mut [u8], shared: &Shared, now: Instant) -> Step {
        let Ok(opened) = login::open_client_info(body, &shared.secret) else {
            return Step::Close(CloseReason::LoginFailed);
        };
        let mut nonce = [0; NONCE_LENGTH];
        if getrandom::fill(&mut nonce).is_err() {
            return Step::Close(CloseReason::InternalError);
        }
        self.conn.logged_in(opened.key, login::seal_server_info(&opened.shared, &nonce).into());
        self.phase = Phase::Waiting;
        self.deadline = Some(now + shared.policy.load().admission_deadline);
        self.rearm = self.deadline;
        shared.events.push(Event::Login {
            id: self.conn.id,
            key: opened.key,
            info: opened.info,
            peer: self.conn.peer,
            not_ideal: self.not_ideal,
        });
        Step::Go
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.partial = bytes.to_vec();
        self.have = bytes.len();
    }

    fn forget_partial(&mut self) {
        self.partial = Vec::new();
        self.have = 0;
    }

    /// The plane holds a bounded number of bytes of logins that are not whole; whoever goes beyond is not worth it.
    fn charge(&mut self, shared: &Shared, step: Step) -> Step {
        let held = if matches!(self.phase, Phase::Login) { self.have } else { 0 };
        if held == self.charged {
            return step;
        }
        shared.login_bytes.fetch_add(held, Ordering::Relaxed);
        shared.login_bytes.fetch_sub(self.charged, Ordering::Relaxed);
        self.charged = held;
        let over = shared.login_bytes.load(Ordering::Relaxed) > shared.policy.load().login_bytes;
        if held > 0 && over { Step::Close(CloseReason::LoginFailed) } else { step }
    }

    fn keep_alive_next(&mut self, when: Instant) {
        self.keep_alive_at = Some(when);
        self.rearm = self.keep_alive_at;
    }
}

/// When a connection is to be sent its next KeepAlive.
pub(crate) fn next_keep_alive(policy: &Policy, now: Instant) -> Instant {
    let mut random = [0; 4];
    // Without randomness all clients would be kept alive at once, which hurts nobody but the relay.
    let _ = getrandom::fill(&mut random);
    let share = f64::from(u32::from_le_bytes(random)) / f64::from(u32::MAX);
    now + policy.keep_alive + policy.keep_alive_jitter.mul_f64(share)
}
