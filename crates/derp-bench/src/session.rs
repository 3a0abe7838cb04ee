//! A client without its socket: the login, and the frames that follow.

use std::fmt;
use std::net::SocketAddr;

use derp_proto::client_info::ClientInfo;
use derp_proto::decode::{Decoder, Step};
use derp_proto::key::{NodeKey, SecretKey, SharedKey};
use derp_proto::login;
use derp_proto::wire::{FrameType, HEADER_LENGTH, KEY_LENGTH, NONCE_LENGTH};

/// Whatever a client has to know of itself to log in to one relay. Costs two scalar multiplications: made beforehand.
pub(crate) struct Identity {
    pub(crate) key: NodeKey,
    server: NodeKey,
    shared: SharedKey,
    client_info: Vec<u8>,
}

impl Identity {
    /// A new client of the relay with the key `server`.
    pub(crate) fn random(server: NodeKey) -> Result<Self, Fault> {
        let mut secret = [0; KEY_LENGTH];
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut secret).and_then(|()| getrandom::fill(&mut nonce)).map_err(|_| Fault::NoRandomness)?;
        let secret = SecretKey::from_bytes(secret);
        let key = secret.public_key();
        let shared = secret.agree(&server).map_err(|_| Fault::Greeting)?;
        // Nothing here answers pings.
        let json = ClientInfo { can_ack_pings: false, ..ClientInfo::regular() }.to_json();
        let client_info = login::seal_client_info(&key, &shared, json.as_bytes(), &nonce);
        Ok(Self { key, server, shared, client_info })
    }
}

/// What a relay does that ends a connection, or that no relay should do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Fault {
    NoRandomness,
    /// The upgrade was not answered with 101.
    Refused,
    /// No greeting, or one with another key than before.
    Greeting,
    /// No ServerInfo, or one that does not open.
    ServerInfo,
    /// A frame longer than a client takes.
    FrameTooLong,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoRandomness => "the system has no randomness",
            Self::Refused => "the relay refused the upgrade",
            Self::Greeting => "the relay's greeting is wrong",
            Self::ServerInfo => "the relay's ServerInfo is wrong",
            Self::FrameTooLong => "the relay sent a frame that no client takes",
        })
    }
}

/// What the bytes of one read came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Handled {
    /// The rest is to be handed in again, with what comes next behind it.
    pub(crate) used: usize,
    /// The login has just been completed.
    pub(crate) opened: bool,
}

/// Go's client takes no longer frame.
const LONGEST_FRAME: u32 = 1 << 20;
const LONGEST_HEAD: usize = 16 << 10;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Head,
    Greeting,
    ServerInfo,
    Open,
}

/// How far one connection has got.
pub(crate) struct Session {
    phase: Phase,
    fast_start: bool,
    decoder: Decoder,
}

impl Session {
    /// Puts what a client says first into `out`.
    pub(crate) fn begin(identity: &Identity, target: SocketAddr, fast_start: bool, out: &mut Vec<u8>) -> Self {
        out.extend_from_slice(&request(target, fast_start));
        if fast_start {
            out.extend_from_slice(&identity.client_info);
        }
        let phase = if fast_start { Phase::Greeting } else { Phase::Head };
        Self { phase, fast_start, decoder: Decoder::default() }
    }

    /// Takes bytes from the relay; what is to be answered goes into `out`, frames after the login to `sink`.
    pub(crate) fn handle(
        &mut self,
        bytes: &mut [u8],
        identity: &Identity,
        out: &mut Vec<u8>,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<Handled, Fault> {
        let mut used = 0;
        let mut opened = false;
        if self.phase == Phase::Head {
            match head_end(bytes)? {
                None => return Ok(Handled { used, opened }),
                Some(end) => used = end,
            }
            self.phase = Phase::Greeting;
        }
        loop {
            match self.decoder.next(&bytes[used..]) {
                Step::Header(header) if header.length > LONGEST_FRAME => return Err(Fault::FrameTooLong),
                Step::Header(_) => {}
                Step::Frame(length) => {
                    let frame = &mut bytes[used..used + length];
                    used += length;
                    match self.phase {
                        Phase::Open => sink(frame),
                        Phase::Head | Phase::Greeting => self.greeted(frame, identity, out)?,
                        Phase::ServerInfo => {
                            self.informed(frame, identity)?;
                            opened = true;
                        }
                    }
                }
                Step::Skipped(length) => used += length,
                Step::More => return Ok(Handled { used, opened }),
            }
        }
    }

    fn greeted(&mut self, frame: &[u8], identity: &Identity, out: &mut Vec<u8>) -> Result<(), Fault> {
        let key = login::read_greeting(&frame[HEADER_LENGTH..]).map_err(|_| Fault::Greeting)?;
        if frame[0] != FrameType::ServerKey as u8 || key != identity.server {
            return Err(Fault::Greeting);
        }
        if !self.fast_start {
            out.extend_from_slice(&identity.client_info);
        }
        self.phase = Phase::ServerInfo;
        Ok(())
    }

    fn informed(&mut self, frame: &mut [u8], identity: &Identity) -> Result<(), Fault> {
        if frame[0] != FrameType::ServerInfo as u8 {
            return Err(Fault::ServerInfo);
        }
        login::open_server_info(&mut frame[HEADER_LENGTH..], &identity.shared).map_err(|_| Fault::ServerInfo)?;
        self.phase = Phase::Open;
        Ok(())
    }
}

/// What Go's client asks with.
pub(crate) fn request(target: SocketAddr, fast_start: bool) -> Vec<u8> {
    let fast_start = if fast_start { "Derp-Fast-Start: 1\r\n" } else { "" };
    format!(
        "GET /derp HTTP/1.1\r\nHost: {target}\r\nUser-Agent: Go-http-client/1.1\r\nConnection: Upgrade\r\n\
         {fast_start}Upgrade: DERP\r\n\r\n"
    )
    .into_bytes()
}

/// Where the answer to the request ends, if it is here.
pub(crate) fn head_end(bytes: &[u8]) -> Result<Option<usize>, Fault> {
    const STATUS: &[u8] = b"HTTP/1.1 101 ";
    let common = bytes.len().min(STATUS.len());
    if bytes[..common] != STATUS[..common] {
        return Err(Fault::Refused);
    }
    match bytes.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(at) => Ok(Some(at + 4)),
        None if bytes.len() > LONGEST_HEAD => Err(Fault::Refused),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use derp_proto::frame;

    use super::*;

    const TARGET: &str = "127.0.0.1:3340";

    fn server() -> SecretKey {
        SecretKey::from_bytes([7; KEY_LENGTH])
    }

    /// Everything that a relay says to `identity` until it is logged in, and a keep-alive.
    fn answer(identity: &Identity, head: bool) -> Vec<u8> {
        let mut bytes = if head { b"HTTP/1.1 101 Switching Protocols\r\n\r\n".to_vec() } else { Vec::new() };
        bytes.extend(frame::greeting(&server().public_key()));
        let shared = server().agree(&identity.key).unwrap();
        bytes.extend(login::seal_server_info(&shared, &[9; NONCE_LENGTH]));
        bytes.extend(frame::KEEP_ALIVE);
        bytes
    }

    struct Run {
        out: Vec<u8>,
        frames: Vec<Vec<u8>>,
        opened: usize,
    }

    fn run(session: &mut Session, identity: &Identity, bytes: &[u8], chunk: usize) -> Result<Run, Fault> {
        let mut run = Run { out: Vec::new(), frames: Vec::new(), opened: 0 };
        let mut kept = Vec::new();
        for chunk in bytes.chunks(chunk) {
            kept.extend_from_slice(chunk);
            let sink = |frame: &[u8]| run.frames.push(frame.to_vec());
            let handled = session.handle(&mut kept, identity, &mut run.out, sink)?;
            run.opened += usize::from(handled.opened);
            kept.drain(..handled.used);
        }
        Ok(run)
    }

    #[test]
    fn logs_in_however_the_bytes_are_split() {
        let identity = Identity::random(server().public_key()).unwrap();
        for fast_start in [false, true] {
            let bytes = answer(&identity, !fast_start);
            for chunk in 1..=bytes.len() {
                let mut out = Vec::new();
                let mut session = Session::begin(&identity, TARGET.parse().unwrap(), fast_start, &mut out);
                let run = run(&mut session, &identity, &bytes, chunk).unwrap();
                assert_eq!((run.opened, run.frames), (1, vec![frame::KEEP_ALIVE.to_vec()]));
                out.extend(run.out);
                let info = &mut out[request(TARGET.parse().unwrap(), fast_start).len()..];
                let opened = login::open_client_info(&mut info[HEADER_LENGTH..], &server()).unwrap();
                assert_eq!(opened.key, identity.key);
            }
        }
    }

    #[test]
    fn a_relay_that_is_none_is_a_fault() {
        let identity = Identity::random(server().public_key()).unwrap();
        let fault = |bytes: &[u8]| {
            let mut session = Session::begin(&identity, TARGET.parse().unwrap(), false, &mut Vec::new());
            run(&mut session, &identity, bytes, 7).err()
        };
        assert_eq!(fault(b"HTTP/1.1 426 Upgrade Required\r\n\r\n"), Some(Fault::Refused));
        let head = b"HTTP/1.1 101 \r\n\r\n";
        let other = frame::greeting(&SecretKey::from_bytes([8; KEY_LENGTH]).public_key());
        assert_eq!(fault(&[&head[..], &other].concat()), Some(Fault::Greeting));
        assert_eq!(fault(&[&head[..], &[4, 0xff, 0xff, 0xff, 0xff]].concat()), Some(Fault::FrameTooLong));
        let mut damaged = answer(&identity, true);
        let end = damaged.len() - frame::KEEP_ALIVE.len();
        damaged[end - 1] ^= 1;
        assert_eq!(fault(&damaged), Some(Fault::ServerInfo));
    }
}
