//! A plane with a control plane that lets everybody in, and blocking clients. Each test file uses some of it.
#![allow(dead_code)]

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use derp_net::{CloseReason, Event, OsHooks, Plane, Policy};
use derp_proto::client_info::ClientInfo;
use derp_proto::counters::Counter;
use derp_proto::decode::FrameHeader;
use derp_proto::drop_reason::{DropReason, PacketKind};
use derp_proto::frame;
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::login;
use derp_proto::server_frame::ServerFrame;
use derp_proto::wire::{FrameType, HEADER_LENGTH, PeerGoneReason};

/// Longer than anything takes here.
pub(crate) const LONG: Duration = Duration::from_secs(20);

pub(crate) fn policy() -> Policy {
    Policy {
        exempt: Vec::new(),
        head_deadline: LONG,
        client_info_deadline: LONG,
        admission_deadline: LONG,
        write_deadline: None,
        mesh_write_deadline: None,
        ..Policy::default()
    }
}

pub(crate) fn secret(number: u64) -> SecretKey {
    let mut bytes = [7; 32];
    // Not the first byte: of that the curve ignores three bits.
    bytes[8..16].copy_from_slice(&number.to_le_bytes());
    SecretKey::from_bytes(bytes)
}

pub(crate) type AtWake = Box<dyn Fn() + Send + Sync>;

/// A plane, and what it has said.
pub(crate) struct Relay {
    pub(crate) plane: Arc<Plane>,
    pub(crate) address: SocketAddr,
    pub(crate) listener: u64,
    /// Of its secret key.
    number: u64,
    pub(crate) said: Arc<Mutex<Vec<Event>>>,
    pub(crate) wakes: Arc<AtomicUsize>,
    /// What the thread does that wakes the control plane, once there is anything to be done.
    pub(crate) at_wake: Arc<OnceLock<AtWake>>,
    control: Option<JoinHandle<()>>,
    stop: mpsc::Sender<bool>,
}

impl Relay {
    /// Lets everybody in, those with a mesh key as mesh peers, and says who has left.
    pub(crate) fn start(workers: usize, policy: Policy) -> Self {
        Self::with(0, workers, policy, true)
    }

    /// The same with another key.
    pub(crate) fn start_as(number: u64, workers: usize, policy: Policy) -> Self {
        Self::with(number, workers, policy, true)
    }

    /// Lets nobody in.
    pub(crate) fn closed(workers: usize, policy: Policy) -> Self {
        Self::with(0, workers, policy, false)
    }

    fn with(number: u64, workers: usize, policy: Policy, admit: bool) -> Self {
        let (stop, woken) = mpsc::channel();
        let wakes = Arc::new(AtomicUsize::new(0));
        let at_wake = Arc::new(OnceLock::<AtWake>::new());
        let wake = {
            let (wakes, wake, at_wake) = (wakes.clone(), Mutex::new(stop.clone()), at_wake.clone());
            Box::new(move || {
                wakes.fetch_add(1, Ordering::SeqCst);
                if let Some(act) = at_wake.get() {
                    act();
                }
                let _ = wake.lock().unwrap().send(false);
            })
        };
        let plane =
            Arc::new(Plane::new(secret(number), policy, workers, Arc::default(), OsHooks::default(), wake).unwrap());
        let (listener, address) = plane.listen("127.0.0.1:0".parse().unwrap(), true, false).unwrap();
        let said = Arc::new(Mutex::new(Vec::new()));
        let control = {
            let (plane, said) = (plane.clone(), said.clone());
            thread::spawn(move || {
                let mut keys = HashMap::new();
                for last in woken {
                    for event in plane.take_events() {
                        match &event {
                            Event::Login { id, key, info, .. } => {
                                keys.insert(*id, *key);
                                if admit {
                                    plane.admit(*id, info.mesh_key.is_some(), None);
                                }
                            }
                            Event::Closed { id, .. } => {
                                let key = keys.remove(id).expect("it has logged in, and was not closed before");
                                if !keys.values().any(|other| *other == key) {
                                    plane.gone(&key, PeerGoneReason::Disconnected);
                                }
                            }
                            _ => {}
                        }
                        said.lock().unwrap().push(event);
                    }
                    if last {
                        break;
                    }
                }
            })
        };
        Self { plane, address, listener, number, said, wakes, at_wake, control: Some(control), stop }
    }

    pub(crate) fn count(&self, counter: Counter) -> u64 {
        self.plane.counters().read(counter)
    }

    pub(crate) fn received(&self) -> u64 {
        self.count(Counter::PACKETS_RECEIVED_DISCO) + self.count(Counter::PACKETS_RECEIVED_OTHER)
    }

    /// Packets that have left or were dropped.
    pub(crate) fn accounted(&self) -> u64 {
        self.count(Counter::PACKETS_SENT) + self.dropped()
    }

    pub(crate) fn dropped(&self) -> u64 {
        let each = DropReason::ALL.iter().flat_map(|reason| PacketKind::ALL.map(|kind| (*reason, kind)));
        each.map(|(reason, kind)| self.count(Counter::packets_dropped(reason, kind))).sum()
    }

    /// Waits until something was said.
    #[track_caller]
    pub(crate) fn until_said<R>(&self, mut find: impl FnMut(&Event) -> Option<R>) -> R {
        let mut found = None;
        until("it was said", || {
            found = self.said.lock().unwrap().iter().find_map(&mut find);
            found.is_some()
        });
        found.unwrap()
    }

    /// Waits for the login of a key; the last one.
    #[track_caller]
    pub(crate) fn id_of(&self, wanted: &NodeKey) -> u64 {
        let mut found = None;
        until("it has logged in", || {
            let said = self.said.lock().unwrap();
            found = said.iter().rev().find_map(|event| match event {
                Event::Login { id, key, .. } if key == wanted => Some(*id),
                _ => None,
            });
            found.is_some()
        });
        found.unwrap()
    }

    #[track_caller]
    pub(crate) fn end_of(&self, wanted: u64) -> CloseReason {
        self.until_said(|event| match event {
            Event::Closed { id, reason } if *id == wanted => Some(*reason),
            _ => None,
        })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.plane.shutdown();
        let _ = self.stop.send(true);
        let _ = self.control.take().map(JoinHandle::join);
    }
}

/// Waits for something that comes.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < end, "not in {LONG:?}: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// A client, from its ServerInfo on.
pub(crate) struct Client {
    pub(crate) stream: TcpStream,
    pub(crate) key: NodeKey,
    received: Vec<u8>,
}

pub(crate) const FAST_START: &[u8] = b"GET /derp HTTP/1.1\r\nHost: x\r\nUpgrade: DERP\r\nDerp-Fast-Start: 1\r\n\r\n";

impl Client {
    pub(crate) fn connect(relay: &Relay, number: u64) -> Self {
        let mut client = Self::log_in(relay, number);
        assert_eq!(client.read().unwrap()[0], FrameType::ServerInfo as u8);
        client
    }

    /// As far as it gets without being let in.
    pub(crate) fn log_in(relay: &Relay, number: u64) -> Self {
        Self::log_in_as(relay, number, &ClientInfo::regular())
    }

    pub(crate) fn log_in_as(relay: &Relay, number: u64, info: &ClientInfo) -> Self {
        let mut client = Self::dial(relay.address, number);
        client.send(FAST_START);
        client.send(&client_info_for(relay.number, number, info));
        let greeting = client.read().unwrap();
        assert_eq!(login::read_greeting(&greeting[HEADER_LENGTH..]), Ok(secret(relay.number).public_key()));
        client
    }

    /// Nothing but the connection.
    pub(crate) fn dial(address: SocketAddr, number: u64) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self::over(stream, number)
    }

    pub(crate) fn over(stream: TcpStream, number: u64) -> Self {
        Self { stream, key: secret(number).public_key(), received: Vec::new() }
    }

    /// An HTTP head; what stands behind it is left.
    pub(crate) fn read_head(&mut self) -> String {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            self.stream.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        String::from_utf8(head).unwrap()
    }

    pub(crate) fn expect_greeting(&mut self) {
        let greeting = self.read().unwrap();
        assert_eq!(login::read_greeting(&greeting[HEADER_LENGTH..]), Ok(secret(0).public_key()));
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    pub(crate) fn send_packet(&mut self, to: &NodeKey, packet: &[u8]) {
        self.send(&send_packet(to, packet));
    }

    /// The next frame; none at the end.
    pub(crate) fn read(&mut self) -> io::Result<Vec<u8>> {
        loop {
            if let Some(header) = FrameHeader::parse(&self.received) {
                let length = HEADER_LENGTH + header.length as usize;
                if self.received.len() >= length {
                    return Ok(self.received.drain(..length).collect());
                }
            }
            let mut chunk = [0; 32 << 10];
            let count = self.stream.read(&mut chunk)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            self.received.extend_from_slice(&chunk[..count]);
        }
    }

    #[track_caller]
    pub(crate) fn expect_packet(&mut self, from: &NodeKey, wanted: &[u8]) {
        let frame = self.read().unwrap();
        assert_eq!(ServerFrame::read(&frame), Some(ServerFrame::RecvPacket { source: *from, packet: wanted }));
    }

    #[track_caller]
    pub(crate) fn expect_gone(&mut self, wanted: &NodeKey) {
        let frame = self.read().unwrap();
        assert_eq!(ServerFrame::read(&frame), Some(ServerFrame::PeerGone { peer: *wanted, reason: 0 }));
    }

    /// Everything sent before this has been read; returns what came before the answer.
    pub(crate) fn fence(&mut self) -> Vec<Vec<u8>> {
        self.send(&frame::ping(b"the rest"));
        let mut before = Vec::new();
        loop {
            let frame = self.read().unwrap();
            if frame == frame::pong(b"the rest") {
                return before;
            }
            before.push(frame);
        }
    }

    /// Whether the relay ends the connection.
    pub(crate) fn ends(&mut self) -> bool {
        loop {
            match self.read() {
                Ok(_) => {}
                Err(error) => {
                    return !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                }
            }
        }
    }
}

pub(crate) fn client_info(number: u64) -> Vec<u8> {
    client_info_for(0, number, &ClientInfo::regular())
}

fn client_info_for(server: u64, number: u64, info: &ClientInfo) -> Vec<u8> {
    let secret_key = secret(number);
    let shared = secret_key.agree(&secret(server).public_key()).unwrap();
    login::seal_client_info(&secret_key.public_key(), &shared, info.to_json().as_bytes(), &[3; 24])
}

pub(crate) fn send_packet(to: &NodeKey, packet: &[u8]) -> Vec<u8> {
    [&frame::send_packet(to, packet.len())[..], packet].concat()
}
