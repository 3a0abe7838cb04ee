//! What a WebSocket puts in front of everything.

use super::*;

impl SocketWriter {
    /// Reads what is there, and drains the egress, until both have no more.
    fn read_raw(&mut self, mut most: usize) -> Vec<u8> {
        self.client.set_nonblocking(true).unwrap();
        let (mut bytes, mut chunk) = (Vec::new(), [0; 4096]);
        while most > 0
            && let Ok(count) = self.client.read(&mut chunk[..most.min(4096)])
            && count > 0
        {
            bytes.extend_from_slice(&chunk[..count]);
            most -= count;
            self.act(|egress, cx| egress.drain(cx));
        }
        bytes
    }
}

/// The frames of a WebSocket's server, which have to be whole: opcode and payload.
fn web_socket_frames(mut bytes: &[u8]) -> Vec<(u8, Vec<u8>)> {
    let mut frames = Vec::new();
    while let [first, second, rest @ ..] = bytes {
        let (length, rest) = match second {
            126 => (usize::from(u16::from_be_bytes(*rest.first_chunk().unwrap())), &rest[2..]),
            127 => (u64::from_be_bytes(*rest.first_chunk().unwrap()) as usize, &rest[8..]),
            _ => (usize::from(*second), rest),
        };
        assert_eq!(first & 0xf0, 0x80, "in one piece, and nothing reserved");
        frames.push((first & 0x0f, rest[..length].to_vec()));
        bytes = &rest[length..];
    }
    assert_eq!(bytes, []);
    frames
}

#[test]
fn messages_of_a_web_socket_are_whole_wherever_the_socket_cuts() {
    let mut wire = SocketWriter::over(crate::io::writer::SocketWriter::into_web_socket);
    wire.act(|egress, cx| egress.welcome(&frame::KEEP_ALIVE, cx));
    wire.depth = 10_000;
    let (mut raw, mut next, mut was_full) = (Vec::new(), 0, false);
    for (round, length) in (4..3000).step_by(61).chain([70_000, 5, 65_536, 100]).enumerate() {
        wire.send(Other, &[next, next + 1, next + 2], length);
        next += 3;
        wire.act(|egress, cx| egress.web_socket_pong(&[round as u8], cx));
        was_full |= wire.egress.backlog.is_some();
        raw.extend(wire.read_raw(if round % 3 == 0 { 5000 } else { 0 }));
    }
    assert!(was_full);
    raw.extend(wire.read_raw(usize::MAX));
    assert!(wire.egress.backlog.is_none());
    assert_eq!(wire.accounted(), u64::from(next));
    wire.act(|egress, _| egress.owe_close(b"\x0f\xa0bye"));
    wire.act(|egress, cx| egress.close(cx).count());
    raw.extend(wire.read_raw(usize::MAX));

    let mut frames = web_socket_frames(&raw);
    assert_eq!(frames.pop(), Some((8, b"\x0f\xa0bye".to_vec())));
    let pongs: Vec<u8> = frames.iter().filter(|(opcode, _)| *opcode == 10).map(|(_, payload)| payload[0]).collect();
    assert!(pongs.is_sorted() && pongs.len() > 3);
    assert_eq!(pongs.last().map(|last| u32::from(*last)), Some(next / 3 - 1), "the last ping has its answer");
    assert!(frames.iter().all(|(opcode, payload)| [2, 10].contains(opcode) && payload.len() <= 64 << 10));
    wire.received = frames.into_iter().filter(|(opcode, _)| *opcode == 2).flat_map(|(_, payload)| payload).collect();
    assert_eq!(wire.read_frame(), frame::KEEP_ALIVE);
    assert_eq!(wire.read_numbers(next as usize), numbers(0..next, Other));
    assert!(wire.received.is_empty());
}

#[test]
fn a_web_socket_that_takes_nothing_hears_no_more() {
    let mut wire = SocketWriter::over(crate::io::writer::SocketWriter::into_web_socket);
    wire.act(|egress, cx| egress.welcome(&frame::KEEP_ALIVE, cx));
    wire.send(Other, &[0], 4 << 20);
    assert!(wire.outcome().stalled);
    for ping in 0..100 {
        wire.act(|egress, cx| egress.web_socket_pong(&[ping; 125], cx));
    }
    // Half a message is out: a close frame would be taken for the rest of it.
    wire.act(|egress, cx| egress.close(cx).count());
    let raw = wire.read_raw(usize::MAX);
    assert_eq!(raw[..3], [0x82, 5, frame::KEEP_ALIVE[0]]);
    assert!(raw.len() < 1 << 20);
    assert_eq!(wire.dropped(DropReason::WriteError, Other), 1);
}
