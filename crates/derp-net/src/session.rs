//! One DERP connection on its worker, from the greeting to its end: login, waiting for admission, traffic.

use std::sync::Arc;
use std::time::Instant;

use derp_proto::counters::Counter;
use derp_proto::decode::{Decoder, FrameHeader, Step};
use derp_proto::inbound;
use derp_proto::limit::Rate;
use derp_proto::login;
use derp_proto::websocket::Reader;
use derp_proto::wire::{HEADER_LENGTH, NONCE_LENGTH};
use derp_tls::Alert;

use crate::batch::{Batch, Lies};
use crate::budget::Share;
use crate::conn::Conn;
use crate::events::Event;
use crate::reason::CloseReason;
use crate::shared::Turn;
use crate::strangers::Guest;
use crate::traffic::Traffic;

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
        place: Guest,
        /// Of the ClientInfo, while it is not whole.
        bytes: Share,
    },
    Waiting {
        ends: Instant,
        place: Guest,
        leftover: Vec<u8>,
    },
    Open(Traffic),
}

impl Session {
    pub(crate) fn new(conn: Arc<Conn>, not_ideal: bool, place: Guest, turn: Turn<'_>) -> Self {
        turn.counters.add(Counter::ACCEPTS, 1);
        let ends = turn.now + place.patience(turn.policy.load().client_info_deadline);
        let bytes = turn.login_bytes.nothing();
        let phase = Phase::Login { ends, not_ideal, place, bytes };
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
                Phase::Open(_) => self.partial.capacity(),
            }
    }

    /// How much may be read now. Nothing while it waits and has sent ahead what it may; a hang-up is seen only while
    /// reading, so until then reading goes on.
    pub(crate) fn room(&self, turn: Turn<'_>) -> usize {
        match &self.phase {
            _ if self.end.is_some() => 0,
            Phase::Login { .. } => FIRST_READ,
            Phase::Waiting { leftover, .. } if leftover.len() > turn.policy.load().leftover_bytes => 0,
            Phase::Waiting { .. } => FIRST_READ,
            Phase::Open(_) if self.is_held() => 0,
            Phase::Open(traffic) if traffic.is_limited() => FIRST_READ,
            Phase::Open(_) => usize::MAX,
        }
    }

    /// Bytes have come. An error is why the connection has to end.
    pub(crate) fn receive(&mut self, read: &mut [u8], batch: &mut Batch, turn: Turn<'_>) -> Result<(), CloseReason> {
        if self.end.is_some() {
            return Ok(());
        }
        let Some(web_socket) = &mut self.web_socket else {
            return self.feed(read, batch, turn);
        };
        let received = web_socket.read(read);
        if !received.stream.is_empty() {
            self.feed(&mut read[received.stream], batch, turn)?;
        }
        if let Some(ping) = received.ping {
            self.conn.web_socket_pong(&ping, turn);
        }
        let Some(end) = received.end else { return Ok(()) };
        self.conn.owe_close(&end.close_payload(), turn);
        if self.ends_later(Alert::CLOSE_NOTIFY) { Ok(()) } else { Err(CloseReason::Disconnected) }
    }

    /// The same with bytes of DERP.
    fn feed(&mut self, read: &mut [u8], batch: &mut Batch, turn: Turn<'_>) -> Result<(), CloseReason> {
        let mut gathered = Vec::new();
        let result = self.cut(&mut gathered, read, batch, turn);
        // Whatever comes behind a packet, the packet has been sent.
        batch.deliver(&self.conn, &gathered, read, turn);
        result?;
        self.charge(turn)
    }

    /// The control plane has let the connection in.
    pub(crate) fn admitted(
        &mut self,
        limit: Option<Rate>,
        keep_alive_at: Instant,
        batch: &mut Batch,
        turn: Turn<'_>,
    ) -> Result<(), CloseReason> {
        let (Phase::Waiting { leftover, .. }, Some(entry)) = (&mut self.phase, self.conn.entry()) else {
            return Ok(());
        };
        let mut leftover = std::mem::take(leftover);
        let traffic = Traffic::new(entry, self.conn.is_mesh(), limit, keep_alive_at, turn);
        self.phase = Phase::Open(traffic);
        self.feed(&mut leftover, batch, turn)?;
        self.end_in_turn(turn)
    }

    /// When its phase has something due.
    pub(crate) fn deadline(&self) -> Instant {
        match &self.phase {
            Phase::Login { ends, .. } | Phase::Waiting { ends, .. } => *ends,
            Phase::Open(traffic) => traffic.deadline(),
        }
    }

    /// Whether it is time to count its round trip.
    pub(crate) fn samples(&mut self, turn: Turn<'_>) -> bool {
        if let Phase::Open(traffic) = &mut self.phase { traffic.samples(turn) } else { false }
    }

    /// Whether it has sent more than its receive limit permits.
    pub(crate) fn is_over_limit(&self) -> bool {
        matches!(&self.phase, Phase::Open(traffic) if traffic.held_until().is_some())
    }

    /// Nothing more comes of the client, which is to be answered with this alert over TLS. True if something that it has
    /// sent before waits, for its admission or its receive limit: its end waits behind that.
    pub(crate) fn ends_later(&mut self, alert: Alert) -> bool {
        let waits = match &self.phase {
            Phase::Login { .. } => false,
            // Of a client that has sent nothing ahead nothing is lost.
            Phase::Waiting { leftover, .. } => !leftover.is_empty(),
            Phase::Open(_) => self.is_over_limit(),
        };
        if waits {
            self.end.get_or_insert(alert);
        }
        waits
    }

    /// Ends the connection if that has waited, and has not to wait any more.
    fn end_in_turn(&mut self, turn: Turn<'_>) -> Result<(), CloseReason> {
        match self.end {
            Some(alert) if !self.is_over_limit() => {
                if alert != Alert::CLOSE_NOTIFY {
                    self.conn.alert(alert, turn);
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
    pub(crate) fn read_on(&mut self, batch: &mut Batch, turn: Turn<'_>) -> Result<(), CloseReason> {
        let Phase::Open(traffic) = &mut self.phase else { return Ok(()) };
        if !traffic.release(turn) {
            return Ok(());
        }
        let mut held = std::mem::take(&mut self.held);
        self.feed(&mut held, batch, turn)?;
        self.end_in_turn(turn)
    }

    /// Does what is due. Returns when to come again, or why the connection has to end.
    pub(crate) fn on_time(&mut self, turn: Turn<'_>) -> Result<Instant, CloseReason> {
        match &mut self.phase {
            Phase::Login { ends, .. } if turn.now >= *ends => return Err(CloseReason::LoginTimeout),
            // Word of an admission may be under way.
            Phase::Waiting { ends, .. } if turn.now >= *ends && !self.conn.is_admitted() => {
                return Err(CloseReason::AdmissionTimeout);
            }
            Phase::Login { .. } | Phase::Waiting { .. } => {}
            Phase::Open(traffic) => traffic.keep_alive(&self.conn, turn),
        }
        let next = self.deadline();
        let policy = turn.policy.load();
        let limit = if self.conn.is_mesh() { policy.mesh_write_deadline } else { policy.write_deadline };
        match (self.conn.stalled_since(limit.is_some(), turn), limit) {
            (Some(since), Some(limit)) if turn.now >= since + limit => {
                turn.counters.add(Counter::WRITE_TIMEOUTS, 1);
                Err(CloseReason::WriteTimeout)
            }
            (Some(since), Some(limit)) => Ok(next.min(since + limit)),
            _ => Ok(next),
        }
    }

    pub(crate) fn close(self, reason: CloseReason, turn: Turn<'_>) {
        let (conn, place) = self.into_parts();
        conn.end(reason, place, turn);
    }

    /// The same, and what waits for the socket may still leave.
    pub(crate) fn leave(self, reason: CloseReason, turn: Turn<'_>) {
        let (conn, place) = self.into_parts();
        conn.leave(reason, place, turn);
    }

    fn into_parts(self) -> (Arc<Conn>, Option<Guest>) {
        let place = match self.phase {
            Phase::Login { place, .. } | Phase::Waiting { place, .. } => Some(place),
            Phase::Open(_) => None,
        };
        (self.conn, place)
    }

    /// Cuts what was read into frames. `gathered` gets the one that had begun before, if it is whole now.
    fn cut(
        &mut self,
        gathered: &mut Vec<u8>,
        read: &mut [u8],
        batch: &mut Batch,
        turn: Turn<'_>,
    ) -> Result<(), CloseReason> {
        let mut at = 0;
        while !self.partial.is_empty() && at < read.len() {
            let missing = self.decoder.needed() as usize - self.partial.len();
            let taken = missing.min(read.len() - at);
            grow(&mut self.partial, taken, self.decoder.needed() as usize);
            self.partial.extend_from_slice(&read[at..at + taken]);
            at += taken;
            let mut partial = std::mem::take(&mut self.partial);
            match self.decode(&mut partial, Lies::Gathered, 0, batch, turn)? {
                0 => self.partial = partial,
                _ => *gathered = partial,
            }
        }
        at += self.decode(&mut read[at..], Lies::Read, at, batch, turn)?;
        let rest = &read[at..];
        let is_held = self.is_held();
        match &mut self.phase {
            Phase::Waiting { leftover, .. } => {
                grow(leftover, rest.len(), turn.policy.load().leftover_bytes + FIRST_READ);
                leftover.extend_from_slice(rest);
            }
            Phase::Open(_) if is_held => self.held = rest.to_vec(),
            Phase::Login { .. } | Phase::Open(_) if !rest.is_empty() => self.partial = rest.to_vec(),
            Phase::Login { .. } | Phase::Open(_) => {}
        }
        Ok(())
    }

    /// Does what the frames at the beginning of `bytes` ask for. Returns where the first begins that is not whole, or that
    /// has to wait for admission.
    fn decode(
        &mut self,
        bytes: &mut [u8],
        lies: Lies,
        offset: usize,
        batch: &mut Batch,
        turn: Turn<'_>,
    ) -> Result<usize, CloseReason> {
        let mut at = 0;
        while !matches!(self.phase, Phase::Waiting { .. }) {
            if self.is_held() {
                break;
            }
            match self.decoder.next(&bytes[at..]) {
                Step::Header(header) => {
                    if !self.header(header, turn)? {
                        self.decoder.skip();
                    }
                }
                Step::Frame(length) => {
                    let frame = &mut bytes[at..at + length];
                    match &mut self.phase {
                        Phase::Open(traffic) => traffic.frame(frame, lies, offset + at, &self.conn, batch, turn),
                        Phase::Login { .. } | Phase::Waiting { .. } => {
                            self.log_in(&mut frame[HEADER_LENGTH..], turn)?
                        }
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
    fn header(&mut self, header: FrameHeader, turn: Turn<'_>) -> Result<bool, CloseReason> {
        match &mut self.phase {
            Phase::Open(traffic) => traffic.header(header, &self.conn, turn).map_err(|_| CloseReason::ProtocolError),
            Phase::Login { .. } | Phase::Waiting { .. } => {
                let longest = turn.policy.load().client_info_bytes;
                inbound::check_first(header, longest).map(|()| true).map_err(|_| CloseReason::LoginFailed)
            }
        }
    }

    fn log_in(&mut self, body: &mut [u8], turn: Turn<'_>) -> Result<(), CloseReason> {
        let opened = login::open_client_info(body, &turn.secret).map_err(|_| CloseReason::LoginFailed)?;
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|_| CloseReason::InternalError)?;
        let server_info = login::seal_server_info(&opened.shared, &nonce).into();
        let ends = turn.now + turn.policy.load().admission_deadline;
        let Phase::Login { not_ideal, place, .. } = &mut self.phase else {
            return Err(CloseReason::InternalError);
        };
        let not_ideal = *not_ideal;
        let place = place.take();
        place.hold();
        self.phase = Phase::Waiting { ends, place, leftover: Vec::new() };
        self.conn.logged_in(opened.key, server_info);
        turn.events.push(Event::Login {
            id: self.conn.id,
            key: opened.key,
            info: opened.info,
            peer: self.conn.peer,
            tls: self.conn.tls,
            not_ideal,
        });
        Ok(())
    }

    /// The plane holds a bounded number of bytes of logins that are not whole; whoever goes beyond is not worth it.
    fn charge(&mut self, turn: Turn<'_>) -> Result<(), CloseReason> {
        let Phase::Login { bytes, .. } = &mut self.phase else {
            return Ok(());
        };
        let within = bytes.set(self.partial.len(), turn.policy.load().login_bytes);
        if within { Ok(()) } else { Err(CloseReason::LoginFailed) }
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
