//! The bytes of frames: their constants, and the frames that a server sends.

use std::ops::Deref;

/// The longest header of a frame of ours: frames of a server have no mask.
pub const MAX_HEADER_LENGTH: usize = 10;
/// The longest payload of a ping, pong or close.
pub const MAX_CONTROL_LENGTH: usize = 125;
/// The most that [`Piece::More`] leaves to be kept: a control frame that lacks a byte.
pub const MAX_KEPT: usize = 2 + MASK_LENGTH + MAX_CONTROL_LENGTH - 1;

pub(super) const MASK_LENGTH: usize = 4;

pub(super) const CONTINUATION: u8 = 0x0;
pub(super) const TEXT: u8 = 0x1;
pub(super) const BINARY: u8 = 0x2;
pub(super) const CLOSE: u8 = 0x8;
pub(super) const PING: u8 = 0x9;
pub(super) const PONG: u8 = 0xa;

/// In the first byte: the last frame of its message.
pub(super) const FINAL: u8 = 0x80;
/// In the first byte: for extensions, of which none is ever agreed on.
pub(super) const RESERVED: u8 = 0x70;
/// In the first byte, of an opcode: a control frame.
pub(super) const CONTROL: u8 = 0x08;
/// In the second byte.
pub(super) const MASKED: u8 = 0x80;
/// In place of a length in the second byte: two bytes of length follow.
pub(super) const LENGTH_16: u8 = 126;
/// In place of a length in the second byte: eight bytes of length follow.
pub(super) const LENGTH_64: u8 = 127;

/// Of a close frame: the peer is done.
pub const NORMAL_CLOSURE: u16 = 1000;

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
