//! Connecting to another relay: TCP, TLS, and the login of a mesh peer. Nothing of it blocks, and one deadline is for all.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use derp_proto::client_login::{ClientLogin, Credentials, LoggedIn};
use derp_proto::info::ClientInfo;
use derp_proto::key::{MeshKey, NodeKey};
use derp_proto::wire::NONCE_LENGTH;
use derp_tls::{ClientSettings, Established, Handshake, HandshakeError, Receiver, Step, Version, meta};

use crate::acceptor::prepare;
use crate::conn::Conn;
use crate::line::{Line, Written, write_to};
use crate::link;
use crate::policy::Policy;
use crate::reason::CloseReason;
use crate::shared::Turn;

/// More than a relay says before it has let us in.
const ROOM: usize = 16 << 10;

/// Where another relay is, and how to prove that it is the one, and we its peer.
#[expect(missing_docs, reason = "`src/plane/plane.ts` says what each is")]
pub struct Target {
    pub address: SocketAddr,
    pub host: String,
    pub authority: String,
    /// `None` for plain HTTP.
    pub roots: Option<ClientSettings>,
    pub mesh_key: MeshKey,
    pub timeout: Duration,
}

/// A dial under way. Owned by its worker.
pub(crate) struct Dialling {
    conn: Arc<Conn>,
    target: Target,
    ends: Instant,
    stage: Stage,
    /// Still to be sent: of the handshake as it is, of the login to be sealed.
    out: Vec<u8>,
    /// Why it fails, where the stage does not say it.
    why: Option<String>,
}

enum Stage {
    Connecting,
    Shaking(Handshake),
    LoggingIn(Box<ClientLogin>, Line),
    Over,
}

/// A handshake that is done: what opens its records, and how much of what was read belonged to it.
pub(crate) struct Shaken {
    pub(crate) receiver: Receiver,
    pub(crate) used: usize,
}

/// Another relay has let us in.
pub(crate) struct Dialled {
    pub(crate) line: Line,
    pub(crate) server: NodeKey,
    /// What came behind its ServerInfo.
    pub(crate) rest: Vec<u8>,
}

/// Begins to connect. The socket becomes writable when it has.
pub(crate) fn connect(address: SocketAddr, policy: &Policy) -> io::Result<TcpStream> {
    let domain = if address.is_ipv6() { socket2::Domain::IPV6 } else { socket2::Domain::IPV4 };
    let socket = socket2::Socket::new(domain, socket2::Type::STREAM, Some(socket2::Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    let stream = TcpStream::from(socket);
    prepare(&stream, policy)?;
    match socket2::SockRef::from(&stream).connect(&address.into()) {
        Err(error) if error.raw_os_error() != Some(IN_PROGRESS) && error.kind() != ErrorKind::WouldBlock => Err(error),
        _ => Ok(stream),
    }
}

/// `EINPROGRESS`, for which there is no [`ErrorKind`].
const IN_PROGRESS: i32 = if cfg!(target_os = "linux") { 115 } else { 36 };

impl Dialling {
    pub(crate) fn new(conn: Arc<Conn>, target: Target, turn: Turn<'_>) -> Self {
        let ends = turn.now + target.timeout;
        Self { conn, target, ends, stage: Stage::Connecting, out: Vec::new(), why: None }
    }

    pub(crate) fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    pub(crate) fn is_shaking(&self) -> bool {
        matches!(self.stage, Stage::Shaking(_))
    }

    /// How much may be read now.
    pub(crate) fn room(&self) -> usize {
        if matches!(self.stage, Stage::Connecting) { 0 } else { ROOM }
    }

    /// When to come again, or why it has to end.
    pub(crate) fn on_time(&mut self, turn: Turn<'_>) -> Result<Instant, CloseReason> {
        if turn.now >= self.ends {
            let stage = match &self.stage {
                Stage::Connecting => "connection",
                Stage::Shaking(_) => "TLS",
                Stage::LoggingIn(..) | Stage::Over => "login",
            };
            return Err(self.because(format!("no {stage} within {} s", self.target.timeout.as_secs_f64())));
        }
        Ok(self.ends)
    }

    /// The socket takes bytes, or has failed. False if it is too early to know.
    pub(crate) fn writable(&mut self, stream: &Arc<TcpStream>, turn: Turn<'_>) -> Result<bool, CloseReason> {
        if matches!(self.stage, Stage::Connecting) {
            match (stream.take_error(), stream.peer_addr()) {
                (Ok(None), Ok(_)) => {}
                (Ok(None), Err(error)) if error.kind() == ErrorKind::NotConnected => return Ok(false),
                (Ok(Some(error)) | Err(error), _) | (_, Err(error)) => return Err(self.because(describe(&error))),
            }
            match &self.target.roots {
                None => self.log_in(Line::plain(stream.clone()), None, turn)?,
                Some(roots) => match Handshake::client(roots, &self.target.host, &mut self.out) {
                    Ok(handshake) => self.stage = Stage::Shaking(handshake),
                    Err(error) => return Err(self.because(describe_tls(&error))),
                },
            }
        }
        self.send(stream);
        Ok(true)
    }

    /// Bytes of the handshake have come.
    pub(crate) fn shake(
        &mut self,
        read: &[u8],
        stream: &Arc<TcpStream>,
        turn: Turn<'_>,
    ) -> Result<Option<Shaken>, CloseReason> {
        let Stage::Shaking(handshake) = &mut self.stage else { return Err(CloseReason::InternalError) };
        let progress = handshake.read(read, &mut self.out);
        self.send(stream);
        match progress {
            Err(error) => Err(self.because(describe_tls(&error))),
            Ok(progress) => match progress.step {
                Step::Read => Ok(None),
                Step::Certify => Err(CloseReason::InternalError),
                Step::Done(established) => {
                    let Established { version, receiver, sender, peer_certificates, .. } = *established;
                    // With an earlier version everybody on the way could have put it there.
                    let known = if version == Version::Tls13 { meta::relay_key(&peer_certificates) } else { None };
                    let line = Line::tls(stream.clone(), sender, std::mem::take(&mut self.out));
                    self.log_in(line, known.map(|(key, _)| NodeKey::from_bytes(key)), turn)?;
                    self.send(stream);
                    Ok(Some(Shaken { receiver, used: progress.used }))
                }
            },
        }
    }

    /// Bytes have come, as the relay has sealed them.
    pub(crate) fn feed(
        &mut self,
        read: &[u8],
        stream: &Arc<TcpStream>,
        turn: Turn<'_>,
    ) -> Result<Option<Dialled>, CloseReason> {
        let Stage::LoggingIn(login, _) = &mut self.stage else { return Err(CloseReason::InternalError) };
        let logged_in =
            login.read(read, &turn.secret, &mut self.out).map_err(|fault| self.because(fault.to_string()))?;
        self.send(stream);
        let Some(LoggedIn { server, rest }) = logged_in else { return Ok(None) };
        if !self.out.is_empty() {
            return Err(self.because("it answers what it has not read".into()));
        }
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::LoggingIn(_, line) => Ok(Some(Dialled { line, server, rest })),
            _ => Err(CloseReason::InternalError),
        }
    }

    pub(crate) fn close(self, reason: CloseReason, turn: Turn<'_>) {
        let hung_up = || match &self.stage {
            Stage::Connecting => "the connection broke",
            Stage::Shaking(_) => "the relay closed the connection during the TLS handshake",
            Stage::LoggingIn(login, _) if login.is_judged() => "login refused: the relay closed the connection",
            Stage::LoggingIn(..) | Stage::Over => "the relay closed the connection before the login",
        };
        let reason = match (self.why, reason) {
            (Some(why), CloseReason::ProtocolError) => why,
            (_, CloseReason::Disconnected) => hung_up().into(),
            (_, other) => link::reason_of(other).into(),
        };
        self.conn.end_link(reason, turn);
    }

    fn log_in(&mut self, line: Line, known: Option<NodeKey>, turn: Turn<'_>) -> Result<(), CloseReason> {
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|_| CloseReason::InternalError)?;
        let info = ClientInfo { mesh_key: Some(self.target.mesh_key.clone()), ..ClientInfo::regular() };
        let credentials = Credentials { info, nonce };
        let login = ClientLogin::begin(credentials, &turn.secret, &self.target.authority, known, &mut self.out);
        let login = login.map_err(|fault| self.because(fault.to_string()))?;
        self.stage = Stage::LoggingIn(Box::new(login), line);
        Ok(())
    }

    /// Sends what the socket takes. A failure is seen by whoever reads.
    fn send(&mut self, stream: &TcpStream) {
        let Self { stage, out, .. } = self;
        loop {
            let written = match stage {
                Stage::LoggingIn(_, line) if out.is_empty() => {
                    line.flush();
                    return;
                }
                _ if out.is_empty() => return,
                Stage::LoggingIn(_, line) => line.write([&out[..]].into_iter()),
                _ => write_to(stream, out),
            };
            match written {
                Written::Bytes(count) => drop(out.drain(..count)),
                Written::Full | Written::Failed => return,
            }
        }
    }

    fn because(&mut self, why: String) -> CloseReason {
        self.why = Some(why);
        CloseReason::ProtocolError
    }
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused".into(),
        ErrorKind::TimedOut => "no connection: timed out".into(),
        ErrorKind::HostUnreachable => "host unreachable".into(),
        ErrorKind::NetworkUnreachable => "network unreachable".into(),
        _ => error.to_string(),
    }
}

fn describe_tls(error: &HandshakeError) -> String {
    match error.certificate() {
        Some(what) => format!("its certificate is not trusted: {what}"),
        None => format!("TLS: {error}"),
    }
}
