//! WebSocket framing (RFC 6455), the server's side. Payloads are unmasked where they lie.
//!
//! The payloads of a client's binary messages, joined, are its DERP stream: where one message ends and the next begins
//! means nothing, so none is ever gathered.
mod decoder;
mod fault;
mod frames;
mod reader;

pub use decoder::{Decoder, Piece};
pub use fault::WebSocketFault;
pub use frames::{
    FrameHead, MAX_CONTROL_LENGTH, MAX_HEADER_LENGTH, MAX_KEPT, NORMAL_CLOSURE, binary_header, close, close_payload,
    pong, unmask,
};
pub use reader::{End, Reader, Received};
