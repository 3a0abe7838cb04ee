//! Which of the several connections of one key is active, that is: gets the packets. The last one to connect or to send
//! anything is.
//!
//! `src/plane/js/duplicates.ts` is the same machine, and `__test__/vectors/duplicates.json` holds both to upstream.

/// The connections of a key that has several: made when the second one comes, dropped when but one is left.
#[derive(Clone, Debug)]
pub struct Duplicates<C> {
    /// In the order in which they came; two or more, but for the one that [`Duplicates::remove`] may leave.
    members: Vec<C>,
    active: C,
    /// Members by their latest activity, the most recent last, each once: who takes over when the active one leaves.
    /// The second connection of a key is in it only once it has sent something; that is derper's rule, and clients can
    /// see it.
    history: Vec<C>,
}

impl<C: Copy + PartialEq> Duplicates<C> {
    /// A second connection of a key that had `first`. It is active at once.
    pub fn new(first: C, second: C) -> Self {
        Self { members: vec![first, second], active: second, history: vec![first] }
    }

    /// A further connection, which is no member yet. It is active at once.
    pub fn add(&mut self, connection: C) {
        self.members.push(connection);
        self.history.push(connection);
        self.active = connection;
    }

    /// A member has sent a frame. It is active from here on.
    #[inline]
    pub fn activity(&mut self, connection: C) {
        self.active = connection;
        if self.history.last() != Some(&connection) {
            self.history.retain(|&member| member != connection);
            self.history.push(connection);
        }
    }

    /// A member has left. Says which one is left if there is but one: it is active, and no duplicate any more.
    pub fn remove(&mut self, connection: C) -> Option<C> {
        self.members.retain(|&member| member != connection);
        self.history.retain(|&member| member != connection);
        if self.active == connection
            && let Some(&successor) = self.history.last().or(self.members.last())
        {
            self.active = successor;
        }
        match self.members[..] {
            [survivor] => {
                self.active = survivor;
                Some(survivor)
            }
            _ => None,
        }
    }

    /// Gets the packets.
    #[inline]
    pub fn active(&self) -> C {
        self.active
    }

    /// Whether a frame of the active connection would change nothing: so it is until another one comes, leaves or
    /// sends. A caller that keeps only the active connection at hand has to keep this bit with it, or else the second
    /// connection of a key would never be remembered.
    #[inline]
    pub fn is_settled(&self) -> bool {
        self.history.last() == Some(&self.active)
    }

    /// All of them, in the order in which they came.
    pub fn members(&self) -> &[C] {
        &self.members
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Add,
        Activity(prop::sample::Index),
        Remove(prop::sample::Index),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            2 => Just(Op::Add),
            5 => any::<prop::sample::Index>().prop_map(Op::Activity),
            2 => any::<prop::sample::Index>().prop_map(Op::Remove),
        ]
    }

    proptest! {
        #[test]
        fn whatever_happens(ops in prop::collection::vec(op(), 0..100)) {
            let mut duplicates = Duplicates::new(0, 1);
            let mut live = vec![0, 1];
            let mut latest = Some(1);
            for (number, op) in ops.into_iter().enumerate() {
                let mut left = None;
                match op {
                    Op::Add => {
                        let connection = number + 2;
                        live.push(connection);
                        latest = Some(connection);
                        duplicates.add(connection);
                    }
                    Op::Activity(at) => {
                        let connection = live[at.index(live.len())];
                        latest = Some(connection);
                        duplicates.activity(connection);
                        prop_assert!(duplicates.is_settled());
                    }
                    Op::Remove(at) => {
                        let connection = live.remove(at.index(live.len()));
                        latest = latest.filter(|&latest| latest != connection);
                        left = duplicates.remove(connection);
                    }
                }
                prop_assert_eq!(duplicates.members(), &live[..]);
                prop_assert!(live.contains(&duplicates.active()));
                // The last to come or to send has the packets, for as long as it is there.
                prop_assert!(latest.is_none_or(|latest| latest == duplicates.active()));
                prop_assert!(duplicates.history.iter().all(|member| live.contains(member)));
                let mut once = duplicates.history.clone();
                once.sort_unstable();
                once.dedup();
                prop_assert_eq!(once.len(), duplicates.history.len());
                if duplicates.is_settled() {
                    let mut same = duplicates.clone();
                    same.activity(duplicates.active());
                    prop_assert_eq!(&same.history, &duplicates.history);
                }
                prop_assert_eq!(left, if live.len() == 1 { Some(live[0]) } else { None });
                if live.len() == 1 {
                    break;
                }
            }
        }
    }
}
