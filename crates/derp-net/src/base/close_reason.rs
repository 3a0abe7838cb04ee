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

macro_rules! close_reasons {
    ($($(#[$doc:meta])* $reason:ident $(($inner:ident::$any:ident))? => $word:literal,)*) => {
        /// Why a connection ended: the words of `CloseReason` in `src/plane/plane.ts`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum CloseReason {
            $($(#[$doc])* $reason $(($inner))?,)*
        }

        impl CloseReason {
            /// Every reason; where one has several causes, with any of them.
            pub const ALL: &[Self] = &[$(Self::$reason $(($inner::$any))?),*];

            /// The word for it.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason { .. } => $word,)*
                }
            }
        }
    };
}

close_reasons! {
    /// The peer hung up, or the transport broke.
    Disconnected => "disconnected",
    /// A frame broke the protocol.
    ProtocolError => "protocol_error",
    /// The ClientInfo was not whole within [`Policy::client_info_deadline`](crate::Policy::client_info_deadline).
    LoginTimeout => "login_timeout",
    /// The login was none, could not be opened, or went beyond [`Policy::login_bytes`](crate::Policy::login_bytes).
    LoginFailed(LoginFault::OverBudget) => "login_failed",
    /// Admission did not let the client in, or a place among the unadmitted connections was lost.
    Refused => "refused",
    /// No admission came within [`Policy::admission_deadline`](crate::Policy::admission_deadline).
    AdmissionTimeout => "admission_timeout",
    /// The peer took nothing of what was written to it for as long as a write may stand still.
    WriteTimeout => "write_timeout",
    /// More than [`Policy::control_bytes`](crate::Policy::control_bytes) of control frames waited for it.
    ControlOverflow => "control_overflow",
    /// The plane held more than it may over all connections, and this one held the most.
    OverBudget => "over_budget",
    /// A mesh peer asked for it.
    ClosedByPeer => "closed_by_peer",
    /// The control plane asked for it.
    Closed => "closed",
    /// Something of the plane's own failed.
    InternalError => "internal_error",
    /// The plane ends.
    Shutdown => "shutdown",
}

impl CloseReason {
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

    /// The reason of this word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_close_reason_comes_back_from_its_word() {
        for reason in CloseReason::ALL {
            assert_eq!(CloseReason::parse(reason.as_str()), Some(*reason));
        }
        assert_eq!(CloseReason::parse("nothing"), None);
    }
}
