//! The packets of one read that go to one destination, which leave with one send.

use std::io::{self, IoSlice, Write};
use std::ops::Range;

use derp_proto::frame::{PACKET_AT, forward_head};
use derp_proto::key::NodeKey;
use derp_proto::wire::HEADER_LENGTH;

/// Fewer than `writev` takes: a packet for another relay has two.
const PIECES: usize = 1000;

enum Piece {
    Head([u8; PACKET_AT]),
    /// Of the bytes that were read.
    Read(Range<usize>),
}

impl Piece {
    fn bytes<'a>(&'a self, read: &'a [u8]) -> &'a [u8] {
        match self {
            Self::Head(head) => head,
            Self::Read(range) => &read[range.clone()],
        }
    }
}

#[derive(Default)]
pub(super) struct Batch {
    to: Option<usize>,
    pieces: Vec<Piece>,
    length: usize,
}

impl Batch {
    /// Where it goes; nowhere if it is empty.
    pub(super) fn to(&self) -> Option<usize> {
        self.to
    }

    /// Bytes of it.
    pub(super) fn length(&self) -> usize {
        self.length
    }

    /// Whether it has to leave before a packet for `to` joins it.
    pub(super) fn leaves_before(&self, to: usize) -> bool {
        self.to.is_some_and(|same| same != to) || self.pieces.len() > PIECES
    }

    /// A whole frame of the read.
    pub(super) fn frame(&mut self, to: usize, frame: Range<usize>) {
        self.to = Some(to);
        self.length += frame.len();
        match self.pieces.last_mut() {
            Some(Piece::Read(before)) if before.end == frame.start => before.end = frame.end,
            _ => self.pieces.push(Piece::Read(frame)),
        }
    }

    /// The key and the packet of a SendPacket, for another relay.
    pub(super) fn forward(&mut self, to: usize, source: &NodeKey, keyed: Range<usize>) {
        self.to = Some(to);
        self.length += PACKET_AT + keyed.len();
        self.pieces.push(Piece::Head(forward_head(source, keyed.len() + HEADER_LENGTH - PACKET_AT)));
        self.pieces.push(Piece::Read(keyed));
    }

    /// Writes what `stream` takes, and forgets all. Returns the rest of a frame that the stream took in part.
    pub(super) fn write(&mut self, read: &[u8], stream: &mut impl Write) -> io::Result<Vec<u8>> {
        let written = match &self.pieces[..] {
            [] => Ok(0),
            [only] => stream.write(only.bytes(read)),
            pieces => {
                stream.write_vectored(&pieces.iter().map(|piece| IoSlice::new(piece.bytes(read))).collect::<Vec<_>>())
            }
        };
        let rest = written.map(|count| {
            if count == self.length {
                return Vec::new();
            }
            let all: Vec<u8> = self.pieces.iter().flat_map(|piece| piece.bytes(read)).copied().collect();
            let mut end = 0;
            while end < count {
                let length = [all[end + 1], all[end + 2], all[end + 3], all[end + 4]];
                end += HEADER_LENGTH + u32::from_be_bytes(length) as usize;
            }
            all[count..end].to_vec()
        });
        self.to = None;
        self.pieces.clear();
        self.length = 0;
        rest
    }
}

#[cfg(test)]
mod tests {
    use derp_proto::frame::send_packet;

    use super::*;

    /// Takes so many bytes at once.
    struct Narrow(usize, Vec<u8>);

    impl Write for Narrow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let count = bytes.len().min(self.0);
            self.1.extend_from_slice(&bytes[..count]);
            Ok(count)
        }

        fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
            let all: Vec<u8> = slices.iter().flat_map(|slice| slice.iter()).copied().collect();
            self.write(&all)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn key(byte: u8) -> NodeKey {
        NodeKey::first_of(&[byte; 32]).unwrap()
    }

    fn frames() -> Vec<u8> {
        (0..3).flat_map(|number| [&send_packet(&key(2), 4)[..], &[number; 4]].concat()).collect()
    }

    #[test]
    fn a_cut_frame_is_completed_and_the_frames_behind_it_are_dropped() {
        let read = frames();
        let length = read.len() / 3;
        for count in 0..=read.len() {
            let mut batch = Batch::default();
            for number in 0..3 {
                batch.frame(7, number * length..(number + 1) * length);
            }
            assert_eq!((batch.to(), batch.length()), (Some(7), read.len()));
            let mut stream = Narrow(count, Vec::new());
            let rest = batch.write(&read, &mut stream).unwrap();
            assert_eq!([stream.1, rest].concat(), read[..count.next_multiple_of(length)], "{count} bytes");
            assert_eq!((batch.to(), batch.length()), (None, 0));
        }
    }

    #[test]
    fn a_packet_for_another_relay_gets_the_key_of_its_sender() {
        let read = frames();
        let length = read.len() / 3;
        let mut batch = Batch::default();
        batch.forward(0, &key(1), HEADER_LENGTH..length);
        let mut stream = Narrow(usize::MAX, Vec::new());
        assert!(batch.write(&read, &mut stream).unwrap().is_empty());
        let expected = [&derp_proto::frame::forward_packet(&key(1), &key(2), 4)[..], &[0; 4]].concat();
        assert_eq!(stream.1, expected);
    }
}
