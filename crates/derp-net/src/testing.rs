//! A plane without threads, and clients whose bytes are handed to their sessions: what unit tests stand on.

use std::cell::RefCell;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use derp_proto::client_info::ClientInfo;
use derp_proto::decode::FrameHeader;
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::frame;
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::login;
use derp_proto::wire::{DISCO_MAGIC, FrameType, HEADER_LENGTH};
use mio::{Events, Poll};

use crate::base::close_reason::CloseReason;
use crate::base::os_hooks::OsHooks;
use crate::base::policy::Policy;
use crate::conn::Conn;
use crate::hub::ctx::Ctx;
use crate::hub::mail::Mail;
use crate::hub::shared::Shared;
use crate::ingress::fanout::Fanout;
use crate::ingress::session::Session;
use crate::io::writer::SocketWriter;
use crate::state::events::Event;
use crate::state::strangers::{Guest, Stage};

pub(crate) fn secret(number: u64) -> SecretKey {
    let mut bytes = [7; 32];
    // Not the first byte: of that the curve ignores three bits.
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_bytes(bytes)
}

/// What everything of a test happens in.
pub(crate) struct World {
    pub(crate) shared: Shared,
    /// Nobody reads it; without a reader there could be no mail.
    _mail: Receiver<Mail>,
    /// Of the only worker.
    poll: RefCell<Poll>,
    pub(crate) wakes: Arc<AtomicUsize>,
    pub(crate) now: Instant,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(Policy::default())
    }

    pub(crate) fn with(policy: Policy) -> Self {
        let wakes = Arc::new(AtomicUsize::new(0));
        let count = wakes.clone();
        let wake = Box::new(move || _ = count.fetch_add(1, Ordering::SeqCst));
        let (shared, mut posts) = Shared::new(secret(0), policy, 1, Arc::default(), OsHooks::default(), wake).unwrap();
        let (poll, mail) = posts.pop().unwrap();
        Self { shared, _mail: mail, poll: RefCell::new(poll), wakes, now: Instant::now() }
    }

    pub(crate) fn ctx(&self) -> Ctx<'_> {
        Ctx::at(&self.shared, self.now)
    }

    pub(crate) fn wakes(&self) -> usize {
        self.wakes.swap(0, Ordering::SeqCst)
    }

    /// Whether the worker would wake, since this was asked last.
    pub(crate) fn wakes_worker(&self) -> bool {
        let mut events = Events::with_capacity(1);
        self.poll.borrow_mut().poll(&mut events, Some(Duration::ZERO)).unwrap();
        !events.is_empty()
    }

    /// A connection of which nothing is known, and its other end.
    fn connection(&self) -> (Arc<Conn>, UnixStream) {
        let (near, far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        far.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let peer = SocketAddr::from(([192, 0, 2, 1], 4000));
        let conn = Arc::new(Conn::new(
            self.shared.new_id(),
            0,
            peer,
            Some(SocketWriter::plain(Arc::new(TcpStream::from(OwnedFd::from(near))))),
            None,
            self.now,
        ));
        self.shared.conns.lock().insert(conn.id, conn.clone());
        (conn, far)
    }

    /// A connection that has logged in as client `number`, and what its client reads.
    pub(crate) fn conn(&self, number: u64) -> (Arc<Conn>, UnixStream) {
        let (conn, far) = self.connection();
        conn.logged_in(secret(number).public_key(), frame::KEEP_ALIVE.into());
        (conn, far)
    }

    /// A client that has not said anything.
    pub(crate) fn client(&self, number: u64) -> Client {
        let (conn, far) = self.connection();
        let guest = self.guest();
        let session = Session::new(conn.clone(), false, guest, self.ctx());
        Client { key: secret(number).public_key(), number, conn, session, fanout: Fanout::default(), far }
    }

    /// A place among the logins, of nobody's address.
    pub(crate) fn guest(&self) -> Guest {
        let (near, _) = UnixStream::pair().unwrap();
        let stream = Arc::new(TcpStream::from(OwnedFd::from(near)));
        let nobody = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), 0);
        self.ctx().enter(0, Stage::LoggingIn, nobody, &stream).unwrap()
    }

    pub(crate) fn pending_logins(&self) -> usize {
        self.shared.strangers.count(0, Stage::LoggingIn)
    }

    /// A client that is let in.
    pub(crate) fn admitted(&self, number: u64, mesh: bool) -> Client {
        let mut client = self.client(number);
        client.feed(&client.client_info(), self).unwrap();
        client.admit(mesh, self).unwrap();
        assert_eq!(client.read()[0], FrameType::ServerInfo as u8);
        client
    }

    pub(crate) fn dropped(&self, reason: DropReason, kind: PacketKind) -> u64 {
        self.shared.counters.read(derp_proto::counters::Counter::packets_dropped(reason, kind))
    }

    pub(crate) fn events(&self) -> Vec<Event> {
        self.shared.events.take()
    }
}

pub(crate) struct Client {
    pub(crate) key: NodeKey,
    number: u64,
    pub(crate) conn: Arc<Conn>,
    pub(crate) session: Session,
    fanout: Fanout,
    far: UnixStream,
}

impl Client {
    pub(crate) fn client_info(&self) -> Vec<u8> {
        let shared = secret(self.number).agree(&secret(0).public_key()).unwrap();
        login::seal_client_info(&self.key, &shared, ClientInfo::regular().to_json().as_bytes(), &[3; 24])
    }

    /// Hands bytes to the session, as if they had been read.
    pub(crate) fn feed(&mut self, bytes: &[u8], world: &World) -> Result<(), CloseReason> {
        self.session.receive(&mut bytes.to_vec(), &mut self.fanout, world.ctx())
    }

    pub(crate) fn admit(&mut self, mesh: bool, world: &World) -> Result<(), CloseReason> {
        self.conn.admit(mesh, None, world.ctx());
        self.session.admitted(
            None,
            world.ctx().policy.load().next_keep_alive(world.ctx().now),
            &mut self.fanout,
            world.ctx(),
        )
    }

    /// The next frame that this client gets.
    pub(crate) fn read(&mut self) -> Vec<u8> {
        let mut frame = vec![0; HEADER_LENGTH];
        self.far.read_exact(&mut frame).unwrap();
        let length = FrameHeader::parse(&frame).unwrap().length as usize;
        frame.resize(HEADER_LENGTH + length, 0);
        self.far.read_exact(&mut frame[HEADER_LENGTH..]).unwrap();
        frame
    }

    /// Whether there is nothing to read.
    pub(crate) fn is_quiet(&mut self) -> bool {
        self.far.set_nonblocking(true).unwrap();
        let result = self.far.read(&mut [0]);
        self.far.set_nonblocking(false).unwrap();
        matches!(result, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
    }
}

pub(crate) fn send_packet(to: &NodeKey, packet: &[u8]) -> Vec<u8> {
    [&frame::send_packet(to, packet.len())[..], packet].concat()
}

pub(crate) fn recv_packet(from: &NodeKey, packet: &[u8]) -> Vec<u8> {
    [&frame::recv_packet(from, packet.len())[..], packet].concat()
}

pub(crate) fn disco_packet() -> Vec<u8> {
    [&DISCO_MAGIC[..], &[9; 56]].concat()
}
