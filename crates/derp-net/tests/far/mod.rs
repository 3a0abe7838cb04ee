//! The other relay of a link, whose every byte the test writes.
#![allow(dead_code)]

use std::net::{SocketAddr, TcpListener};
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

pub(crate) use derp_net::Target;
use derp_net::{Event, LinkChange, OsHooks, Plane};
use derp_proto::client_info::ClientInfo;
use derp_proto::frame;
use derp_proto::key::{MeshKey, NodeKey};
use derp_proto::login;
use derp_proto::wire::{FrameType, HEADER_LENGTH, PeerGoneReason};
use derp_tls::ClientSettings;

use crate::support::{Client, LONG, Relay, policy, secret};

/// Of the far relay's secret key.
const NUMBER: u64 = 50;

pub(crate) fn mesh_key() -> MeshKey {
    MeshKey::from_hex(&"ab".repeat(32)).unwrap()
}

pub(crate) struct Far {
    listener: TcpListener,
    pub(crate) address: SocketAddr,
}

pub(crate) fn target(address: SocketAddr, roots: Option<ClientSettings>) -> Target {
    Target {
        address,
        host: "relay.test".into(),
        authority: "relay.test:444".into(),
        roots,
        mesh_key: mesh_key(),
        timeout: LONG,
        watch: true,
    }
}

pub(crate) fn dial(relay: &Relay, link: u64, far: &Far) {
    relay.plane.dial(link, target(far.address, None));
}

/// A plane that nobody listens to.
pub(crate) fn deaf_plane() -> Plane {
    Plane::new(secret(0), policy(), 1, Arc::default(), OsHooks::default(), Box::new(|| {})).unwrap()
}

impl Far {
    pub(crate) fn listen() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        Self { listener, address }
    }

    /// One whose backlog is soon full.
    pub(crate) fn listen_to_few() -> Self {
        let far = Self::listen();
        socket2::SockRef::from(&far.listener).listen(0).unwrap();
        far
    }

    /// Connects without waiting for it.
    pub(crate) fn knock(&self) -> socket2::Socket {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_nonblocking(true).unwrap();
        let _ = socket.connect(&self.address.into());
        socket
    }

    pub(crate) fn accept(&mut self) -> Peer {
        let (stream, _) = self.listener.accept().unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Peer(Client::over(stream, NUMBER))
    }

    /// A link that is open, and has asked who is there.
    pub(crate) fn linked(&mut self, relay: &Relay, link: u64) -> Peer {
        dial(relay, link, self);
        let mut peer = self.accept();
        peer.let_in();
        assert_eq!(open(relay, link), secret(NUMBER).public_key());
        assert_eq!(peer.read().unwrap(), frame::WATCH_CONNS);
        peer
    }
}

/// A connection between the two relays, as the far one sees it.
pub(crate) struct Peer(Client);

impl Deref for Peer {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.0
    }
}

impl DerefMut for Peer {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.0
    }
}

impl Peer {
    /// Says all that a relay says to a client that it lets in, and checks what the client has said.
    pub(crate) fn let_in(&mut self) {
        let head = self.read_head();
        assert!(head.starts_with("GET /derp HTTP/1.1\r\nHost: relay.test:444\r\n"), "{head}");
        assert!(head.contains("\r\nConnection: Upgrade\r\nUpgrade: DERP\r\n"), "{head}");
        self.send(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n\r\n");
        self.send(&frame::greeting(&secret(NUMBER).public_key()));
        let mut info = self.read().unwrap();
        assert_eq!(info[0], FrameType::ClientInfo as u8);
        let opened = login::open_client_info(&mut info[HEADER_LENGTH..], &secret(NUMBER)).unwrap();
        assert_eq!(opened.key, secret(0).public_key());
        assert!(opened.info == ClientInfo { mesh_key: Some(mesh_key()), ..ClientInfo::regular() });
        self.send(&login::seal_server_info(&opened.shared, &[4; 24]));
    }

    /// The far relay's own link to us.
    pub(crate) fn mesh_client(relay: &Relay, number: u64) -> Self {
        let info = ClientInfo { mesh_key: Some(mesh_key()), ..ClientInfo::regular() };
        let mut client = Client::log_in_as(relay, number, &info);
        assert_eq!(client.read().unwrap()[0], FrameType::ServerInfo as u8);
        Self(client)
    }

    /// Nothing has come before the answer to a ping.
    pub(crate) fn expect_quiet(&mut self) {
        self.send(&frame::ping(b"anything"));
        assert_eq!(self.read().unwrap(), frame::pong(b"anything"));
    }
}

#[track_caller]
pub(crate) fn open(relay: &Relay, wanted: u64) -> NodeKey {
    relay.until_said(|event| match event {
        Event::LinkOpen { link, server } if *link == wanted => Some(*server),
        Event::LinkClosed { link, reason } if *link == wanted => panic!("{reason}"),
        _ => None,
    })
}

#[track_caller]
pub(crate) fn end_of(relay: &Relay, wanted: u64) -> String {
    relay.until_said(|event| match event {
        Event::LinkClosed { link, reason } if *link == wanted => Some(reason.clone()),
        _ => None,
    })
}

pub(crate) fn change(key: &NodeKey, present: bool) -> LinkChange {
    LinkChange { key: *key, present }
}

pub(crate) fn present(key: &NodeKey) -> Vec<u8> {
    let rest = [&[0; 10][..], &[0xff, 0xff, 192, 0, 2, 1], &[0x12, 0x34], &[1, 0]].concat();
    [&frame::header(FrameType::PeerPresent, 52)[..], key.as_bytes(), &rest].concat()
}

pub(crate) fn gone(key: &NodeKey) -> Vec<u8> {
    frame::peer_gone(key, PeerGoneReason::Disconnected).to_vec()
}
