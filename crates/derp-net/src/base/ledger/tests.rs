use super::*;

const RULES: Rules =
    Rules { free: 10, alike: 1000, held: Counter::HELD_PARTIAL_BYTES, over: Counter::OVER_BUDGET_PARTIAL_BYTES };

#[cfg(not(loom))]
mod alone {
    use proptest::prelude::*;

    use super::*;

    fn digits(amount: usize) -> u32 {
        let counted = if amount > RULES.free { amount.min(RULES.alike) } else { 0 };
        usize::BITS - counted.leading_zeros()
    }

    proptest! {
        /// The model is a list of everybody, in the order in which each has got as much as it has.
        #[test]
        fn the_largest_is_the_oldest_of_those_that_have_about_the_most(
            ops in prop::collection::vec((0..12_usize, 0..5000_usize), 0..300),
        ) {
            let counters = Counters::default();
            let ledger = Ledger::new(3, RULES);
            let mut notes = [Note::default(); 12];
            let mut model: Vec<(usize, usize)> = Vec::new();
            for (holder, amount) in ops {
                let before = model.iter().find(|(other, _)| *other == holder).map_or(0, |(_, amount)| *amount);
                let grows = ledger.note(holder % 3, &mut notes[holder], holder, amount, &counters);
                let counted = |amount| if amount > RULES.free { amount } else { 0 };
                prop_assert_eq!(grows, counted(amount) > counted(before));
                if digits(before) == digits(amount) {
                    model.iter_mut().filter(|(other, _)| *other == holder).for_each(|row| row.1 = amount);
                } else {
                    model.retain(|(other, _)| *other != holder);
                    model.push((holder, amount));
                }
                let held: usize = model.iter().map(|(_, amount)| counted(*amount)).sum();
                prop_assert_eq!(counters.read(RULES.held), held as u64);
                prop_assert_eq!(ledger.excess(100, &counters), held.saturating_sub(100));
                let most = model.iter().map(|(_, amount)| digits(*amount)).max().unwrap_or(0);
                for worker in 0..3 {
                    let largest = ledger.largest(worker);
                    prop_assert_eq!(largest.is_some(), most > 0);
                    let Some((of, holder)) = largest else { continue };
                    prop_assert_eq!(of, holder % 3);
                    // Of its own worker's, if that has one as large.
                    let of_own = model.iter().any(|(other, amount)| other % 3 == worker && digits(*amount) == most);
                    prop_assert_eq!(of == worker, of_own);
                    let oldest = model.iter().find(|(other, amount)| other % 3 == of && digits(*amount) == most);
                    prop_assert_eq!(oldest.map(|row| row.0), Some(holder));
                }
            }
            for (holder, note) in notes.iter_mut().enumerate() {
                ledger.note(holder % 3, note, holder, 0, &counters);
            }
            prop_assert_eq!(counters.read(RULES.held), 0);
            prop_assert!(ledger.shards.iter().all(|shard| shard.lists.lock().entries.capacity() == 0));
        }
    }

    #[test]
    fn a_worker_is_asked_once_until_it_looks() {
        let ledger: Ledger<()> = Ledger::new(2, RULES);
        assert_eq!([ledger.asks(1), ledger.asks(1), ledger.asks(0)], [true, false, true]);
        ledger.looks(1);
        assert!(ledger.asks(1));
    }
}

#[cfg(loom)]
mod loom {
    use derp_proto::sync::Arc;

    use super::*;

    /// Holders of two workers come, grow and go at once, and somebody looks for the largest meanwhile: it is one that was
    /// there, and in the end the sum and the lists say what there is.
    #[test]
    fn whatever_comes_between_the_books_are_right() {
        let mut builder = ::loom::model::Builder::new();
        // More takes minutes, and finds nothing more.
        builder.preemption_bound = Some(3);
        builder.check(|| {
            let shared = Arc::new((Ledger::new(2, RULES), Counters::default()));
            let others = [0, 1].map(|worker| {
                let shared = Arc::clone(&shared);
                ::loom::thread::spawn(move || {
                    let (ledger, counters) = &*shared;
                    let mut note = Note::default();
                    ledger.note(worker, &mut note, worker, 20, counters);
                    if worker == 1 {
                        ledger.note(worker, &mut note, worker, 520, counters);
                    }
                    note
                })
            });
            let (ledger, counters) = &*shared;
            if let Some((worker, holder)) = ledger.largest(0) {
                assert_eq!(worker, holder);
            }
            let mut notes = others.map(|other| other.join().unwrap());
            assert_eq!(counters.read(RULES.held), 540);
            assert_eq!(ledger.largest(0), Some((1, 1)));
            for (worker, note) in notes.iter_mut().enumerate() {
                ledger.note(worker, note, worker, 0, counters);
            }
            assert_eq!((counters.read(RULES.held), ledger.largest(0)), (0, None));
        });
    }
}
