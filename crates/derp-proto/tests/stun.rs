//! STUN: the facts of `__test__/vectors/protocol.json`, and that of a right request every bit matters.
use derp_proto::stun::BindingRequest;
use proptest::prelude::*;
use serde_json::{Map, Value};

#[test]
fn what_is_answered() {
    let vectors = vectors();
    for (name, case) in members(&vectors["accepts"]) {
        let accepted = case["accepted"].as_bool().unwrap();
        assert_eq!(BindingRequest::parse(&bytes(&case["hex"])).is_some(), accepted, "{name}");
    }
    for (name, case) in members(&vectors["requests"]) {
        assert!(BindingRequest::parse(&bytes(&case["hex"])).is_some(), "{name}");
    }
}

#[test]
fn answers_to_the_byte() {
    let vectors = vectors();
    let request = bytes(&vectors["requests"]["values"]["ones"]["hex"]);
    for (name, case) in members(&vectors["responses"]) {
        let request = with_id(&request, &bytes(&case["txId"]));
        let request = BindingRequest::parse(&request).unwrap();
        let (answer, length) = request.answer(case["address"].as_str().unwrap().parse().unwrap());
        assert_eq!(answer[..length], bytes(&case["hex"]), "{name}");
        assert_eq!(BindingRequest::parse(&answer[..length]), None, "an answer is no request");
    }
}

#[test]
fn of_a_request_every_bit_matters_but_those_of_its_length() {
    let request = bytes(&vectors()["requests"]["values"]["mixed"]["hex"]);
    for bit in 0..request.len() * 8 {
        let mut changed = request.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(BindingRequest::parse(&changed), None, "bit {bit}");
    }
    for length in 0..request.len() {
        assert_eq!(BindingRequest::parse(&request[..length]), None, "{length} bytes");
    }
    // The fingerprint is over the length, too.
    let mut other = request;
    other[2..4].copy_from_slice(b"\x99\x99");
    seal(&mut other);
    assert!(BindingRequest::parse(&other).is_some());
}

proptest! {
    #[test]
    fn attributes_that_nobody_knows_are_passed_over(
        before in prop::collection::vec(attribute(), 0..6),
        behind in prop::collection::vec(attribute(), 0..6),
        id: [u8; 12],
    ) {
        let software = [&b"\x80\x22\x00\x08"[..], b"tailnode"].concat();
        let header = [&b"\x00\x01\x00\x00\x21\x12\xa4\x42"[..], &id].concat();
        let mut request = [header, before.concat(), software, behind.concat(), b"\x80\x28\x00\x04....".to_vec()].concat();
        prop_assert_eq!(BindingRequest::parse(&request), None);
        seal(&mut request);
        prop_assert!(BindingRequest::parse(&request).is_some());
    }
}

/// Any but the two that matter, padded.
fn attribute() -> impl Strategy<Value = Vec<u8>> {
    (0..0x8000_u16, prop::collection::vec(any::<u8>(), 0..40)).prop_map(|(kind, value)| {
        let mut bytes = [&kind.to_be_bytes()[..], &(value.len() as u16).to_be_bytes(), &value].concat();
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    })
}

/// The same request with another id.
fn with_id(request: &[u8], id: &[u8]) -> Vec<u8> {
    let mut request = request.to_vec();
    request[8..20].copy_from_slice(id);
    seal(&mut request);
    request
}

/// Makes the fingerprint right, which is the last attribute.
fn seal(request: &mut [u8]) {
    let (before, fingerprint) = request.split_at_mut(request.len() - 8);
    // Bit by bit, as the definition has it.
    let sum = before.iter().fold(!0_u32, |sum, byte| {
        (0..8).fold(sum ^ u32::from(*byte), |sum, _| if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 })
    });
    fingerprint[4..].copy_from_slice(&(!sum ^ 0x5354_554e).to_be_bytes());
}

fn vectors() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../__test__/vectors/protocol.json");
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    vectors["stun"].clone()
}

fn members(group: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let values: &Map<_, _> = group["values"].as_object().unwrap();
    assert!(!values.is_empty());
    values.iter().map(|(name, value)| (name.as_str(), value))
}

fn bytes(value: &Value) -> Vec<u8> {
    let digits = value.as_str().unwrap().as_bytes();
    digits.chunks(2).map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
