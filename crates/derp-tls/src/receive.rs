//! Opens records where they lie. The reading thread owns this half; it shares nothing with the other one.
use std::fmt;
use std::ops::Range;

use crate::alert::{Alert, Violation};
use crate::keys::{Keys, Version};
use crate::record::{self, EXPLICIT_NONCE_LENGTH, HEADER_LENGTH, MAX_PLAINTEXT, TAG_LENGTH, content};
use crate::tickets::{MESSAGE_HEADER_LENGTH, Tickets};

/// Records without data that may stand in a row: they cost the peer little, and may cost us a new key each.
const MAX_IDLE_ROW: u8 = 32;

const KEY_UPDATE: u8 = 24;

/// The receiving direction of a connection.
pub struct Receiver {
    keys: Keys,
    /// A client's; a server expects no handshake message but KeyUpdate.
    tickets: Option<Box<Tickets>>,
    ended: Option<End>,
    idle_row: u8,
}

/// Why nothing more comes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    /// The peer has said all that it had to say.
    Closed,
    /// The peer has ended the connection with this alert. There is nothing to answer.
    Alert(Alert),
    /// The peer broke a rule: its alert is to be sent, and the connection closed.
    Violation(Violation),
}

/// What [`Receiver::open`] found.
#[derive(Clone, PartialEq, Eq, Debug)]
#[must_use]
pub struct Opened {
    /// Where in the buffer the plaintext lies, with that which was kept before it.
    pub plaintext: Range<usize>,
    /// Where in the buffer the ciphertext begins that is still to be opened: part of a record, or nothing.
    pub rest: usize,
    /// The peer has asked for new keys: [`crate::Sender::owe_key_update`] has to be called before the next data is sealed.
    pub key_update_requested: bool,
    /// Set once nothing more can come. The plaintext before it is good.
    pub end: Option<End>,
}

impl Receiver {
    pub(crate) fn new(keys: Keys, is_client: bool) -> Self {
        let expects_tickets = is_client && keys.version() == Version::Tls13;
        Self { keys, tickets: expects_tickets.then(Box::default), ended: None, idle_row: 0 }
    }

    /// Opens all whole records in `buffer[kept..]`. The first `kept` bytes are plaintext of earlier calls, or 0: the new
    /// plaintext slides down to the end of it. With nothing kept, the plaintext of the first record stays where it is, and
    /// that of the others slides down to its end.
    ///
    /// # Panics
    /// If `kept` is more than the buffer.
    pub fn open(&mut self, buffer: &mut [u8], kept: usize) -> Opened {
        let mut opened = Opened { plaintext: 0..kept, rest: kept, key_update_requested: false, end: self.ended };
        assert!(kept <= buffer.len(), "more is kept than there is");
        while opened.end.is_none() {
            match self.open_next(buffer, &mut opened) {
                Ok(true) => {}
                Ok(false) => break,
                Err(violation) => opened.end = Some(End::Violation(violation)),
            }
        }
        self.ended = opened.end;
        opened
    }

    /// Lets go of the expanded cipher, which is worth it for a connection that has been quiet for a second or two.
    pub fn quiet(&mut self) {
        self.keys.quiet();
    }

    /// The same, if no record has been opened since this was called last. False once it is gone.
    pub fn cool(&mut self) -> bool {
        self.keys.cool()
    }

    /// Opens one record; `false` if there is no whole one.
    fn open_next(&mut self, buffer: &mut [u8], opened: &mut Opened) -> Result<bool, Violation> {
        let Some(&header) = buffer[opened.rest..].first_chunk::<HEADER_LENGTH>() else { return Ok(false) };
        let length = record::body_length(header, self.keys.version())?;
        let body_at = opened.rest + HEADER_LENGTH;
        let Some(body) = buffer.get_mut(body_at..body_at + length) else { return Ok(false) };
        let (content_type, plaintext) = match self.keys.version() {
            Version::Tls12 => self.open_12(header, body)?,
            Version::Tls13 => self.open_13(header, body)?,
        };
        opened.rest = body_at + length;
        let message = &body[plaintext.clone()];
        if self.tickets.as_ref().is_some_and(|tickets| tickets.is_within()) && content_type != content::HANDSHAKE {
            return Err(Violation::Handshake);
        }
        if content_type == content::APPLICATION_DATA && !message.is_empty() {
            self.idle_row = 0;
            let from = body_at + plaintext.start..body_at + plaintext.end;
            if opened.plaintext.is_empty() {
                opened.plaintext = from;
            } else {
                let to = opened.plaintext.end;
                opened.plaintext.end += from.len();
                buffer.copy_within(from, to);
            }
            return Ok(true);
        }
        match content_type {
            content::APPLICATION_DATA => {}
            content::ALERT => opened.end = self.alert(message)?,
            content::HANDSHAKE if self.keys.version() == Version::Tls12 => return Err(Violation::Renegotiation),
            content::HANDSHAKE => opened.key_update_requested |= self.handshake(&body[plaintext])?,
            _ => return Err(Violation::RecordType),
        }
        // The last record is no burden, however many came before it.
        if opened.end.is_some() {
            return Ok(true);
        }
        self.idle_row += 1;
        if self.idle_row > MAX_IDLE_ROW { Err(Violation::Idling) } else { Ok(true) }
    }

    /// Opens the body of a TLS 1.3 record: its content type, and where in the body its content is.
    fn open_13(&mut self, header: [u8; HEADER_LENGTH], body: &mut [u8]) -> Result<(u8, Range<usize>), Violation> {
        let (cipher, sequence) = self.keys.expanded().map_err(|_| Violation::Internal)?;
        let nonce = cipher.nonce(sequence);
        let length = cipher.open(nonce, &header, body).map_err(|_| Violation::BadRecord)?;
        self.keys.advance().map_err(|_| Violation::Internal)?;
        if length > MAX_PLAINTEXT + 1 {
            return Err(Violation::Oversize);
        }
        let last = body[..length].iter().rposition(|&byte| byte != 0).ok_or(Violation::NoContentType)?;
        Ok((body[last], 0..last))
    }

    /// Opens the body of a TLS 1.2 record.
    fn open_12(&mut self, header: [u8; HEADER_LENGTH], body: &mut [u8]) -> Result<(u8, Range<usize>), Violation> {
        let explicit = if self.keys.has_explicit_nonce() { EXPLICIT_NONCE_LENGTH } else { 0 };
        let length = body.len().checked_sub(explicit + TAG_LENGTH).ok_or(Violation::BadRecord)?;
        if length > MAX_PLAINTEXT {
            return Err(Violation::Oversize);
        }
        let (explicit, sealed) = body.split_at_mut(explicit);
        let (cipher, sequence) = self.keys.expanded().map_err(|_| Violation::Internal)?;
        let nonce = if explicit.is_empty() { cipher.nonce(sequence) } else { cipher.nonce_with(explicit) };
        let aad = record::aad_12(sequence, header[0], length);
        cipher.open(nonce, &aad, sealed).map_err(|_| Violation::BadRecord)?;
        self.keys.advance().map_err(|_| Violation::Internal)?;
        let start = explicit.len();
        Ok((header[0], start..start + length))
    }

    fn alert(&self, message: &[u8]) -> Result<Option<End>, Violation> {
        let &[level @ 1..=2, code] = message else { return Err(Violation::BadAlert) };
        let warning = match self.keys.version() {
            Version::Tls12 => level == 1,
            // Levels mean nothing any more.
            Version::Tls13 => Alert(code) == Alert::USER_CANCELED,
        };
        Ok(match Alert(code) {
            Alert::CLOSE_NOTIFY => Some(End::Closed),
            alert => (!warning).then_some(End::Alert(alert)),
        })
    }

    /// Handshake messages of TLS 1.3. Gives whether the peer has asked for new keys of ours.
    fn handshake(&mut self, mut messages: &[u8]) -> Result<bool, Violation> {
        // An empty fragment is forbidden where an empty record of data is not.
        if messages.is_empty() {
            return Err(Violation::Handshake);
        }
        if let Some(tickets) = &mut self.tickets {
            messages = tickets.skip(messages)?;
            if messages.is_empty() {
                return Ok(false);
            }
        }
        if messages[0] != KEY_UPDATE {
            return Err(Violation::Handshake);
        }
        const LENGTH: usize = MESSAGE_HEADER_LENGTH + 1;
        let &[_, 0, 0, 1, requested] = messages.first_chunk::<LENGTH>().ok_or(Violation::KeyUpdateForm)? else {
            return Err(Violation::KeyUpdateForm);
        };
        if messages.len() > LENGTH {
            return Err(Violation::KeyUpdateForm);
        }
        if requested > 1 {
            return Err(Violation::KeyUpdateValue);
        }
        self.keys.update().map_err(|_| Violation::Internal)?;
        Ok(requested == 1)
    }
}

impl fmt::Debug for Receiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Receiver").field("keys", &self.keys).field("ended", &self.ended).finish_non_exhaustive()
    }
}
