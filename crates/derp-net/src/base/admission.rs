//! What being let in and ending race for: a client that is let in has a place in the table until it ends, and no other has.

use crate::base::sync::Lock;

/// How far a connection has got. `W` is what it waits with, `P` its place.
pub(crate) struct Admission<W, P>(Lock<State<W, P>>);

enum State<W, P> {
    LoggingIn,
    Waiting(W),
    Admitted(P),
    Ended,
}

/// How far it had got when it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum End<P> {
    Early,
    Admitted(P),
    /// It has ended before.
    Again,
}

impl<W, P> Admission<W, P> {
    pub(crate) fn new() -> Self {
        Self(Lock::new(State::LoggingIn))
    }

    /// The login has succeeded.
    pub(crate) fn wait(&self, with: W) {
        let mut state = self.0.lock();
        if matches!(*state, State::LoggingIn) {
            *state = State::Waiting(with);
        }
    }

    /// Gives it the place that `enter` takes, if it waits for one. An end waits until it is there to be given back.
    pub(crate) fn admit<R>(&self, enter: impl FnOnce(W) -> (P, R)) -> Option<R> {
        let mut state = self.0.lock();
        match std::mem::replace(&mut *state, State::Ended) {
            State::Waiting(with) => {
                let (entry, result) = enter(with);
                *state = State::Admitted(entry);
                Some(result)
            }
            other => {
                *state = other;
                None
            }
        }
    }

    /// Its place, while it has one.
    pub(crate) fn entry(&self) -> Option<P>
    where
        P: Clone,
    {
        match &*self.0.lock() {
            State::Admitted(entry) => Some(entry.clone()),
            State::LoggingIn | State::Waiting(_) | State::Ended => None,
        }
    }

    pub(crate) fn is_admitted(&self) -> bool {
        matches!(*self.0.lock(), State::Admitted(_))
    }

    /// No client is let in after this. The place is to be given back.
    pub(crate) fn end(&self) -> End<P> {
        match std::mem::replace(&mut *self.0.lock(), State::Ended) {
            State::LoggingIn | State::Waiting(_) => End::Early,
            State::Admitted(entry) => End::Admitted(entry),
            State::Ended => End::Again,
        }
    }
}

#[cfg(all(test, loom))]
mod loom {
    use ::loom::thread;
    use derp_proto::sync::Arc;

    use super::*;

    /// The control plane admits while the owner ends: nothing stays in the table, ServerInfo is the first thing that
    /// leaves, and of what others send whatever does not leave is dropped.
    #[test]
    fn whoever_has_ended_has_no_place() {
        #[derive(Default)]
        struct Out {
            welcome: bool,
            closed: bool,
            waiting: u8,
            sent: u8,
            dropped: u8,
        }

        impl Out {
            fn packet(&mut self) {
                match self {
                    Self { closed: true, .. } => self.dropped += 1,
                    Self { welcome: false, .. } => self.waiting += 1,
                    _ => self.sent += 1,
                }
            }

            fn welcome(&mut self) {
                assert_eq!(self.sent, 0);
                self.welcome = true;
                self.sent += std::mem::take(&mut self.waiting);
            }

            fn close(&mut self) {
                self.closed = true;
                self.dropped += std::mem::take(&mut self.waiting);
            }
        }

        struct Shared {
            table: Lock<Option<&'static str>>,
            admission: Admission<&'static str, &'static str>,
            out: Lock<Out>,
        }

        ::loom::model(|| {
            let shared = Shared { table: Lock::default(), admission: Admission::new(), out: Lock::default() };
            let shared = Arc::new(shared);
            shared.admission.wait("server info");
            let control = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let Shared { table, admission, out } = &*shared;
                    let admitted = admission.admit(|server_info| {
                        *table.lock() = Some("place");
                        ("place", server_info)
                    });
                    if admitted.is_some() {
                        out.lock().welcome();
                    }
                })
            };
            let sender = {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    let Shared { table, out, .. } = &*shared;
                    let found = table.lock().is_some();
                    if found {
                        out.lock().packet();
                    }
                    u8::from(found)
                })
            };
            let Shared { table, admission, out } = &*shared;
            if let End::Admitted(entry) = admission.end() {
                assert_eq!(table.lock().take(), Some(entry));
            }
            out.lock().close();
            control.join().unwrap();
            let brought = sender.join().unwrap();
            assert_eq!(*table.lock(), None);
            assert_eq!(admission.entry(), None);
            assert_eq!(admission.end(), End::Again);
            let out = out.lock();
            assert_eq!((out.waiting, out.sent + out.dropped), (0, brought));
        });
    }
}
