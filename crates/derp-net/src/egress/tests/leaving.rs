use super::*;

#[test]
fn what_waits_still_leaves_and_nothing_else_does() {
    let mut line = Line::stalled();
    line.send(PacketKind::Other, &[1, 2], 100);
    line.send(PacketKind::Disco, &[3], 100);
    assert!(line.egress.waits());
    // Its sources are told of no more, whatever still leaves.
    let sources: Vec<_> = line.act(|egress, cx| egress.leave(cx).collect());
    assert_eq!(sources, [SOURCE]);
    line.subscribers.remove(&SOURCE, DESTINATION);
    line.send(PacketKind::Other, &[4], 100);
    line.act(|egress, cx| egress.control(&frame::KEEP_ALIVE, false, cx));
    line.act(|egress, cx| egress.pong(&frame::pong(&[1; 8]), cx));
    assert_eq!(line.dropped(DropReason::GoneDisconnected, PacketKind::Other), 1);
    assert_eq!(line.read_number(), (PacketKind::Other, 0));
    assert_eq!(line.read_number(), (PacketKind::Disco, 3));
    assert_eq!(line.read_number(), (PacketKind::Other, 1));
    assert_eq!(line.read_number(), (PacketKind::Other, 2));
    assert!(!line.egress.waits());
    line.send(PacketKind::Other, &[5], 100);
    assert_eq!(line.dropped(DropReason::GoneDisconnected, PacketKind::Other), 2);
    assert_eq!(line.subscribers.take(&SOURCE).count(), 0);
    line.act(|egress, cx| assert_eq!(egress.close(cx).count(), 0));
    assert_eq!(line.egress.figures().sent.packets, 4);
}

#[test]
fn what_has_not_left_in_the_end_is_dropped() {
    let mut line = Line::stalled();
    line.send(PacketKind::Other, &[1, 2], 100);
    line.act(|egress, cx| egress.leave(cx).for_each(drop));
    line.act(|egress, cx| egress.close(cx).for_each(drop));
    assert!(!line.egress.waits());
    assert_eq!(line.dropped(DropReason::WriteError, PacketKind::Other), 1);
    assert_eq!(line.dropped(DropReason::GoneDisconnected, PacketKind::Other), 2);
}
