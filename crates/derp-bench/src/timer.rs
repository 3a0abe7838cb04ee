//! Wakes a poll at a moment. On Linux mio's own timeout counts whole milliseconds, and a packet every 50 µs would leave in
//! bursts of twenty; elsewhere the timeout is exact enough.

#[cfg(target_os = "linux")]
pub(crate) use linux::wait;
#[cfg(not(target_os = "linux"))]
pub(crate) use portable::wait;

/// What [`wait`] keeps between two calls.
#[cfg(target_os = "linux")]
pub(crate) type Timer = linux::Timer;
#[cfg(not(target_os = "linux"))]
pub(crate) type Timer = portable::Timer;

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::{Duration, Instant};

    use mio::unix::SourceFd;
    use mio::{Events, Interest, Poll, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };

    pub(crate) struct Timer {
        fd: OwnedFd,
        armed: Option<Instant>,
    }

    impl Timer {
        pub(crate) fn new(poll: &Poll, token: Token) -> io::Result<Self> {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self { fd, armed: None })
        }

        /// Setting it again also takes back an expiry that nobody has read.
        fn arm(&mut self, until: Instant, left: Duration) -> io::Result<()> {
            if self.armed == Some(until) {
                return Ok(());
            }
            let it_value = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            timerfd_settime(&self.fd, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
            self.armed = Some(until);
            Ok(())
        }
    }

    /// Polls until something happens, or until then.
    pub(crate) fn wait(
        poll: &mut Poll,
        events: &mut Events,
        timer: &mut Timer,
        until: Option<Instant>,
    ) -> io::Result<()> {
        let left = until.and_then(|until| until.checked_duration_since(Instant::now())).unwrap_or_default();
        match until {
            Some(until) if !left.is_zero() => {
                timer.arm(until, left)?;
                poll.poll(events, None)
            }
            _ => poll.poll(events, Some(Duration::ZERO)),
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::io;
    use std::time::Instant;

    use mio::{Events, Poll, Token};

    pub(crate) struct Timer;

    impl Timer {
        pub(crate) fn new(_poll: &Poll, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }
    }

    /// Polls until something happens, or until then.
    pub(crate) fn wait(poll: &mut Poll, events: &mut Events, _: &mut Timer, until: Option<Instant>) -> io::Result<()> {
        let left = until.and_then(|until| until.checked_duration_since(Instant::now())).unwrap_or_default();
        poll.poll(events, Some(left))
    }
}
