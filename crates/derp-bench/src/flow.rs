//! Packets from one client to another: who they are, and whether they come in the order in which they were sent.

/// By client number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Flow {
    pub(crate) from: usize,
    pub(crate) to: usize,
}

/// Client 0 to 1, 2 to 3, and so on.
pub(crate) fn pairs(count: usize) -> Vec<Flow> {
    (0..count).map(|pair| Flow { from: 2 * pair, to: 2 * pair + 1 }).collect()
}

/// All to the last client.
pub(crate) fn fan_in(senders: usize) -> Vec<Flow> {
    (0..senders).map(|from| Flow { from, to: senders }).collect()
}

/// The first client to all others.
pub(crate) fn fan_out(receivers: usize) -> Vec<Flow> {
    (1..=receivers).map(|to| Flow { from: 0, to }).collect()
}

/// Each client to the next one.
pub(crate) fn ring(clients: usize) -> Vec<Flow> {
    (0..clients).map(|from| Flow { from, to: (from + 1) % clients }).collect()
}

/// How many clients the flows are between.
pub(crate) fn clients(flows: &[Flow]) -> usize {
    flows.iter().map(|flow| flow.from.max(flow.to) + 1).max().unwrap_or(0)
}

/// What a flow's receiver has seen of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Received {
    pub(crate) packets: u64,
    /// One more than the highest sequence number.
    pub(crate) end: u64,
}

impl Received {
    /// False for a packet that comes after a later one, or again. Gaps are permitted: a relay drops.
    pub(crate) fn in_order(&mut self, sequence: u64) -> bool {
        let in_order = sequence >= self.end;
        if in_order {
            self.packets += 1;
            self.end = sequence + 1;
        }
        in_order
    }

    /// How many of `sent` packets are lost; `None` if one came that was not sent.
    pub(crate) fn lost_of(&self, sent: u64) -> Option<u64> {
        (self.end <= sent).then(|| sent - self.packets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_losses() {
        let mut received = Received::default();
        assert!([0, 1, 4, 9].into_iter().all(|sequence| received.in_order(sequence)));
        assert_eq!(received.lost_of(10), Some(6));
        assert_eq!(received.lost_of(12), Some(8));
    }

    #[test]
    fn late_and_repeated_ones_are_found() {
        let mut received = Received::default();
        assert!(received.in_order(5));
        assert!(!received.in_order(5));
        assert!(!received.in_order(4));
        assert_eq!(received, Received { packets: 1, end: 6 });
    }

    #[test]
    fn one_that_was_never_sent_is_found() {
        let mut received = Received::default();
        assert_eq!(received.lost_of(0), Some(0));
        assert!(received.in_order(7));
        assert_eq!(received.lost_of(7), None);
        assert_eq!(received.lost_of(8), Some(7));
    }

    #[test]
    fn shapes_have_the_clients_they_need() {
        assert_eq!(clients(&pairs(10)), 20);
        assert_eq!(clients(&fan_in(50)), 51);
        assert_eq!(clients(&fan_out(50)), 51);
        assert_eq!(clients(&ring(4)), 4);
        assert_eq!(clients(&[]), 0);
        assert!(ring(4).contains(&Flow { from: 3, to: 0 }));
    }
}
