//! What has to hold for any bytes at all. The fuzz targets look for bytes that break it; `derp-proto`'s tests, which
//! include this file, replay the ones that were worth keeping.
#![deny(missing_docs)]

use derp_proto::client_info::{ClientInfo, InfoError, ServerInfo};
use derp_proto::client_login::{ClientLogin, Credentials, LoggedIn, LoginFault};
use derp_proto::decode::{Decoder, FrameHeader, Step};
use derp_proto::frame_rules::{Body, ProtocolError, check, check_first};
use derp_proto::http_head::{DerpUpgrade, Head, read_head};
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::login::{
    LoginError, open_client_info, open_server_info, read_greeting, seal_client_info, seal_server_info,
};
use derp_proto::server_frame::ServerFrame;
use derp_proto::stun::{BindingRequest, MAX_RESPONSE_LENGTH};
use derp_proto::websocket::{binary_header, close, close_payload, pong};
use derp_proto::wire::{HEADER_LENGTH, KEY_LENGTH, NONCE_LENGTH};
use serde_json::Value;

pub mod streams;

use streams::Out;

/// Fails by a panic.
pub type Target = fn(&[u8]);

/// Each target, under the name of its corpus.
pub const TARGETS: [(&str, Target); 7] = [
    ("request_head", request_head),
    ("frames", frames),
    ("login_json", login_json),
    ("login_box", login_box),
    ("websocket", websocket),
    ("stun", stun),
    ("client_login", client_login),
];

/// The first bytes of a connection.
pub fn request_head(bytes: &[u8]) {
    for limit in [16 << 10, bytes.len(), bytes.len() / 2] {
        let head = read_head(bytes, limit);
        match head {
            Head::Derp(DerpUpgrade { end, .. }) => {
                assert!(end <= limit && bytes[..end].ends_with(b"\n"));
                assert_eq!(read_head(&bytes[..end], limit), head, "what follows does not matter");
                assert_eq!(read_head(&bytes[..end - 1], limit), Head::More);
            }
            Head::Http | Head::Bad => assert_eq!(read_head(&[bytes, b"\r\n\r\n"].concat(), limit), head),
            Head::More => {
                assert!(bytes.len() < limit);
                if let Some(fewer) = bytes.len().checked_sub(1) {
                    assert_eq!(read_head(&bytes[..fewer], limit), Head::More);
                }
            }
        }
    }
}

/// A byte of choices, one of a chunk's size, and what a client sends.
pub fn frames(bytes: &[u8]) {
    let Some((&[choices, size], stream)) = bytes.split_first_chunk() else {
        return;
    };
    let from = Client { is_new: choices & 1 != 0, mesh: choices & 2 != 0 };
    let whole = from.read([stream]);
    assert_eq!(from.read(stream.chunks(usize::from(size) + 1)), whole);
    let half = stream.len() / 2;
    assert_eq!(from.read([&stream[..half], &stream[half..]]), whole);
    if let Some(error) = whole.error {
        assert!(!error.to_string().is_empty());
    }
}

#[derive(Clone, Copy)]
struct Client {
    is_new: bool,
    mesh: bool,
}

/// What comes out of a client's stream.
#[derive(PartialEq, Debug, Default)]
struct Read {
    headers: Vec<FrameHeader>,
    frames: Vec<Vec<u8>>,
    kept: Vec<u8>,
    error: Option<ProtocolError>,
}

impl Client {
    /// A reader as the data plane has one: it keeps what is left, and puts it in front of what comes next.
    fn read<'a>(self, chunks: impl IntoIterator<Item = &'a [u8]>) -> Read {
        let mut decoder = Decoder::default();
        let mut read = Read::default();
        for chunk in chunks {
            let mut bytes = std::mem::take(&mut read.kept);
            bytes.extend(chunk);
            let mut at = 0;
            loop {
                match decoder.next(&bytes[at..]) {
                    Step::Header(header) => {
                        let is_first = read.headers.is_empty();
                        read.headers.push(header);
                        let body = if is_first && self.is_new {
                            check_first(header, 1000).map(|()| Body::Wanted)
                        } else {
                            check(header, self.mesh)
                        };
                        match body {
                            Ok(Body::Wanted) => {}
                            Ok(Body::Skipped) => decoder.skip(),
                            Err(error) => return Read { error: Some(error), ..read },
                        }
                    }
                    Step::Frame(length) => {
                        let frame = &bytes[at..at + length];
                        assert_eq!(FrameHeader::parse(frame), read.headers.last().copied());
                        read.frames.push(frame.to_vec());
                        at += length;
                    }
                    Step::Skipped(length) => {
                        assert!(length > 0);
                        at += length;
                    }
                    Step::More => break,
                }
            }
            read.kept = bytes.split_off(at);
            assert!(read.kept.is_empty() || (read.kept.len() as u64) < decoder.needed());
        }
        read
    }
}

/// The JSON of a ClientInfo or ServerInfo. Where serde reads it as Go does, serde has a say.
pub fn login_json(json: &[u8]) {
    let client = ClientInfo::parse(json);
    let server = ServerInfo::parse(json);
    if let Ok(info) = &client {
        assert_eq!(ClientInfo::parse(info.to_json().as_bytes()).as_ref(), Ok(info));
    }
    let is_bad = |error: InfoError| matches!(error, InfoError::NotJson | InfoError::TooDeep);
    for error in [client.as_ref().err(), server.as_ref().err()].into_iter().flatten() {
        assert!(!error.to_string().is_empty());
    }
    if serde_json::from_slice::<Value>(json).is_ok() {
        assert!(!client.is_err_and(is_bad) && !server.is_err_and(is_bad), "this is JSON");
    } else if client.is_ok() || server.is_ok() {
        // Serde wants UTF-8, whole surrogate pairs, numbers that fit, and little nesting.
        let nesting = json.iter().filter(|byte| b"[{".contains(byte)).count();
        let escapes = json.windows(2).any(|pair| pair == b"\\u");
        let exponents = json.iter().any(|byte| b"eE".contains(byte));
        let beyond_serde = str::from_utf8(json).is_err() || escapes || exponents || nesting > 100 || json.len() > 300;
        assert!(beyond_serde, "this is no JSON");
    }
}

/// The body of a ClientInfo, and of whatever else a peer sends at a login.
pub fn login_box(bytes: &[u8]) {
    let (client, server) = (SecretKey::from_bytes([1; KEY_LENGTH]), SecretKey::from_bytes([2; KEY_LENGTH]));
    let shared = client.agree(&server.public_key()).expect("neither key is of low order");

    // As it comes. A box cannot be guessed, but the corpus may have one.
    if let Err(error) = open_client_info(&mut bytes.to_vec(), &server) {
        assert!(!error.to_string().is_empty());
    }
    if let Err(error) = open_server_info(&mut bytes.to_vec(), &shared) {
        assert!(!matches!(error, LoginError::ZeroKey | LoginError::LowOrderKey | LoginError::NoGreeting));
    }
    if let Ok(key) = read_greeting(bytes) {
        assert!(bytes.windows(KEY_LENGTH).any(|window| window == key.as_bytes()));
    }

    // In a box, sealed by somebody who has the keys.
    let sealed = seal_client_info(&client.public_key(), &shared, bytes, &[3; NONCE_LENGTH]);
    let mut body = sealed[HEADER_LENGTH..].to_vec();
    match open_client_info(&mut body, &server) {
        Ok(opened) => {
            assert_eq!(opened.key, client.public_key());
            assert_eq!(Ok(&opened.info), ClientInfo::parse(bytes).as_ref());
            let answer = seal_server_info(&opened.shared, &[4; NONCE_LENGTH]);
            assert!(open_server_info(&mut answer[HEADER_LENGTH..].to_vec(), &shared).is_ok());
        }
        Err(error) => assert_eq!(Some(error), ClientInfo::parse(bytes).err().map(LoginError::Info)),
    }

    // In a box that was damaged on its way.
    let mut body = sealed[HEADER_LENGTH..].to_vec();
    let at = KEY_LENGTH + bytes.first().map_or(0, |&byte| usize::from(byte)) % (body.len() - KEY_LENGTH);
    body[at] ^= 1;
    assert_eq!(open_client_info(&mut body, &server).err(), Some(LoginError::BoxDoesNotOpen));
}

/// A byte of choices, one of a chunk's size, and what a server says to a client that logs in, and behind that.
pub fn client_login(bytes: &[u8]) {
    let Some((&[choices, size], stream)) = bytes.split_first_chunk() else {
        return;
    };
    let knows_key = choices & 1 != 0;
    let whole = logged_in(knows_key, [stream]);
    let mut cut = logged_in(knows_key, stream.chunks(usize::from(size) + 1));
    if let (Some(LoginFault::Answer(line)), Some(LoginFault::Answer(beginning))) = (&whole.fault, &mut cut.fault) {
        // What is no HTTP is known of its first bytes.
        assert!(line.starts_with(beginning.trim_end_matches('\u{fffd}')));
        beginning.clone_from(line);
    }
    assert_eq!(cut, whole);
    if let Some(fault) = &whole.fault {
        assert!(whole.server.is_none() && !fault.to_string().is_empty());
        assert!(!fault.to_string().contains(['\r', '\n']), "it is a line of a log");
    }
    // A side that has opened our box has the key that it was sealed for.
    assert!(whole.server.is_none_or(|key| !knows_key || key == server().public_key()));
    assert!(whole.sent.len() < 1000);
}

/// What has come of a login.
#[derive(PartialEq, Debug, Default)]
struct Login {
    server: Option<NodeKey>,
    /// What came behind it, and what a client makes of it.
    rest: Vec<u8>,
    frames: usize,
    sent: Vec<u8>,
    fault: Option<LoginFault>,
}

fn server() -> SecretKey {
    SecretKey::from_bytes([2; KEY_LENGTH])
}

fn logged_in<'a>(knows_key: bool, chunks: impl IntoIterator<Item = &'a [u8]>) -> Login {
    let client = SecretKey::from_bytes([1; KEY_LENGTH]);
    let credentials = Credentials { info: ClientInfo::regular(), nonce: [3; NONCE_LENGTH] };
    let mut login = Login::default();
    let known = knows_key.then(|| server().public_key());
    let begun = ClientLogin::begin(credentials, &client, "relay.test", known, &mut login.sent);
    let mut under_way = begun.expect("nothing was said yet");
    for chunk in chunks {
        if login.server.is_some() {
            login.rest.extend_from_slice(chunk);
            continue;
        }
        match under_way.read(chunk, &client, &mut login.sent) {
            Ok(None) => {}
            Ok(Some(LoggedIn { server, rest })) => (login.server, login.rest) = (Some(server), rest),
            Err(fault) => {
                login.fault = Some(fault);
                break;
            }
        }
    }
    let (mut decoder, mut at) = (Decoder::default(), 0);
    loop {
        match decoder.next(&login.rest[at..]) {
            Step::Header(_) => {}
            Step::Frame(length) => {
                login.frames += usize::from(ServerFrame::read(&login.rest[at..at + length]).is_some());
                at += length;
            }
            Step::Skipped(_) | Step::More => break,
        }
    }
    login
}

/// Three bytes of choices, and what a WebSocket client sends.
pub fn websocket(bytes: &[u8]) {
    let Some((&[limit, unit, size], stream)) = bytes.split_first_chunk() else {
        return;
    };
    let limit = u32::from(limit) << (unit % 25);
    let expected = streams::reference(stream, limit);
    assert_eq!(streams::read([stream], limit), expected);
    assert_eq!(streams::read(stream.chunks(usize::from(size) + 1), limit), expected);
    let stream_alone = streams::heard(expected.clone());
    assert_eq!(streams::slid([stream], limit), stream_alone);
    assert_eq!(streams::slid(stream.chunks(usize::from(size) + 1), limit), stream_alone);
    let (outs, end) = expected;
    for out in outs {
        let (answer, payload) = match out {
            Out::Data(payload) => (binary_header(payload.len()).to_vec(), payload),
            Out::Ping(payload) => (pong(&payload), payload),
            Out::Close(payload) => (close(&payload), payload),
        };
        assert_eq!(usize::from(answer[1]), payload.len().min(126), "none here has a length of eight bytes");
        assert!(answer[0] == 0x82 || answer.ends_with(&payload));
    }
    if let Err(fault) = end {
        assert!(!fault.to_string().is_empty());
        assert_eq!(close(&close_payload(fault.close_code())).len(), 4);
    }
}

/// A datagram on the STUN port.
pub fn stun(datagram: &[u8]) {
    let Some(request) = BindingRequest::parse(datagram) else { return };
    assert!(datagram.len() >= 40 && datagram.len().is_multiple_of(4));
    assert!(datagram.windows(8).any(|window| window == b"tailnode"));
    for (from, expected) in [("192.0.2.1:1", 32), ("[::ffff:192.0.2.1]:1", 32), ("[2001:db8::1]:1", 44)] {
        let (answer, length) = request.answer(from.parse().expect("an address"));
        assert!(length == expected && answer[4..20] == datagram[4..20] && length <= MAX_RESPONSE_LENGTH);
        assert!(answer[length..].iter().all(|byte| *byte == 0));
        assert_eq!(BindingRequest::parse(&answer[..length]), None, "an answer gets none");
    }
    for length in 0..datagram.len() {
        assert!(length % 4 == 0 || BindingRequest::parse(&datagram[..length]).is_none());
    }
}
