//! Bugs planted on purpose while a plane runs: a test that does not find them is no test. Without the feature
//! `fault-injection` nothing is left of this.

#[cfg(feature = "fault-injection")]
use std::sync::atomic::{AtomicU8, AtomicU32, Ordering};

/// One bug. All but [`Fault::Panic`] strike for as long as they are planted: what the system refuses every time, the others
/// now and then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[cfg_attr(not(feature = "fault-injection"), expect(unreachable_pub, reason = "it is exported with the feature"))]
pub enum Fault {
    /// Packets of one source to one destination change places.
    Reorder,
    /// A packet goes to another connection than its destination's.
    Misroute,
    /// A connection that was sent packets of a client is not told that it has left.
    LostPeerGone,
    /// A connection that has ended stays the way to its key for those who have sent to it before.
    StaleRoute,
    /// A worker panics, once.
    Panic,
    /// The first worker makes no turn.
    Hang,
    /// The system has no descriptor for a connection that waits to be accepted.
    Accept,
    /// The system does not watch a socket.
    Register,
    /// The system has no descriptors for a pair of sockets.
    Pair,
    /// The system has no descriptor for the duplicate of a socket that comes back from the HTTP server.
    Duplicate,
}

/// Out of so many occasions a fault takes one: a bug that always shows would be found by any test.
#[cfg(feature = "fault-injection")]
const OCCASIONS: u32 = 3;

/// What is planted in one plane.
#[derive(Default)]
pub(crate) struct Faults {
    /// The number of a [`Fault`], plus 1.
    #[cfg(feature = "fault-injection")]
    planted: AtomicU8,
    #[cfg(feature = "fault-injection")]
    occasions: AtomicU32,
}

#[cfg(feature = "fault-injection")]
impl Faults {
    pub(crate) fn plant(&self, fault: Option<Fault>) {
        self.planted.store(fault.map_or(0, |fault| fault as u8 + 1), Ordering::SeqCst);
    }

    /// What the system says where `fault` is planted; nothing is said otherwise.
    pub(crate) fn try_to(&self, fault: Fault) -> std::io::Result<()> {
        if self.planted.load(Ordering::Relaxed) == fault as u8 + 1 { Err(no_descriptors()) } else { Ok(()) }
    }

    /// Whether `fault` is to happen here.
    pub(crate) fn strikes(&self, fault: Fault) -> bool {
        let number = fault as u8 + 1;
        match fault {
            Fault::Panic => self.planted.compare_exchange(number, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok(),
            _ if self.planted.load(Ordering::Relaxed) != number => false,
            _ => self.occasions.fetch_add(1, Ordering::Relaxed) % OCCASIONS == OCCASIONS - 1,
        }
    }
}

#[cfg(not(feature = "fault-injection"))]
impl Faults {
    /// Whether `fault` is to happen here.
    #[inline(always)]
    pub(crate) const fn strikes(&self, _fault: Fault) -> bool {
        false
    }

    /// What the system says where `fault` is planted.
    #[inline(always)]
    pub(crate) const fn try_to(&self, _fault: Fault) -> std::io::Result<()> {
        Ok(())
    }
}

/// The process has no more descriptors.
#[cfg(feature = "fault-injection")]
fn no_descriptors() -> std::io::Error {
    nix::errno::Errno::EMFILE.into()
}
