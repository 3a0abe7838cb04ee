//! WebSocket frames: `__test__/vectors/websocket.json`, and random streams against a reading of RFC 6455 that has all
//! the time and memory in the world. However a stream is split, the same comes out of it.
use derp_proto::websocket::{
    Decoder, MAX_CONTROL_LENGTH, MAX_KEPT, Piece, WebSocketFault, binary_header, close, close_payload, pong, unmask,
};
use proptest::prelude::*;
use serde_json::{Map, Value};

#[expect(unreachable_pub)]
#[path = "../../fuzz/src/streams.rs"]
mod streams;

use streams::{End, Out, heard, read, reference, slid};

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
        let stream = heard(expected.clone());
        assert_eq!(slid([&bytes[..]], limit), stream, "{name}");
        let few = bytes.len() < 200;
        for size in if few { 1..bytes.len().max(1) } else { 1000..1001 } {
            assert_eq!(read(bytes.chunks(size), limit), expected, "{name}, {size} at a time");
            assert_eq!(slid(bytes.chunks(size), limit), stream, "{name}, {size} at a time");
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
        let stream = heard(expected.clone());
        prop_assert_eq!(&read([&bytes[..]], limit), &expected);
        prop_assert_eq!(&read(bytes.chunks(size), limit), &expected);
        for at in 0..=bytes.len() {
            prop_assert_eq!(&read([&bytes[..at], &bytes[at..]], limit), &expected, "split at {}", at);
            prop_assert_eq!(&slid([&bytes[..at], &bytes[at..]], limit), &stream, "split at {}", at);
        }
        prop_assert_eq!(&slid(bytes.chunks(size), limit), &stream);
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
    assert_eq!(decoder.next(&mut header(longest + 1)), Err(WebSocketFault::TooLong));
    let mut decoder = Decoder::new(u32::MAX);
    assert_eq!(decoder.next(&mut header(longest)), Ok(Piece::Passed(14)));
    assert_eq!(decoder.next(&mut vec![0; 1 << 20]), Ok(Piece::Data(0..1 << 20)));
}

#[test]
fn the_most_that_is_kept_is_a_control_frame_that_lacks_a_byte() {
    let mut frame = [&b"\x89\xfd\x01\x02\x03\x04"[..], &[7; MAX_CONTROL_LENGTH]].concat();
    frame.pop();
    assert_eq!(Decoder::new(0).next(&mut frame), Ok(Piece::More));
    assert_eq!(frame.len(), MAX_KEPT);
}

#[test]
fn faults_say_what_is_wrong() {
    let mut decoder = Decoder::new(1);
    let fault = decoder.next(&mut [0x81, 0x80]).unwrap_err();
    assert_eq!(fault.to_string(), "a text message");
    assert_eq!(decoder.next(&mut [0x82, 0x80]), Ok(Piece::Passed(2)), "the end is the end");
}

#[test]
#[should_panic = "a control frame of 126 bytes"]
fn a_pong_is_no_longer_than_a_ping() {
    pong(&[0; MAX_CONTROL_LENGTH + 1]);
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
        "reservedBits" => WebSocketFault::ReservedBits,
        "notMasked" => WebSocketFault::NotMasked,
        "opcode" => WebSocketFault::Opcode,
        "controlFrame" => WebSocketFault::ControlFrame,
        "continuation" => WebSocketFault::Continuation,
        "text" => WebSocketFault::Text,
        "length" => WebSocketFault::Length,
        "tooLong" => WebSocketFault::TooLong,
        "closePayload" => WebSocketFault::ClosePayload,
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
