//! A bounded queue that makes room at its head: in a relay, the oldest packet is the one worth least.
use std::collections::VecDeque;

use crate::drop_reason::DropReason;

/// A FIFO. Holds no memory while it is empty.
#[derive(Clone, Debug)]
pub struct Queue<T> {
    items: VecDeque<T>,
}

impl<T> Queue<T> {
    /// An empty queue.
    pub const fn new() -> Self {
        Self { items: VecDeque::new() }
    }

    /// Appends. Returns what had to go, and why: from a queue of `depth` the oldest, at depth 0 the new one itself.
    ///
    /// The depth may change from call to call; a queue that is longer than a new one shrinks as it drains.
    pub fn push(&mut self, item: T, depth: usize) -> Option<(DropReason, T)> {
        if depth == 0 {
            return Some((DropReason::QueueTail, item));
        }
        let oldest = if self.items.len() >= depth { self.items.pop_front() } else { None };
        self.items.push_back(item);
        oldest.map(|oldest| (DropReason::QueueHead, oldest))
    }

    /// Takes the oldest.
    pub fn pop(&mut self) -> Option<T> {
        let item = self.items.pop_front();
        if self.items.is_empty() {
            self.items = VecDeque::new();
        }
        item
    }

    /// The oldest, left where it is.
    pub fn front(&self) -> Option<&T> {
        self.items.front()
    }

    /// How many are waiting.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Takes everything, the oldest first.
    pub fn drain(&mut self) -> impl ExactSizeIterator<Item = T> + use<T> {
        std::mem::take(&mut self.items).into_iter()
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Op {
        Push { depth: usize },
        Pop,
        Drain,
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            8 => (0..6_usize).prop_map(|depth| Op::Push { depth }),
            5 => Just(Op::Pop),
            1 => Just(Op::Drain),
        ]
    }

    #[test]
    fn an_empty_queue_holds_no_memory() {
        let mut queue = Queue::new();
        for round in 0..3 {
            for item in 0..32 {
                assert_eq!(queue.push(item, 32), None);
            }
            if round == 1 {
                assert_eq!(queue.drain().count(), 32);
            } else {
                while queue.pop().is_some() {}
            }
            assert_eq!(queue.items.capacity(), 0);
        }
    }

    #[test]
    fn room_is_made_for_what_there_is() {
        let mut queue = Queue::new();
        queue.push(0_u64, 1 << 16);
        assert!(queue.items.capacity() <= 4);
    }

    proptest! {
        #[test]
        fn it_is_a_list_that_is_cut_at_its_head(ops in prop::collection::vec(op(), 0..200)) {
            let mut queue = Queue::new();
            let mut model = VecDeque::new();
            for (item, op) in ops.into_iter().enumerate() {
                match op {
                    Op::Push { depth: 0 } => prop_assert_eq!(queue.push(item, 0), Some((DropReason::QueueTail, item))),
                    Op::Push { depth } => {
                        let full = model.len() >= depth;
                        model.push_back(item);
                        let oldest = full.then(|| (DropReason::QueueHead, model.pop_front().unwrap()));
                        prop_assert_eq!(queue.push(item, depth), oldest);
                    }
                    Op::Pop => prop_assert_eq!(queue.pop(), model.pop_front()),
                    Op::Drain => prop_assert!(queue.drain().eq(model.drain(..))),
                }
                prop_assert_eq!(queue.len(), model.len());
                prop_assert_eq!(queue.is_empty(), model.is_empty());
                prop_assert_eq!(queue.front(), model.front());
            }
        }
    }
}
