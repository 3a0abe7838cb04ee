//! The words that enums cross as. Each enum is spelled once, so that no variant can be without its word.

/// An enum whose variants cross as words.
pub(crate) trait Words: Copy + 'static {
    /// Every variant.
    const ALL: &[Self];

    /// The word of a variant.
    fn word(self) -> &'static str;

    /// The variant of a word.
    fn of(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|variant| variant.word() == word)
    }
}

macro_rules! words {
    ($kind:ty { $($variant:ident => $word:literal,)* }) => {
        impl Words for $kind {
            const ALL: &[Self] = &[$(Self::$variant),*];

            fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)*
                }
            }
        }
    };
}

words! {
    derp_tls::Version {
        Tls12 => "1.2",
        Tls13 => "1.3",
    }
}

words! {
    derp_tls::Otherwise {
        First => "first",
        Refuse => "refuse",
        Ask => "ask",
        Challenge => "challenge",
    }
}

/// The events that cross as objects: some of `PlaneEvents`, and those that the binding tells of failures with.
#[derive(Clone, Copy)]
pub(crate) enum EventKind {
    Watch,
    ClosePeer,
    Pulled,
    Duplex,
    /// A sign of life that was asked for.
    Pulse,
    LinkOpen,
    LinkPeers,
    LinkClosed,
    CertificateNeeded,
    Drops,
    Failures,
    Crowded,
    /// Something has failed that costs no more than what it was for.
    Trouble,
    /// The plane has failed.
    Fault,
}

words! {
    EventKind {
        Watch => "watch",
        ClosePeer => "closePeer",
        Pulled => "pulled",
        Duplex => "duplex",
        Pulse => "pulse",
        LinkOpen => "linkOpen",
        LinkPeers => "linkPeers",
        LinkClosed => "linkClosed",
        CertificateNeeded => "certificateNeeded",
        Drops => "drops",
        Failures => "failures",
        Crowded => "crowded",
        Trouble => "trouble",
        Fault => "fault",
    }
}

#[cfg(feature = "fault-injection")]
words! {
    derp_net::Fault {
        Reorder => "reorder",
        Misroute => "misroute",
        LostPeerGone => "lost-peer-gone",
        StaleRoute => "stale-route",
        Panic => "panic",
        Hang => "hang",
        Accept => "accept",
        Register => "register",
        Pair => "pair",
        Duplicate => "duplicate",
    }
}
