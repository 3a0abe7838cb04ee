//! Request heads: `__test__/vectors/request-heads.json`, which the JavaScript plane is held to as well.
#![allow(clippy::unwrap_used, missing_docs)]

use derp_proto::http_head::{DerpUpgrade, Head, HeadReader, is_http_to_tls, read_head};
use serde_json::{Map, Value};

const LIMIT: usize = 16 << 10;

/// A character is a byte.
fn bytes(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(u32::from(character)).unwrap()).collect()
}

fn vectors(group: &str) -> Map<String, Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../__test__/vectors/request-heads.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let group = all[group].as_object().unwrap();
    assert!(!group.is_empty());
    group.clone()
}

fn expected(case: &Value, all: &[u8]) -> Head {
    let flag = |name: &str| case[name].as_bool().unwrap();
    match case["head"].as_str().unwrap() {
        "more" => Head::More,
        "bad" => Head::Bad,
        "http" => Head::Http,
        "derp" => {
            let (fast_start, not_ideal) = (flag("fastStart"), flag("notIdeal"));
            Head::Derp(DerpUpgrade { fast_start, not_ideal, end: all.len() })
        }
        other => panic!("{other}"),
    }
}

#[test]
fn heads_are_what_they_are_at_the_byte_that_decides() {
    for (name, case) in vectors("heads") {
        let all = bytes(case["text"].as_str().unwrap());
        let head = expected(&case, &all);
        let decided = case["decided"].as_u64().map_or(all.len() + 1, |decided| usize::try_from(decided).unwrap());
        let mut reader = HeadReader::default();
        for length in 0..=all.len() {
            let wanted = if length < decided { Head::More } else { head };
            assert_eq!(read_head(&all[..length], LIMIT), wanted, "{name}, {length} bytes");
            if length <= decided {
                assert_eq!(reader.read(&all[..length], LIMIT), wanted, "{name}, byte by byte, {length} bytes");
            }
        }
    }
}

#[test]
fn the_http_server_has_them_with_its_own_line_ends() {
    for (name, case) in vectors("heads") {
        let all = bytes(case["text"].as_str().unwrap());
        let body = b"\n\nbehind\n";
        let received = [&all, &body[..]].concat();
        let mut reader = HeadReader::default();
        match reader.read(&all, LIMIT) {
            Head::Bad => assert_eq!(reader.for_http(received, Head::Bad), [0], "{name}"),
            Head::Http => {
                let handed = case["handed"].as_str().map_or(all, bytes);
                assert_eq!(reader.for_http(received, Head::Http), [&handed, &body[..]].concat(), "{name}");
            }
            Head::More | Head::Derp(_) => {}
        }
    }
}

#[test]
fn http_to_a_tls_listener() {
    for (text, expected) in vectors("httpToTls") {
        assert_eq!(is_http_to_tls(&bytes(&text)), expected.as_bool(), "{text}");
    }
}
