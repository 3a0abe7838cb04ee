//! A relay that does per packet what every relay on sockets has to do, and nothing else: one receive, one send for each
//! destination of it, and, if asked, as many bytes opened and sealed as TLS would. Two of them forward to each other, and each
//! answers STUN.
//!
//! It logs clients in, because the generator insists. After that no queue, no lock, no limit, no timer: what a full socket
//! does not take of a frame is kept, and whatever comes for it meanwhile is dropped.

mod answers;
mod batch;
mod sealing;

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::ops::Range;
use std::thread::sleep;
use std::time::{Duration, Instant};

use derp_proto::decode::{Decoder, Step};
use derp_proto::frame::{self, FORWARDED_PACKET_AT, KEY_AT, PACKET_AT};
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::login;
use derp_proto::wire::{FrameType, HEADER_LENGTH, KEY_LENGTH, NONCE_LENGTH};
use mio::net::{TcpListener, TcpStream, UdpSocket};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

use self::batch::Batch;
use self::sealing::Sealing;

const LISTENER: Token = Token(usize::MAX);
const STUN: Token = Token(usize::MAX - 1);
const READ: usize = 128 << 10;
/// How the other relay begins its connection.
const LINK: &[u8] = b"GET /link HTTP/1.1\r\n\r\n";
/// How long the other relay may take to listen.
const PATIENCE: Duration = Duration::from_secs(10);
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n";

pub(crate) struct Plan {
    pub(crate) listen: SocketAddr,
    pub(crate) aead: bool,
    pub(crate) stun: Option<SocketAddr>,
    /// The other relay, which gets the packets for clients that are not here.
    pub(crate) peer: Option<SocketAddr>,
}

/// Serves until the process is ended.
pub(crate) fn run(plan: &Plan) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(plan.listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut stun = plan.stun.map(UdpSocket::bind).transpose()?;
    if let Some(stun) = &mut stun {
        poll.registry().register(stun, STUN, Interest::READABLE)?;
    }
    let mut events = Events::with_capacity(1024);
    let mut floor = Floor::new(plan.aead)?;
    if let Some(peer) = plan.peer {
        floor.link = Some(floor.insert(connect(peer)?, Phase::Head, &poll)?);
    }
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            match event.token() {
                LISTENER => floor.accept(&listener, &poll)?,
                STUN => stun.as_ref().map_or(Ok(()), answers::answer)?,
                Token(token) => {
                    let lives = floor.drain(token) && (!event.is_readable() || floor.read(token));
                    if !lives {
                        floor.close(token);
                    }
                }
            }
        }
    }
}

/// Connects to the other relay, which may start a moment later.
fn connect(peer: SocketAddr) -> io::Result<TcpStream> {
    let end = Instant::now() + PATIENCE;
    loop {
        match std::net::TcpStream::connect(peer) {
            Ok(mut stream) => {
                stream.write_all(LINK)?;
                stream.set_nonblocking(true)?;
                return Ok(TcpStream::from_std(stream));
            }
            Err(error) if Instant::now() > end => return Err(error),
            Err(_) => sleep(Duration::from_millis(10)),
        }
    }
}

struct Conn {
    stream: TcpStream,
    phase: Phase,
    decoder: Decoder,
    partial: Vec<u8>,
    /// Of a frame that its socket did not take whole.
    tail: Vec<u8>,
    /// Where the last packet went, which is where the next one goes as a rule.
    last: Option<(NodeKey, usize)>,
}

#[derive(Clone, Copy)]
enum Phase {
    Head,
    Login,
    Open(NodeKey),
    /// The other relay's packets come here.
    Link,
}

struct Floor {
    secret: SecretKey,
    conns: Slab<Conn>,
    table: HashMap<NodeKey, usize>,
    scratch: Vec<u8>,
    batch: Batch,
    /// Where packets for the clients of the other relay go.
    link: Option<usize>,
    sealing: Option<Sealing>,
}

impl Floor {
    fn new(aead: bool) -> io::Result<Self> {
        let mut secret = [0; KEY_LENGTH];
        getrandom::fill(&mut secret).map_err(|_| io::Error::other("the system has no randomness"))?;
        Ok(Self {
            secret: SecretKey::from_bytes(secret),
            conns: Slab::new(),
            table: HashMap::new(),
            // The longest frame that is not whole, and a read behind it.
            scratch: vec![0; READ + (1 << 20)],
            batch: Batch::default(),
            link: None,
            sealing: aead.then(Sealing::new),
        })
    }

    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            self.insert(stream, Phase::Head, poll)?;
        }
    }

    fn insert(&mut self, mut stream: TcpStream, phase: Phase, poll: &Poll) -> io::Result<usize> {
        stream.set_nodelay(true)?;
        let entry = self.conns.vacant_entry();
        let token = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        poll.registry().register(&mut stream, Token(token), interest)?;
        let (decoder, partial, tail) = (Decoder::default(), Vec::new(), Vec::new());
        entry.insert(Conn { stream, phase, decoder, partial, tail, last: None });
        Ok(token)
    }

    fn close(&mut self, token: usize) {
        if let Some(conn) = self.conns.try_remove(token)
            && let Phase::Open(key) = conn.phase
            && self.table.get(&key) == Some(&token)
        {
            self.table.remove(&key);
        }
    }

    /// False if the connection is over.
    fn drain(&mut self, token: usize) -> bool {
        let Some(conn) = self.conns.get_mut(token) else {
            return true;
        };
        while !conn.tail.is_empty() {
            match conn.stream.write(&conn.tail) {
                Ok(count) => drop(conn.tail.drain(..count)),
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
        }
        true
    }

    fn read(&mut self, token: usize) -> bool {
        let mut scratch = std::mem::take(&mut self.scratch);
        let lives = self.read_into(token, &mut scratch);
        self.scratch = scratch;
        lives
    }

    fn read_into(&mut self, token: usize, scratch: &mut [u8]) -> bool {
        loop {
            let Some(conn) = self.conns.get_mut(token) else {
                return true;
            };
            let kept = conn.partial.len();
            if kept + READ > scratch.len() {
                return false;
            }
            scratch[..kept].copy_from_slice(&conn.partial);
            let count = match conn.stream.read(&mut scratch[kept..kept + READ]) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            };
            if let Some(sealing) = &mut self.sealing {
                sealing.work(count);
            }
            let Some(used) = self.handle(token, &mut scratch[..kept + count]) else {
                return false;
            };
            if let Some(conn) = self.conns.get_mut(token) {
                conn.partial.clear();
                conn.partial.extend_from_slice(&scratch[used..kept + count]);
            }
            if count < READ {
                return true;
            }
        }
    }

    /// How many of the bytes are done with; `None` if they are not what a client says.
    fn handle(&mut self, token: usize, bytes: &mut [u8]) -> Option<usize> {
        let mut at = 0;
        let conn = &mut self.conns[token];
        if let Phase::Head = conn.phase {
            let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
            let Some(end) = end else {
                return Some(0);
            };
            at = end + 4;
            if bytes.starts_with(LINK) {
                conn.phase = Phase::Link;
            } else {
                conn.phase = Phase::Login;
                // A client that says so begins without the answer.
                if !bytes[..at].windows(18).any(|window| window.eq_ignore_ascii_case(b"derp-fast-start: 1")) {
                    conn.stream.write_all(ANSWER).ok()?;
                }
                conn.stream.write_all(&frame::greeting(&self.secret.public_key())).ok()?;
            }
        }
        loop {
            let conn = &mut self.conns[token];
            match conn.decoder.next(&bytes[at..]) {
                Step::Header(header) if header.length > 1 << 17 => return None,
                Step::Header(_) => {}
                Step::Skipped(length) => at += length,
                Step::More => break,
                Step::Frame(length) => {
                    let range = at..at + length;
                    at = range.end;
                    match conn.phase {
                        Phase::Open(key) => self.relay(token, key, bytes, range),
                        Phase::Link => self.deliver(bytes, range),
                        Phase::Head | Phase::Login => self.login(token, &mut bytes[range])?,
                    }
                }
            }
        }
        self.send(bytes);
        Some(at)
    }

    /// A frame of a client.
    fn relay(&mut self, token: usize, source: NodeKey, bytes: &mut [u8], range: Range<usize>) {
        let frame = &mut bytes[range.clone()];
        if frame[0] != FrameType::SendPacket as u8 || frame.len() < PACKET_AT {
            return;
        }
        let conn = &mut self.conns[token];
        let to = match conn.last {
            Some((known, to)) if known.as_bytes()[..] == frame[KEY_AT..PACKET_AT] => Some(to),
            _ => NodeKey::first_of(&frame[KEY_AT..]).and_then(|known| {
                let to = self.table.get(&known).copied();
                conn.last = to.map(|to| (known, to));
                to
            }),
        };
        if let Some(to) = to {
            frame::rewrite_send_to_recv(frame, &source);
            self.make_way(to, bytes);
            self.batch.frame(to, range);
        } else if let Some(link) = self.link {
            self.make_way(link, bytes);
            self.batch.forward(link, &source, range.start + KEY_AT..range.end);
        }
    }

    /// A frame of the other relay.
    fn deliver(&mut self, bytes: &mut [u8], range: Range<usize>) {
        let frame = &mut bytes[range.clone()];
        if frame[0] != FrameType::ForwardPacket as u8 || frame.len() < FORWARDED_PACKET_AT {
            return;
        }
        let to = NodeKey::first_of(&frame[PACKET_AT..]).and_then(|key| self.table.get(&key).copied());
        if let Some(to) = to {
            let start = range.start + frame::rewrite_forward_to_recv(frame);
            self.make_way(to, bytes);
            self.batch.frame(to, start..range.end);
        }
    }

    /// Sends what goes elsewhere.
    fn make_way(&mut self, to: usize, bytes: &[u8]) {
        if self.batch.leaves_before(to) {
            self.send(bytes);
        }
    }

    fn login(&mut self, token: usize, frame: &mut [u8]) -> Option<()> {
        let opened = login::open_client_info(frame.get_mut(HEADER_LENGTH..)?, &self.secret).ok()?;
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).ok()?;
        let conn = &mut self.conns[token];
        conn.stream.write_all(&login::seal_server_info(&opened.shared, &nonce)).ok()?;
        conn.phase = Phase::Open(opened.key);
        self.table.insert(opened.key, token);
        Some(())
    }

    fn send(&mut self, bytes: &[u8]) {
        let Some(to) = self.batch.to() else {
            return;
        };
        if let Some(sealing) = &mut self.sealing {
            sealing.work(self.batch.length());
        }
        match self.conns.get_mut(to) {
            // The rest of a frame is owed first.
            Some(conn) if conn.tail.is_empty() => {
                conn.tail = self.batch.write(bytes, &mut conn.stream).unwrap_or_default()
            }
            _ => self.batch = Batch::default(),
        }
    }
}
