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

    /// Setting a timer, going to sleep and waking up again cost a virtual machine about this much: to wait for less, it is
    /// cheaper to look again and again.
    const SPIN: Duration = Duration::from_micros(20);

    pub(crate) struct Timer {
        fd: OwnedFd,
        armed: Option<Instant>,
        spun: Duration,
    }

    impl Timer {
        pub(crate) fn new(poll: &Poll, token: Token) -> io::Result<Self> {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Self { fd, armed: None, spun: Duration::ZERO })
        }

        /// CPU time that went into looking again, and that other work could have had.
        pub(crate) fn spun(&self) -> Duration {
            self.spun
        }

        /// Setting it again also takes back an expiry that was not read.
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
        let now = Instant::now();
        let left = until.and_then(|until| until.checked_duration_since(now)).unwrap_or_default();
        match until {
            Some(until) if left > SPIN => {
                timer.arm(until, left)?;
                poll.poll(events, None)
            }
            Some(until) if !left.is_zero() => spin(poll, events, timer, now, until),
            _ => poll.poll(events, Some(Duration::ZERO)),
        }
    }

    fn spin(poll: &mut Poll, events: &mut Events, timer: &mut Timer, begin: Instant, until: Instant) -> io::Result<()> {
        loop {
            poll.poll(events, Some(Duration::ZERO))?;
            let now = Instant::now();
            if now >= until || !events.is_empty() {
                timer.spun += now - begin;
                return Ok(());
            }
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod portable {
    use std::io;
    use std::time::{Duration, Instant};

    use mio::{Events, Poll, Token};

    pub(crate) struct Timer;

    impl Timer {
        pub(crate) fn new(_poll: &Poll, _token: Token) -> io::Result<Self> {
            Ok(Self)
        }

        /// It always sleeps.
        pub(crate) fn spun(&self) -> Duration {
            Duration::ZERO
        }
    }

    /// Polls until something happens, or until then.
    pub(crate) fn wait(poll: &mut Poll, events: &mut Events, _: &mut Timer, until: Option<Instant>) -> io::Result<()> {
        let left = until.and_then(|until| until.checked_duration_since(Instant::now())).unwrap_or_default();
        poll.poll(events, Some(left))
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use mio::{Events, Poll, Token};

    use super::*;

    #[test]
    fn never_early_whether_it_sleeps_or_spins() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(8);
        let mut timer = Timer::new(&poll, Token(1)).unwrap();
        for micros in [0, 1, 10, 19, 21, 100, 900, 3000, 50, 5] {
            let until = Instant::now() + Duration::from_micros(micros);
            wait(&mut poll, &mut events, &mut timer, Some(until)).unwrap();
            // An expiry of the timer before would end the wait at once.
            let early = until.saturating_duration_since(Instant::now());
            assert_eq!(early, Duration::ZERO, "after {micros} µs");
        }
        // Nothing to wait for: looks once.
        wait(&mut poll, &mut events, &mut timer, None).unwrap();
    }
}
