//! Everything unsafe of the binding: memory that JavaScript sees, and descriptors that cross as numbers.

use std::io;
use std::net::TcpStream;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use derp_proto::counters::Counters;
use napi::bindgen_prelude::BigUint64Array;

/// A view over the counters page, which lives as long as the view does.
pub(crate) fn counters(counters: Arc<Counters>) -> BigUint64Array {
    let cells = counters.cells();
    let (pointer, length) = (cells.as_ptr().cast::<u64>().cast_mut(), cells.len());
    // SAFETY: an AtomicU64 has the layout of a u64, and the page neither moves nor ends before the finaliser drops the
    // last reference. JavaScript reads while workers write: aligned 64-bit loads, which do not tear where we run.
    unsafe { BigUint64Array::with_external_data(pointer, length, move |_, _| drop(counters)) }
}

/// A descriptor of the plane's own for a socket that is somebody else's.
pub(crate) fn duplicate(fd: i32) -> io::Result<TcpStream> {
    if fd < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the caller's socket stays open during this call, which is synchronous.
    let stream = TcpStream::from(unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()?);
    stream.set_nonblocking(true)?;
    Ok(stream)
}

/// A pair of connected stream sockets: a descriptor for Node, and one that the plane reads as it reads TCP.
pub(crate) fn pipe() -> io::Result<(i32, TcpStream)> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    // The plane uses what all stream sockets have: read, writev, shutdown.
    Ok((near.into_raw_fd(), TcpStream::from(OwnedFd::from(far))))
}
