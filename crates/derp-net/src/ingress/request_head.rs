//! A connection of which nothing is known: its bytes are kept until they are a request head, within bounds.

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use derp_proto::http_head::{DerpUpgrade, Head, HeadReader};
use derp_tls::Alert;

use crate::io::socket::Accepted;
use crate::io::tls::TlsWriter;
use crate::io::writer::SocketWriter;
use crate::state::strangers::Guest;

/// From accept until it is known what the connection is.
pub(crate) struct RequestHead {
    pub(crate) peer: SocketAddr,
    pub(crate) listener: u64,
    pub(crate) deadline: Instant,
    /// Set if the connection is TLS.
    pub(crate) secure: Option<TlsWriter>,
    derp: bool,
    received: Vec<u8>,
    reader: HeadReader,
    head: Head,
    /// One of the connections that may arrive at once.
    guest: Guest,
}

impl RequestHead {
    pub(crate) fn new(accepted: &Accepted<()>, secure: Option<TlsWriter>, guest: Guest, deadline: Instant) -> Self {
        let Accepted { peer, listener, derp, .. } = *accepted;
        Self {
            peer,
            listener,
            deadline,
            derp,
            secure,
            received: Vec::new(),
            reader: HeadReader::default(),
            head: Head::More,
            guest,
        }
    }

    /// Says what the connection is, once that is clear: a request head may have `head_bytes`.
    pub(crate) fn feed(&mut self, bytes: &[u8], head_bytes: usize) -> Head {
        self.received.extend_from_slice(bytes);
        self.head = match self.reader.read(&self.received, head_bytes) {
            Head::Derp(_) if !self.derp => Head::Http,
            head => head,
        };
        self.head
    }

    /// The client has asked for new keys: they go before the next data.
    pub(crate) fn owe_key_update(&mut self) {
        if let Some(TlsWriter { sender, .. }) = &mut self.secure {
            sender.owe_key_update();
        }
    }

    /// Says why the connection ends, unless that has been said; nothing over TCP alone.
    pub(crate) fn alert(&mut self, alert: Alert, stream: &Arc<TcpStream>) {
        if let Some(TlsWriter { sender, tail, .. }) = self.secure.take() {
            SocketWriter::tls(stream.clone(), sender, tail).end(alert);
        }
    }

    /// Whether it has made room for another.
    pub(crate) fn is_evicted(&self) -> bool {
        self.guest.is_evicted()
    }

    /// Its place, for what it becomes.
    pub(crate) fn guest(&mut self) -> &mut Guest {
        &mut self.guest
    }

    /// What the HTTP server is to have of it.
    pub(crate) fn into_received(self) -> Vec<u8> {
        self.reader.for_http(self.received, self.head)
    }

    /// What came behind the head.
    pub(crate) fn rest(&self, upgrade: &DerpUpgrade) -> Vec<u8> {
        self.received[upgrade.end..].to_vec()
    }
}
