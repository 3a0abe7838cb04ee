//! The way out of one socket, with the cipher in front of it if it has one.

use std::cell::RefCell;
use std::io::{ErrorKind, IoSlice, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::Arc;

use derp_tls::{Alert, Sender};

/// A `writev` takes no more slices than this anywhere we run.
pub(crate) const SLICES: usize = 64;
/// Plaintext of one write: what is sealed is sent or the connection ends, whether the socket takes it or not.
const SEALED_AHEAD: usize = 16 << 10;

thread_local! {
    /// Where records are sealed, one write at a time.
    static RECORDS: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(crate) struct Line {
    stream: Arc<TcpStream>,
    tls: Option<Box<Sealing>>,
}

struct Sealing {
    sender: Sender,
    /// What the socket has not taken of that which is sealed, from `offset` on.
    tail: Vec<u8>,
    offset: usize,
    /// The cipher has been expanded, and nobody has been told.
    warmed: bool,
}

/// What a socket did with bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Written {
    Bytes(usize),
    Full,
    Failed,
}

impl Line {
    pub(crate) fn plain(stream: Arc<TcpStream>) -> Self {
        Self { stream, tls: None }
    }

    /// `tail` is what is still to be sent of the handshake.
    pub(crate) fn tls(stream: Arc<TcpStream>, sender: Sender, tail: Vec<u8>) -> Self {
        Self { stream, tls: Some(Box::new(Sealing { sender, tail, offset: 0, warmed: false })) }
    }

    /// Whether something that was written waits for the socket.
    pub(crate) fn has_tail(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| !tls.tail.is_empty())
    }

    /// Whether the socket may take more than the last write has brought it.
    pub(crate) fn is_cut(&self) -> bool {
        self.tls.is_some() && !self.has_tail()
    }

    /// Sends what waits. [`Written::Bytes`] if nothing does any more.
    pub(crate) fn flush(&mut self) -> Written {
        let Some(tls) = &mut self.tls else { return Written::Bytes(0) };
        while tls.offset < tls.tail.len() {
            match write_to(&self.stream, &tls.tail[tls.offset..]) {
                Written::Bytes(bytes) => tls.offset += bytes,
                other => return other,
            }
        }
        (tls.tail, tls.offset) = (Vec::new(), 0);
        Written::Bytes(0)
    }

    /// Writes of the first [`SLICES`] of `parts`, none of which is empty, as much as the socket takes; with a cipher,
    /// what of it the socket does not take is the tail.
    pub(crate) fn write<'a>(&mut self, parts: impl Iterator<Item = &'a [u8]>) -> Written {
        match self.flush() {
            Written::Bytes(_) => {}
            other => return other,
        }
        let most = if self.tls.is_some() { SEALED_AHEAD } else { usize::MAX };
        let mut slices = [IoSlice::new(&[]); SLICES];
        let (mut count, mut total) = (0, 0);
        for part in parts.take(SLICES) {
            let taken = part.len().min(most - total);
            slices[count] = IoSlice::new(&part[..taken]);
            count += 1;
            total += taken;
            if total == most {
                break;
            }
        }
        match &mut self.tls {
            None => write_all_to(&self.stream, &slices[..count]),
            Some(tls) => tls.write(&self.stream, &slices[..count], total),
        }
    }

    /// The peer has asked for new keys: they go before the next data.
    pub(crate) fn owe_key_update(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.sender.owe_key_update();
        }
    }

    /// Says the last word, if the socket takes it now. Nothing may be written after this.
    pub(crate) fn end(&mut self, alert: Alert) {
        let flushed = matches!(self.flush(), Written::Bytes(_));
        if let Some(tls) = self.tls.as_mut().filter(|_| flushed) {
            let mut record = [0; Sender::ALERT_ROOM];
            let length = tls.sender.alert(alert, &mut record);
            if length > 0 {
                write_to(&self.stream, &record[..length]);
            }
        }
    }

    pub(crate) fn shutdown(&self) {
        // It may be shut already.
        let _ = self.stream.shutdown(Shutdown::Both);
    }

    /// Whether, since this was asked last, the cipher has been expanded: it has to be let go of when it is not used.
    pub(crate) fn take_warmed(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|tls| std::mem::take(&mut tls.warmed))
    }

    /// Lets go of the cipher, unless it has been used since this was called last. False once it is gone.
    pub(crate) fn cool(&mut self) -> bool {
        self.tls.as_mut().is_some_and(|tls| tls.sender.cool())
    }
}

impl Sealing {
    fn write(&mut self, stream: &TcpStream, pieces: &[IoSlice<'_>], total: usize) -> Written {
        RECORDS.with_borrow_mut(|records| {
            let room = self.sender.room_for(total);
            if records.len() < room {
                records.resize(room, 0);
            }
            self.warmed |= !self.sender.is_warm();
            // Worn out keys, or a cipher that cannot be set up: there is nothing to be done for this connection.
            let Ok(length) = self.sender.seal(pieces, records) else { return Written::Failed };
            let mut at = 0;
            while at < length {
                match write_to(stream, &records[at..length]) {
                    Written::Bytes(bytes) => at += bytes,
                    Written::Full => {
                        self.tail = records[at..length].to_vec();
                        self.offset = 0;
                        break;
                    }
                    Written::Failed => return Written::Failed,
                }
            }
            Written::Bytes(total)
        })
    }
}

/// One write of bytes, not empty.
pub(crate) fn write_to(stream: &TcpStream, bytes: &[u8]) -> Written {
    write_all_to(stream, &[IoSlice::new(bytes)])
}

fn write_all_to(mut stream: &TcpStream, slices: &[IoSlice<'_>]) -> Written {
    loop {
        return match stream.write_vectored(slices) {
            Ok(0) => Written::Failed,
            Ok(bytes) => Written::Bytes(bytes),
            Err(error) if error.kind() == ErrorKind::WouldBlock => Written::Full,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(_) => Written::Failed,
        };
    }
}
