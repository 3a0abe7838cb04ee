//! Many datagrams with one call, and answers from the address that was asked: of several that the system has it would
//! take the one that leads to the client, from which a client, or what stands before it, may not expect an answer.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;

use derp_proto::counters::Counters;
use derp_proto::stun::{BindingRequest, MAX_RESPONSE_LENGTH};
use nix::cmsg_space;
use nix::errno::Errno;
use nix::libc::{in_addr, in_pktinfo, in6_addr, in6_pktinfo};
use nix::sys::socket::sockopt::{Ipv4PacketInfo, Ipv6RecvPacketInfo};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, MultiHeaders, RecvMsg, SockaddrStorage, recvmmsg, sendmmsg,
    setsockopt,
};

use super::tally::{BATCH, ROOM, Tally, Turned};

pub(super) struct Datagrams<'s> {
    socket: &'s UdpSocket,
    v6: bool,
    /// Whether the system says where a datagram was sent to.
    knows_local: bool,
    buffers: Vec<u8>,
    incoming: MultiHeaders<SockaddrStorage>,
    answers: Vec<Answer>,
}

struct Answer {
    to: SockaddrStorage,
    from: Option<Local>,
    bytes: [u8; MAX_RESPONSE_LENGTH],
    length: usize,
}

/// An address of ours, with its interface if it means nothing without.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Local {
    ip: IpAddr,
    interface: u32,
}

impl<'s> Datagrams<'s> {
    pub(super) fn new(socket: &'s UdpSocket) -> Self {
        let v6 = socket.local_addr().is_ok_and(|address| address.is_ipv6());
        let enabled =
            if v6 { setsockopt(socket, Ipv6RecvPacketInfo, &true) } else { setsockopt(socket, Ipv4PacketInfo, &true) };
        Self {
            socket,
            v6,
            knows_local: enabled.is_ok(),
            // Of memory that nothing was ever read into the system has none.
            buffers: vec![0; BATCH * ROOM],
            incoming: incoming(),
            answers: Vec::with_capacity(BATCH),
        }
    }

    /// Reads what there is, at most a batch, and answers it.
    pub(super) fn turn(&mut self, counters: &Counters) -> Turned {
        let mut tally = Tally::default();
        let received = match self.read(&mut tally) {
            Ok(received) => received,
            Err(Errno::EAGAIN) => return Turned::Empty,
            Err(Errno::EINTR) => return Turned::More,
            Err(_) => return Turned::Failed,
        };
        if tally.no_local_addr > 0 {
            // The system has shortened the room for what it did not say.
            self.incoming = incoming();
        }
        for group in self.answers.chunk_by(|a, b| a.from == b.from) {
            self.send(group, &mut tally);
        }
        self.answers.clear();
        tally.count(counters);
        // Fewer than there is room for were all.
        if received == BATCH { Turned::More } else { Turned::Empty }
    }

    /// Reads a batch, and has the answers ready. Returns how many datagrams it was.
    fn read(&mut self, tally: &mut Tally) -> Result<usize, Errno> {
        let mut rooms: Vec<_> = self.buffers.chunks_exact_mut(ROOM).map(|room| [IoSliceMut::new(room)]).collect();
        let flags = MsgFlags::MSG_DONTWAIT;
        let messages = recvmmsg(self.socket.as_raw_fd(), &mut self.incoming, rooms.iter_mut(), flags, None)?;
        let mut received = 0;
        for message in messages {
            received += 1;
            let request = message.iovs().next().and_then(BindingRequest::parse);
            let (Some(request), Some(to)) = (request, message.address) else {
                tally.not_stun += 1;
                continue;
            };
            let Some(asker) = address_of(&to) else {
                tally.not_stun += 1;
                continue;
            };
            tally.request(asker);
            let from = local(&message);
            if from.is_none() && self.knows_local {
                tally.no_local_addr += 1;
            }
            let (bytes, length) = request.answer(asker);
            self.answers.push(Answer { to, from, bytes, length });
        }
        Ok(received)
    }

    /// Sends answers that leave from one address.
    fn send(&self, mut group: &[Answer], tally: &mut Tally) {
        let from = group.first().and_then(|answer| answer.from);
        let (v4, v6);
        let control = match from {
            None => None,
            Some(Local { ip, interface }) if self.v6 => {
                let ip = match ip {
                    IpAddr::V4(ip) => ip.to_ipv6_mapped(),
                    IpAddr::V6(ip) => ip,
                };
                v6 = in6_pktinfo { ipi6_addr: in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: interface };
                Some((ControlMessage::Ipv6PacketInfo(&v6), cmsg_space!(in6_pktinfo)))
            }
            Some(Local { ip, .. }) => {
                let ip = if let IpAddr::V4(ip) = ip { ip } else { Ipv4Addr::UNSPECIFIED };
                let address = in_addr { s_addr: u32::from_ne_bytes(ip.octets()) };
                v4 = in_pktinfo { ipi_ifindex: 0, ipi_spec_dst: address, ipi_addr: in_addr { s_addr: 0 } };
                Some((ControlMessage::Ipv4PacketInfo(&v4), cmsg_space!(in_pktinfo)))
            }
        };
        let (control, space) = control.unzip();
        while !group.is_empty() {
            let bytes: Vec<_> = group.iter().map(|answer| [IoSlice::new(&answer.bytes[..answer.length])]).collect();
            let to: Vec<_> = group.iter().map(|answer| Some(answer.to)).collect();
            let mut outgoing = MultiHeaders::preallocate(group.len(), space.clone());
            let flags = MsgFlags::MSG_DONTWAIT;
            let fd = self.socket.as_raw_fd();
            let sent = match sendmmsg(fd, &mut outgoing, &bytes, &to, control.as_slice(), flags) {
                Ok(results) => results.count(),
                Err(Errno::EINTR) => continue,
                Err(_) => 0,
            };
            tally.success += sent as u64;
            group = &group[sent..];
            // It is the first one that could not be sent; why will be said when it is tried again, which it is not.
            if sent == 0 {
                tally.write_error += 1;
                group = &group[1..];
            }
        }
    }
}

fn incoming() -> MultiHeaders<SockaddrStorage> {
    MultiHeaders::preallocate(BATCH, Some(cmsg_space!(in6_pktinfo)))
}

/// Where a datagram was sent to.
fn local(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Local> {
    message.cmsgs().ok()?.find_map(|control| match control {
        ControlMessageOwned::Ipv4PacketInfo(info) => {
            let ip = Ipv4Addr::from(info.ipi_spec_dst.s_addr.to_ne_bytes());
            Some(Local { ip: ip.into(), interface: 0 })
        }
        ControlMessageOwned::Ipv6PacketInfo(info) => {
            let ip = Ipv6Addr::from(info.ipi6_addr.s6_addr);
            let interface = if ip.is_unicast_link_local() { info.ipi6_ifindex } else { 0 };
            Some(Local { ip: ip.into(), interface })
        }
        _ => None,
    })
}

fn address_of(address: &SockaddrStorage) -> Option<SocketAddr> {
    let v4 = address.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4).into());
    v4.or_else(|| address.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into()))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_cannot_be_sent_is_in_nobodys_way() {
        let socket = super::super::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let SocketAddr::V4(right) = client.local_addr().unwrap() else { panic!("no IPv4") };
        let wrong = SocketAddrV4::new(*right.ip(), 0);
        let from = Some(Local { ip: Ipv4Addr::LOCALHOST.into(), interface: 0 });
        let answers = [right, wrong, wrong, right].map(|to| {
            let bytes = [7; MAX_RESPONSE_LENGTH];
            Answer { to: SockaddrStorage::from(to), from, bytes, length: bytes.len() }
        });
        let mut tally = Tally::default();
        Datagrams::new(&socket).send(&answers, &mut tally);
        assert_eq!((tally.success, tally.write_error), (2, 2));
        for _ in 0..2 {
            assert_eq!(client.recv(&mut [0; 100]).unwrap(), MAX_RESPONSE_LENGTH);
        }
    }
}
