//! Cuts a byte stream into frames, however it was split on the way.
use crate::wire::HEADER_LENGTH;

/// The five bytes in front of every body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FrameHeader {
    /// The number of a [`FrameType`](crate::wire::FrameType), or of one that we do not know.
    pub kind: u8,
    /// Bytes of body that follow, or so the peer says.
    pub length: u32,
}

impl FrameHeader {
    /// The header that `bytes` begin with; `None` if they are fewer than 5.
    #[inline]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &[kind, a, b, c, d] = bytes.first_chunk::<HEADER_LENGTH>()?;
        Some(Self { kind, length: u32::from_be_bytes([a, b, c, d]) })
    }

    /// The frame's length, header included.
    pub fn frame_length(self) -> u64 {
        HEADER_LENGTH as u64 + u64::from(self.length)
    }
}

/// What [`Decoder::next`] has found at the beginning of the bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Step {
    /// A frame begins here; it is announced once, before its body is there. This is the place to refuse it, to charge
    /// for it, or to [`Decoder::skip`] it. The bytes are not used up.
    Header(FrameHeader),
    /// The first so many bytes are a whole frame, header included: the next one begins behind them.
    Frame(usize),
    /// The first so many bytes belong to a skipped frame. At least one.
    Skipped(usize),
    /// Nothing more can be had of these bytes. Whatever is left of them is to be kept, and to be handed in again with
    /// what comes next behind it.
    More,
}

/// Remembers, between two reads, how far a stream has got within a frame. Holds no bytes: the reader keeps what
/// [`Step::More`] leaves, which is never more than what was received of a single wanted frame.
///
/// ```
/// use derp_proto::decode::{Decoder, Step};
///
/// fn on_bytes(decoder: &mut Decoder, bytes: &mut [u8]) -> usize {
///     let mut at = 0;
///     loop {
///         match decoder.next(&bytes[at..]) {
///             Step::Header(header) if header.kind == 0x04 => {}
///             Step::Header(_) => decoder.skip(),
///             Step::Frame(length) => {
///                 let frame = &mut bytes[at..at + length];
///                 frame[0] = 0x05;
///                 at += length;
///             }
///             Step::Skipped(length) => at += length,
///             Step::More => return at, // bytes[at..] is to be kept
///         }
///     }
/// }
/// # let mut bytes = [0x06, 0, 0, 0, 0, 0x04, 0, 0, 0, 1, 9, 0x04, 0];
/// # assert_eq!(on_bytes(&mut Decoder::default(), &mut bytes), 11);
/// # assert_eq!(bytes[5], 0x05);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Decoder {
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
enum State {
    #[default]
    Header,
    /// The header was announced; the frame is so long with it.
    Body(u64),
    /// So many bytes are still to be passed over.
    Skip(u64),
}

impl Decoder {
    /// Looks at the beginning of `bytes`: everything received that no earlier step has used up.
    #[inline]
    pub fn next(&mut self, bytes: &[u8]) -> Step {
        match self.state {
            State::Header => match FrameHeader::parse(bytes) {
                Some(header) => {
                    self.state = State::Body(header.frame_length());
                    Step::Header(header)
                }
                None => Step::More,
            },
            State::Body(length) if length <= bytes.len() as u64 => {
                self.state = State::Header;
                Step::Frame(length as usize)
            }
            State::Body(_) => Step::More,
            State::Skip(_) if bytes.is_empty() => Step::More,
            State::Skip(left) => {
                let passed = left.min(bytes.len() as u64);
                self.state = if passed == left { State::Header } else { State::Skip(left - passed) };
                Step::Skipped(passed as usize)
            }
        }
    }

    /// Passes over the frame that [`Step::Header`] has announced, without keeping any of it. Does nothing at any other
    /// time.
    #[inline]
    pub fn skip(&mut self) {
        if let State::Body(length) = self.state {
            self.state = State::Skip(length);
        }
    }

    /// Whether the next step is a header.
    pub fn is_between_frames(&self) -> bool {
        self.state == State::Header
    }

    /// How many bytes have to be there for the next step: a whole header, or a whole frame once its header has been
    /// announced. A reader that gathers a frame elsewhere needs no more than that. It is what the peer says: not to be
    /// allocated in advance.
    pub fn needed(&self) -> u64 {
        match self.state {
            State::Header => HEADER_LENGTH as u64,
            State::Body(length) => length,
            State::Skip(_) => 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame that is skipped if its type is odd.
    #[derive(Clone, Debug)]
    struct Sent {
        kind: u8,
        body: Vec<u8>,
    }

    fn sent() -> impl Strategy<Value = Vec<Sent>> {
        let frame =
            (any::<u8>(), prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, body)| Sent { kind, body });
        prop::collection::vec(frame, 0..6)
    }

    fn encode(frames: &[Sent]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for Sent { kind, body } in frames {
            bytes.push(*kind);
            bytes.extend((body.len() as u32).to_be_bytes());
            bytes.extend(body);
        }
        bytes
    }

    /// A reader as the data plane has one: it keeps what is left, and puts it in front of what comes next.
    #[derive(Default)]
    struct Reader {
        decoder: Decoder,
        kept: Vec<u8>,
        headers: Vec<FrameHeader>,
        frames: Vec<Vec<u8>>,
    }

    impl Reader {
        fn read(&mut self, chunk: &[u8]) {
            let mut bytes = std::mem::take(&mut self.kept);
            bytes.extend(chunk);
            let mut at = 0;
            loop {
                match self.decoder.next(&bytes[at..]) {
                    Step::Header(header) => {
                        self.headers.push(header);
                        if header.kind % 2 == 1 {
                            self.decoder.skip();
                        }
                    }
                    Step::Frame(length) => {
                        self.frames.push(bytes[at..at + length].to_vec());
                        at += length;
                    }
                    Step::Skipped(length) => {
                        assert!(length > 0);
                        at += length;
                    }
                    Step::More => break,
                }
            }
            assert!(at == bytes.len() || ((bytes.len() - at) as u64) < self.decoder.needed());
            self.kept = bytes.split_off(at);
        }

        fn assert_has(&self, frames: &[Sent]) {
            let headers: Vec<_> =
                frames.iter().map(|f| FrameHeader { kind: f.kind, length: f.body.len() as u32 }).collect();
            let wanted: Vec<_> =
                frames.iter().filter(|f| f.kind % 2 == 0).map(|f| encode(std::slice::from_ref(f))).collect();
            assert_eq!(self.headers, headers);
            assert_eq!(self.frames, wanted);
            assert_eq!(self.kept, b"");
            assert_eq!(self.decoder, Decoder::default());
        }
    }

    proptest! {
        #[test]
        fn frames_come_out_whole_wherever_the_stream_is_split(frames in sent()) {
            let bytes = encode(&frames);
            for split in 0..=bytes.len() {
                let mut reader = Reader::default();
                reader.read(&bytes[..split]);
                reader.read(&bytes[split..]);
                reader.assert_has(&frames);
            }
        }

        #[test]
        fn frames_come_out_whole_in_chunks_of_any_size(frames in sent(), size in 1..20_usize) {
            let mut reader = Reader::default();
            encode(&frames).chunks(size).for_each(|chunk| reader.read(chunk));
            reader.assert_has(&frames);
        }

        #[test]
        fn a_length_that_lies_keeps_no_more_than_was_received(
            kind: u8, length: u32, body in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let mut reader = Reader::default();
            let header = [&[kind][..], &length.to_be_bytes()].concat();
            reader.read(&header);
            prop_assert_eq!(reader.headers.len(), 1);
            let skipped = kind % 2 == 1;
            prop_assert_eq!(reader.kept.len(), if skipped || length == 0 { 0 } else { HEADER_LENGTH });
            if body.len() as u64 > u64::from(length) { return Ok(()) }
            reader.read(&body);
            prop_assert!(reader.kept.len() <= HEADER_LENGTH + body.len());
            prop_assert!(!skipped || reader.kept.is_empty());
        }
    }

    #[test]
    fn the_longest_length_is_skipped_to_its_last_byte() {
        let mut decoder = Decoder::default();
        assert_eq!(decoder.next(b"\x7f\xff\xff\xff\xff"), Step::Header(FrameHeader { kind: 0x7f, length: u32::MAX }));
        decoder.skip();
        let mut left = HEADER_LENGTH as u64 + u64::from(u32::MAX);
        let chunk = vec![0; 1 << 20];
        while left > 0 {
            let Step::Skipped(passed) = decoder.next(&chunk) else { panic!("{left} bytes are left") };
            left -= passed as u64;
        }
        assert_eq!(decoder, Decoder::default());
    }

    #[test]
    fn a_frame_is_announced_once() {
        let mut decoder = Decoder::default();
        let bytes = [4, 0, 0, 0, 2, 1];
        assert_eq!(decoder.next(&bytes), Step::Header(FrameHeader { kind: 4, length: 2 }));
        assert_eq!(decoder.next(&bytes), Step::More);
        assert_eq!(decoder.next(&[4, 0, 0, 0, 2, 1, 2, 6]), Step::Frame(7));
        decoder.skip();
        assert_eq!(decoder, Decoder::default());
    }

    #[test]
    fn it_says_what_it_waits_for() {
        let mut decoder = Decoder::default();
        let now = |decoder: &Decoder| (decoder.is_between_frames(), decoder.needed());
        assert_eq!(now(&decoder), (true, 5));
        assert_eq!(decoder.next(&[5, 0, 0, 0, 2]), Step::Header(FrameHeader { kind: 5, length: 2 }));
        assert_eq!(now(&decoder), (false, 7));
        decoder.skip();
        assert_eq!(now(&decoder), (false, 1));
        assert_eq!(decoder.next(&[5, 0, 0, 0, 2, 9]), Step::Skipped(6));
        assert_eq!(now(&decoder), (false, 1));
        assert_eq!(decoder.next(&[9]), Step::Skipped(1));
        assert_eq!(now(&decoder), (true, 5));
    }
}
