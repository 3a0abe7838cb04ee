//! What is on its way out.

use std::net::TcpStream;
use std::{
    array,
    io::{ErrorKind, IoSlice, Write},
};

use derp_proto::drop_reason::PacketKind;
use derp_proto::key::NodeKey;

/// A `writev` takes no more slices than this anywhere we run.
pub(crate) const SLICES: usize = 64;

/// What has to be known of a packet on its way out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct PacketInfo {
    pub(crate) source: NodeKey,
    pub(crate) kind: PacketKind,
    /// Bytes of the packet alone.
    pub(crate) payload: usize,
}

/// Frames that lie in somebody else's memory.
#[derive(Clone, Copy)]
pub(crate) struct Frame<'a> {
    pub(crate) bytes: &'a [u8],
    /// `None` for control frames, of which `bytes` may hold several.
    pub(crate) packet: Option<PacketInfo>,
}

/// Frames that had to wait.
pub(crate) struct OwnedFrame {
    pub(crate) bytes: Box<[u8]>,
    pub(crate) packet: Option<PacketInfo>,
}

impl Frame<'_> {
    pub(crate) fn owned(self) -> OwnedFrame {
        OwnedFrame { bytes: self.bytes.into(), packet: self.packet }
    }
}

impl OwnedFrame {
    pub(crate) fn borrow(&self) -> Frame<'_> {
        Frame { bytes: &self.bytes, packet: self.packet }
    }
}

/// What a socket did with bytes.
pub(crate) enum Written {
    Bytes(usize),
    Full,
    Failed,
}

/// One `writev` of the first [`SLICES`] of `parts`, none of which is empty.
pub(crate) fn write_some<'a>(mut stream: &TcpStream, mut parts: impl Iterator<Item = &'a [u8]>) -> Written {
    let mut count = 0;
    let slices: [IoSlice<'_>; SLICES] = array::from_fn(|_| {
        let part = parts.next();
        count += usize::from(part.is_some());
        IoSlice::new(part.unwrap_or_default())
    });
    loop {
        return match stream.write_vectored(&slices[..count]) {
            Ok(0) => Written::Failed,
            Ok(bytes) => Written::Bytes(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Written::Full,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => Written::Failed,
        };
    }
}
