//! TLS of one connection on its worker: the handshake, and the records that come after it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use derp_proto::http_head::{HTTP_TO_TLS, is_http_to_tls};
use derp_tls::{Alert, CertificateSet, Certified, End, Handshake, Need, Receiver, Sender, Step, Version};

use crate::acceptor::Accepted;
use crate::budget::Share;
use crate::strangers::Guest;

/// A handshake under way.
pub(crate) struct Shaking {
    handshake: Handshake,
    /// Set once it is no HTTP; until then, its first bytes.
    is_tls: bool,
    first: Vec<u8>,
    pub(crate) accepted: Accepted<()>,
    pub(crate) place: Guest,
    pub(crate) deadline: Instant,
    /// Still to be sent.
    pub(crate) out: Vec<u8>,
    /// Set while it waits for a certificate.
    pub(crate) parked: Option<Parked>,
}

/// A handshake that waits for a certificate is not read.
pub(crate) struct Parked {
    /// One of those that may wait at once. The control plane has a part in it until it has read of the wait.
    pub(crate) _place: Arc<Share>,
    /// What was read behind the ClientHello.
    pub(crate) unread: Vec<u8>,
}

/// How far a handshake has got.
pub(crate) enum Shaken {
    /// It waits for the client.
    Reads,
    /// It waits for a certificate. So much of what was read belonged to the ClientHello.
    Asks(Need, usize),
    Done(Secured),
}

/// What a handshake has come to in the end.
pub(crate) struct Secured {
    pub(crate) receiver: Receiver,
    pub(crate) way_out: WayOut,
    /// How much of what was read belonged to the handshake.
    pub(crate) used: usize,
}

/// The sending side, until it is known what the connection is.
pub(crate) struct WayOut {
    pub(crate) sender: Sender,
    pub(crate) version: Version,
    /// What is still to be sent of the handshake.
    pub(crate) tail: Vec<u8>,
}

impl Shaking {
    pub(crate) fn new(accepted: Accepted<()>, place: Guest, deadline: Instant) -> Self {
        Self {
            handshake: Handshake::server(),
            is_tls: false,
            first: Vec::new(),
            accepted,
            place,
            deadline,
            out: Vec::new(),
            parked: None,
        }
    }

    /// Takes bytes of the client, which has come to `local`. An error ends the connection, after what is to be sent.
    pub(crate) fn feed(&mut self, read: &[u8], local: IpAddr, certificates: &CertificateSet) -> Result<Shaken, ()> {
        if !self.is_tls {
            let held = self.first.len();
            self.first.extend_from_slice(&read[..read.len().min(5)]);
            match is_http_to_tls(&self.first) {
                None => return Ok(Shaken::Reads),
                Some(true) => {
                    self.out.extend_from_slice(HTTP_TO_TLS);
                    return Err(());
                }
                Some(false) => self.is_tls = true,
            }
            if held > 0 {
                // It has begun as HTTP does, and so is nothing at all.
                let _ = self.handshake.read(&self.first, &mut self.out).map_err(drop)?;
            }
        }
        let mut used = 0;
        loop {
            let progress = self.handshake.read(&read[used..], &mut self.out).map_err(drop)?;
            used += progress.used;
            match progress.step {
                Step::Read => return Ok(Shaken::Reads),
                Step::Certify => {
                    if let Some(need) = self.certify(local, certificates)? {
                        return Ok(Shaken::Asks(need, used));
                    }
                }
                Step::Done(established) => {
                    let tail = std::mem::take(&mut self.out);
                    let way_out = WayOut { sender: established.sender, version: established.version, tail };
                    return Ok(Shaken::Done(Secured { receiver: established.receiver, way_out, used }));
                }
            }
        }
    }

    /// Looks for a certificate; says which one is missing, if there is none.
    pub(crate) fn certify(&mut self, local: IpAddr, certificates: &CertificateSet) -> Result<Option<Need>, ()> {
        match self.handshake.certify(certificates, local, &mut self.out).map_err(drop)? {
            Certified::Yes => Ok(None),
            Certified::Needed(need) => Ok(Some(need)),
        }
    }

    /// Leaves, with the alert of a name that nobody has here.
    pub(crate) fn refuse(&mut self) {
        self.handshake.refuse(&mut self.out);
    }
}

/// The receiving side of an established connection.
pub(crate) struct Opening {
    receiver: Receiver,
    /// A record that is not whole.
    partial: Vec<u8>,
}

/// What was in a read.
pub(crate) struct Opened {
    /// Where the plaintext lies.
    pub(crate) plaintext: std::ops::Range<usize>,
    pub(crate) key_update_requested: bool,
    /// Nothing more comes; what is to be said about it.
    pub(crate) end: Option<Alert>,
}

impl Opening {
    pub(crate) fn new(receiver: Receiver) -> Self {
        Self { receiver, partial: Vec::new() }
    }

    /// Puts what was left of the last read in front of the next one; says how much that is.
    pub(crate) fn put_back(&self, scratch: &mut [u8]) -> usize {
        scratch[..self.partial.len()].copy_from_slice(&self.partial);
        self.partial.len()
    }

    /// The memory that it keeps between reads.
    pub(crate) fn kept(&self) -> usize {
        self.partial.capacity()
    }

    /// Opens what was read, with what was put back.
    pub(crate) fn open(&mut self, read: &mut [u8]) -> Opened {
        let opened = self.receiver.open(read, 0);
        self.partial = read[opened.rest..].to_vec();
        let end = opened.end.map(|end| match end {
            End::Closed | End::Alert(_) => Alert::CLOSE_NOTIFY,
            End::Violation(violation) => violation.alert(),
        });
        Opened { plaintext: opened.plaintext, key_update_requested: opened.key_update_requested, end }
    }

    /// Lets go of the cipher; the next record expands it again.
    pub(crate) fn quiet(&mut self) {
        self.receiver.quiet();
    }

    /// Lets go of the cipher, unless it has been used since this was called last. False once it is gone.
    pub(crate) fn cool(&mut self) -> bool {
        self.receiver.cool()
    }
}
