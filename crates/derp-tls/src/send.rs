//! Seals records from where the plaintext lies. The worker that holds the connection's egress lock owns this half; it shares nothing
//! with the receiving one.
use std::fmt;
use std::ops::Deref;

use aws_lc_rs::error::Unspecified;

use crate::alert::Alert;
use crate::keys::{Keys, Version};
use crate::record::{self, EXPLICIT_NONCE_LENGTH, HEADER_LENGTH, MAX_PLAINTEXT, TAG_LENGTH, content};

/// Records of 16 KiB that AES-GCM seals with one key before its safety margin is below 2⁻⁵⁷ are about 2²⁴·⁵; new keys come
/// well before.
const RECORD_LIMIT: u32 = 1 << 23;

/// KeyUpdate, of one byte: no update of the peer's own keys is asked for.
const KEY_UPDATE: [u8; 5] = [24, 0, 0, 1, 0];

/// The sending direction of a connection.
pub struct Sender {
    keys: Keys,
    limit: u32,
    key_update_owed: bool,
    closed: bool,
}

/// Why nothing was sealed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SealError {
    /// The output is shorter than [`Sender::room_for`] the plaintext. Nothing has happened.
    NoRoom,
    /// An alert has been sealed: nothing may follow it.
    Closed,
    /// TLS 1.2 has no way to change keys, and these have done what they may. [`Sender::alert`] with `close_notify` is to
    /// follow, for which there is a record left.
    WornOut,
    /// The cipher could not be set up. The connection has to be closed.
    Cipher,
}

impl Sender {
    /// The most bytes that [`Sender::alert`] writes.
    pub const ALERT_ROOM: usize = HEADER_LENGTH + EXPLICIT_NONCE_LENGTH + 2 + TAG_LENGTH;

    pub(crate) fn new(keys: Keys) -> Self {
        Self { keys, limit: RECORD_LIMIT, key_update_owed: false, closed: false }
    }

    /// The most bytes that sealing so many bytes of plaintext writes, with what is owed to the peer.
    pub fn room_for(&self, plaintext: usize) -> usize {
        let records = plaintext.div_ceil(MAX_PLAINTEXT);
        let around = HEADER_LENGTH + self.overhead();
        let sealed = plaintext + records * around;
        match self.keys.version() {
            Version::Tls12 => sealed,
            // At most one goes before each record, or one alone.
            Version::Tls13 => sealed + records.max(1) * (KEY_UPDATE.len() + around),
        }
    }

    /// Seals the pieces, one behind the other, into as few records as can be, behind the KeyUpdate that is owed. Without
    /// plaintext, only that is sealed. Gives how many bytes of `out` are to be sent: all of them, and before anything that is
    /// sealed later, or the connection has to end.
    ///
    /// # Errors
    /// See [`SealError`]; nothing is to be sent then.
    pub fn seal<P: Deref<Target = [u8]>>(&mut self, pieces: &[P], out: &mut [u8]) -> Result<usize, SealError> {
        let total = pieces.iter().map(|piece| piece.len()).sum();
        if self.closed {
            return Err(SealError::Closed);
        }
        if out.len() < self.room_for(total) {
            return Err(SealError::NoRoom);
        }
        let records = total.div_ceil(MAX_PLAINTEXT) as u64;
        if self.keys.version() == Version::Tls12 && self.keys.wears_out() && self.left() <= records {
            return Err(SealError::WornOut);
        }
        self.seal_all(pieces, total, out).map_err(|_| {
            // What has been sealed before is lost, and its numbers with it.
            self.closed = true;
            SealError::Cipher
        })
    }

    /// Seals an alert, after which nothing more is sealed. Gives how many bytes of `out` are to be sent: none if there has
    /// been an alert before, or the cipher fails.
    ///
    /// # Panics
    /// If `out` is shorter than [`Sender::ALERT_ROOM`].
    pub fn alert(&mut self, alert: Alert, out: &mut [u8]) -> usize {
        assert!(out.len() >= Self::ALERT_ROOM, "no room for an alert");
        if std::mem::replace(&mut self.closed, true) {
            return 0;
        }
        self.seal_short(content::ALERT, &[alert.level(), alert.0], out).unwrap_or(0)
    }

    /// The peer has asked for new keys: a KeyUpdate goes before the next data. Once, however often it is asked for.
    pub fn owe_key_update(&mut self) {
        self.key_update_owed = self.keys.version() == Version::Tls13;
    }

    /// Whether a KeyUpdate waits for data that it can go with. [`Sender::seal`] without pieces sends it at once.
    pub fn owes_key_update(&self) -> bool {
        self.key_update_owed
    }

    /// Lowers the number of records that are sealed with one key, 2²³ if it is not called: 2 at least. Then TLS 1.3 changes
    /// keys, and TLS 1.2 with AES ends.
    pub fn limit_records(&mut self, limit: u32) {
        self.limit = limit.clamp(2, RECORD_LIMIT);
    }

    /// Lets go of the expanded cipher, which is worth it for a connection that has been quiet for a second or two.
    pub fn quiet(&mut self) {
        self.keys.quiet();
    }

    /// The same, if no record has been sealed since this was called last. False once it is gone.
    pub fn cool(&mut self) -> bool {
        self.keys.cool()
    }

    /// Whether there is an expanded cipher.
    pub fn is_warm(&self) -> bool {
        self.keys.is_expanded()
    }

    /// Records that this key may still seal.
    fn left(&self) -> u64 {
        u64::from(self.limit).saturating_sub(self.keys.sequence())
    }

    /// What a record's body has beside the content.
    fn overhead(&self) -> usize {
        match self.keys.version() {
            Version::Tls13 => 1 + TAG_LENGTH,
            Version::Tls12 if self.keys.has_explicit_nonce() => EXPLICIT_NONCE_LENGTH + TAG_LENGTH,
            Version::Tls12 => TAG_LENGTH,
        }
    }

    fn seal_all<P: Deref<Target = [u8]>>(
        &mut self,
        pieces: &[P],
        total: usize,
        out: &mut [u8],
    ) -> Result<usize, Unspecified> {
        let mut written = self.settle(out)?;
        let mut plaintext = Scattered { pieces, offset: 0 };
        let mut left = total;
        while left > 0 {
            let length = left.min(MAX_PLAINTEXT);
            written += self.settle(&mut out[written..])?;
            written += self.seal_record(content::APPLICATION_DATA, &mut plaintext, length, &mut out[written..])?;
            left -= length;
        }
        Ok(written)
    }

    /// Sends the KeyUpdate that is owed, or that the limit demands: the last record of a key is one.
    fn settle(&mut self, out: &mut [u8]) -> Result<usize, Unspecified> {
        if self.keys.version() == Version::Tls12 || (!self.key_update_owed && self.left() > 1) {
            return Ok(0);
        }
        let written = self.seal_short(content::HANDSHAKE, &KEY_UPDATE, out)?;
        self.keys.update()?;
        self.key_update_owed = false;
        Ok(written)
    }

    pub(crate) fn seal_short(
        &mut self,
        content_type: u8,
        message: &[u8],
        out: &mut [u8],
    ) -> Result<usize, Unspecified> {
        self.seal_record(content_type, &mut Scattered { pieces: &[message], offset: 0 }, message.len(), out)
    }

    /// Seals the next `length` bytes of `plaintext` as one record.
    fn seal_record<P: Deref<Target = [u8]>>(
        &mut self,
        content_type: u8,
        plaintext: &mut Scattered<'_, P>,
        length: usize,
        out: &mut [u8],
    ) -> Result<usize, Unspecified> {
        let body = length + self.overhead();
        let explicit = if self.keys.has_explicit_nonce() { EXPLICIT_NONCE_LENGTH } else { 0 };
        let version = self.keys.version();
        let (cipher, sequence) = self.keys.expanded()?;
        let nonce = cipher.nonce(sequence);
        let (header, aad_12);
        let (aad, extra): (&[u8], &[u8]) = match version {
            Version::Tls12 => {
                header = record::header(content_type, body);
                aad_12 = record::aad_12(sequence, content_type, length);
                (&aad_12, &[])
            }
            Version::Tls13 => {
                header = record::header(content::APPLICATION_DATA, body);
                (&header, &[content_type])
            }
        };
        let (head, out) = out[..HEADER_LENGTH + body].split_at_mut(HEADER_LENGTH + explicit);
        head[..HEADER_LENGTH].copy_from_slice(&header);
        head[HEADER_LENGTH..].copy_from_slice(&nonce[nonce.len() - explicit..]);
        let (ciphertext, extra_and_tag) = out.split_at_mut(length);
        match plaintext.take_whole(length) {
            Some(plaintext) => cipher.seal(nonce, aad, plaintext, ciphertext, extra, extra_and_tag)?,
            None => {
                plaintext.take_into(ciphertext);
                cipher.seal_in_place(nonce, aad, ciphertext, extra, extra_and_tag)?;
            }
        }
        self.keys.advance()?;
        Ok(HEADER_LENGTH + body)
    }
}

impl fmt::Debug for Sender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sender").field("keys", &self.keys).field("closed", &self.closed).finish_non_exhaustive()
    }
}

/// Plaintext in pieces, from an offset in the first of them on.
struct Scattered<'a, P> {
    pieces: &'a [P],
    offset: usize,
}

impl<'a, P: Deref<Target = [u8]>> Scattered<'a, P> {
    /// The next `length` bytes, if they lie in one piece.
    fn take_whole(&mut self, length: usize) -> Option<&'a [u8]> {
        while self.pieces.first().is_some_and(|piece| piece.len() == self.offset) {
            (self.pieces, self.offset) = (&self.pieces[1..], 0);
        }
        let whole = self.pieces.first()?.get(self.offset..self.offset + length)?;
        self.offset += length;
        Some(whole)
    }

    /// Copies the next bytes until `into` is full.
    fn take_into(&mut self, mut into: &mut [u8]) {
        while let Some(piece) = self.pieces.first().filter(|_| !into.is_empty()) {
            let rest = &piece[self.offset..];
            let length = rest.len().min(into.len());
            let (now, later) = into.split_at_mut(length);
            now.copy_from_slice(&rest[..length]);
            into = later;
            self.offset += length;
            if self.offset == piece.len() {
                (self.pieces, self.offset) = (&self.pieces[1..], 0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::Cipher;

    fn senders() -> impl Iterator<Item = Sender> {
        let ciphers = [Cipher::Aes128Gcm, Cipher::Aes256Gcm, Cipher::ChaCha20Poly1305];
        ciphers.into_iter().flat_map(|cipher| {
            let secret = &[9; 48][..cipher.secret_length()];
            [Keys::tls12(cipher, &[7; 32][..cipher.key_length()], &[8; 12], 1), Keys::tls13(cipher, secret, 0).unwrap()]
                .map(Sender::new)
        })
    }

    #[test]
    fn the_room_for_plaintext_is_what_the_worst_moment_takes() {
        for mut sender in senders() {
            let version = sender.keys.version();
            for length in [0, 1, MAX_PLAINTEXT, MAX_PLAINTEXT + 1, 3 * MAX_PLAINTEXT - 1, 3 * MAX_PLAINTEXT] {
                // New keys before each record.
                if version == Version::Tls13 {
                    sender.limit_records(2);
                    sender.owe_key_update();
                }
                let room = sender.room_for(length);
                let mut out = vec![0; room];
                assert_eq!(sender.seal(&[&vec![1; length][..]], &mut out), Ok(room), "{version:?} {length}");
            }
        }
    }

    #[test]
    fn the_room_for_an_alert_is_what_the_longest_takes() {
        let most = senders().map(|mut sender| sender.alert(Alert::CLOSE_NOTIFY, &mut [0; 99])).max();
        assert_eq!(most, Some(Sender::ALERT_ROOM));
    }
}
