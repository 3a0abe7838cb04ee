//! Why a connection ended.

/// The words of `CloseReason` in `src/plane/plane.ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each is")]
pub enum CloseReason {
    Disconnected,
    ProtocolError,
    LoginTimeout,
    LoginFailed,
    Refused,
    AdmissionTimeout,
    WriteTimeout,
    ControlOverflow,
    OverBudget,
    ClosedByPeer,
    Closed,
    InternalError,
    Shutdown,
}

impl CloseReason {
    const ALL: [(Self, &'static str); 13] = [
        (Self::Disconnected, "disconnected"),
        (Self::ProtocolError, "protocol_error"),
        (Self::LoginTimeout, "login_timeout"),
        (Self::LoginFailed, "login_failed"),
        (Self::Refused, "refused"),
        (Self::AdmissionTimeout, "admission_timeout"),
        (Self::WriteTimeout, "write_timeout"),
        (Self::ControlOverflow, "control_overflow"),
        (Self::OverBudget, "over_budget"),
        (Self::ClosedByPeer, "closed_by_peer"),
        (Self::Closed, "closed"),
        (Self::InternalError, "internal_error"),
        (Self::Shutdown, "shutdown"),
    ];

    /// The word for it.
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(reason, _)| *reason == self).map_or("internal_error", |(_, word)| word)
    }

    /// The reason of this name.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, name)| *name == word).map(|(reason, _)| *reason)
    }

    /// Why a link to another relay has ended, in the words of the log.
    pub(crate) fn of_link(self) -> &'static str {
        match self {
            Self::Disconnected => "the relay closed the connection",
            Self::WriteTimeout => "the relay takes nothing",
            Self::ControlOverflow => "the relay takes no control frames",
            Self::OverBudget => "the relay takes too little, and nothing more may be queued: see limits.queuedBytes",
            Self::Closed => "we hung up",
            other => other.as_str(),
        }
    }
}
