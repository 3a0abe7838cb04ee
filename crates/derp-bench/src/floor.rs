//! A relay that does per packet what every relay on sockets has to do, and nothing else: one receive, one send for each
//! destination of it, and, if asked, as many bytes opened and sealed as TLS would.
//!
//! It logs clients in, because the generator insists. After that no queue, no lock, no limit, no timer: what a full socket
//! does not take of a frame is kept, and whatever comes for it meanwhile is dropped.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use derp_proto::decode::{Decoder, Step};
use derp_proto::frame::{self, KEY_AT, PACKET_AT};
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::login;
use derp_proto::wire::{FrameType, HEADER_LENGTH, KEY_LENGTH, NONCE_LENGTH};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};
use slab::Slab;

const LISTENER: Token = Token(usize::MAX);
const READ: usize = 128 << 10;
/// What a TLS record holds.
const RECORD: usize = 16 << 10;
const ANSWER: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\nConnection: Upgrade\r\n\r\n";

/// Serves until the process is ended.
pub(crate) fn run(listen: SocketAddr, aead: bool) -> io::Result<()> {
    let mut poll = Poll::new()?;
    let mut listener = TcpListener::bind(listen)?;
    poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
    let mut events = Events::with_capacity(1024);
    let mut floor = Floor::new(aead)?;
    loop {
        match poll.poll(&mut events, None) {
            Err(error) if error.kind() != ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        for event in &events {
            if event.token() == LISTENER {
                floor.accept(&listener, &poll)?;
                continue;
            }
            let token = event.token().0;
            let lives = floor.drain(token) && (!event.is_readable() || floor.read(token));
            if !lives {
                floor.close(token);
            }
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
}

struct Floor {
    secret: SecretKey,
    conns: Slab<Conn>,
    table: HashMap<NodeKey, usize>,
    scratch: Vec<u8>,
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
            sealing: aead.then(Sealing::new),
        })
    }

    fn accept(&mut self, listener: &TcpListener, poll: &Poll) -> io::Result<()> {
        loop {
            let mut stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error),
            };
            stream.set_nodelay(true)?;
            let entry = self.conns.vacant_entry();
            let interest = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(entry.key()), interest)?;
            let (decoder, partial, tail) = (Decoder::default(), Vec::new(), Vec::new());
            entry.insert(Conn { stream, phase: Phase::Head, decoder, partial, tail, last: None });
        }
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
            conn.phase = Phase::Login;
            // A client that says so begins without the answer.
            if !bytes[..at].windows(18).any(|window| window.eq_ignore_ascii_case(b"derp-fast-start: 1")) {
                conn.stream.write_all(ANSWER).ok()?;
            }
            conn.stream.write_all(&frame::greeting(&self.secret.public_key())).ok()?;
        }
        // What goes to one destination leaves at once: [begin, end) of the bytes.
        let mut run: Option<(usize, usize, usize)> = None;
        loop {
            let conn = &mut self.conns[token];
            match conn.decoder.next(&bytes[at..]) {
                Step::Header(header) if header.length > 1 << 17 => return None,
                Step::Header(_) => {}
                Step::Skipped(length) => at += length,
                Step::More => break,
                Step::Frame(length) => {
                    let whole = &mut bytes[at..at + length];
                    let (begin, end) = (at, at + length);
                    at = end;
                    let Phase::Open(key) = conn.phase else {
                        self.login(token, whole)?;
                        continue;
                    };
                    if whole[0] != FrameType::SendPacket as u8 || whole.len() < PACKET_AT {
                        continue;
                    }
                    let to = match conn.last {
                        Some((known, to)) if known.as_bytes()[..] == whole[KEY_AT..PACKET_AT] => Some(to),
                        _ => NodeKey::first_of(&whole[KEY_AT..]).and_then(|known| {
                            let to = *self.table.get(&known)?;
                            conn.last = Some((known, to));
                            Some(to)
                        }),
                    };
                    frame::rewrite_send_to_recv(whole, &key);
                    match (run, to) {
                        (Some((same, _, edge)), Some(to)) if same == to && edge == begin => {
                            run = Some((to, run?.1, end));
                        }
                        (before, to) => {
                            if let Some((to, begin, end)) = before {
                                self.send(to, &bytes[begin..end]);
                            }
                            run = to.map(|to| (to, begin, end));
                        }
                    }
                }
            }
        }
        if let Some((to, begin, end)) = run {
            self.send(to, &bytes[begin..end]);
        }
        Some(at)
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

    fn send(&mut self, to: usize, bytes: &[u8]) {
        if let Some(sealing) = &mut self.sealing {
            sealing.work(bytes.len());
        }
        let Some(conn) = self.conns.get_mut(to) else {
            return;
        };
        // The rest of a frame is owed first.
        if !conn.tail.is_empty() {
            return;
        }
        if let Ok(count) = conn.stream.write(bytes)
            && count < bytes.len()
        {
            // Of the frames that follow none is kept; the one that is cut has to be completed.
            let mut end = 0;
            while end < count {
                let length = [bytes[end + 1], bytes[end + 2], bytes[end + 3], bytes[end + 4]];
                end += HEADER_LENGTH + u32::from_be_bytes(length) as usize;
            }
            conn.tail.extend_from_slice(&bytes[count..end]);
        }
    }
}

/// Does the work of an AEAD over so many bytes, in records: opening costs what sealing costs.
struct Sealing {
    key: LessSafeKey,
    record: Vec<u8>,
    nonce: u64,
}

impl Sealing {
    fn new() -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &[7; 16]).expect("the key has the right length");
        Self { key: LessSafeKey::new(key), record: vec![0; RECORD], nonce: 0 }
    }

    fn work(&mut self, mut bytes: usize) {
        while bytes > 0 {
            let length = bytes.min(RECORD);
            bytes -= length;
            self.nonce += 1;
            let mut nonce = [0; 12];
            nonce[4..].copy_from_slice(&self.nonce.to_be_bytes());
            let nonce = Nonce::assume_unique_for_key(nonce);
            let tag = self.key.seal_in_place_separate_tag(nonce, Aad::from([0; 5]), &mut self.record[..length]);
            std::hint::black_box(tag.is_ok());
        }
    }
}
