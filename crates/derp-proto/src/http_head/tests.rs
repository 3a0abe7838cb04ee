use proptest::prelude::*;

use super::*;

const LIMIT: usize = 16 << 10;

/// Lines, with `|` for their ends; a character is a byte.
fn head(lines: &str) -> Vec<u8> {
    format!("{}||", lines).replace('|', "\r\n").chars().map(|character| character as u8).collect()
}

fn plain(end: usize) -> DerpUpgrade {
    DerpUpgrade { fast_start: false, not_ideal: false, end }
}

#[test]
fn raw_derp() {
    for (lines, fast_start, not_ideal) in [
        ("GET /derp HTTP/1.1|Host: x|uPGRADE: DeRp", false, false),
        ("POST /derp HTTP/1.1|Host: x|Upgrade: DERP", false, false),
        ("BREW! /derp HTTP/1.1|Host: x|Upgrade: DERP", false, false),
        ("GET /derp HTTP/1.0|Upgrade: DERP", false, false),
        ("GET /derp?a=b HTTP/1.1|Host: x|Upgrade: DERP", false, false),
        ("GET /derp?http://x/ HTTP/1.1|Host: x|Upgrade: DERP", false, false),
        ("GET https://derp.test/derp HTTP/1.1|Host: x|Upgrade: DERP", false, false),
        ("GET http:///derp HTTP/1.1|Host: x|Upgrade: DERP", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: \t DERP \t", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade:DERP", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Upgrade: websocket", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: WebSocket", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: websocket|Sec-WebSocket-Protocol: chat", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: websocket|Sec-WebSocket-Protocol: DERP", false, false),
        (
            "GET /derp HTTP/1.1|Host: x|Upgrade: websocket|Sec-WebSocket-Protocol: chat|Sec-WebSocket-Protocol: derp",
            false,
            false,
        ),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|derp-fast-start: 1", true, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Derp-Fast-Start: 0", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Derp-Fast-Start: true", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Derp-Fast-Start: 0|Derp-Fast-Start: 1", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Ideal-Node: 1a", false, true),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Ideal-Node:", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Ideal-Node:  \t ", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Ideal-Node:|Ideal-Node: 1a", false, false),
        ("GET /derp HTTP/1.1|Host: x|X: \u{e9}|Upgrade: DERP", false, false),
        ("GET /derp HTTP/1.1|Host: [::1]:443|Upgrade: DERP", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Content-Length: 0009223372036854775807", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Content-Length: 5|content-length:5", false, false),
        ("GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Transfer-Encoding: Chunked|Content-Length: 5", false, false),
        ("GET /derp HTTP/1.0|Upgrade: DERP|Transfer-Encoding: gzip", false, false),
    ] {
        let bytes = head(lines);
        let expected = DerpUpgrade { fast_start, not_ideal, end: bytes.len() };
        assert_eq!(read_head(&bytes, LIMIT), Head::Derp(expected), "{lines}");
    }
}

#[test]
fn the_http_servers_business() {
    for lines in [
        "GET /derp HTTP/1.1",
        "GET /derp HTTP/1.1|Host: x",
        "GET /derp HTTP/1.1|Host: x|Host: x|Upgrade: DERP",
        "GET /derp HTTP/1.0|Host: x|host: y|Upgrade: DERP",
        "GET /derp HTTP/1.1|Host: x y|Upgrade: DERP",
        "GET /derp HTTP/1.1|Host: x/y|Upgrade: DERP",
        "GET /derp HTTP/1.0|Host: \u{e9}|Upgrade: DERP",
        "GET /derp HTTP/1.1|X: y|Upgrade: DERP",
        "GET /derp HTTP/1.1|Host: x|Upgrade: h2c",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP, websocket",
        "GET /derp HTTP/1.1|Host: x|Upgrade: h2c|Upgrade: DERP",
        "GET /derp HTTP/1.1|Host: x|Upgrade:|Upgrade: DERP",
        "GET /derp HTTP/1.1|Host: x|Upgrade: websocket|Sec-WebSocket-Protocol: derp",
        "GET /derp HTTP/1.1|Host: x|Upgrade: WebSocket|Sec-WebSocket-Protocol: chat, derpx",
        "GET /derp/ HTTP/1.1|Host: x|Upgrade: DERP",
        "GET /derpx HTTP/1.1|Host: x|Upgrade: DERP",
        "GET /derp/probe HTTP/1.1|Host: x|Upgrade: DERP",
        "GET /DERP HTTP/1.1|Host: x|Upgrade: DERP",
        "GET /%64erp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET //derp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET / HTTP/1.1|Host: x|Upgrade: DERP",
        "GET http://derp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET http://derp?/derp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET /http://x/derp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET 1a://x/derp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET a_b://x/derp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET ://x/derp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET derp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET /derp#x HTTP/1.1|Host: x|Upgrade: DERP",
        "GET http://h#x/derp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET /derp?\u{e9} HTTP/1.1|Host: x|Upgrade: DERP",
        "PRI * HTTP/2.0",
        "GET /derp HTTP/1.2|Upgrade: DERP",
        "GET /derp HTTP/1.1|Host: x|X: a|  b|Upgrade: DERP",
        "GET /derp HTTP/1.1|Host: x|Upgrade : DERP",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|: value",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|na(me: value",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|X: a\0b",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|X: a\u{7f}b",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|X: a\rb",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Content-Length:",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Content-Length: -1",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Content-Length: +1",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Content-Length: 0x1",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Content-Length: 5, 5",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Content-Length: 9223372036854775808",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Content-Length: 5|Content-Length: 6",
        "GET /derp HTTP/1.0|Upgrade: DERP|Content-Length: x",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Transfer-Encoding:",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Transfer-Encoding: gzip",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Transfer-Encoding: gzip, chunked",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Transfer-Encoding: chunked|Transfer-Encoding: chunked",
    ] {
        assert_eq!(read_head(&head(lines), LIMIT), Head::Http, "{lines}");
    }
}

#[test]
fn no_head_at_all() {
    for lines in [
        "GET /derp|Upgrade: DERP",
        "GET  /derp HTTP/1.1|Host: x|Upgrade: DERP",
        "G(T /derp HTTP/1.1|Host: x|Upgrade: DERP",
        " /derp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET /derp HTTP/1.1 |Upgrade: DERP",
        " GET /derp HTTP/1.1|Host: x|Upgrade: DERP",
        "|GET /derp HTTP/1.1|Host: x|Upgrade: DERP",
        "GET /derp HTTP/1.1|Host: x|Upgrade: DERP|nonsense",
        "GET /derp?\u{1} HTTP/1.1|Host: x|Upgrade: DERP",
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0",
        "",
        "GET /derp HTTP/1.1| Host: x|Upgrade: DERP",
    ] {
        assert_eq!(read_head(&head(lines), LIMIT), Head::Bad, "{lines}");
    }
}

#[test]
fn a_head_may_be_as_long_as_the_limit() {
    let whole = head("GET /derp HTTP/1.1|Host: x|Upgrade: DERP");
    assert_eq!(read_head(&whole, whole.len()), Head::Derp(plain(whole.len())));
    assert_eq!(read_head(&whole, whole.len() - 1), Head::Http);
    assert_eq!(read_head(&whole[..30], 30), Head::Http);
    assert_eq!(read_head(&whole[..29], 30), Head::More);
    let bare = b"GET /derp HTTP/1.1\nHost: x\nUpgrade: DERP\n\n";
    assert_eq!(read_head(bare, bare.len()), Head::Derp(plain(bare.len())));
    assert_eq!(read_head(bare, bare.len() - 1), Head::Http);
}

#[test]
fn the_http_server_gets_a_head_without_an_end_as_it_came() {
    let received = b"GET / HTTP/1.1\nHost: x\nX: y";
    let mut reader = HeadReader::default();
    assert_eq!(reader.read(received, received.len()), Head::Http);
    assert_eq!(reader.for_http(received.to_vec(), Head::Http), received);
}

/// A request that is nearly one for raw DERP.
fn request() -> impl Strategy<Value = Vec<u8>> {
    let line =
        prop::sample::select(vec!["GET /derp HTTP/1.1", "GET / HTTP/1.1", "/derp", "GET http://a/derp?b HTTP/1.0"]);
    let header = prop::sample::select(vec![
        "Upgrade: DERP",
        "Upgrade: websocket",
        "Sec-WebSocket-Protocol: derp",
        "Derp-Fast-Start: 1",
        "Ideal-Node: x",
        "Host: a",
        "Connection:\tUpgrade ",
        "Content-Length: 1",
        "Content-Length: x",
        "Transfer-Encoding: chunked",
        "X:\n",
        ":",
        "",
    ]);
    (line, prop::collection::vec(header, 0..5))
        .prop_map(|(line, headers)| head(&[&[line][..], &headers].concat().join("|")))
}

proptest! {
    #[test]
    fn nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), limit in 0..300_usize) {
        let _ = read_head(&bytes, limit);
    }

    #[test]
    fn a_changed_request_does_not_panic(mut bytes in request(), at: prop::sample::Index, byte: u8) {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = read_head(&bytes, LIMIT);
    }

    #[test]
    fn what_a_request_is_is_said_once(
        bytes in request(), behind in prop::collection::vec(any::<u8>(), 0..20), cuts: [prop::sample::Index; 3],
    ) {
        let all = [&bytes[..], &behind].concat();
        let whole = read_head(&all, LIMIT);
        prop_assert_ne!(whole, Head::More);
        let decided = (0..=all.len()).find(|&length| read_head(&all[..length], LIMIT) != Head::More).unwrap();
        for length in decided..all.len() {
            prop_assert_eq!(read_head(&all[..length], LIMIT), whole);
        }
        if let Head::Derp(DerpUpgrade { end, .. }) = whole {
            prop_assert_eq!(end, decided);
        }
        // However it is cut.
        let mut cuts = cuts.map(|cut| cut.index(all.len() + 1));
        cuts.sort_unstable();
        let mut reader = HeadReader::default();
        for cut in cuts.into_iter().chain([all.len()]) {
            let head = reader.read(&all[..cut], LIMIT);
            prop_assert_eq!(head, read_head(&all[..cut], LIMIT));
            if head != Head::More {
                break;
            }
        }
    }
}
