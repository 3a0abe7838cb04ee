//! Cuts a client's bytes into frames, and unmasks their payloads where they lie.

use std::ops::Range;

use super::fault::WebSocketFault;
use super::frames::{
    BINARY, CLOSE, CONTINUATION, CONTROL, FINAL, LENGTH_16, LENGTH_64, MASK_LENGTH, MASKED, MAX_CONTROL_LENGTH, PING,
    PONG, RESERVED, TEXT, unmask,
};
#[cfg(doc)]
use super::frames::{MAX_KEPT, close_payload, pong};

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

fn is_close_payload(payload: &[u8]) -> bool {
    let Some(&code) = payload.first_chunk() else {
        return payload.is_empty();
    };
    // The four in between mean that there was none, or are reserved.
    matches!(u16::from_be_bytes(code), 1000..=1003 | 1007..=1014 | 3000..=4999)
}
