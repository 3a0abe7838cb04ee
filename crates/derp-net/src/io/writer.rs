//! The way out of one socket, with what stands in front of it: a WebSocket's framing, a cipher, both, or mostly nothing.

use std::cell::RefCell;
use std::io::{self, ErrorKind, IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use derp_proto::websocket::{self, NORMAL_CLOSURE, binary_header, close_payload};
use derp_tls::{Alert, SealError, Sender};
#[cfg(target_os = "linux")]
use nix::sys::socket::MsgFlags;

use crate::base::os_hooks::OsHooks;

/// A `writev` takes no more slices than this anywhere we run.
pub(crate) const SLICES: usize = 64;
/// Bytes of one write that are wrapped: they are sent or the connection ends, whether the socket takes them or not. With a
/// quarter of that, a call of the system for each record costs as much as the records.
const WRAPPED_AHEAD: usize = 64 << 10;

thread_local! {
    /// Where records are sealed, one write at a time.
    static RECORDS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(crate) struct SocketWriter {
    stream: Arc<TcpStream>,
    encoder: Option<Box<Encoder>>,
    /// Bytes that are enough for one write while the link is narrow; 0 while it is not.
    enough: u32,
}

/// What makes other bytes of those that are written: once begun, they have to leave whole.
struct Encoder {
    sender: Option<Sender>,
    messages: Option<Messages>,
    /// What the socket has not taken of that which is wrapped, from `offset` on.
    tail: Vec<u8>,
    offset: usize,
    /// The cipher has been expanded, and the sweep has not been told.
    warmed: bool,
}

/// Of a WebSocket.
#[derive(Default)]
struct Messages {
    /// The payload of a ping whose answer waits for the tail.
    ping: Option<Box<[u8]>>,
    /// What the close frame says, if it is not the usual.
    last_word: Option<Box<[u8]>>,
}

/// What TCP joins with the bytes of a write, where it has not sent them yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Joins {
    /// Those of the next write: few large pieces cost less than many small ones.
    Next,
    /// Nothing: the socket looks at each write whether it takes any more.
    Nothing,
}

/// What a socket did with bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    Bytes(usize),
    Full,
    Failed,
}

impl SocketWriter {
    pub(crate) fn plain(stream: Arc<TcpStream>) -> Self {
        Self { stream, encoder: None, enough: 0 }
    }

    /// `tail` is what is still to be sent of the handshake.
    pub(crate) fn tls(stream: Arc<TcpStream>, sender: Sender, tail: Vec<u8>) -> Self {
        let encoder = Encoder { sender: Some(sender), messages: None, tail, offset: 0, warmed: false };
        Self { stream, encoder: Some(Box::new(encoder)), enough: 0 }
    }

    /// From here on everything leaves in messages of a WebSocket.
    pub(crate) fn into_web_socket(mut self) -> Self {
        let nothing = || Box::new(Encoder { sender: None, messages: None, tail: Vec::new(), offset: 0, warmed: false });
        self.encoder.get_or_insert_with(nothing).messages = Some(Messages::default());
        self
    }

    /// The link is narrow, or is not: each write is of about so many bytes then, and the socket takes the next one only while it
    /// holds little that it has not sent. Of itself it would join writes up to 64 KiB first, whatever its bound.
    pub(crate) fn write_about(&mut self, bytes: Option<usize>) {
        self.enough = bytes.map_or(0, |bytes| u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// Bounds what the socket holds and has not sent, where the system can do that; 0 for what the system has for all. A socket that is none of TCP's refuses.
    pub(crate) fn bound_unsent(&self, bytes: usize, os: &OsHooks) {
        if let Some(bound_unsent) = os.bound_unsent {
            let _ = bound_unsent(&self.stream, bytes);
        }
    }

    /// How much the socket holds that the other side has not acknowledged, where the system says that.
    pub(crate) fn unacknowledged(&self, os: &OsHooks) -> Option<usize> {
        os.unacknowledged.and_then(|unacknowledged| unacknowledged(&self.stream).ok())
    }

    /// How much of what was written waits for the socket.
    pub(crate) fn waiting(&self) -> usize {
        self.encoder.as_ref().map_or(0, |encoder| encoder.tail.len() - encoder.offset)
    }

    /// Whether anything does.
    pub(crate) fn has_tail(&self) -> bool {
        self.waiting() > 0
    }

    /// Whether the socket may take more than the last write has brought it.
    pub(crate) fn is_cut(&self) -> bool {
        self.encoder.as_ref().map_or(self.enough > 0, |encoder| !encoder.has_tail())
    }

    /// Sends what waits. [`Written::Bytes`] if nothing does any more.
    pub(crate) fn flush(&mut self) -> Written {
        let joins = self.joins();
        self.encoder.as_mut().map_or(Written::Bytes(0), |encoder| encoder.flush(&self.stream, joins))
    }

    fn joins(&self) -> Joins {
        if self.enough == 0 { Joins::Next } else { Joins::Nothing }
    }

    /// Writes of the first [`SLICES`] of `parts`, none of which is empty, as much as the socket takes; with something in
    /// front of it, what of it the socket does not take is the tail.
    pub(crate) fn write<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>) -> Written {
        match self.flush() {
            Written::Bytes(_) => {}
            other => return other,
        }
        let joins = self.joins();
        let most = if self.encoder.is_some() { WRAPPED_AHEAD } else { usize::MAX };
        // Whole parts: a piece of one would go alone, in a segment of its own.
        let enough = if self.enough == 0 { most } else { most.min(self.enough as usize) };
        // The first is for a header.
        let mut slices = [IoSlice::new(&[]); 1 + SLICES];
        let (mut end, mut total) = (1, 0);
        for part in parts.take(SLICES) {
            let taken = part.len().min(most - total);
            slices[end] = IoSlice::new(&part[..taken]);
            end += 1;
            total += taken;
            if total >= enough {
                break;
            }
        }
        let Some(encoder) = &mut self.encoder else {
            return write_all_to(&self.stream, &slices[1..end], joins);
        };
        let header;
        let mut begin = 1;
        if encoder.messages.is_some() {
            header = binary_header(total);
            slices[0] = IoSlice::new(&header);
            begin = 0;
        }
        match encoder.write(&self.stream, &slices[begin..end], joins) {
            Written::Bytes(_) => Written::Bytes(total),
            other => other,
        }
    }

    /// Sends bytes that are outside of every message, behind the tail, however long that gets. False if it fails.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> bool {
        let flushed = self.flush();
        let Some(encoder) = &mut self.encoder else { return false };
        match flushed {
            Written::Bytes(_) => encoder.commit(&self.stream, bytes),
            Written::Full => encoder.append(bytes),
            Written::Failed => false,
        }
    }

    /// Answers a ping of a WebSocket: the last one, if the tail is in the way. False if the socket has failed.
    pub(crate) fn pong(&mut self, payload: &[u8]) -> bool {
        if let Some(messages) = self.messages() {
            messages.ping = Some(payload.into());
        }
        self.flush() != Written::Failed
    }

    /// What the close frame of a WebSocket will say.
    pub(crate) fn owe_close(&mut self, payload: &[u8]) {
        if let Some(messages) = self.messages() {
            messages.last_word = Some(payload.into());
        }
    }

    fn messages(&mut self) -> Option<&mut Messages> {
        self.encoder.as_mut()?.messages.as_mut()
    }

    /// The peer has asked for new keys: they go before the next data.
    pub(crate) fn owe_key_update(&mut self) {
        if let Some(sender) = self.sender() {
            sender.owe_key_update();
        }
    }

    /// Says the last words, if the socket takes them now. Nothing may be written after this.
    pub(crate) fn end(&mut self, alert: Alert) {
        if !matches!(self.flush(), Written::Bytes(_)) {
            return;
        }
        let Some(encoder) = &mut self.encoder else { return };
        if let Some(messages) = encoder.messages.take() {
            let payload = messages.last_word.unwrap_or_else(|| Box::new(close_payload(NORMAL_CLOSURE)));
            if !encoder.commit(&self.stream, &websocket::close(&payload)) || encoder.has_tail() {
                return;
            }
        }
        if let Some(sender) = &mut encoder.sender {
            say(sender, alert, &self.stream);
        }
    }

    pub(crate) fn shutdown(&self) {
        // It may be shut already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Whether, since this was asked last, the cipher has been expanded: it has to be let go of when it is not used.
    pub(crate) fn take_warmed(&mut self) -> bool {
        self.encoder.as_mut().is_some_and(|encoder| std::mem::take(&mut encoder.warmed))
    }

    /// Lets go of the cipher; the next record expands it again.
    pub(crate) fn quiet(&mut self) {
        if let Some(sender) = self.sender() {
            sender.quiet();
        }
    }

    /// Lets go of the cipher, unless it has been used since this was called last. False once it is gone.
    pub(crate) fn cool(&mut self) -> bool {
        self.sender().is_some_and(Sender::cool)
    }

    fn sender(&mut self) -> Option<&mut Sender> {
        self.encoder.as_mut()?.sender.as_mut()
    }
}

impl Encoder {
    fn has_tail(&self) -> bool {
        !self.tail.is_empty()
    }

    fn flush(&mut self, stream: &TcpStream, joins: Joins) -> Written {
        loop {
            while self.offset < self.tail.len() {
                match write_all_to(stream, &[IoSlice::new(&self.tail[self.offset..])], joins) {
                    Written::Bytes(bytes) => self.offset += bytes,
                    other => return other,
                }
            }
            (self.tail, self.offset) = (Vec::new(), 0);
            // Between two messages.
            let Some(ping) = self.messages.as_mut().and_then(|messages| messages.ping.take()) else {
                return Written::Bytes(0);
            };
            if !self.commit(stream, &websocket::pong(&ping)) {
                return Written::Failed;
            }
        }
    }

    /// Writes pieces without a tail in front of them. What is not taken is the tail, unless it is all of them, and there
    /// is no cipher that has gone on already.
    fn write(&mut self, stream: &TcpStream, pieces: &[IoSlice<'_>], joins: Joins) -> Written {
        let total = pieces.iter().map(|piece| piece.len()).sum();
        let Some(sender) = &mut self.sender else {
            let written = write_all_to(stream, pieces, joins);
            if let Written::Bytes(mut written) = written
                && written < total
            {
                for piece in pieces {
                    let skipped = written.min(piece.len());
                    self.tail.extend_from_slice(&piece[skipped..]);
                    written -= skipped;
                }
            }
            return written;
        };
        self.warmed |= !sender.is_warm();
        RECORDS.with_borrow_mut(|records| {
            let length = match seal(sender, pieces, total, records) {
                Ok(length) => length,
                // Worn out keys, or a cipher that cannot be set up: there is nothing to be done for this connection.
                Err(error) => {
                    if error == SealError::WornOut {
                        say(sender, Alert::CLOSE_NOTIFY, stream);
                    }
                    return Written::Failed;
                }
            };
            let mut at = 0;
            while at < length {
                match write_all_to(stream, &[IoSlice::new(&records[at..length])], joins) {
                    Written::Bytes(bytes) => at += bytes,
                    Written::Full => {
                        self.tail = records[at..length].to_vec();
                        break;
                    }
                    Written::Failed => return Written::Failed,
                }
            }
            Written::Bytes(total)
        })
    }

    /// Writes bytes that may not be left out. False if that fails.
    fn commit(&mut self, stream: &TcpStream, bytes: &[u8]) -> bool {
        match self.write(stream, &[IoSlice::new(bytes)], Joins::Next) {
            Written::Bytes(_) => true,
            Written::Full => {
                self.tail.extend_from_slice(bytes);
                true
            }
            Written::Failed => false,
        }
    }

    /// The same behind a tail.
    fn append(&mut self, bytes: &[u8]) -> bool {
        let Some(sender) = &mut self.sender else {
            self.tail.extend_from_slice(bytes);
            return true;
        };
        self.warmed |= !sender.is_warm();
        RECORDS.with_borrow_mut(|records| {
            let sealed = seal(sender, &[IoSlice::new(bytes)], bytes.len(), records);
            self.tail.extend_from_slice(&records[..sealed.unwrap_or(0)]);
            sealed.is_ok()
        })
    }
}

/// Seals pieces of `total` bytes, and says how many bytes of `records` they are.
fn seal(sender: &mut Sender, pieces: &[IoSlice<'_>], total: usize, records: &mut Vec<u8>) -> Result<usize, SealError> {
    let room = sender.room_for(total);
    if records.len() < room {
        records.resize(room, 0);
    }
    sender.seal(pieces, records)
}

/// Seals an alert, if none has been before, and writes it, if the socket takes it.
fn say(sender: &mut Sender, alert: Alert, stream: &TcpStream) {
    let mut record = [0; Sender::ALERT_ROOM];
    let length = sender.alert(alert, &mut record);
    if length > 0 {
        write_to(stream, &record[..length]);
    }
}

/// One write of bytes, not empty.
pub(crate) fn write_to(stream: &TcpStream, bytes: &[u8]) -> Written {
    write_all_to(stream, &[IoSlice::new(bytes)], Joins::Next)
}

/// Sends what the socket takes of some bytes, and keeps the rest.
pub(crate) fn send(stream: &TcpStream, bytes: &mut Vec<u8>) {
    // A failure is seen when the socket is read.
    while !bytes.is_empty()
        && let Written::Bytes(count) = write_to(stream, bytes)
    {
        bytes.drain(..count);
    }
}

fn write_all_to(mut stream: &TcpStream, slices: &[IoSlice<'_>], joins: Joins) -> Written {
    loop {
        let written = match joins {
            // One piece costs less by the plain call.
            Joins::Next => match slices {
                [only] => stream.write(only),
                several => stream.write_vectored(several),
            },
            Joins::Nothing => write_apart(stream, slices),
        };
        return match written {
            Ok(0) => Written::Failed,
            Ok(bytes) => Written::Bytes(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Written::Full,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => Written::Failed,
        };
    }
}

#[cfg(target_os = "linux")]
fn write_apart(stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    let flags = MsgFlags::MSG_EOR | MsgFlags::MSG_NOSIGNAL;
    socket2::SockRef::from(stream).send_vectored_with_flags(slices, flags.bits())
}

#[cfg(not(target_os = "linux"))]
fn write_apart(mut stream: &TcpStream, slices: &[IoSlice<'_>]) -> io::Result<usize> {
    stream.write_vectored(slices)
}
