use super::*;

#[test]
fn heads_leave_in_front_of_their_packets_wherever_a_write_ends() {
    for length in [1, 37, 500, 5000, 40_000] {
        let mut wire = SocketWriter::admitted();
        wire.depth = 1000;
        let info = PacketInfo { source: SOURCE, kind: PacketKind::Other, payload: length };
        let heads: Vec<_> =
            (0..150_u8).map(|number| frame::forward_head(&NodeKey::from_bytes([number; 32]), length)).collect();
        let bodies: Vec<_> = (0..150_u8).map(|number| vec![number; 32 + length]).collect();
        let frames: Vec<_> =
            heads.iter().zip(&bodies).map(|(head, bytes)| Frame { head, bytes, packet: Some(info) }).collect();
        wire.act(|egress, cx| egress.packets(&frames, cx));
        for (head, body) in heads.iter().zip(&bodies) {
            assert!(wire.read_frame() == [&head[..], body].concat());
        }
        assert_eq!(wire.egress.figures().sent, Tally { packets: 150, bytes: 150 * length as u64 });
    }
}

#[test]
fn a_link_drops_under_names_of_its_own_and_is_in_no_other_figure() {
    let mut wire = SocketWriter::admitted();
    wire.link = true;
    wire.depth = 2;
    wire.send(PacketKind::Other, &[0], 4 << 20);
    wire.send(PacketKind::Other, &[1, 2, 3], 10);
    wire.send(PacketKind::Disco, &[1, 2, 3], 10);
    for kind in PacketKind::ALL {
        assert_eq!(wire.dropped(DropReason::MeshQueue, kind), 1);
    }
    wire.act(|egress, cx| assert_eq!(egress.close(cx).count(), 0));
    assert_eq!(wire.dropped(DropReason::MeshDown, PacketKind::Other), 3);
    assert_eq!(wire.dropped(DropReason::MeshDown, PacketKind::Disco), 2);
    wire.send(PacketKind::Other, &[4], 10);
    assert_eq!(wire.dropped(DropReason::MeshDown, PacketKind::Other), 4);
    let counted = Counter::all().filter(|counter| wire.counters.read(*counter) > 0);
    let names: Vec<_> = counted.map(|counter| counter.to_string()).filter(|name| !name.contains(":mesh_")).collect();
    assert_eq!(names, [""; 0]);
    // Nobody is told of sources that a link has had packets of.
    assert_eq!(wire.subscribers.take(&SOURCE).count(), 0);
}
