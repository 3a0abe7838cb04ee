//! Record headers, where records end, and the figures of the record layer.
use crate::alert::{Alert, Violation};
use crate::keys::Version;

/// Type 1, version 2, length of the body 2.
pub(crate) const HEADER_LENGTH: usize = 5;
/// The most plaintext in a record.
pub(crate) const MAX_PLAINTEXT: usize = 1 << 14;
/// The authentication tag at the end of a body, of every cipher here.
pub(crate) const TAG_LENGTH: usize = 16;
/// The part of the nonce that AES-GCM of TLS 1.2 sends in front of the ciphertext.
pub(crate) const EXPLICIT_NONCE_LENGTH: usize = 8;

/// What TLS 1.3 adds at most: content type, padding, tag. TLS 1.2 permits more, which no cipher here uses.
const MAX_EXPANSION_13: usize = 256;
const MAX_EXPANSION_12: usize = 2048;

/// TLS 1.2 calls itself 3.3; TLS 1.3 says the same in every record.
const VERSION: [u8; 2] = [3, 3];

pub(crate) mod content {
    pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
    pub(crate) const ALERT: u8 = 21;
    pub(crate) const HANDSHAKE: u8 = 22;
    pub(crate) const APPLICATION_DATA: u8 = 23;
}

pub(crate) fn header(content_type: u8, body: usize) -> [u8; HEADER_LENGTH] {
    let [high, low] = (body as u16).to_be_bytes();
    [content_type, VERSION[0], VERSION[1], high, low]
}

/// The length of the body that a header announces, if a record may have this header.
pub(crate) fn body_length(header: [u8; HEADER_LENGTH], version: Version) -> Result<usize, Violation> {
    let [content_type, major, minor, high, low] = header;
    match content_type {
        content::APPLICATION_DATA => {}
        content::CHANGE_CIPHER_SPEC | content::ALERT | content::HANDSHAKE if version == Version::Tls12 => {}
        _ => return Err(Violation::RecordType),
    }
    if [major, minor] != VERSION {
        return Err(Violation::RecordVersion);
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    let expansion = match version {
        Version::Tls12 => MAX_EXPANSION_12,
        Version::Tls13 => MAX_EXPANSION_13,
    };
    if length > MAX_PLAINTEXT + expansion { Err(Violation::Oversize) } else { Ok(length) }
}

/// A plaintext alert record, for handshakes that end before there are keys.
pub(crate) fn plain_alert(alert: Alert) -> [u8; HEADER_LENGTH + 2] {
    [content::ALERT, VERSION[0], VERSION[1], 0, 2, alert.level(), alert.0]
}

/// What the tag of a TLS 1.2 record covers beside its content.
pub(crate) fn aad_12(sequence: u64, content_type: u8, plaintext: usize) -> [u8; 13] {
    let mut aad = [0; 13];
    aad[..8].copy_from_slice(&sequence.to_be_bytes());
    aad[8..].copy_from_slice(&header(content_type, plaintext));
    aad
}

/// Where in a record the input stands.
#[derive(Default)]
pub(crate) struct RecordCursor {
    header: [u8; HEADER_LENGTH],
    have: usize,
    body: usize,
}

impl RecordCursor {
    /// How many bytes of the input belong to the record at hand, or to the one that begins there. 0 only if there are none.
    pub(crate) fn next(&mut self, input: &[u8]) -> usize {
        let mut taken = 0;
        if self.have < HEADER_LENGTH {
            taken = input.len().min(HEADER_LENGTH - self.have);
            self.header[self.have..self.have + taken].copy_from_slice(&input[..taken]);
            self.have += taken;
            if self.have < HEADER_LENGTH {
                return taken;
            }
            self.body = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
        }
        let body = self.body.min(input.len() - taken);
        self.body -= body;
        if self.body == 0 {
            self.have = 0;
        }
        taken + body
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How a stream is taken that comes in these pieces.
    fn taken(pieces: &[&[u8]]) -> Vec<usize> {
        let mut cursor = RecordCursor::default();
        let mut taken = Vec::new();
        for &piece in pieces {
            let mut rest = piece;
            while !rest.is_empty() {
                taken.push(cursor.next(rest));
                rest = &rest[*taken.last().unwrap()..];
            }
            assert_eq!(cursor.next(rest), 0);
        }
        taken
    }

    #[test]
    fn records_are_taken_one_by_one_however_they_are_cut() {
        let (first, empty, last) = ([22, 3, 3, 0, 3, 7, 7, 7], [22, 3, 3, 0, 0], [23, 3, 3, 1, 2]);
        let stream = [&first[..], &empty, &last, &[7; 258], &first].concat();
        let ends = [8, 13, 276, 284];
        assert_eq!(taken(&[&stream]), [8, 5, 263, 8]);
        for cut in 1..stream.len() {
            let (head, tail) = stream.split_at(cut);
            let mut at = 0;
            let stops = taken(&[head, tail]).into_iter().map(|length| {
                at += length;
                at
            });
            let mut expected = [&ends[..], &[cut]].concat();
            expected.sort_unstable();
            expected.dedup();
            assert_eq!(stops.collect::<Vec<_>>(), expected, "{cut}");
        }
        let single: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(taken(&single), vec![1; stream.len()]);
    }
}
