//! Why a connection ended.

use derp_proto::counters::Counter;

/// What is wrong with a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginFault {
    /// The first frame is another one.
    NoClientInfo,
    /// ClientInfo is too short or too long.
    BadLength,
    /// The key is zero, or of low order.
    BadKey,
    /// The box does not open.
    BadBox,
    /// The box opens on something else.
    BadInfo,
    /// All logins that are not whole hold too much.
    OverBudget,
}

/// The words of `CloseReason` in `src/plane/plane.ts`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each is")]
pub enum CloseReason {
    Disconnected,
    ProtocolError,
    LoginTimeout,
    LoginFailed(LoginFault),
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
        (Self::LoginFailed(LoginFault::OverBudget), "login_failed"),
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
        if let Self::LoginFailed(_) = self {
            return "login_failed";
        }
        Self::ALL.iter().find(|(reason, _)| *reason == self).map_or("internal_error", |(_, word)| word)
    }

    /// What counts a login that ends for this reason.
    pub(crate) fn login_counter(self) -> Counter {
        match self {
            Self::LoginFailed(LoginFault::NoClientInfo) => Counter::LOGINS_FAILED_NO_CLIENT_INFO,
            Self::LoginFailed(LoginFault::BadLength) => Counter::LOGINS_FAILED_BAD_LENGTH,
            Self::LoginFailed(LoginFault::BadKey) => Counter::LOGINS_FAILED_BAD_KEY,
            Self::LoginFailed(LoginFault::BadBox) => Counter::LOGINS_FAILED_BAD_BOX,
            Self::LoginFailed(LoginFault::BadInfo) => Counter::LOGINS_FAILED_BAD_INFO,
            Self::LoginFailed(LoginFault::OverBudget) => Counter::LOGINS_FAILED_OVER_BUDGET,
            Self::Disconnected => Counter::LOGINS_FAILED_HUNG_UP,
            Self::LoginTimeout => Counter::LOGINS_FAILED_TIMEOUT,
            Self::Refused => Counter::LOGINS_FAILED_REFUSED,
            Self::AdmissionTimeout => Counter::LOGINS_FAILED_ADMISSION_TIMEOUT,
            Self::ProtocolError
            | Self::WriteTimeout
            | Self::ControlOverflow
            | Self::OverBudget
            | Self::ClosedByPeer
            | Self::Closed
            | Self::InternalError
            | Self::Shutdown => Counter::LOGINS_FAILED_CLOSED,
        }
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
