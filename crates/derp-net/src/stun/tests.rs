use std::net::Ipv6Addr;

use derp_proto::stun::BindingRequest;

use derp_proto::counters::Counters;

use super::tally::BATCH;
use super::*;

const REQUEST: [u8; 40] = *b"\x00\x01\x00\x14\x21\x12\xa4\x42\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\x01\
    \x80\x22\x00\x08tailnode\x80\x28\x00\x04\x35\x5f\x9b\x89";

/// A client of this address.
fn client(address: &str) -> UdpSocket {
    let client = UdpSocket::bind(format!("{address}:0")).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client
}

/// Sends more than a batch, and some things that are no requests; the answers have to be right, and all of it counted.
fn crowd(socket: &UdpSocket, to: SocketAddr, from: &str, mut turn: impl FnMut(&Counters) -> Turned) -> Counters {
    let counters = Counters::default();
    let clients: Vec<_> = (0..5).map(|_| client(from)).collect();
    let requests = BATCH as u64 + 8;
    for index in 0..requests {
        let client = &clients[index as usize % clients.len()];
        client.send_to(&REQUEST, to).unwrap();
        client.send_to(&REQUEST[..39], to).unwrap();
    }
    clients[0].send_to(&[], to).unwrap();
    clients[0].send_to(&vec![0; 60_000], to).unwrap();
    while turn(&counters) == Turned::More {}
    assert_eq!(turn(&counters), Turned::Empty);
    for index in 0..requests {
        let client = &clients[index as usize % clients.len()];
        let mut bytes = [0; 100];
        let (length, answered) = client.recv_from(&mut bytes).unwrap();
        let (answer, expected) = BindingRequest::parse(&REQUEST).unwrap().answer(client.local_addr().unwrap());
        assert_eq!(bytes[..length], answer[..expected]);
        assert_eq!(answered, to, "asked and answered at the same address");
    }
    assert_eq!(counters.read(Counter::STUN_SUCCESS), requests);
    assert_eq!(counters.read(Counter::STUN_NOT_STUN), requests + 2);
    assert_eq!(counters.read(Counter::STUN_WRITE_ERROR), 0);
    assert_eq!(counters.read(Counter::STUN_NO_LOCAL_ADDR), 0);
    assert_eq!(socket.take_error().unwrap().map(|error| error.kind()), None);
    counters
}

fn bound(address: &str) -> UdpSocket {
    bind(address.parse().unwrap()).unwrap()
}

#[test]
fn one_at_a_time() {
    let socket = bound("127.0.0.1:0");
    let mut datagrams = single::Datagrams::new(&socket);
    let counters = crowd(&socket, socket.local_addr().unwrap(), "127.0.0.1", |counters| datagrams.turn(counters));
    assert_eq!(counters.read(Counter::STUN_IPV6), 0);
}

#[cfg(target_os = "linux")]
#[test]
fn many_at_a_time_from_the_address_that_was_asked() {
    let socket = bound("0.0.0.0:0");
    let port = socket.local_addr().unwrap().port();
    let mut datagrams = many::Datagrams::new(&socket);
    // All of 127.0.0.0/8 is this machine; left to itself, the system answers from 127.0.0.1.
    for to in ["127.0.0.2", "127.0.0.1", "127.3.2.1"] {
        let to = SocketAddr::new(to.parse().unwrap(), port);
        let counters = crowd(&socket, to, "127.0.0.1", |counters| datagrams.turn(counters));
        assert!(counters.read(Counter::STUN_IPV4) > 0);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn on_one_socket_for_both_families() {
    let Ok(socket) = bind("[::]:0".parse().unwrap()) else { return };
    let address = socket.local_addr().unwrap();
    if address.is_ipv4() {
        return;
    }
    let mut datagrams = many::Datagrams::new(&socket);
    for (to, from) in [("127.0.0.2", "127.0.0.1"), ("::1", "[::1]"), ("127.0.0.2", "127.0.0.1")] {
        if to == "::1" && UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            continue;
        }
        let to = SocketAddr::new(to.parse().unwrap(), address.port());
        let counters = crowd(&socket, to, from, |counters| datagrams.turn(counters));
        assert_eq!(counters.read(Counter::STUN_IPV4) > 0, to.is_ipv4());
        assert_eq!(counters.read(Counter::STUN_IPV6) > 0, to.is_ipv6());
    }
}
