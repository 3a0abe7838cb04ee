//! One receiver behind a link that is narrower than what is sent to it: how old packets are when they arrive, and what the
//! bulk of one sender does to the few packets of another. The link is the caller's: a network namespace has it.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use derp_proto::frame::{KEY_AT, PACKET_AT};
use derp_proto::key::NodeKey;

use crate::crew::Nobody;
use crate::driver::{Driver, Handler, connect_all};
use crate::flow::Flow;
use crate::load::{self, Pace};
use crate::pacing::Comb;
use crate::parts::{self, Part};
use crate::samples::Samples;
use crate::target::Target;
use crate::traffic::{Traffic, merge};

pub(crate) struct Plan {
    /// Where the relay is for the receiver: over the narrow link.
    pub(crate) receiver: SocketAddr,
    /// Bits a second that the link takes.
    pub(crate) link: NonZeroU64,
    /// What the bulk sender offers, as a multiple of that, in packets of `size` bytes.
    pub(crate) times: f64,
    pub(crate) size: usize,
    /// Packets a second of the sparse sender, each of `sparse_size` bytes.
    pub(crate) sparse: NonZeroU64,
    pub(crate) sparse_size: usize,
    pub(crate) warm_up: Duration,
    pub(crate) length: Duration,
}

pub(crate) struct Outcome {
    pub(crate) bulk: load::Outcome,
    pub(crate) sparse: load::Outcome,
    pub(crate) samples: Samples,
}

const BULK: usize = 0;
const SPARSE: usize = 1;
const RECEIVER: usize = 2;

pub(crate) fn run(target: &Target, plan: &Plan) -> io::Result<Outcome> {
    let mut driver = target.driver()?;
    let identities = target.identities(3)?;
    let mut tokens = Vec::new();
    for (number, identity) in identities.iter().enumerate() {
        driver.aim(if number == RECEIVER { plan.receiver } else { target.address });
        let one = [(number, Arc::clone(identity))];
        tokens.extend(connect_all(&mut driver, &one, 1, target.deadline(), &mut Nobody)?);
    }
    let [bulk_plan, sparse_plan] = plan.loads();
    let mut both = Both {
        bulk: Traffic::new(&bulk_plan, &identities, 0, [0, 1]),
        sparse: Traffic::new(&sparse_plan, &identities, 0, [0, 1]),
        sparse_key: identities[SPARSE].key,
    };
    let zero = Instant::now();
    both.bulk.start(&tokens, zero);
    both.sparse.start(&tokens, zero);
    let samples = parts::run(&mut driver, &mut [&mut both], zero, bulk_plan.window(), target.process)?;
    let Both { mut bulk, mut sparse, .. } = both;
    bulk.take_back_unsent(&driver);
    sparse.take_back_unsent(&driver);
    let bulk = merge(&bulk_plan, vec![bulk], Samples::default());
    let sparse = merge(&sparse_plan, vec![sparse], Samples::default());
    Ok(Outcome { bulk, sparse, samples })
}

impl Plan {
    /// Packets a second of the bulk sender.
    pub(crate) fn rate(&self) -> NonZeroU64 {
        let rate = self.times * self.link.get() as f64 / (8 * self.size) as f64;
        NonZeroU64::new(rate as u64).unwrap_or(NonZeroU64::MIN)
    }

    fn loads(&self) -> [load::Plan; 2] {
        let load = |from, rate, size| {
            let pace = Pace::Comb(Comb { rate, batch: 1, senders: 1 });
            load::Plan { pace, ..load::Plan::new(vec![Flow { from, to: RECEIVER }], size, self.warm_up, self.length) }
        };
        [load(BULK, self.rate(), self.size), load(SPARSE, self.sparse, self.sparse_size)]
    }

    /// The bulk sender's.
    pub(crate) fn bulk(&self) -> load::Plan {
        let [bulk, _] = self.loads();
        bulk
    }
}

/// Both senders, and the receiver that they share: it gets each one's packets by the key that stands in front of them.
struct Both<'a> {
    bulk: Traffic<'a>,
    sparse: Traffic<'a>,
    sparse_key: NodeKey,
}

impl Part for Both<'_> {
    fn owns(&self, _number: usize) -> bool {
        true
    }

    fn step(&mut self, driver: &mut Driver, now: u64) -> io::Result<u64> {
        Ok(self.bulk.step(driver, now)?.min(self.sparse.step(driver, now)?))
    }

    fn end(&mut self, driver: &mut Driver) -> io::Result<()> {
        self.bulk.end(driver)?;
        self.sparse.end(driver)
    }

    fn outstanding(&self, driver: &Driver, over: Instant) -> Option<Instant> {
        self.bulk.outstanding(driver, over).max(self.sparse.outstanding(driver, over))
    }
}

impl Handler for Both<'_> {
    fn opened(&mut self, _number: usize, _now: Instant) {}

    fn frame(&mut self, number: usize, frame: &[u8], now: Instant) {
        let is_sparse = frame.get(KEY_AT..PACKET_AT) == Some(self.sparse_key.as_bytes());
        if is_sparse { &mut self.sparse } else { &mut self.bulk }.frame(number, frame, now);
    }

    fn closed(&mut self, number: usize, why: &str) {
        self.bulk.closed(number, why);
    }
}
