//! One DERP connection on its worker, from the greeting to its end: login, waiting for admission, traffic.

use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use derp_proto::counters::Counter;
use derp_proto::decode::{Decoder, FrameHeader, Step};
use derp_proto::frame_rules::{self, FrameFault};
use derp_proto::login::{self, LoginError};
use derp_proto::token_bucket::Rate;
use derp_proto::websocket::Reader;
use derp_proto::wire::{HEADER_LENGTH, NONCE_LENGTH};
use derp_tls::Alert;

use crate::base::budget::Share;
use crate::base::close_reason::{CloseReason, LoginFault};
use crate::conn::Conn;
use crate::hub::ctx::Ctx;
use crate::ingress::fanout::Fanout;
use crate::ingress::forward::Forwarding;
use crate::ingress::packet::{Buffer, ReadFrame};
use crate::state::events::Event;
use crate::state::strangers::Guest;

/// As much as is read at a time of who is not let in yet, or has a receive limit: what it sends ahead is kept.
const FIRST_READ: usize = 16 << 10;
/// A message of a WebSocket: room for the largest frame of DERP in one; derper takes half of it.
const MAX_MESSAGE: u32 = 128 << 10;

/// Owned by the worker.
pub(crate) struct Session {
    conn: Arc<Conn>,
    phase: Phase,
    /// Set if the DERP stream lies in the messages of a WebSocket.
    web_socket: Option<Box<Reader>>,
    decoder: Decoder,
    /// A frame that is not whole, in an allocation that grows with what came.
    partial: Vec<u8>,
    /// What was read and has to wait for the receive limit.
    held: Vec<u8>,
    /// Set once nothing more comes of the client, while something that it has sent before waits: how the end is answered.
    end: Option<Alert>,
}

enum Phase {
    Login {
        ends: Instant,
        not_ideal: bool,
        /// One of the pending logins.
        guest: Guest,
        /// Of the ClientInfo, while it is not whole.
        bytes: Share,
    },
    Waiting {
        ends: Instant,
        guest: Guest,
        leftover: Vec<u8>,
    },
    Admitted(Forwarding),
}

impl Session {
    pub(crate) fn new(conn: Arc<Conn>, not_ideal: bool, guest: Guest, ctx: Ctx<'_>) -> Self {
        ctx.of(&conn).counters.add(Counter::ACCEPTS, 1);
        let ends = ctx.now + guest.patience(ctx.policy.load().client_info_deadline);
        let bytes = ctx.login_bytes.nothing();
        let phase = Phase::Login { ends, not_ideal, guest, bytes };
        Self {
            conn,
            phase,
            web_socket: None,
            decoder: Decoder::default(),
            partial: Vec::new(),
            held: Vec::new(),
            end: None,
        }
    }

    /// What is read are the frames of a WebSocket.
    pub(crate) fn into_web_socket(mut self) -> Self {
        self.web_socket = Some(Box::new(Reader::new(MAX_MESSAGE)));
        self
    }

    pub(crate) fn is_web_socket(&self) -> bool {
        self.web_socket.is_some()
    }

    pub(crate) fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    /// The memory of what it has read and cannot act upon; of logins that are not whole there is a budget of their own.
    pub(crate) fn kept(&self) -> usize {
        self.held.capacity()
            + match &self.phase {
                Phase::Login { .. } => 0,
                Phase::Waiting { leftover, .. } => leftover.capacity(),
                Phase::Admitted(_) => self.partial.capacity(),
            }
    }

    /// How much may be read now. Nothing while it waits and has sent ahead what it may; a hang-up is seen only while
    /// reading, so until then reading goes on.
    pub(crate) fn room(&self, ctx: Ctx<'_>) -> usize {
        match &self.phase {
            _ if self.end.is_some() => 0,
            Phase::Login { .. } => FIRST_READ,
            Phase::Waiting { leftover, .. } if leftover.len() > ctx.policy.load().leftover_bytes => 0,
            Phase::Waiting { .. } => FIRST_READ,
            Phase::Admitted(_) if self.is_held() => 0,
            Phase::Admitted(forwarding) if forwarding.is_limited() => FIRST_READ,
            Phase::Admitted(_) => usize::MAX,
        }
    }

    /// Bytes have come. An error is why the connection has to end.
    pub(crate) fn receive(&mut self, read: &mut [u8], fanout: &mut Fanout, ctx: Ctx<'_>) -> Result<(), CloseReason> {
        if self.end.is_some() {
            return Ok(());
        }
        let Some(web_socket) = &mut self.web_socket else {
            return self.feed(read, fanout, ctx);
        };
        let received = web_socket.read(read);
        if !received.stream.is_empty() {
            self.feed(&mut read[received.stream], fanout, ctx)?;
        }
        if let Some(ping) = received.ping {
            self.conn.web_socket_pong(&ping, ctx);
        }
        let Some(end) = received.end else { return Ok(()) };
        self.conn.owe_close(&end.close_payload(), ctx);
        if self.ends_later(Alert::CLOSE_NOTIFY) { Ok(()) } else { Err(CloseReason::Disconnected) }
    }

    /// The same with bytes of DERP.
    fn feed(&mut self, read: &mut [u8], fanout: &mut Fanout, ctx: Ctx<'_>) -> Result<(), CloseReason> {
        let ctx = ctx.of(&self.conn);
        let mut gathered = Vec::new();
        let result = self.cut(&mut gathered, read, fanout, ctx);
        // Whatever comes behind a packet, the packet has been sent.
        fanout.deliver(&self.conn, &gathered, read, ctx);
        result?;
        self.charge(ctx)
    }

    /// The control plane has let the connection in.
    pub(crate) fn admitted(
        &mut self,
        limit: Option<Rate>,
        keep_alive_at: Instant,
        fanout: &mut Fanout,
        ctx: Ctx<'_>,
    ) -> Result<(), CloseReason> {
        let (Phase::Waiting { leftover, .. }, Some(entry)) = (&mut self.phase, self.conn.entry()) else {
            return Ok(());
        };
        let mut leftover = std::mem::take(leftover);
        let forwarding = Forwarding::new(entry, self.conn.is_mesh(), limit, keep_alive_at, ctx);
        self.phase = Phase::Admitted(forwarding);
        self.feed(&mut leftover, fanout, ctx)?;
        self.end_in_turn(ctx)
    }

    /// The control plane has another receive limit for the connection.
    pub(crate) fn limit(&mut self, limit: Option<Rate>) {
        if let Phase::Admitted(forwarding) = &mut self.phase {
            forwarding.own_limit(limit);
        }
    }

    /// When its phase has something due.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.phase {
            Phase::Login { ends, .. } | Phase::Waiting { ends, .. } => *ends,
            Phase::Admitted(forwarding) => forwarding.deadline(),
        }
    }

    /// Measures its round trip, if it is time to.
    pub(crate) fn sample(&mut self, stream: &TcpStream, ctx: Ctx<'_>) {
        if let Phase::Admitted(forwarding) = &mut self.phase
            && forwarding.samples(ctx)
        {
            ctx.of(&self.conn).sample(&self.conn, stream);
        }
    }

    /// Whether it has sent more than its receive limit permits.
    pub(crate) fn is_over_limit(&self) -> bool {
        matches!(&self.phase, Phase::Admitted(forwarding) if forwarding.held_until().is_some())
    }

    /// Nothing more comes of the client, which is to be answered with this alert over TLS. True if something that it has
    /// sent before waits, for its admission or its receive limit: its end waits behind that.
    pub(crate) fn ends_later(&mut self, alert: Alert) -> bool {
        let waits = match &self.phase {
            Phase::Login { .. } => false,
            // Of a client that has sent nothing ahead nothing is lost.
            Phase::Waiting { leftover, .. } => !leftover.is_empty(),
            Phase::Admitted(_) => self.is_over_limit(),
        };
        if waits {
            self.end.get_or_insert(alert);
        }
        waits
    }

    /// Ends the connection if that has waited, and has not to wait any more.
    fn end_in_turn(&mut self, ctx: Ctx<'_>) -> Result<(), CloseReason> {
        match self.end {
            Some(alert) if !self.is_over_limit() => {
                if alert != Alert::CLOSE_NOTIFY {
                    self.conn.alert(alert, ctx);
                }
                Err(CloseReason::Disconnected)
            }
            _ => Ok(()),
        }
    }

    /// Whether that holds it back: the frame that was too much is read to its end.
    fn is_held(&self) -> bool {
        self.is_over_limit() && self.decoder.is_between_frames()
    }

    /// Goes on with what was read, if the limit does not hold it back any more.
    pub(crate) fn read_on(&mut self, fanout: &mut Fanout, ctx: Ctx<'_>) -> Result<(), CloseReason> {
        let Phase::Admitted(forwarding) = &mut self.phase else { return Ok(()) };
        if !forwarding.release(ctx) {
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.held);
        self.feed(&mut held, fanout, ctx)?;
        self.end_in_turn(ctx)
    }

    /// Does what is due. Returns when to come again, or why the connection has to end.
    pub(crate) fn on_time(&mut self, ctx: Ctx<'_>) -> Result<Instant, CloseReason> {
        match &mut self.phase {
            Phase::Login { ends, .. } if ctx.now >= *ends => return Err(CloseReason::LoginTimeout),
            // Word of an admission may be under way.
            Phase::Waiting { ends, .. } if ctx.now >= *ends && !self.conn.is_admitted() => {
                return Err(CloseReason::AdmissionTimeout);
            }
            Phase::Login { .. } | Phase::Waiting { .. } => {}
            Phase::Admitted(forwarding) => forwarding.keep_alive(&self.conn, ctx),
        }
        let next = self.deadline();
        let policy = ctx.policy.load();
        let limit = if self.conn.is_mesh() { policy.mesh_write_deadline } else { policy.write_deadline };
        match (self.conn.stalled_since(limit.is_some(), ctx), limit) {
            (Some(since), Some(limit)) if ctx.now >= since + limit => {
                ctx.of(&self.conn).counters.add(Counter::WRITE_TIMEOUTS, 1);
                Err(CloseReason::WriteTimeout)
            }
            (Some(since), Some(limit)) => Ok(next.min(since + limit)),
            _ => Ok(next),
        }
    }

    pub(crate) fn close(self, reason: CloseReason, ctx: Ctx<'_>) {
        let (conn, guest) = self.into_parts();
        conn.end(reason, guest, ctx);
    }

    /// The same, and what waits for the socket may still leave.
    pub(crate) fn leave(self, reason: CloseReason, ctx: Ctx<'_>) {
        let (conn, guest) = self.into_parts();
        conn.leave(reason, guest, ctx);
    }

    fn into_parts(self) -> (Arc<Conn>, Option<Guest>) {
        let guest = match self.phase {
            Phase::Login { guest, .. } | Phase::Waiting { guest, .. } => Some(guest),
            Phase::Admitted(_) => None,
        };
        (self.conn, guest)
    }

    /// Cuts what was read into frames. `gathered` gets the one that had begun before, if it is whole now.
    fn cut(
        &mut self,
        gathered: &mut Vec<u8>,
        read: &mut [u8],
        fanout: &mut Fanout,
        ctx: Ctx<'_>,
    ) -> Result<(), CloseReason> {
        let mut at = 0;
        while !self.partial.is_empty() && at < read.len() {
            let missing = self.decoder.needed() as usize - self.partial.len();
            let taken = missing.min(read.len() - at);
            grow(&mut self.partial, taken, self.decoder.needed() as usize);
            self.partial.extend_from_slice(&read[at..at + taken]);
            at += taken;
            let mut partial = std::mem::take(&mut self.partial);
            match self.decode(&mut partial, Buffer::Gathered, 0, fanout, ctx)? {
                0 => self.partial = partial,
                _ => *gathered = partial,
            }
        }
        at += self.decode(&mut read[at..], Buffer::Read, at, fanout, ctx)?;
        let rest = &read[at..];
        let is_held = self.is_held();
        match &mut self.phase {
            Phase::Waiting { leftover, .. } => {
                grow(leftover, rest.len(), ctx.policy.load().leftover_bytes + FIRST_READ);
                leftover.extend_from_slice(rest);
            }
            Phase::Admitted(_) if is_held => self.held = rest.to_vec(),
            Phase::Login { .. } | Phase::Admitted(_) if !rest.is_empty() => self.partial = rest.to_vec(),
            Phase::Login { .. } | Phase::Admitted(_) => {}
        }
        Ok(())
    }

    /// Does what the frames at the beginning of `bytes` ask for. Returns where the first begins that is not whole, or that
    /// has to wait for admission.
    fn decode(
        &mut self,
        bytes: &mut [u8],
        buffer: Buffer,
        offset: usize,
        fanout: &mut Fanout,
        ctx: Ctx<'_>,
    ) -> Result<usize, CloseReason> {
        let mut at = 0;
        while !matches!(self.phase, Phase::Waiting { .. }) {
            if self.is_held() {
                break;
            }
            match self.decoder.next(&bytes[at..]) {
                Step::Header(header) => {
                    if !self.header(header, ctx)? {
                        self.decoder.skip();
                    }
                }
                Step::Frame(length) => {
                    let frame = &mut bytes[at..at + length];
                    match &mut self.phase {
                        Phase::Admitted(forwarding) => {
                            let frame = ReadFrame { bytes: frame, buffer, at: offset + at };
                            forwarding.frame(frame, &self.conn, fanout, ctx);
                        }
                        Phase::Login { .. } | Phase::Waiting { .. } => self.log_in(&mut frame[HEADER_LENGTH..], ctx)?,
                    }
                    at += length;
                }
                Step::Skipped(length) => at += length,
                Step::More => break,
            }
        }
        Ok(at)
    }

    /// Whether the body of a frame is wanted.
    fn header(&mut self, header: FrameHeader, ctx: Ctx<'_>) -> Result<bool, CloseReason> {
        match &mut self.phase {
            Phase::Admitted(forwarding) => {
                forwarding.header(header, &self.conn, ctx).map_err(|_| CloseReason::ProtocolError)
            }
            Phase::Login { .. } | Phase::Waiting { .. } => {
                let longest = ctx.policy.load().client_info_bytes;
                frame_rules::check_first(header, longest).map(|()| true).map_err(|error| {
                    let is_other = error.fault == FrameFault::NotClientInfo;
                    CloseReason::LoginFailed(if is_other { LoginFault::NoClientInfo } else { LoginFault::BadLength })
                })
            }
        }
    }

    fn log_in(&mut self, body: &mut [u8], ctx: Ctx<'_>) -> Result<(), CloseReason> {
        let opened =
            login::open_client_info(body, &ctx.secret).map_err(|error| CloseReason::LoginFailed(fault_of(error)))?;
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|_| CloseReason::InternalError)?;
        let server_info = login::seal_server_info(&opened.shared, &nonce).into();
        let ends = ctx.now + ctx.policy.load().admission_deadline;
        let Phase::Login { not_ideal, guest, .. } = &mut self.phase else {
            return Err(CloseReason::InternalError);
        };
        let not_ideal = *not_ideal;
        let guest = guest.take();
        guest.hold();
        self.phase = Phase::Waiting { ends, guest, leftover: Vec::new() };
        self.conn.logged_in(opened.key, server_info);
        ctx.events.push(Event::Login {
            id: self.conn.id,
            key: opened.key,
            info: opened.info,
            peer: self.conn.peer,
            tls: self.conn.tls,
            not_ideal,
        });
        Ok(())
    }

    /// The plane holds a bounded number of bytes of logins that are not whole; a client that goes beyond is closed.
    fn charge(&mut self, ctx: Ctx<'_>) -> Result<(), CloseReason> {
        let Phase::Login { bytes, .. } = &mut self.phase else {
            return Ok(());
        };
        let within = bytes.set(self.partial.len(), ctx.policy.load().login_bytes);
        if within { Ok(()) } else { Err(CloseReason::LoginFailed(LoginFault::OverBudget)) }
    }
}

fn fault_of(error: LoginError) -> LoginFault {
    match error {
        LoginError::ZeroKey | LoginError::LowOrderKey => LoginFault::BadKey,
        LoginError::Info(_) => LoginFault::BadInfo,
        _ => LoginFault::BadBox,
    }
}

/// Makes room for `more` bytes, in steps of twice as much, and for no more than `most` in all.
fn grow(kept: &mut Vec<u8>, more: usize, most: usize) {
    let total = kept.len() + more;
    if total > kept.capacity() {
        let room = most.min(2 * kept.len()).max(total);
        kept.reserve_exact(room - kept.len());
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
