//! STUN requests as Tailscale's clients send them: what an answer costs, and what relayed packets feel meanwhile.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use mio::net::UdpSocket;

use crate::bystander;
use crate::crew::{self, Crew};
use crate::driver::{Driver, Handler};
use crate::faults::Faults;
use crate::load::{self, histogram};
use crate::pacing::Comb;
use crate::parts::Part;
use crate::samples::Samples;
use crate::target::Target;

pub(crate) struct Plan {
    pub(crate) server: SocketAddr,
    /// Requests a second.
    pub(crate) rate: NonZeroU64,
    pub(crate) bystander: NonZeroU64,
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

pub(crate) struct Outcome {
    /// Due in the window, and those of them that were answered, rightly.
    pub(crate) requests: u64,
    pub(crate) answers: u64,
    /// Nanoseconds from being due to the answer.
    pub(crate) latency: Histogram<u64>,
    pub(crate) faults: Faults,
    pub(crate) bystander: load::Outcome,
    pub(crate) samples: Samples,
}

const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];
const REQUEST: usize = 40;
const ANSWER: usize = 32;

pub(crate) fn run(target: &Target, plan: &Plan) -> io::Result<Outcome> {
    let mut driver = target.driver()?;
    let stays = bystander::plan(plan.bystander, plan.warm_up, plan.length);
    let pair = Crew::connect(&mut driver, target, 0, bystander::CLIENTS)?;
    let mut requests = Requests::new(plan, stays.window())?;
    driver.watch(&mut requests.socket)?;
    let (outcomes, samples) = crew::run(&mut driver, target, &[(&pair, &stays)], &mut [&mut requests], Instant::now())?;
    let [bystander] = <[_; 1]>::try_from(outcomes).map_err(|_| io::Error::other("one crew has one outcome"))?;
    let Requests { offered, answers, latency, faults, .. } = requests;
    Ok(Outcome { requests: offered, answers, latency, faults, bystander, samples })
}

struct Requests {
    socket: UdpSocket,
    local: SocketAddr,
    comb: Comb,
    window: [u64; 2],
    zero: Instant,
    sent: u64,
    /// When each unanswered one was due.
    open: HashMap<u64, u64>,
    offered: u64,
    answers: u64,
    latency: Histogram<u64>,
    faults: Faults,
    over: bool,
}

impl Requests {
    fn new(plan: &Plan, window: [u64; 2]) -> io::Result<Self> {
        let any = if plan.server.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let socket = UdpSocket::bind(any.parse().map_err(io::Error::other)?)?;
        socket.connect(plan.server)?;
        let local = socket.local_addr()?;
        let comb = Comb { rate: plan.rate, batch: 1, senders: 1 };
        Ok(Self {
            socket,
            local,
            comb,
            window,
            zero: Instant::now(),
            sent: 0,
            open: HashMap::new(),
            offered: 0,
            answers: 0,
            latency: histogram(),
            faults: Faults::default(),
            over: false,
        })
    }

    fn receive(&mut self) -> io::Result<()> {
        let mut answer = [0; 1500];
        loop {
            let length = match self.socket.recv(&mut answer) {
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                // Of a datagram before: no server listened.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
                Err(error) => return Err(error),
            };
            let now = crate::parts::nanoseconds(self.zero.elapsed());
            let number = answered(&answer[..length], self.local);
            match number.and_then(|number| self.open.remove(&number)) {
                Some(due) if self.in_window(due) => {
                    self.answers += 1;
                    self.latency.saturating_record(now.saturating_sub(due).max(1));
                }
                Some(_) => {}
                None => {
                    self.faults.corrupt += 1;
                    self.faults.note(|| format!("a STUN answer of {length} bytes is wrong, or to no request"));
                }
            }
        }
    }

    fn in_window(&self, at: u64) -> bool {
        (self.window[0]..self.window[1]).contains(&at)
    }
}

impl Part for Requests {
    fn owns(&self, _number: usize) -> bool {
        false
    }

    fn step(&mut self, _driver: &mut Driver, now: u64) -> io::Result<u64> {
        if self.sent == 0 {
            self.zero = Instant::now() - Duration::from_nanos(now);
        }
        self.receive()?;
        while !self.over && self.comb.due(self.sent) <= now {
            let due = self.comb.due(self.sent);
            match self.socket.send(&request(self.sent)) {
                Ok(_) => {
                    self.open.insert(self.sent, due);
                }
                // It is offered all the same.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) => return Err(error),
            }
            self.offered += u64::from(self.in_window(due));
            self.sent += 1;
        }
        Ok(self.comb.due(self.sent))
    }

    fn end(&mut self, _driver: &mut Driver) -> io::Result<()> {
        self.over = true;
        // What has been answered by now is in the socket, or was late.
        self.receive()
    }
}

impl Handler for Requests {
    fn opened(&mut self, _number: usize, _now: Instant) {}
    fn frame(&mut self, _number: usize, _frame: &[u8], _now: Instant) {}
    fn closed(&mut self, _number: usize, _why: &str) {}
}

/// A binding request as Tailscale's: it names itself, and ends with a fingerprint.
fn request(number: u64) -> [u8; REQUEST] {
    let mut bytes = [0; REQUEST];
    bytes[..4].copy_from_slice(&[0, 1, 0, (REQUEST - 20) as u8]);
    bytes[4..8].copy_from_slice(&COOKIE);
    bytes[12..20].copy_from_slice(&number.to_be_bytes());
    bytes[20..24].copy_from_slice(&[0x80, 0x22, 0, 8]);
    bytes[24..32].copy_from_slice(b"tailnode");
    bytes[32..36].copy_from_slice(&[0x80, 0x28, 0, 4]);
    let check = crc32(&bytes[..32]) ^ 0x5354_554e;
    bytes[36..].copy_from_slice(&check.to_be_bytes());
    bytes
}

/// Which request this is the right answer to.
fn answered(bytes: &[u8], local: SocketAddr) -> Option<u64> {
    let bytes: &[u8; ANSWER] = bytes.try_into().ok()?;
    let head = bytes[..4] == [1, 1, 0, 12] && bytes[4..12] == [0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0];
    let mapped = bytes[20..26] == [0, 0x20, 0, 8, 0, 1];
    let port = u16::from_be_bytes([bytes[26] ^ COOKIE[0], bytes[27] ^ COOKIE[1]]);
    let number = bytes[12..20].try_into().ok().map(u64::from_be_bytes);
    number.filter(|_| head && mapped && port == local.port())
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| crc >> 1 ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_usual_one() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    #[test]
    fn only_the_right_answer_counts() {
        let local: SocketAddr = "127.0.0.1:4660".parse().unwrap();
        let mut answer = [0; ANSWER];
        answer[..4].copy_from_slice(&[1, 1, 0, 12]);
        answer[4..20].copy_from_slice(&request(7)[4..20]);
        answer[20..26].copy_from_slice(&[0, 0x20, 0, 8, 0, 1]);
        answer[26..28].copy_from_slice(&(4660_u16 ^ 0x2112).to_be_bytes());
        assert_eq!(answered(&answer, local), Some(7));
        assert_eq!(answered(&answer[..31], local), None);
        assert_eq!(answered(&answer, "127.0.0.1:4661".parse().unwrap()), None);
        answer[1] = 0x11;
        assert_eq!(answered(&answer, local), None);
    }
}
