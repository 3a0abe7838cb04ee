use super::*;

#[test]
fn heads_leave_in_front_of_their_packets_wherever_a_write_ends() {
    for length in [1, 37, 500, 5000, 40_000] {
        let mut line = Line::admitted();
        line.depth = 1000;
        let info = PacketInfo { source: SOURCE, kind: PacketKind::Other, payload: length };
        let heads: Vec<_> =
            (0..150_u8).map(|number| frame::forward_head(&NodeKey::from_bytes([number; 32]), length)).collect();
        let bodies: Vec<_> = (0..150_u8).map(|number| vec![number; 32 + length]).collect();
        let frames: Vec<_> =
            heads.iter().zip(&bodies).map(|(head, bytes)| Frame { head, bytes, packet: Some(info) }).collect();
        line.act(|egress, cx| egress.packets(&frames, cx));
        for (head, body) in heads.iter().zip(&bodies) {
            assert!(line.read_frame() == [&head[..], body].concat());
        }
        assert_eq!(line.egress.figures().sent, Tally { packets: 150, bytes: 150 * length as u64 });
    }
}

#[test]
fn a_link_drops_under_names_of_its_own_and_is_in_no_other_figure() {
    let mut line = Line::admitted();
    line.link = true;
    line.depth = 2;
    line.send(PacketKind::Other, &[0], 4 << 20);
    line.send(PacketKind::Other, &[1, 2, 3], 10);
    line.send(PacketKind::Disco, &[1, 2, 3], 10);
    for kind in PacketKind::ALL {
        assert_eq!(line.dropped(DropReason::MeshQueue, kind), 1);
    }
    line.act(|egress, cx| assert_eq!(egress.close(cx).count(), 0));
    assert_eq!(line.dropped(DropReason::MeshDown, PacketKind::Other), 3);
    assert_eq!(line.dropped(DropReason::MeshDown, PacketKind::Disco), 2);
    line.send(PacketKind::Other, &[4], 10);
    assert_eq!(line.dropped(DropReason::MeshDown, PacketKind::Other), 4);
    let counted = Counter::all().filter(|counter| line.counters.read(*counter) > 0);
    let names: Vec<_> = counted.map(|counter| counter.to_string()).filter(|name| !name.contains(":mesh_")).collect();
    assert_eq!(names, [""; 0]);
    // Nobody is told of sources that a link has had packets of.
    assert_eq!(line.subscribers.take(&SOURCE).count(), 0);
}
