//! How often the whole way of a packet asks for memory, from the socket that it is read from to the one that it is
//! written to: exactly. A read has one list of what lies where in it; a packet has nothing.
#[path = "../../derp-proto/tests/counting/mod.rs"]
mod counting;
mod support;

use std::io::Write;

use counting::{allocations, leave_out_this_thread};
use derp_proto::server_frame::ServerFrame;
use support::{Client, Relay, policy, send_packet};

#[test]
fn a_read_asks_for_memory_once_and_a_packet_never() {
    leave_out_this_thread();
    let relay = Relay::start(1, policy());
    let mut senders: Vec<_> = (1..5).map(|number| Client::connect(&relay, number)).collect();
    let mut receivers: Vec<_> = (5..9).map(|number| Client::connect(&relay, number)).collect();
    let keys: Vec<_> = receivers.iter().map(|client| client.key).collect();
    let mut exchange = |rounds: u8| {
        for round in 0..rounds {
            for sender in &mut senders {
                // To each of them, so that one read has several destinations.
                let row: Vec<u8> = keys.iter().flat_map(|key| send_packet(key, &[round; 1400])).collect();
                sender.stream.write_all(&row).unwrap();
                for receiver in &mut receivers {
                    while !matches!(ServerFrame::read(&receiver.read().unwrap()), Some(ServerFrame::RecvPacket { .. }))
                    {
                    }
                }
            }
        }
    };
    // What is kept for later is made by the first ones.
    exchange(3);
    let reads = 100 * 4;
    assert_eq!(allocations(|| exchange(100)), reads);
}
