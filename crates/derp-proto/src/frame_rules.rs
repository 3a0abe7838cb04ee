//! Which frames a client may send, decided by the header alone. There is no error frame in DERP: a relay that gets a
//! [`ProtocolError`] closes the connection.
use std::fmt;

use crate::decode::FrameHeader;
use crate::wire::{
    FrameType, KEY_LENGTH, MAX_BODY_LENGTH, MAX_FORWARD_LENGTH, MAX_PING_LENGTH, MIN_CLIENT_INFO_LENGTH, PING_LENGTH,
};

/// What to do with the body of a permitted frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Body {
    /// One of the frames that mean something to a relay.
    Wanted,
    /// A frame of another version or direction, to be passed over.
    Skipped,
}

/// The peer broke the protocol with this header.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ProtocolError {
    /// Of the frame at fault.
    pub header: FrameHeader,
    /// What is wrong with it.
    pub fault: FrameFault,
}

/// What is wrong with a frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum FrameFault {
    /// The type does not come with this length.
    Length,
    /// Only a holder of the mesh key may send this.
    NoMeshPermission,
    /// Before the login, only ClientInfo may come.
    NotClientInfo,
}

/// The first frame: a ClientInfo of 56 to `longest` bytes.
///
/// # Errors
/// If it is anything else.
pub fn check_first(header: FrameHeader, longest: usize) -> Result<(), ProtocolError> {
    if FrameType::from_u8(header.kind) != Some(FrameType::ClientInfo) {
        return Err(ProtocolError { header, fault: FrameFault::NotClientInfo });
    }
    expect_length(header, MIN_CLIENT_INFO_LENGTH, longest)
}

/// Any frame after the login; `mesh` says whether the client holds the mesh key.
///
/// # Errors
/// If the connection is to be closed, before any of the body is read.
#[inline]
pub fn check(header: FrameHeader, mesh: bool) -> Result<Body, ProtocolError> {
    match FrameType::from_u8(header.kind) {
        Some(FrameType::SendPacket) => expect_length(header, KEY_LENGTH, MAX_BODY_LENGTH)?,
        Some(FrameType::ForwardPacket) => {
            expect_mesh(header, mesh)?;
            expect_length(header, 2 * KEY_LENGTH, MAX_FORWARD_LENGTH)?;
        }
        Some(FrameType::NotePreferred) => expect_length(header, 1, 1)?,
        Some(FrameType::WatchConns) => {
            expect_length(header, 0, 0)?;
            expect_mesh(header, mesh)?;
        }
        Some(FrameType::ClosePeer) => {
            expect_length(header, KEY_LENGTH, KEY_LENGTH)?;
            expect_mesh(header, mesh)?;
        }
        Some(FrameType::Ping) => expect_length(header, PING_LENGTH, MAX_PING_LENGTH)?,
        Some(
            FrameType::ServerKey
            | FrameType::ClientInfo
            | FrameType::ServerInfo
            | FrameType::RecvPacket
            | FrameType::KeepAlive
            | FrameType::PeerGone
            | FrameType::PeerPresent
            | FrameType::Pong
            | FrameType::Health
            | FrameType::Restarting,
        )
        | None => {
            expect_length(header, 0, MAX_BODY_LENGTH)?;
            return Ok(Body::Skipped);
        }
    }
    Ok(Body::Wanted)
}

#[inline]
fn expect_length(header: FrameHeader, shortest: usize, longest: usize) -> Result<(), ProtocolError> {
    if (shortest..=longest).contains(&(header.length as usize)) {
        Ok(())
    } else {
        Err(ProtocolError { header, fault: FrameFault::Length })
    }
}

fn expect_mesh(header: FrameHeader, mesh: bool) -> Result<(), ProtocolError> {
    if mesh { Ok(()) } else { Err(ProtocolError { header, fault: FrameFault::NoMeshPermission }) }
}

impl fmt::Display for ProtocolError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let FrameHeader { kind, length } = self.header;
        if self.fault == FrameFault::NotClientInfo {
            return write!(f, "the first frame has type {kind}");
        }
        match FrameType::from_u8(kind) {
            Some(known) => write!(f, "{known:?}")?,
            None => write!(f, "frame type {kind}")?,
        }
        match self.fault {
            FrameFault::NoMeshPermission => f.write_str(" without mesh permission"),
            FrameFault::Length | FrameFault::NotClientInfo => write!(f, " of {length} bytes"),
        }
    }
}

impl std::error::Error for ProtocolError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: u8, length: u32, mesh: bool) -> String {
        check(FrameHeader { kind, length }, mesh).unwrap_err().to_string()
    }

    #[test]
    fn errors_name_the_frame() {
        assert_eq!(text(0x04, 31, false), "SendPacket of 31 bytes");
        assert_eq!(text(0x0a, 31, false), "ForwardPacket without mesh permission");
        assert_eq!(text(0x11, 31, false), "ClosePeer of 31 bytes");
        assert_eq!(text(0xfe, 65_569, true), "frame type 254 of 65569 bytes");
        let first = check_first(FrameHeader { kind: 4, length: 100 }, 1000).unwrap_err();
        assert_eq!(first.to_string(), "the first frame has type 4");
    }

    #[test]
    fn the_limit_of_a_client_info_is_the_callers() {
        let of = |length| check_first(FrameHeader { kind: 2, length }, 1000).is_ok();
        assert_eq!([55, 56, 1000, 1001].map(of), [false, true, true, false]);
    }
}
