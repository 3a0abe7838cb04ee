//! Connecting to another relay: TCP, TLS, and the login of a mesh peer. Nothing of it blocks, and one deadline is for all.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Instant;

use derp_proto::client_info::ClientInfo;
use derp_proto::client_login::{ClientLogin, Credentials, LoggedIn};
use derp_proto::key::NodeKey;
use derp_proto::wire::NONCE_LENGTH;
use derp_tls::{Established, Handshake, HandshakeError, Next, Receiver, Version, meta_cert};
use nix::errno::Errno;

use crate::base::close_reason::CloseReason;
use crate::base::policy::Policy;
use crate::conn::Conn;
use crate::hub::ctx::Ctx;
use crate::hub::mail::Target;
use crate::io::socket::prepare;
use crate::io::writer::{SocketWriter, Written, write_to};

/// More than a relay says before it has let us in.
const ROOM: usize = 16 << 10;

/// A dial under way. Owned by its worker.
pub(crate) struct MeshDial {
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
    TlsHandshake(Handshake),
    LoggingIn(Box<ClientLogin>, SocketWriter),
    Over,
}

/// A handshake that is done: what opens its records, and how much of what was read belonged to it.
pub(crate) struct DialSecured {
    pub(crate) receiver: Receiver,
    pub(crate) used: usize,
}

/// Another relay has let us in.
pub(crate) struct Dialled {
    pub(crate) writer: SocketWriter,
    pub(crate) server: NodeKey,
    /// It is to announce its clients.
    pub(crate) watch: bool,
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
        Err(error)
            if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) && error.kind() != ErrorKind::WouldBlock =>
        {
            Err(error)
        }
        _ => Ok(stream),
    }
}

impl MeshDial {
    pub(crate) fn new(conn: Arc<Conn>, target: Target, ctx: Ctx<'_>) -> Self {
        let ends = ctx.now + target.timeout;
        Self { conn, target, ends, stage: Stage::Connecting, out: Vec::new(), why: None }
    }

    pub(crate) fn conn(&self) -> &Arc<Conn> {
        &self.conn
    }

    pub(crate) fn is_handshaking(&self) -> bool {
        matches!(self.stage, Stage::TlsHandshake(_))
    }

    /// How much may be read now.
    pub(crate) fn room(&self) -> usize {
        if matches!(self.stage, Stage::Connecting) { 0 } else { ROOM }
    }

    /// When to come again, or why it has to end.
    pub(crate) fn on_time(&mut self, ctx: Ctx<'_>) -> Result<Instant, CloseReason> {
        if ctx.now >= self.ends {
            let stage = match &self.stage {
                Stage::Connecting => "connection",
                Stage::TlsHandshake(_) => "TLS",
                Stage::LoggingIn(..) | Stage::Over => "login",
            };
            return Err(self.because(format!("no {stage} within {} s", self.target.timeout.as_secs_f64())));
        }
        Ok(self.ends)
    }

    /// The socket takes bytes, or has failed. False if it is too early to know.
    pub(crate) fn writable(&mut self, stream: &Arc<TcpStream>, ctx: Ctx<'_>) -> Result<bool, CloseReason> {
        if matches!(self.stage, Stage::Connecting) {
            match (stream.take_error(), stream.peer_addr()) {
                (Ok(None), Ok(_)) => {}
                (Ok(None), Err(error)) if error.kind() == ErrorKind::NotConnected => return Ok(false),
                (Ok(Some(error)) | Err(error), _) | (_, Err(error)) => return Err(self.because(describe(&error))),
            }
            match &self.target.roots {
                None => self.log_in(SocketWriter::plain(stream.clone()), None, ctx)?,
                Some(roots) => match Handshake::client(roots, &self.target.host, &mut self.out) {
                    Ok(handshake) => self.stage = Stage::TlsHandshake(handshake),
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
        ctx: Ctx<'_>,
    ) -> Result<Option<DialSecured>, CloseReason> {
        let Stage::TlsHandshake(handshake) = &mut self.stage else { return Err(CloseReason::InternalError) };
        let progress = handshake.read(read, &mut self.out);
        self.send(stream);
        match progress {
            Err(error) => Err(self.because(describe_tls(&error))),
            Ok(progress) => match progress.next {
                Next::Read => Ok(None),
                Next::Certify => Err(CloseReason::InternalError),
                Next::Done(established) => {
                    let Established { version, receiver, sender, peer_certificates, .. } = *established;
                    // With an earlier version any machine on the way could have put it there.
                    let known = if version == Version::Tls13 { meta_cert::relay_key(&peer_certificates) } else { None };
                    let writer = SocketWriter::tls(stream.clone(), sender, std::mem::take(&mut self.out));
                    self.log_in(writer, known.map(|(key, _)| NodeKey::from_bytes(key)), ctx)?;
                    self.send(stream);
                    Ok(Some(DialSecured { receiver, used: progress.used }))
                }
            },
        }
    }

    /// Bytes have come, as the relay has sealed them.
    pub(crate) fn feed(
        &mut self,
        read: &[u8],
        stream: &Arc<TcpStream>,
        ctx: Ctx<'_>,
    ) -> Result<Option<Dialled>, CloseReason> {
        let Stage::LoggingIn(login, _) = &mut self.stage else { return Err(CloseReason::InternalError) };
        let logged_in =
            login.read(read, &ctx.secret, &mut self.out).map_err(|fault| self.because(fault.to_string()))?;
        self.send(stream);
        let Some(LoggedIn { server, rest }) = logged_in else { return Ok(None) };
        if !self.out.is_empty() {
            return Err(self.because("it answers what it has not read".into()));
        }
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::LoggingIn(_, writer) => Ok(Some(Dialled { writer, server, watch: self.target.watch, rest })),
            _ => Err(CloseReason::InternalError),
        }
    }

    pub(crate) fn close(self, reason: CloseReason, ctx: Ctx<'_>) {
        let hung_up = || match &self.stage {
            Stage::Connecting => "the connection broke",
            Stage::TlsHandshake(_) => "the relay closed the connection during the TLS handshake",
            Stage::LoggingIn(login, _) if login.is_judged() => "login refused: the relay closed the connection",
            Stage::LoggingIn(..) | Stage::Over => "the relay closed the connection before the login",
        };
        let reason = match (self.why, reason) {
            (Some(why), CloseReason::ProtocolError) => why,
            (_, CloseReason::Disconnected) => hung_up().into(),
            (_, other) => other.of_link().into(),
        };
        self.conn.end_link(reason, ctx);
    }

    fn log_in(&mut self, writer: SocketWriter, known: Option<NodeKey>, ctx: Ctx<'_>) -> Result<(), CloseReason> {
        let mut nonce = [0; NONCE_LENGTH];
        getrandom::fill(&mut nonce).map_err(|_| CloseReason::InternalError)?;
        let info = ClientInfo { mesh_key: Some(self.target.mesh_key.clone()), ..ClientInfo::regular() };
        let credentials = Credentials { info, nonce };
        let login = ClientLogin::begin(credentials, &ctx.secret, &self.target.authority, known, &mut self.out);
        let login = login.map_err(|fault| self.because(fault.to_string()))?;
        self.stage = Stage::LoggingIn(Box::new(login), writer);
        Ok(())
    }

    /// Sends what the socket takes. A failure is seen when the socket is read.
    fn send(&mut self, stream: &TcpStream) {
        let Self { stage, out, .. } = self;
        loop {
            let written = match stage {
                Stage::LoggingIn(_, writer) if out.is_empty() => {
                    writer.flush();
                    return;
                }
                _ if out.is_empty() => return,
                Stage::LoggingIn(_, writer) => writer.write([&out[..]].into_iter()),
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
