use super::*;

#[test]
fn what_waits_still_leaves_and_nothing_else_does() {
    let mut wire = SocketWriter::stalled();
    wire.send(PacketKind::Other, &[1, 2], 100);
    wire.send(PacketKind::Disco, &[3], 100);
    assert!(wire.egress.waits());
    // Its sources are told of no more, whatever still leaves.
    let sources: Vec<_> = wire.act(|egress, cx| egress.leave(cx).collect());
    assert_eq!(sources, [SOURCE]);
    wire.subscribers.remove(&SOURCE, DESTINATION);
    wire.send(PacketKind::Other, &[4], 100);
    wire.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, false, cx));
    wire.act(|egress, cx| egress.pong(&frame::pong(&[1; 8]), cx));
    assert_eq!(wire.dropped(DropReason::GoneDisconnected, PacketKind::Other), 1);
    assert_eq!(wire.read_number(), (PacketKind::Other, 0));
    assert_eq!(wire.read_number(), (PacketKind::Disco, 3));
    assert_eq!(wire.read_number(), (PacketKind::Other, 1));
    assert_eq!(wire.read_number(), (PacketKind::Other, 2));
    assert!(!wire.egress.waits());
    wire.send(PacketKind::Other, &[5], 100);
    assert_eq!(wire.dropped(DropReason::GoneDisconnected, PacketKind::Other), 2);
    assert_eq!(wire.subscribers.take(&SOURCE).count(), 0);
    wire.act(|egress, cx| assert_eq!(egress.close(cx).count(), 0));
    assert_eq!(wire.egress.figures().sent.packets, 4);
}

#[test]
fn what_has_not_left_in_the_end_is_dropped() {
    let mut wire = SocketWriter::stalled();
    wire.send(PacketKind::Other, &[1, 2], 100);
    wire.act(|egress, cx| egress.leave(cx).for_each(drop));
    wire.act(|egress, cx| egress.close(cx).for_each(drop));
    assert!(!wire.egress.waits());
    assert_eq!(wire.dropped(DropReason::WriteError, PacketKind::Other), 1);
    assert_eq!(wire.dropped(DropReason::GoneDisconnected, PacketKind::Other), 2);
}
