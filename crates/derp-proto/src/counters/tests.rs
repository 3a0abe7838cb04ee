use super::*;

#[test]
fn every_row_counts_alone() {
    let counters = Counters::new();
    for counter in Counter::all() {
        counters.add(counter, counter.index() as u64 + 1);
    }
    for (index, counter) in Counter::all().enumerate() {
        assert_eq!(counter.index(), index);
        assert_eq!(counters.read(counter), index as u64 + 1, "{counter}");
        assert_eq!(counters.cells()[index].load(Ordering::Relaxed), index as u64 + 1);
    }
}

#[test]
fn what_is_taken_from_a_row_is_taken_from_it_alone() {
    let counters = Counters::new();
    counters.add(Counter::PACKETS_SENT, 5);
    counters.add(Counter::FRAMES_WRITTEN, 5);
    counters.subtract(Counter::PACKETS_SENT, 3);
    assert_eq!(counters.read(Counter::PACKETS_SENT), 2);
    assert_eq!(counters.read(Counter::FRAMES_WRITTEN), 5);
}

#[test]
fn a_drop_is_a_packet_and_its_bytes() {
    for reason in DropReason::ALL {
        for kind in PacketKind::ALL {
            let counters = Counters::new();
            counters.dropped(reason, kind, 100);
            let counted: Vec<_> = Counter::all().filter(|&counter| counters.read(counter) > 0).collect();
            let [packets, bytes] = counted[..] else { panic!("{counted:?}") };
            assert_eq!(packets.to_string(), format!("packets_dropped:{}:{}", reason.as_str(), kind.as_str()));
            assert_eq!(bytes.to_string(), format!("bytes_dropped:{}:{}", reason.as_str(), kind.as_str()));
            assert_eq!([packets, bytes].map(|counter| counters.read(counter)), [1, 100]);
        }
    }
}

#[test]
fn a_row_of_a_histogram_is_the_first_whose_bound_is_not_exceeded() {
    let of = |counter: Counter| counter.to_string();
    for (frames, row) in [(0, "0"), (1, "1"), (10, "10"), (11, "15"), (15, "15"), (100, "100"), (101, "more")] {
        assert_eq!(of(Counter::write_frames(frames)), format!("write_frames:{row}"));
    }
    let millis = [(0, "10ms"), (10, "10ms"), (11, "20ms"), (250, "250ms"), (500, "500ms"), (501, "inf")];
    for (millis, row) in millis {
        assert_eq!(of(Counter::round_trip(Duration::from_millis(millis))), format!("tcp_rtt:{row}"));
    }
    let counters = Counters::new();
    counters.wrote(0);
    counters.wrote(3);
    counters.wrote(200);
    assert_eq!(counters.read(Counter::FRAMES_WRITTEN), 203);
    assert_eq!(counters.read(Counter::WRITE_FRAMES_MORE), 1);
}

#[test]
fn the_queue_time_is_what_one_packet_after_the_other_makes_of_it() {
    let counters = Counters::new();
    let mut waits = Waits::none(0);
    let mut expected = 0.0;
    for millis in [100, 0, 50, 700] {
        waits.add(Duration::from_millis(millis));
        expected += 0.1 * (millis as f64 - expected);
    }
    counters.waited(waits);
    counters.waited(Waits::none(3));
    expected *= 0.9 * 0.9 * 0.9;
    let shown = counters.read(Counter::QUEUE_TIME) as f64 / 1e6;
    assert!((shown - expected).abs() < 1e-4, "{shown} is not {expected}");
    // Nothing stays of a wait that is long over.
    counters.waited(Waits::none(400));
    assert_eq!(counters.read(Counter::QUEUE_TIME), 0);
}

#[test]
fn the_average_goes_on_where_the_waits_before_have_left_it() {
    let counters = Counters::new();
    let mut expected = 0.0;
    for batch in [[40, 300], [0, 90], [5, 5]] {
        let mut waits = Waits::none(2);
        expected *= 0.9 * 0.9;
        for millis in batch {
            waits.add(Duration::from_millis(millis));
            expected += 0.1 * (millis as f64 - expected);
        }
        counters.waited(waits);
    }
    let shown = counters.read(Counter::QUEUE_TIME) as f64 / 1e6;
    assert!((shown - expected).abs() < 1e-4, "{shown} is not {expected}");
}

#[test]
fn threads_lose_nothing() {
    let counters = Counters::new();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..1000).for_each(|_| counters.add(Counter::PACKETS_SENT, 3)));
        }
    });
    assert_eq!(counters.read(Counter::PACKETS_SENT), 12_000);
}
