//! WebSocket framing (RFC 6455), the server's side. Payloads are unmasked where they lie.
//!
//! The payloads of a client's binary messages, joined, are its DERP stream: where one message ends and the next begins
//! means nothing, so none is ever gathered.
mod reader;

use std::fmt;
use std::ops::{Deref, Range};

pub use reader::{End, Reader, Received};

/// The longest header of a frame of ours: frames of a server have no mask.
pub const MAX_HEADER_LENGTH: usize = 10;
/// The longest payload of a ping, pong or close.
pub const MAX_CONTROL_LENGTH: usize = 125;
/// The most that [`Piece::More`] leaves to be kept: a control frame that lacks a byte.
pub const MAX_KEPT: usize = 2 + MASK_LENGTH + MAX_CONTROL_LENGTH - 1;

const MASK_LENGTH: usize = 4;

const CONTINUATION: u8 = 0x0;
const TEXT: u8 = 0x1;
const BINARY: u8 = 0x2;
const CLOSE: u8 = 0x8;
const PING: u8 = 0x9;
const PONG: u8 = 0xa;

/// In the first byte: the last frame of its message.
const FINAL: u8 = 0x80;
/// In the first byte: for extensions, of which none is ever agreed on.
const RESERVED: u8 = 0x70;
/// In the first byte, of an opcode: a control frame.
const CONTROL: u8 = 0x08;
/// In the second byte.
const MASKED: u8 = 0x80;
/// In place of a length in the second byte: two bytes of length follow.
const LENGTH_16: u8 = 126;
/// In place of a length in the second byte: eight bytes of length follow.
const LENGTH_64: u8 = 127;

/// Of a close frame: the peer is done.
pub const NORMAL_CLOSURE: u16 = 1000;

/// What [`Decoder::next`] has found at the beginning of the bytes. Everything up to the end of a range is used up: the
/// next step begins there.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Piece {
    /// The DERP stream goes on with these bytes; at least one.
    Data(Range<usize>),
    /// A ping with this payload, to be answered with a [`pong`]. If another comes before it is, one answer to the later
    /// is enough.
    Ping(Range<usize>),
    /// The peer closes: a [`close_payload`] or nothing, to be answered with the same, unless a close frame of ours was
    /// its occasion. Nothing comes out of the decoder after it.
    Close(Range<usize>),
    /// The first so many bytes mean nothing to DERP. At least one.
    Passed(usize),
    /// Nothing more can be had of these bytes. Whatever is left of them, at most [`MAX_KEPT`] bytes, is to be kept, and
    /// to be handed in again, as it is, with what comes next behind it.
    More,
}

/// The peer broke the protocol: the connection is to be closed with [`WebSocketFault::close_code`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum WebSocketFault {
    /// A bit is set that belongs to an extension.
    ReservedBits,
    /// Frames of a client have to be masked.
    NotMasked,
    /// There is no such frame.
    Opcode,
    /// A control frame is longer than 125 bytes, or only part of one.
    ControlFrame,
    /// A message begins within another, or a frame continues none.
    Continuation,
    /// Text is no DERP.
    Text,
    /// A length has its highest bit set.
    Length,
    /// A message is longer than the limit.
    TooLong,
    /// A close frame has half a code, or one that cannot be sent.
    ClosePayload,
}

/// Remembers, between two reads, how far a stream has got within a frame and a message. Holds no bytes of it, so that a
/// reader needs no buffer while nothing comes, not even in the middle of a message.
///
/// ```
/// use derp_proto::websocket::{Decoder, WebSocketFault, Piece};
///
/// fn on_bytes(decoder: &mut Decoder, bytes: &mut [u8], stream: &mut Vec<u8>) -> Result<usize, WebSocketFault> {
///     let mut at = 0;
///     loop {
///         let left = &mut bytes[at..];
///         at += match decoder.next(left)? {
///             Piece::Data(range) => {
///                 stream.extend(&left[range.clone()]);
///                 range.end
///             }
///             Piece::Ping(range) | Piece::Close(range) => range.end, // to be answered
///             Piece::Passed(length) => length,
///             Piece::More => return Ok(at), // bytes[at..] is to be kept
///         };
///     }
/// }
/// # let mut bytes = *b"\x82\x83\x01\x02\x03\x04\x01\x02\x03\x82\x80";
/// # let mut stream = Vec::new();
/// # assert_eq!(on_bytes(&mut Decoder::new(1 << 17), &mut bytes, &mut stream), Ok(9));
/// # assert_eq!(stream, [0, 0, 0]);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Decoder {
    /// Bytes of payload of the current frame that are still to come.
    left: u32,
    /// Turned, so that its first byte is for the next byte of payload.
    mask: [u8; MASK_LENGTH],
    /// How much more the current message may have, beyond the current frame.
    allowance: u32,
    max_message: u32,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// The next frame of data begins a message.
    BetweenMessages,
    /// The next frame of data continues a message, and the current one is not its last.
    InMessage,
    /// A close frame or a fault was the last that came out.
    Ended,
}

impl Decoder {
    /// At the beginning of a connection's frames. A message may have `max_message` bytes, all its frames together.
    pub fn new(max_message: u32) -> Self {
        Self { left: 0, mask: [0; MASK_LENGTH], allowance: max_message, max_message, state: State::BetweenMessages }
    }

    /// Looks at the beginning of `bytes`: everything received that no earlier step has used up. Of that, it changes
    /// only what the step hands out.
    ///
    /// # Errors
    /// As soon as the bytes show that the peer broke the protocol. From then on, as after a close frame, everything is
    /// passed over.
    #[inline]
    pub fn next(&mut self, bytes: &mut [u8]) -> Result<Piece, WebSocketFault> {
        if bytes.is_empty() {
            return Ok(Piece::More);
        }
        if self.left > 0 {
            return Ok(self.data(bytes, 0));
        }
        if self.state == State::Ended {
            return Ok(Piece::Passed(bytes.len()));
        }
        self.frame(bytes).inspect_err(|_| self.state = State::Ended)
    }

    fn frame(&mut self, bytes: &mut [u8]) -> Result<Piece, WebSocketFault> {
        let Some(header) = self.header(bytes)? else {
            return Ok(Piece::More);
        };
        let start = header.length;
        if header.opcode & CONTROL != 0 {
            return self.control(header, bytes);
        }
        // The header has been checked against the allowance.
        self.left = header.payload;
        self.mask = header.mask;
        if header.is_final {
            self.state = State::BetweenMessages;
            self.allowance = self.max_message;
        } else {
            self.state = State::InMessage;
            self.allowance -= header.payload;
        }
        Ok(if self.left == 0 || bytes.len() == start { Piece::Passed(start) } else { self.data(bytes, start) })
    }

    /// Payload that lies at `start`.
    #[inline]
    fn data(&mut self, bytes: &mut [u8], start: usize) -> Piece {
        let here = bytes.len() - start;
        let length = here.min(self.left as usize);
        let end = start + length;
        unmask(&mut bytes[start..end], self.mask);
        self.mask.rotate_left(length % MASK_LENGTH);
        self.left -= length as u32;
        Piece::Data(start..end)
    }

    fn control(&mut self, header: Header, bytes: &mut [u8]) -> Result<Piece, WebSocketFault> {
        let range = header.length..header.length + header.payload as usize;
        let Some(payload) = bytes.get_mut(range.clone()) else {
            return Ok(Piece::More);
        };
        match header.opcode {
            PING => {
                unmask(payload, header.mask);
                Ok(Piece::Ping(range))
            }
            CLOSE => {
                unmask(payload, header.mask);
                if !is_close_payload(payload) {
                    return Err(WebSocketFault::ClosePayload);
                }
                self.state = State::Ended;
                Ok(Piece::Close(range))
            }
            _ => Ok(Piece::Passed(range.end)),
        }
    }

    /// The header that `bytes` begin with; `None` if not all of it is there.
    #[inline]
    fn header(&self, bytes: &[u8]) -> Result<Option<Header>, WebSocketFault> {
        let Some(&[first, second]) = bytes.first_chunk() else {
            return Ok(None);
        };
        let (opcode, is_final) = (first & 0x0f, first & FINAL != 0);
        let short = second & !MASKED;
        self.check(first, second)?;
        let (payload, length) = match short {
            LENGTH_16 => {
                let Some(&[_, _, a, b]) = bytes.first_chunk() else {
                    return Ok(None);
                };
                (u16::from_be_bytes([a, b]).into(), 4)
            }
            LENGTH_64 => {
                let Some(&[_, _, ref long @ ..]) = bytes.first_chunk::<10>() else {
                    return Ok(None);
                };
                (u64::from_be_bytes(*long), 10)
            }
            _ => (short.into(), 2),
        };
        if payload > i64::MAX as u64 {
            return Err(WebSocketFault::Length);
        }
        let allowance = if opcode & CONTROL != 0 { MAX_CONTROL_LENGTH as u32 } else { self.allowance };
        if payload > u64::from(allowance) {
            return Err(WebSocketFault::TooLong);
        }
        let Some(&mask) = bytes[length..].first_chunk() else {
            return Ok(None);
        };
        Ok(Some(Header { opcode, is_final, payload: payload as u32, mask, length: length + MASK_LENGTH }))
    }

    /// What a frame's first two bytes show.
    #[inline]
    fn check(&self, first: u8, second: u8) -> Result<(), WebSocketFault> {
        if first & RESERVED != 0 {
            return Err(WebSocketFault::ReservedBits);
        }
        if second & MASKED == 0 {
            return Err(WebSocketFault::NotMasked);
        }
        let in_message = self.state == State::InMessage;
        match first & 0x0f {
            CLOSE | PING | PONG if first & FINAL == 0 || second & !MASKED >= LENGTH_16 => {
                Err(WebSocketFault::ControlFrame)
            }
            CLOSE | PING | PONG => Ok(()),
            CONTINUATION if in_message => Ok(()),
            TEXT | BINARY if in_message => Err(WebSocketFault::Continuation),
            CONTINUATION => Err(WebSocketFault::Continuation),
            TEXT => Err(WebSocketFault::Text),
            BINARY => Ok(()),
            _ => Err(WebSocketFault::Opcode),
        }
    }
}

#[derive(Clone, Copy)]
struct Header {
    opcode: u8,
    is_final: bool,
    /// Bytes that follow: no more than are allowed.
    payload: u32,
    mask: [u8; MASK_LENGTH],
    /// Of the header itself.
    length: usize,
}

/// Masks, or unmasks, `bytes` with the four of `mask`, over and over.
#[inline]
pub fn unmask(bytes: &mut [u8], mask: [u8; 4]) {
    // As wide as the widest registers that are common: the compiler makes as many of them as there are.
    const WIDTH: usize = 32;
    let mut wide = [0; WIDTH];
    wide.as_chunks_mut().0.fill(mask);
    let (blocks, rest) = bytes.as_chunks_mut::<WIDTH>();
    for block in blocks {
        for (byte, key) in block.iter_mut().zip(wide) {
            *byte ^= key;
        }
    }
    for (byte, key) in rest.iter_mut().zip(wide) {
        *byte ^= key;
    }
}

/// The header of a frame of ours. The payload follows, as it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHead {
    bytes: [u8; MAX_HEADER_LENGTH],
    length: u8,
}

impl Deref for FrameHead {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length.into()]
    }
}

/// The header of a binary message of `payload` bytes.
#[inline]
pub fn binary_header(payload: usize) -> FrameHead {
    head(BINARY, payload)
}

#[inline]
fn head(opcode: u8, payload: usize) -> FrameHead {
    let mut bytes = [0; MAX_HEADER_LENGTH];
    bytes[0] = FINAL | opcode;
    let length = if payload < LENGTH_16.into() {
        bytes[1] = payload as u8;
        2
    } else if let Ok(short) = u16::try_from(payload) {
        bytes[1] = LENGTH_16;
        bytes[2..4].copy_from_slice(&short.to_be_bytes());
        4
    } else {
        bytes[1] = LENGTH_64;
        bytes[2..].copy_from_slice(&(payload as u64).to_be_bytes());
        10
    };
    FrameHead { bytes, length }
}

/// The answer to a ping with this payload.
///
/// # Panics
/// If it is longer than a ping's can be.
pub fn pong(payload: &[u8]) -> Vec<u8> {
    control(PONG, payload)
}

/// A close frame with a [`close_payload`], or with that of the peer.
///
/// # Panics
/// If it is longer than 125 bytes.
pub fn close(payload: &[u8]) -> Vec<u8> {
    control(CLOSE, payload)
}

fn control(opcode: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= MAX_CONTROL_LENGTH, "a control frame of {} bytes", payload.len());
    [&head(opcode, payload.len()), payload].concat()
}

/// What a close frame says: a code, such as [`NORMAL_CLOSURE`] or that of a fault.
pub fn close_payload(code: u16) -> [u8; 2] {
    code.to_be_bytes()
}

fn is_close_payload(payload: &[u8]) -> bool {
    let Some(&code) = payload.first_chunk() else {
        return payload.is_empty();
    };
    // The four in between mean that there was none, or are reserved.
    matches!(u16::from_be_bytes(code), 1000..=1003 | 1007..=1014 | 3000..=4999)
}

impl WebSocketFault {
    /// What the close frame that answers it has to say.
    pub fn close_code(self) -> u16 {
        match self {
            Self::ReservedBits
            | Self::NotMasked
            | Self::Opcode
            | Self::ControlFrame
            | Self::Continuation
            | Self::Length
            | Self::ClosePayload => 1002,
            Self::Text => 1003,
            Self::TooLong => 1009,
        }
    }
}

impl fmt::Display for WebSocketFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ReservedBits => "a reserved bit is set",
            Self::NotMasked => "a frame is not masked",
            Self::Opcode => "an unknown opcode",
            Self::ControlFrame => "a control frame is too long, or fragmented",
            Self::Continuation => "a fragment in the wrong place",
            Self::Text => "a text message",
            Self::Length => "a negative length",
            Self::TooLong => "a message above the limit",
            Self::ClosePayload => "a close frame with a wrong code",
        })
    }
}

impl std::error::Error for WebSocketFault {}
