//! The client's side of a connection, from the HTTP request to ServerInfo: what the relay does where it dials another one.
//! The server is not to be trusted.
use std::fmt;

use crate::client_info::ClientInfo;
use crate::decode::{Decoder, FrameHeader, Step};
use crate::http_head::{DERP_PATH, FAST_START_HEADER};
use crate::key::{NodeKey, Nonce, SecretKey, SharedKey};
use crate::login;
use crate::wire::{FrameType, HEADER_LENGTH, MAX_GREETING_LENGTH};

/// The answer to the upgrade may be so long, its blank line included.
pub const MAX_HEAD: usize = 16 << 10;
/// ServerInfo may: Go's client takes more, and no server sends a hundredth of it.
const MAX_SERVER_INFO: u32 = 64 << 10;

/// What a client says of itself, and in which box.
pub struct Credentials {
    /// Its mesh key among it, if it has one.
    pub info: ClientInfo,
    /// Has to be fresh: one login, one nonce.
    pub nonce: Nonce,
}

/// How far one login has got.
pub struct ClientLogin {
    credentials: Credentials,
    stage: Stage,
    decoder: Decoder,
    /// What has not been used up: never more than a head, or a frame of the login.
    kept: Vec<u8>,
}

enum Stage {
    /// Waits for the answer to the upgrade; so much of it has been searched for its end.
    Head {
        searched: usize,
    },
    /// For the greeting. With fast start the box is sealed already, for this server.
    Greeting {
        known: Option<(NodeKey, SharedKey)>,
    },
    ServerInfo {
        server: NodeKey,
        shared: SharedKey,
    },
    Over,
}

/// A login that has succeeded.
#[derive(Debug)]
pub struct LoggedIn {
    /// Who the server is: it has opened our box, and sealed its own.
    pub server: NodeKey,
    /// What came behind ServerInfo.
    pub rest: Vec<u8>,
}

/// Why a login has failed.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LoginFault {
    /// The upgrade was answered otherwise than with 101. The first line of it, or the beginning of that.
    Answer(String),
    /// The answer to the upgrade does not end.
    HeadTooLong,
    /// The upgrade was answered, and then came something else than DERP.
    NotDerp,
    /// The greeting has another key than the certificate.
    OtherKey,
    /// The greeting has so many bytes.
    GreetingLength(u32),
    /// What follows the greeting is a frame of this type.
    SecondFrame(u8),
    /// ServerInfo has so many bytes.
    ServerInfoLength(u32),
    /// ServerInfo is not for us, or none of this protocol.
    ServerInfo,
}

impl ClientLogin {
    /// Puts what is to be sent first into `out`. `authority` is for the Host header. Who knows the server's key already,
    /// from its certificate, does not wait for answers.
    ///
    /// # Errors
    /// If nothing can be sealed for `known`.
    pub fn begin(
        credentials: Credentials,
        secret: &SecretKey,
        authority: &str,
        known: Option<NodeKey>,
        out: &mut Vec<u8>,
    ) -> Result<Self, LoginFault> {
        let fast_start = if known.is_some() { format!("{FAST_START_HEADER}: 1\r\n") } else { String::new() };
        let request = format!(
            "GET {DERP_PATH} HTTP/1.1\r\nHost: {authority}\r\nUser-Agent: derpkit\r\nConnection: Upgrade\r\n\
             {fast_start}Upgrade: DERP\r\n\r\n"
        );
        out.extend_from_slice(request.as_bytes());
        let mut login =
            Self { credentials, stage: Stage::Head { searched: 0 }, decoder: Decoder::default(), kept: Vec::new() };
        if let Some(server) = known {
            let shared = login.seal(secret, &server, out)?;
            login.stage = Stage::Greeting { known: Some((server, shared)) };
        }
        Ok(login)
    }

    /// Takes bytes of the server, and puts what is to be sent into `out`. `None` while more are to come.
    ///
    /// # Errors
    /// See [`LoginFault`]. The login is over then.
    pub fn read(
        &mut self,
        bytes: &[u8],
        secret: &SecretKey,
        out: &mut Vec<u8>,
    ) -> Result<Option<LoggedIn>, LoginFault> {
        self.kept.extend_from_slice(bytes);
        if let Stage::Head { searched } = self.stage
            && !self.head(searched)?
        {
            return Ok(None);
        }
        let mut kept = std::mem::take(&mut self.kept);
        let mut at = 0;
        loop {
            match self.decoder.next(&kept[at..]) {
                Step::Header(header) => self.header(header)?,
                Step::Frame(length) => {
                    let frame = &mut kept[at..at + length];
                    at += length;
                    if let Some(server) = self.frame(&mut frame[HEADER_LENGTH..], secret, out)? {
                        return Ok(Some(LoggedIn { server, rest: kept.split_off(at) }));
                    }
                }
                // Nothing is skipped here.
                Step::Skipped(_) | Step::More => break,
            }
        }
        self.kept = kept.split_off(at);
        Ok(None)
    }

    /// Who hangs up now has not liked our login: everything else has been answered.
    pub fn is_judged(&self) -> bool {
        matches!(self.stage, Stage::ServerInfo { .. })
    }

    /// Whether the whole head of the answer is here, and is to our liking. What is behind it is left.
    fn head(&mut self, searched: usize) -> Result<bool, LoginFault> {
        const END: &[u8; 4] = b"\r\n\r\n";
        let from = searched.saturating_sub(END.len() - 1);
        let Some(found) = self.kept[from..].windows(END.len()).position(|window| window == END) else {
            let begins = b"HTTP/1.".iter().zip(&self.kept).all(|(a, b)| a == b);
            self.stage = Stage::Head { searched: self.kept.len() };
            return match begins {
                false => Err(answer(&self.kept)),
                true if self.kept.len() >= MAX_HEAD => Err(LoginFault::HeadTooLong),
                true => Ok(false),
            };
        };
        let end = from + found + END.len();
        if end > MAX_HEAD {
            return Err(LoginFault::HeadTooLong);
        }
        if !is_switching(&self.kept[..end]) {
            return Err(answer(&self.kept));
        }
        self.kept.drain(..end);
        self.stage = Stage::Greeting { known: None };
        Ok(true)
    }

    fn header(&self, header: FrameHeader) -> Result<(), LoginFault> {
        let kind = FrameType::from_u8(header.kind);
        match &self.stage {
            Stage::Greeting { .. } if kind != Some(FrameType::ServerKey) => Err(LoginFault::NotDerp),
            Stage::Greeting { .. } if header.length as usize > MAX_GREETING_LENGTH => {
                Err(LoginFault::GreetingLength(header.length))
            }
            Stage::ServerInfo { .. } if kind != Some(FrameType::ServerInfo) => {
                Err(LoginFault::SecondFrame(header.kind))
            }
            Stage::ServerInfo { .. } if header.length > MAX_SERVER_INFO => {
                Err(LoginFault::ServerInfoLength(header.length))
            }
            Stage::Greeting { .. } | Stage::ServerInfo { .. } => Ok(()),
            Stage::Head { .. } | Stage::Over => Err(LoginFault::NotDerp),
        }
    }

    /// The server's key, once everything is done.
    fn frame(&mut self, body: &mut [u8], secret: &SecretKey, out: &mut Vec<u8>) -> Result<Option<NodeKey>, LoginFault> {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Greeting { known } => {
                let server = login::read_greeting(body).map_err(|_| LoginFault::NotDerp)?;
                let shared = match known {
                    None => self.seal(secret, &server, out)?,
                    Some((known, _)) if known != server => return Err(LoginFault::OtherKey),
                    Some((_, shared)) => shared,
                };
                self.stage = Stage::ServerInfo { server, shared };
                Ok(None)
            }
            Stage::ServerInfo { server, shared } => {
                login::open_server_info(body, &shared).map_err(|_| LoginFault::ServerInfo)?;
                Ok(Some(server))
            }
            Stage::Head { .. } | Stage::Over => Err(LoginFault::NotDerp),
        }
    }

    fn seal(&self, secret: &SecretKey, server: &NodeKey, out: &mut Vec<u8>) -> Result<SharedKey, LoginFault> {
        let Credentials { info, nonce } = &self.credentials;
        let shared = secret.agree(server).map_err(|_| LoginFault::NotDerp)?;
        out.extend(login::seal_client_info(&secret.public_key(), &shared, info.to_json().as_bytes(), nonce));
        Ok(shared)
    }
}

/// Whether an HTTP answer has status 101.
fn is_switching(head: &[u8]) -> bool {
    let status = head.strip_prefix(b"HTTP/1.0 ").or_else(|| head.strip_prefix(b"HTTP/1.1 "));
    let rest = status.and_then(|status| status.strip_prefix(b"101"));
    rest.is_some_and(|rest| matches!(rest[0], b' ' | b'\r'))
}

fn answer(head: &[u8]) -> LoginFault {
    let line = head.split(|&byte| byte == b'\r' || byte == b'\n').next().unwrap_or_default();
    LoginFault::Answer(String::from_utf8_lossy(&line[..line.len().min(64)]).into_owned())
}

impl fmt::Display for LoginFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answer(line) => write!(f, "it answers {line:?}"),
            Self::HeadTooLong => f.write_str("its answer to the upgrade does not end"),
            Self::NotDerp => f.write_str("it does not speak DERP"),
            Self::OtherKey => f.write_str("its greeting and its certificate have different keys"),
            Self::GreetingLength(length) => write!(f, "its greeting has {length} bytes"),
            Self::SecondFrame(kind) => write!(f, "its second frame has type {kind}"),
            Self::ServerInfoLength(length) => write!(f, "its ServerInfo has {length} bytes"),
            Self::ServerInfo => f.write_str("its ServerInfo does not open"),
        }
    }
}

impl std::error::Error for LoginFault {}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::frame;
    use crate::key::MeshKey;

    fn server() -> SecretKey {
        SecretKey::from_bytes([7; 32])
    }

    fn credentials() -> Credentials {
        let mesh_key = MeshKey::from_hex(&"ab".repeat(32));
        Credentials { info: ClientInfo { mesh_key, ..ClientInfo::regular() }, nonce: [3; crate::wire::NONCE_LENGTH] }
    }

    fn secret() -> SecretKey {
        SecretKey::from_bytes([9; 32])
    }

    const HEAD: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n\r\n";

    /// Everything that the server says, without a head, and a frame that comes behind it.
    fn answer() -> Vec<u8> {
        let mut bytes = frame::greeting(&server().public_key()).to_vec();
        let shared = server().agree(&secret().public_key()).unwrap();
        bytes.extend(login::seal_server_info(&shared, &[4; crate::wire::NONCE_LENGTH]));
        bytes.extend(frame::KEEP_ALIVE);
        bytes
    }

    fn run(
        known: Option<NodeKey>,
        bytes: &[u8],
        chunk: usize,
        out: &mut Vec<u8>,
    ) -> Result<Option<(NodeKey, Vec<u8>)>, LoginFault> {
        let mut login = ClientLogin::begin(credentials(), &secret(), "relay.test:1", known, out)?;
        let mut at = 0;
        for chunk in bytes.chunks(chunk) {
            at += chunk.len();
            assert!(login.kept.len() <= MAX_HEAD + MAX_SERVER_INFO as usize);
            if let Some(LoggedIn { server, mut rest }) = login.read(chunk, &secret(), out)? {
                rest.extend_from_slice(&bytes[at..]);
                return Ok(Some((server, rest)));
            }
        }
        Ok(None)
    }

    #[test]
    fn logs_in_however_the_bytes_are_cut() {
        let key = server().public_key();
        for known in [None, Some(key)] {
            let head: &[u8] = if known.is_some() { &[] } else { HEAD };
            let bytes = [head, &answer()].concat();
            for chunk in 1..=bytes.len() {
                let mut out = Vec::new();
                let (server_key, rest) = run(known, &bytes, chunk, &mut out).unwrap().unwrap();
                assert_eq!((server_key, &rest[..]), (key, &frame::KEEP_ALIVE[..]));
                let blank = out.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
                let request = String::from_utf8(out[..blank].to_vec()).unwrap();
                assert!(request.starts_with("GET /derp HTTP/1.1\r\nHost: relay.test:1\r\n"));
                assert_eq!(request.contains("Derp-Fast-Start: 1\r\n"), known.is_some());
                let opened = login::open_client_info(&mut out[blank + HEADER_LENGTH..], &server()).unwrap();
                assert_eq!(opened.key, secret().public_key());
                assert!(opened.info == credentials().info);
            }
        }
    }

    #[test]
    fn servers_that_are_none() {
        let fault = |bytes: &[u8]| run(None, bytes, 7, &mut Vec::new()).err();
        let answered = |line: &str| Some(LoginFault::Answer(line.into()));
        assert_eq!(fault(b"HTTP/1.1 426 Upgrade Required\r\n\r\n"), answered("HTTP/1.1 426 Upgrade Required"));
        assert_eq!(fault(b"HTTP/1.1 1010 \r\n\r\n"), answered("HTTP/1.1 1010 "));
        assert_eq!(fault(b"HTTP/2 101 \r\n\r\n"), answered("HTTP/2 "));
        assert_eq!(fault(b"SSH-2.0-"), answered("SSH-2.0"));
        let endless = [&HEAD[..HEAD.len() - 2], &b"a: b\r\n".repeat(4000)].concat();
        assert_eq!(fault(&endless), Some(LoginFault::HeadTooLong));
        assert_eq!(fault(&[&endless[..MAX_HEAD], b"\r\n\r\n"].concat()), Some(LoginFault::HeadTooLong));
        assert_eq!(fault(&[HEAD, b"\x01\0\0\x04\x01"].concat()), Some(LoginFault::GreetingLength(1025)));
        assert_eq!(fault(&[HEAD, &frame::KEEP_ALIVE].concat()), Some(LoginFault::NotDerp));
        // Of a wrong type, before its body is there.
        assert_eq!(fault(&[HEAD, b"\x02\0\0\0\x28"].concat()), Some(LoginFault::NotDerp));
        // A key that nothing can be sealed for.
        assert_eq!(fault(&[HEAD, &frame::greeting(&NodeKey::ZERO)].concat()), Some(LoginFault::NotDerp));
        let greeting = &frame::greeting(&server().public_key());
        assert_eq!(fault(&[HEAD, greeting, &frame::KEEP_ALIVE].concat()), Some(LoginFault::SecondFrame(6)));
        assert_eq!(
            fault(&[HEAD, greeting, b"\x03\xff\xff\xff\xff"].concat()),
            Some(LoginFault::ServerInfoLength(u32::MAX))
        );
        let mut damaged = [HEAD, &answer()].concat();
        let end = damaged.len() - frame::KEEP_ALIVE.len();
        damaged[end - 1] ^= 1;
        assert_eq!(fault(&damaged), Some(LoginFault::ServerInfo));
        let other = Some(SecretKey::from_bytes([8; 32]).public_key());
        assert_eq!(run(other, &answer(), 9, &mut Vec::new()).err(), Some(LoginFault::OtherKey));
    }

    #[test]
    fn heads_and_server_infos_may_be_as_long_as_they_may() {
        let said = |bytes: &[u8]| run(None, bytes, bytes.len(), &mut Vec::new());
        let head = |length: usize| {
            let filler = "x".repeat(length - HEAD.len() - b"a: \r\n".len());
            [&HEAD[..HEAD.len() - 2], b"a: ", filler.as_bytes(), b"\r\n\r\n"].concat()
        };
        let key = server().public_key();
        assert_eq!(head(MAX_HEAD).len(), MAX_HEAD);
        assert_eq!(said(&[&head(MAX_HEAD)[..], &answer()].concat()).unwrap().unwrap().0, key);
        assert_eq!(said(&[&head(MAX_HEAD + 1)[..], &answer()].concat()).err(), Some(LoginFault::HeadTooLong));

        let announced = |length: u32| [HEAD, &frame::greeting(&key)[..], &[3], &length.to_be_bytes()].concat();
        // More of it may come.
        assert_eq!(said(&[HEAD, b"\x01\0\0\x04\0"].concat()), Ok(None));
        assert_eq!(said(&announced(MAX_SERVER_INFO)), Ok(None));
        assert_eq!(
            said(&announced(MAX_SERVER_INFO + 1)).err(),
            Some(LoginFault::ServerInfoLength(MAX_SERVER_INFO + 1))
        );
    }

    #[test]
    fn the_server_judges_the_login_once_it_has_greeted() {
        let mut out = Vec::new();
        for known in [None, Some(server().public_key())] {
            let mut login = ClientLogin::begin(credentials(), &secret(), "relay.test:1", known, &mut out).unwrap();
            assert!(!login.is_judged());
            if known.is_none() {
                assert_eq!(login.read(HEAD, &secret(), &mut out).map(|done| done.is_some()), Ok(false));
                assert!(!login.is_judged());
            }
            let greeting = frame::greeting(&server().public_key());
            assert_eq!(login.read(&greeting, &secret(), &mut out).map(|done| done.is_some()), Ok(false));
            assert!(login.is_judged());
        }
    }

    #[test]
    fn faults_say_what_the_server_has_done() {
        for (fault, text) in [
            (LoginFault::Answer("HTTP/1.1 200 \"OK\"".into()), r#"it answers "HTTP/1.1 200 \"OK\"""#),
            (LoginFault::HeadTooLong, "its answer to the upgrade does not end"),
            (LoginFault::NotDerp, "it does not speak DERP"),
            (LoginFault::OtherKey, "its greeting and its certificate have different keys"),
            (LoginFault::GreetingLength(1025), "its greeting has 1025 bytes"),
            (LoginFault::SecondFrame(6), "its second frame has type 6"),
            (LoginFault::ServerInfoLength(65_537), "its ServerInfo has 65537 bytes"),
            (LoginFault::ServerInfo, "its ServerInfo does not open"),
        ] {
            assert_eq!(fault.to_string(), text);
        }
    }

    proptest! {
        #[test]
        fn whatever_a_server_says(bytes in prop::collection::vec(any::<u8>(), 0..300), at in 0..200_usize, chunk in 1..60_usize) {
            let mut all = [HEAD, &answer()].concat();
            let at = at.min(all.len());
            all.splice(at..(at + bytes.len()).min(all.len()), bytes);
            let _ = run(None, &all, chunk, &mut Vec::new());
            let _ = run(Some(server().public_key()), &all[at..], chunk, &mut Vec::new());
        }
    }
}
