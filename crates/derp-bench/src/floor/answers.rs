//! STUN answers: one receive and one send for each.

use std::io;
use std::net::SocketAddr;

use derp_proto::stun::BindingRequest;
use mio::net::UdpSocket;

/// More than a request has.
const DATAGRAM: usize = 1500;

/// Answers every request that waits.
pub(super) fn answer(socket: &UdpSocket) -> io::Result<()> {
    let mut datagram = [0; DATAGRAM];
    loop {
        let (length, from): (usize, SocketAddr) = match socket.recv_from(&mut datagram) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            // Of an answer before: its client is gone.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => continue,
            Err(error) => return Err(error),
        };
        if let Some(request) = BindingRequest::parse(&datagram[..length]) {
            let (answer, length) = request.answer(from);
            let _ = socket.send_to(&answer[..length], from);
        }
    }
}
