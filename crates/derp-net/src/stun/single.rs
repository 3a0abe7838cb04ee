//! One datagram at a time, which every system can.

use std::io::ErrorKind;
use std::net::UdpSocket;

use derp_proto::counters::Counters;
use derp_proto::stun::BindingRequest;

use super::tally::{BATCH, ROOM, Tally, Turned};

pub(super) struct Datagrams<'s> {
    socket: &'s UdpSocket,
    buffer: Vec<u8>,
}

impl<'s> Datagrams<'s> {
    pub(super) fn new(socket: &'s UdpSocket) -> Self {
        Self { socket, buffer: vec![0; ROOM] }
    }

    /// Reads and answers what there is, but not for ever.
    pub(super) fn turn(&mut self, counters: &Counters) -> Turned {
        let mut tally = Tally::default();
        let mut turned = Turned::More;
        for _ in 0..BATCH {
            let (length, from) = match self.socket.recv_from(&mut self.buffer) {
                Ok(received) => received,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => {
                    turned = if error.kind() == ErrorKind::WouldBlock { Turned::Empty } else { Turned::Failed };
                    break;
                }
            };
            let Some(request) = BindingRequest::parse(&self.buffer[..length]) else {
                tally.not_stun += 1;
                continue;
            };
            tally.request(from);
            let (answer, length) = request.answer(from);
            match self.socket.send_to(&answer[..length], from) {
                Ok(_) => tally.success += 1,
                Err(_) => tally.write_error += 1,
            }
        }
        tally.count(counters);
        turned
    }
}
