//! The stream within a client's frames, read by read: what a [`Decoder`] leaves is kept, and payloads slide together.
use std::ops::Range;

use super::decoder::{Decoder, Piece};
use super::fault::WebSocketFault;
use super::frames::close_payload;

/// Reads the frames of one connection. While nothing comes it holds at most [`MAX_KEPT`](super::MAX_KEPT) bytes, and
/// mostly none.
#[derive(Debug)]
pub struct Reader {
    decoder: Decoder,
    /// A header or a control frame that is not whole.
    kept: Vec<u8>,
}

/// What was in one read.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Received {
    /// Where the bytes of the DERP stream lie.
    pub stream: Range<usize>,
    /// The payload of the last ping, to be answered with a [`pong`](super::pong).
    pub ping: Option<Vec<u8>>,
    /// The connection is to be closed, with whatever came before it done.
    pub end: Option<End>,
}

/// Why nothing comes after this.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The peer closes, and says so with this payload.
    Closed(Vec<u8>),
    /// The peer broke the protocol.
    Broken(WebSocketFault),
}

impl End {
    /// What the [`close`](super::close) frame that answers it has to say.
    pub fn close_payload(&self) -> Vec<u8> {
        match self {
            Self::Closed(payload) => payload.clone(),
            Self::Broken(fault) => close_payload(fault.close_code()).into(),
        }
    }
}

impl Reader {
    /// At the beginning of a connection's frames. A message may have `max_message` bytes, all its frames together.
    pub fn new(max_message: u32) -> Self {
        Self { decoder: Decoder::new(max_message), kept: Vec::new() }
    }

    /// Takes what has come, and changes it in place. After an end nothing comes out any more.
    pub fn read(&mut self, bytes: &mut [u8]) -> Received {
        let mut received = Received::default();
        let mut at = self.complete(bytes, &mut received);
        while self.kept.is_empty() && received.end.is_none() {
            let left = &mut bytes[at..];
            match self.decoder.next(left) {
                Ok(Piece::Data(range)) => {
                    received.push(at + range.start..at + range.end, bytes);
                    at += range.end;
                }
                Ok(Piece::Ping(range)) => {
                    at += range.end;
                    received.pinged(&left[range]);
                }
                Ok(Piece::Close(range)) => received.end = Some(End::Closed(left[range].to_vec())),
                Ok(Piece::Passed(length)) => at += length,
                Ok(Piece::More) => {
                    self.kept = left.to_vec();
                    break;
                }
                Err(fault) => received.end = Some(End::Broken(fault)),
            }
        }
        received
    }

    /// Gives what was kept the bytes that it lacks, one by one, so that none of what is behind them is taken. Returns how
    /// many those were.
    fn complete(&mut self, bytes: &[u8], received: &mut Received) -> usize {
        if self.kept.is_empty() {
            return 0;
        }
        let mut kept = std::mem::take(&mut self.kept);
        for (at, byte) in bytes.iter().enumerate() {
            kept.push(*byte);
            match self.decoder.next(&mut kept) {
                Ok(Piece::More) => continue,
                Ok(Piece::Ping(range)) => received.pinged(&kept[range]),
                Ok(Piece::Close(range)) => received.end = Some(End::Closed(kept[range].to_vec())),
                // A header, or a pong: a payload is behind it.
                Ok(Piece::Data(_) | Piece::Passed(_)) => {}
                Err(fault) => received.end = Some(End::Broken(fault)),
            }
            return at + 1;
        }
        self.kept = kept;
        bytes.len()
    }
}

impl Received {
    fn push(&mut self, payload: Range<usize>, bytes: &mut [u8]) {
        if self.stream.is_empty() {
            self.stream = payload;
        } else {
            let length = payload.len();
            bytes.copy_within(payload, self.stream.end);
            self.stream.end += length;
        }
    }

    fn pinged(&mut self, payload: &[u8]) {
        let ping = self.ping.get_or_insert_default();
        ping.clear();
        ping.extend_from_slice(payload);
    }
}
