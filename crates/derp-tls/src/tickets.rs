//! Skips the session tickets that a server sends; a client here resumes nothing.

use crate::alert::Violation;

/// Type 1, length of the body 3.
pub(crate) const MESSAGE_HEADER_LENGTH: usize = 4;
pub(crate) const NEW_SESSION_TICKET: u8 = 4;

/// A ticket may hold a certificate chain, and is as long as that at most.
const MAX_TICKET: usize = 1 << 16;

/// Where in a message the last record ended.
#[derive(Default)]
pub(crate) struct Tickets {
    header: [u8; MESSAGE_HEADER_LENGTH],
    /// Bytes of the header that have come.
    have: usize,
    /// Bytes of the body that are still to come.
    body: usize,
}

impl Tickets {
    /// Whether the next record has to go on with a message.
    pub(crate) fn is_within(&self) -> bool {
        self.have > 0 || self.body > 0
    }

    /// Skips what belongs to tickets; gives the rest, which begins with a message of another type, or is empty.
    pub(crate) fn skip<'a>(&mut self, mut bytes: &'a [u8]) -> Result<&'a [u8], Violation> {
        loop {
            let skipped = self.body.min(bytes.len());
            self.body -= skipped;
            bytes = &bytes[skipped..];
            let Some((&next, rest)) = bytes.split_first() else { return Ok(bytes) };
            if self.have == 0 && next != NEW_SESSION_TICKET {
                return Ok(bytes);
            }
            self.header[self.have] = next;
            self.have += 1;
            bytes = rest;
            if self.have == MESSAGE_HEADER_LENGTH {
                let [_, high, middle, low] = self.header;
                self.body = u32::from_be_bytes([0, high, middle, low]) as usize;
                self.have = 0;
                if self.body > MAX_TICKET {
                    return Err(Violation::Ticket);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_skipped_however_they_are_cut() {
        let messages = [&[4, 0, 0, 3, 1, 2, 3][..], &[4, 0, 0, 0], &[4, 0, 0, 1, 24], &[24, 0, 0, 1, 0]].concat();
        for first in 0..=messages.len() - 5 {
            let mut tickets = Tickets::default();
            let (head, tail) = messages.split_at(first);
            assert_eq!(tickets.skip(head), Ok(&[][..]));
            assert_eq!(tickets.is_within(), ![0, 7, 11, 16].contains(&first), "{first}");
            assert_eq!(tickets.skip(tail), Ok(&[24, 0, 0, 1, 0][..]));
            assert!(!tickets.is_within());
        }
    }

    #[test]
    fn long_ones_are_refused() {
        assert_eq!(Tickets::default().skip(&[4, 1, 0, 0]), Ok(&[][..]));
        assert_eq!(Tickets::default().skip(&[4, 1, 0, 1]), Err(Violation::Ticket));
    }
}
