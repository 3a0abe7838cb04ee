//! WebSocket frames: `__test__/vectors/websocket.json`, and random streams against a reading of RFC 6455 that has all
//! the time and memory in the world. However a stream is split, the same comes out of it.
use derp_proto::websocket::{
    Decoder, Fault, MAX_CONTROL_LENGTH, MAX_KEPT, Step, binary_header, close, close_payload, pong, unmask,
};
use proptest::prelude::*;
use serde_json::{Map, Value};

/// What comes out of a stream. Neighbouring data are one.
#[derive(Clone, PartialEq, Debug)]
enum Out {
    Data(Vec<u8>),
    Ping(Vec<u8>),
    Close(Vec<u8>),
}

/// How a stream ends: with a fault, or with so many bytes to be kept.
type End = Result<usize, Fault>;

// The vectors.

#[test]
fn the_vectors_however_they_are_split() {
    let vectors = vectors();
    assert!(vectors["read"].as_object().is_some_and(|cases| cases.len() > 50));
    for (name, case) in members(&vectors["read"]) {
        let expected = (outs(case), end(case));
        let (bytes, limit) = (pieces(&case["bytes"]), number(&case["limit"]) as u32);
        assert_eq!(reference(&bytes, limit), expected, "{name}: the reference");
        assert_eq!(read([&bytes[..]], limit), expected, "{name}");
        let few = bytes.len() < 200;
        for size in if few { 1..bytes.len().max(1) } else { 1000..1001 } {
            assert_eq!(read(bytes.chunks(size), limit), expected, "{name}, {size} at a time");
        }
        for at in 0..bytes.len().min(200) {
            assert_eq!(read([&bytes[..at], &bytes[at..]], limit), expected, "{name}, split at {at}");
        }
    }
}

#[test]
fn what_we_write() {
    let vectors = vectors();
    let write = &vectors["write"];
    for (length, header) in members(&write["binaryHeaders"]) {
        assert_eq!(hex(&binary_header(length.parse().unwrap())), *header, "{length}");
    }
    for (payload, frame) in members(&write["pongs"]) {
        assert_eq!(hex(&pong(&bytes(payload))), *frame);
    }
    for (name, case) in members(&write["closes"]) {
        assert_eq!(hex(&close(&bytes(case["payload"].as_str().unwrap()))), case["frame"], "{name}");
        if let Some(code) = case["code"].as_u64() {
            assert_eq!(hex(&close_payload(code as u16)), case["payload"], "{name}");
        }
    }
}

// Random streams.

/// A frame of a client, sensible or not.
fn frame() -> impl Strategy<Value = Vec<u8>> {
    let opcode = prop_oneof![
        12 => prop::sample::select(vec![0_u8, 2]),
        4 => prop::sample::select(vec![9_u8, 10]),
        1 => prop::sample::select(vec![1_u8, 3, 8, 11]),
    ];
    let seldom = || prop::bool::weighted(0.02);
    let payload = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..12),
        1 => prop::collection::vec(any::<u8>(), 120..140),
        1 => prop::sample::select(vec![b"\x03\xe8".to_vec(), b"\x03\xe7".to_vec(), b"\x0f\xa0bye".to_vec()]),
    ];
    let form = prop::sample::select(vec![0, 0, 0, 0, 16, 64]);
    (opcode, any::<bool>(), seldom(), prop::bool::weighted(0.98), any::<[u8; 4]>(), payload, form).prop_map(
        |(opcode, is_final, reserved, masked, mask, mut payload, form)| {
            let is_final = is_final || opcode & 8 != 0;
            let length = payload.len();
            let mut bytes = vec![u8::from(is_final) << 7 | u8::from(reserved) << 5 | opcode];
            let masked_bit = u8::from(masked) << 7;
            match (form, length) {
                (0, ..126) => bytes.push(masked_bit | length as u8),
                (0 | 16, _) => {
                    bytes.push(masked_bit | 126);
                    bytes.extend((length as u16).to_be_bytes());
                }
                _ => {
                    bytes.push(masked_bit | 127);
                    bytes.extend((length as u64).to_be_bytes());
                }
            }
            bytes.extend(mask);
            payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, key)| *byte ^= key);
            bytes.extend(payload);
            bytes
        },
    )
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    prop::collection::vec(frame(), 0..8).prop_map(|frames| frames.concat())
}

const LIMITS: [u32; 5] = [0, 5, 20, 139, u32::MAX];

proptest! {
    #[test]
    fn random_frames_as_the_reference_reads_them(
        bytes in stream(), limit in prop::sample::select(&LIMITS), size in 1..40_usize,
    ) {
        let expected = reference(&bytes, limit);
        prop_assert_eq!(&read([&bytes[..]], limit), &expected);
        prop_assert_eq!(&read(bytes.chunks(size), limit), &expected);
        for at in 0..=bytes.len() {
            prop_assert_eq!(&read([&bytes[..at], &bytes[at..]], limit), &expected, "split at {}", at);
        }
    }

    #[test]
    fn random_bytes_as_the_reference_reads_them(
        bytes in prop::collection::vec(any::<u8>(), 0..60), limit in prop::sample::select(&LIMITS), size in 1..10_usize,
    ) {
        let expected = reference(&bytes, limit);
        prop_assert_eq!(&read(bytes.chunks(size), limit), &expected);
    }

    #[test]
    fn masks_of_every_length_and_place(
        plain in prop::collection::vec(any::<u8>(), 0..200), start in 0..40_usize, mask: [u8; 4],
    ) {
        let start = start.min(plain.len());
        let mut masked = plain.clone();
        unmask(&mut masked[start..], mask);
        for (at, (was, is)) in plain.iter().zip(&masked).enumerate() {
            prop_assert_eq!(*is, if at < start { *was } else { was ^ mask[(at - start) % 4] });
        }
    }
}

#[test]
fn the_largest_limit() {
    let header = |length: u64| [&b"\x82\xff"[..], &length.to_be_bytes(), &[1, 2, 3, 4]].concat();
    let longest = u64::from(u32::MAX);
    let mut decoder = Decoder::new(u32::MAX);
    assert_eq!(decoder.next(&mut header(longest + 1)), Err(Fault::TooLong));
    let mut decoder = Decoder::new(u32::MAX);
    assert_eq!(decoder.next(&mut header(longest)), Ok(Step::Passed(14)));
    assert_eq!(decoder.next(&mut vec![0; 1 << 20]), Ok(Step::Data(0..1 << 20)));
}

#[test]
fn faults_say_what_is_wrong() {
    let mut decoder = Decoder::new(1);
    let fault = decoder.next(&mut [0x81, 0x80]).unwrap_err();
    assert_eq!(fault.to_string(), "a text message");
    assert_eq!(decoder.next(&mut [0x82, 0x80]), Ok(Step::Passed(2)), "the end is the end");
}

#[test]
#[should_panic = "a control frame of 126 bytes"]
fn a_pong_is_no_longer_than_a_ping() {
    pong(&[0; MAX_CONTROL_LENGTH + 1]);
}

// Reading a stream.

/// A reader as the data plane has one: it keeps what is left, and puts it in front of what comes next.
fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>, limit: u32) -> (Vec<Out>, End) {
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
                Ok(Step::Data(range) | Step::Ping(range) | Step::Close(range)) => (range.clone(), range.end),
                Ok(Step::Passed(length)) => (0..0, *length),
                Ok(Step::More) => (0..0, 0),
                Err(fault) => {
                    assert_eq!(decoder.next(&mut [0x89, 0x80, 0, 0, 0, 0]), Ok(Step::Passed(6)), "the end is the end");
                    return (outs, Err(*fault));
                }
            };
            assert!(left[..range.start] == before[..range.start] && left[range.end..] == before[range.end..]);
            let payload = left[range].to_vec();
            at += end;
            match step {
                Ok(Step::Data(_)) => {
                    assert!(!payload.is_empty());
                    push_data(&mut outs, &payload);
                }
                Ok(Step::Ping(_)) => outs.push(Out::Ping(payload)),
                Ok(Step::Close(_)) => outs.push(Out::Close(payload)),
                Ok(Step::Passed(length)) => assert!(length > 0),
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
fn reference(stream: &[u8], limit: u32) -> (Vec<Out>, End) {
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
            (bit(0, 6) || bit(0, 5) || bit(0, 4), Fault::ReservedBits),
            (!bit(1, 7), Fault::NotMasked),
            (!matches!(opcode, 0 | 1 | 2 | 8 | 9 | 10), Fault::Opcode),
            (opcode >= 8 && (!is_final || short > 125), Fault::ControlFrame),
            (opcode < 8 && (opcode == 0) != open.is_some(), Fault::Continuation),
            (opcode == 1, Fault::Text),
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
            return (outs, Err(Fault::Length));
        }
        if opcode < 8 && open.unwrap_or(0) + length > u64::from(limit) {
            return (outs, Err(Fault::TooLong));
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
                return (outs, Err(Fault::ClosePayload));
            }
            _ => {}
        }
        at += 2 + long + 4 + length as usize;
    }
}

// Reading the file.

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../__test__/vectors/websocket.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn members(group: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let group: &Map<_, _> = group.as_object().unwrap();
    assert!(!group.is_empty());
    group.iter().map(|(name, value)| (name.as_str(), value))
}

fn outs(case: &Value) -> Vec<Out> {
    let out = |out: &Value| {
        let (kind, payload) = members(out).next().unwrap();
        let payload = piece(payload);
        match kind {
            "data" => Out::Data(payload),
            "ping" => Out::Ping(payload),
            "close" => Out::Close(payload),
            other => panic!("{other}"),
        }
    };
    case["out"].as_array().unwrap().iter().map(out).collect()
}

fn end(case: &Value) -> End {
    let Some(name) = case["fault"].as_str() else {
        return Ok(number(&case["kept"]) as usize);
    };
    let fault = match name {
        "reservedBits" => Fault::ReservedBits,
        "notMasked" => Fault::NotMasked,
        "opcode" => Fault::Opcode,
        "controlFrame" => Fault::ControlFrame,
        "continuation" => Fault::Continuation,
        "text" => Fault::Text,
        "length" => Fault::Length,
        "tooLong" => Fault::TooLong,
        "closePayload" => Fault::ClosePayload,
        other => panic!("{other}"),
    };
    assert_eq!(u64::from(fault.close_code()), number(&case["code"]), "{name}");
    Err(fault)
}

fn pieces(value: &Value) -> Vec<u8> {
    value.as_array().unwrap().iter().flat_map(piece).collect()
}

fn piece(value: &Value) -> Vec<u8> {
    match value {
        Value::String(digits) => bytes(digits),
        other => bytes(other["repeat"].as_str().unwrap()).repeat(number(&other["times"]) as usize),
    }
}

fn bytes(digits: &str) -> Vec<u8> {
    assert!(digits.len().is_multiple_of(2));
    digits.as_bytes().chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap()
}
