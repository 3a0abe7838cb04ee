//! Our side, over sockets: it echoes what it hears, or hears its echo.
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread::{self, JoinHandle};

use derp_tls::{
    Alert, CertificateSet, ClientSettings, End, Established, Handshake, HandshakeError, Otherwise, Sender, Version,
};

use crate::PATIENCE;
use crate::common::{AUTHORITY, NAME, Suite, advance, certificate, meta_certificate, seal};

/// What became of a connection.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) version: Version,
    pub(crate) suite: &'static str,
    pub(crate) alpn: Option<Vec<u8>>,
    /// How often the peer asked for new keys.
    pub(crate) requests: usize,
    pub(crate) end: End,
}

struct Line {
    stream: TcpStream,
    established: Established,
    buffer: Vec<u8>,
    requests: usize,
}

/// Serves one connection, for the name of the tests, with a meta certificate in the chain and new keys every few records.
pub(crate) fn serve(suite: Suite) -> (u16, JoinHandle<Result<Heard, HandshakeError>>) {
    let mut shown = certificate(suite.pem(), &[NAME]);
    shown.chain.push(meta_certificate());
    let set = CertificateSet::new(vec![shown], Otherwise::Refuse).unwrap();
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut line = Line::shake(stream, Handshake::server(), Vec::new(), &set)?;
        Ok(line.echo())
    });
    (port, thread)
}

/// Calls a server that echoes, and says so much to it.
pub(crate) fn call(port: u16, said: &[u8]) -> Heard {
    let none = CertificateSet::new(vec![], Otherwise::Refuse).unwrap();
    let settings = ClientSettings::new(&[&AUTHORITY.root]).unwrap();
    let mut hello = Vec::new();
    let handshake = Handshake::client(&settings, NAME, &mut hello).unwrap();
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let mut line = Line::shake(stream, handshake, hello, &none).unwrap();
    let mut heard = Vec::new();
    for piece in said.chunks(30_000) {
        line.say(piece);
        while heard.len() < piece.len() {
            let (plaintext, end) = line.hear();
            assert_eq!(end, None);
            heard.extend(plaintext);
        }
        assert!(heard == piece, "an echo");
        heard.clear();
    }
    line.alert(Alert::CLOSE_NOTIFY);
    loop {
        if let (plaintext, Some(end)) = line.hear() {
            assert_eq!(plaintext, b"");
            return line.heard(end);
        }
    }
}

impl Line {
    fn shake(
        mut stream: TcpStream,
        mut handshake: Handshake,
        mut out: Vec<u8>,
        set: &CertificateSet,
    ) -> Result<Self, HandshakeError> {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        let mut chunk = [0; 700];
        loop {
            stream.write_all(&out).unwrap();
            out.clear();
            let length = stream.read(&mut chunk).unwrap();
            assert_ne!(length, 0, "the peer has gone");
            let advanced = advance(&mut handshake, &chunk[..length], set, &mut out);
            if !matches!(advanced, Ok((None, _))) {
                // A peer that has gone already does not read what is for it.
                let _ = stream.write_all(&out);
            }
            if let (Some(mut established), rest) = advanced? {
                // TLS 1.2 would end there.
                if established.version == Version::Tls13 {
                    established.sender.limit_records(5);
                }
                return Ok(Self { stream, established: *established, buffer: rest.to_vec(), requests: 0 });
            }
        }
    }

    /// The next plaintext, if there is any before the end.
    fn hear(&mut self) -> (Vec<u8>, Option<End>) {
        loop {
            let opened = self.established.receiver.open(&mut self.buffer, 0);
            if opened.key_update_requested {
                self.requests += 1;
                self.established.sender.owe_key_update();
            }
            let plaintext = self.buffer[opened.plaintext].to_vec();
            self.buffer.drain(..opened.rest);
            if !plaintext.is_empty() || opened.end.is_some() {
                return (plaintext, opened.end);
            }
            let at = self.buffer.len();
            self.buffer.resize(at + 4000, 0);
            let length = self.stream.read(&mut self.buffer[at..]).unwrap();
            assert_ne!(length, 0, "the peer has gone without a word");
            self.buffer.truncate(at + length);
        }
    }

    fn say(&mut self, plaintext: &[u8]) {
        let (head, tail) = plaintext.split_at(plaintext.len() / 3);
        let sealed = seal(&mut self.established, &[head, b"", tail]);
        self.stream.write_all(&sealed).unwrap();
    }

    fn alert(&mut self, alert: Alert) {
        let mut out = [0; Sender::ALERT_ROOM];
        let length = self.established.sender.alert(alert, &mut out);
        let _ = self.stream.write_all(&out[..length]);
    }

    fn echo(&mut self) -> Heard {
        loop {
            let (plaintext, end) = self.hear();
            if !plaintext.is_empty() {
                self.say(&plaintext);
            }
            if let Some(end) = end {
                self.alert(match end {
                    End::Violation(violation) => violation.alert(),
                    End::Closed | End::Alert(_) => Alert::CLOSE_NOTIFY,
                });
                return self.heard(end);
            }
        }
    }

    fn heard(&self, end: End) -> Heard {
        let Established { version, suite, alpn, .. } = &self.established;
        Heard { version: *version, suite, alpn: alpn.clone(), requests: self.requests, end }
    }
}
