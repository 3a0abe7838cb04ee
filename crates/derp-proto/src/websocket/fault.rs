//! What a peer may do wrong.

use std::fmt;

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
