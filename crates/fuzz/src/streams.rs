//! What comes out of the frames of a WebSocket client: as the decoder reads them, and by a reading of RFC 6455 that has
//! the whole stream at once.
use derp_proto::websocket::{self, Decoder, MAX_KEPT, Piece, Reader, Received, WebSocketFault};

/// What comes out of a stream. Neighbouring data are one.
#[derive(Clone, PartialEq, Debug)]
pub enum Out {
    /// Of binary messages.
    Data(Vec<u8>),
    /// With its payload.
    Ping(Vec<u8>),
    /// With its payload.
    Close(Vec<u8>),
}

/// How a stream ends: with a fault, or with so many bytes to be kept.
pub type End = Result<usize, WebSocketFault>;

/// A reader as the data plane has one: it keeps what is left, and puts it in front of what comes next.
pub fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limit: u32) -> (Vec<Out>, End) {
    let mut decoder = Decoder::new(limit);
    let mut kept = Vec::new();
    let mut outs = Vec::new();
    for chunk in chunks {
        let mut bytes = std::mem::take(&mut kept);
        bytes.extend(chunk);
        let mut at = 0;
        loop {
            let left = &mut bytes[at..];
            let before = left.to_vec();
            let step = decoder.next(left);
            let (range, end) = match &step {
                Ok(Piece::Data(range) | Piece::Ping(range) | Piece::Close(range)) => (range.clone(), range.end),
                Ok(Piece::Passed(length)) => (0..0, *length),
                Ok(Piece::More) => (0..0, 0),
                Err(fault) => {
                    assert_eq!(decoder.next(&mut [0x89, 0x80, 0, 0, 0, 0]), Ok(Piece::Passed(6)), "the end is the end");
                    return (outs, Err(*fault));
                }
            };
            assert!(left[..range.start] == before[..range.start] && left[range.end..] == before[range.end..]);
            let payload = left[range].to_vec();
            at += end;
            match step {
                Ok(Piece::Data(_)) => {
                    assert!(!payload.is_empty());
                    push_data(&mut outs, &payload);
                }
                Ok(Piece::Ping(_)) => outs.push(Out::Ping(payload)),
                Ok(Piece::Close(_)) => outs.push(Out::Close(payload)),
                Ok(Piece::Passed(length)) => assert!(length > 0),
                _ => break,
            }
        }
        kept = bytes.split_off(at);
        assert!(kept.len() <= MAX_KEPT);
    }
    (outs, Ok(kept.len()))
}

fn push_data(outs: &mut Vec<Out>, payload: &[u8]) {
    match outs.last_mut() {
        Some(Out::Data(data)) => data.extend(payload),
        _ if payload.is_empty() => {}
        _ => outs.push(Out::Data(payload.to_vec())),
    }
}

/// The whole stream at once, frame by frame, as the RFC tells it.
pub fn reference(stream: &[u8], limit: u32) -> (Vec<Out>, End) {
    let mut outs = Vec::new();
    let mut at = 0;
    // Of the message whose last frame has not come.
    let mut open: Option<u64> = None;
    loop {
        let frame = &stream[at..];
        if frame.len() < 2 {
            return (outs, Ok(frame.len()));
        }
        let bit = |byte: usize, bit: u8| frame[byte] >> bit & 1 == 1;
        let is_final = bit(0, 7);
        let opcode = frame[0] % 16;
        let short = u64::from(frame[1] % 128);
        let wrong = [
            (bit(0, 6) || bit(0, 5) || bit(0, 4), WebSocketFault::ReservedBits),
            (!bit(1, 7), WebSocketFault::NotMasked),
            (!matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10), WebSocketFault::Opcode),
            (opcode >= 8 && (!is_final || short > 125), WebSocketFault::ControlFrame),
            (opcode < 8 && (opcode == 0) != open.is_some(), WebSocketFault::Continuation),
            (opcode == 1, WebSocketFault::Text),
        ];
        if let Some((_, fault)) = wrong.iter().find(|(is_wrong, _)| *is_wrong) {
            return (outs, Err(*fault));
        }
        let long = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        if frame.len() < 2 + long {
            return (outs, Ok(frame.len()));
        }
        let length = if long == 0 {
            short
        } else {
            frame[2..2 + long].iter().fold(0, |length, byte| length << 8 | u64::from(*byte))
        };
        if length >> 63 == 1 {
            return (outs, Err(WebSocketFault::Length));
        }
        if opcode < 8 && open.unwrap_or(0) + length > u64::from(limit) {
            return (outs, Err(WebSocketFault::TooLong));
        }
        if frame.len() < 2 + long + 4 {
            return (outs, Ok(frame.len()));
        }
        let (mask, behind) = frame[2 + long..].split_at(4);
        let whole = behind.len() as u64 >= length;
        let here = if whole { &behind[..length as usize] } else { behind };
        let payload: Vec<u8> = here.iter().enumerate().map(|(at, byte)| byte ^ mask[at % 4]).collect();
        if opcode < 8 {
            push_data(&mut outs, &payload);
            open = if is_final { None } else { Some(open.unwrap_or(0) + length) };
        }
        if !whole {
            return (outs, Ok(if opcode < 8 { 0 } else { frame.len() }));
        }
        match opcode {
            9 => outs.push(Out::Ping(payload)),
            8 => {
                let code = payload.iter().take(2).fold(0, |code, byte| code << 8 | u16::from(*byte));
                let assigned = (1000..=1014).contains(&code) && !(1004..=1006).contains(&code);
                if payload.is_empty() || payload.len() >= 2 && (assigned || (3000..5000).contains(&code)) {
                    outs.push(Out::Close(payload));
                    return (outs, Ok(0));
                }
                return (outs, Err(WebSocketFault::ClosePayload));
            }
            _ => {}
        }
        at += 2 + long + 4 + length as usize;
    }
}

/// The DERP stream, the last ping, and whether it ends with a close frame.
pub type Heard = (Vec<u8>, Option<Vec<u8>>, Result<Option<Vec<u8>>, WebSocketFault>);

/// What the data plane's own reader makes of a stream.
pub fn slid<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limit: u32) -> Heard {
    let mut reader = Reader::new(limit);
    let (mut stream, mut last) = (Vec::new(), None);
    for chunk in chunks {
        let mut bytes = chunk.to_vec();
        let Received { stream: here, ping, end } = reader.read(&mut bytes);
        stream.extend_from_slice(&bytes[here]);
        last = ping.or(last);
        if let Some(end) = end {
            assert_eq!(reader.read(&mut [0x89, 0x80, 0, 0, 0, 0]), Received::default(), "the end is the end");
            let payload = end.close_payload();
            return match end {
                websocket::End::Closed(closing) => (stream, last, Ok(Some(closing))),
                websocket::End::Broken(fault) => {
                    assert_eq!(payload, fault.close_code().to_be_bytes());
                    (stream, last, Err(fault))
                }
            };
        }
    }
    (stream, last, Ok(None))
}

/// The same of what came out frame by frame.
pub fn heard((outs, end): (Vec<Out>, End)) -> Heard {
    let (mut stream, mut last, mut closing) = (Vec::new(), None, None);
    for out in outs {
        match out {
            Out::Data(bytes) => stream.extend(bytes),
            Out::Ping(payload) => last = Some(payload),
            Out::Close(payload) => closing = Some(payload),
        }
    }
    (stream, last, end.map(|_| closing))
}
