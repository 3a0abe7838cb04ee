//! Everything unsafe of the binding: memory that JavaScript sees, descriptors that cross as numbers, and what there is no
//! safe name for.

use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::ptr;
use std::sync::Arc;
#[cfg(target_os = "linux")]
use std::time::Duration;

use derp_net::Slab;
use derp_proto::counters::Counters;
use napi::bindgen_prelude::{ArrayBuffer, Env, JsValue, Result, Uint8ArraySlice};
use napi::{check_status, sys};

use crate::wake::Wake;

/// The memory of the counters page, which lives as long as JavaScript's view of it does. Nothing where such views are not
/// permitted, and a copy would be made of it that stands still.
pub(crate) fn counters<'env>(env: &'env Env, counters: Arc<Counters>) -> Result<Option<ArrayBuffer<'env>>> {
    let cells = counters.cells();
    let (pointer, length) = (cells.as_ptr().cast::<u8>().cast_mut(), size_of_val(cells));
    // SAFETY: the page neither moves nor ends before the finaliser drops the last reference. JavaScript reads and adds
    // while workers write: aligned 64-bit accesses, which do not tear where we run.
    let view = unsafe { ArrayBuffer::from_external(env, pointer, length, counters, |_, counters| drop(counters)) }?;
    Ok(ptr::eq(view.as_ptr(), pointer).then_some(view))
}

/// The memory of a slab, which goes back to its pool when JavaScript has no use for it any more: when it is detached, or
/// found by the garbage collector. At once where JavaScript may not have such views, and gets a copy.
pub(crate) fn slab(env: &Env, mut slab: Slab) -> Result<ArrayBuffer<'_>> {
    let bytes = slab.bytes_mut();
    let (pointer, length) = (bytes.as_mut_ptr(), bytes.len());
    // SAFETY: the memory is the slab's alone, and does not move before the finaliser drops it. No other code has it until
    // then, so JavaScript may do with it whatever it likes.
    unsafe { ArrayBuffer::from_external(env, pointer, length, slab, |_, slab| drop(slab)) }
}

/// The bytes of an argument, to be written.
pub(crate) fn bytes_of<'a>(argument: &'a mut Uint8ArraySlice<'_>) -> &'a mut [u8] {
    // SAFETY: JavaScript does not run during the call that it is an argument of.
    unsafe { argument.as_mut() }
}

/// Takes the memory from a buffer, and has its finaliser run.
pub(crate) fn detach(env: &Env, buffer: &ArrayBuffer) -> Result<()> {
    // SAFETY: the value was an argument of the call that is running.
    check_status!(unsafe { sys::napi_detach_arraybuffer(env.raw(), buffer.raw()) })
}

/// Keeps the process alive for as long as there is a `wake`.
pub(crate) fn keep_alive(env: &Env, wake: &Wake) -> Result<()> {
    // SAFETY: both live while this runs, on the thread that they belong to.
    check_status!(unsafe { sys::napi_ref_threadsafe_function(env.raw(), wake.raw()) })
}

/// Runs something that starts threads: those get no signals, which are all for the thread that runs now. Signals that a
/// fault raises in the thread itself are left alone.
pub(crate) fn without_signals<T>(start: impl FnOnce() -> T) -> T {
    let mut before = MaybeUninit::uninit();
    // SAFETY: the sets are filled before they are read, and every pointer is to one of them.
    unsafe {
        let mut blocked = MaybeUninit::uninit();
        libc::sigfillset(blocked.as_mut_ptr());
        for signal in [libc::SIGBUS, libc::SIGFPE, libc::SIGILL, libc::SIGSEGV] {
            libc::sigdelset(blocked.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, blocked.as_ptr(), before.as_mut_ptr());
    }
    let result = start();
    // SAFETY: `before` was filled by the call above, which fails for no set that it could have been given.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
    result
}

/// How far away the other side is, by TCP's own estimate. Nothing if the connection is none of TCP's.
#[cfg(target_os = "linux")]
pub(crate) fn round_trip(stream: &TcpStream) -> Option<io::Result<Duration>> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    let (fd, into) = (stream.as_raw_fd(), info.as_mut_ptr().cast());
    // SAFETY: the socket is open, and no more is written than there is room for, as `length` says.
    let result = unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, into, &raw mut length) };
    if result != 0 {
        let error = io::Error::last_os_error();
        let other = matches!(error.raw_os_error(), Some(libc::EOPNOTSUPP | libc::ENOPROTOOPT));
        return (!other).then_some(Err(error));
    }
    // SAFETY: it is numbers, all of which were set to 0 before.
    let info = unsafe { info.assume_init() };
    Some(Ok(Duration::from_micros(info.tcpi_rtt.into())))
}

/// Has a TCP socket take no more while it holds about so many bytes that it has not sent.
#[cfg(target_os = "linux")]
pub(crate) fn bound_unsent(stream: &TcpStream, bytes: usize) -> io::Result<()> {
    let bytes = libc::c_int::try_from(bytes).unwrap_or(libc::c_int::MAX);
    let (fd, value) = (stream.as_raw_fd(), ptr::from_ref(&bytes).cast());
    let length = size_of_val(&bytes) as libc::socklen_t;
    // SAFETY: the socket is open, and `value` is as long as `length` says.
    match unsafe { libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NOTSENT_LOWAT, value, length) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// How many bytes a TCP socket holds that the other side has not acknowledged.
#[cfg(target_os = "linux")]
pub(crate) fn unacknowledged(stream: &TcpStream) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the socket is open, and `bytes` has room for what is written.
    match unsafe { libc::ioctl(stream.as_raw_fd(), libc::TIOCOUTQ, &raw mut bytes) } {
        0 => Ok(usize::try_from(bytes).unwrap_or(0)),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Has the C library give back the pages of its heaps that are free: of itself it looks at the end of each alone.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
pub(crate) fn give_back() {
    // SAFETY: it locks what it looks at, as every call of the allocator does.
    unsafe { libc::malloc_trim(0) };
}

/// A descriptor of the plane's own for a socket that is somebody else's.
pub(crate) fn duplicate(fd: i32) -> io::Result<OwnedFd> {
    if fd < 0 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    // SAFETY: the caller's socket stays open during this call, which is synchronous.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned()
}

/// A pair of connected stream sockets: a descriptor for Node, and one that the plane reads as it reads TCP.
pub(crate) fn pipe() -> io::Result<(i32, TcpStream)> {
    let (near, far) = UnixStream::pair()?;
    near.set_nonblocking(true)?;
    far.set_nonblocking(true)?;
    // The plane uses what all stream sockets have: read, writev, shutdown.
    Ok((near.into_raw_fd(), TcpStream::from(OwnedFd::from(far))))
}
