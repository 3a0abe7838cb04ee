//! The sending and the checking of packets: one thread's share of a plan.
//!
//! A packet belongs to the measured window by its stamp, which is the moment it was *due*, not the moment it left: what a
//! slow relay delays, by not taking bytes, counts as latency.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use derp_proto::frame::{self, KEY_AT, PACKET_AT};
use derp_proto::wire::FrameType;
use hdrhistogram::Histogram;

use crate::driver::{Driver, Handler};
use crate::faults::Faults;
use crate::flow::Received;
use crate::pacing::Comb;
use crate::packet::{Pattern, Stamp};
use crate::parts::{Part, nanoseconds};
use crate::plan::{Outcome, Pace, Plan, histogram};
use crate::samples::Samples;
use crate::session::Identity;

/// A wait for bytes to leave lasts as long as there is.
const FOREVER: Duration = Duration::from_secs(3600);

/// Where the run's phase begins in a stamp's flow.
const PHASE: u32 = 20;
/// Nothing has come for so long: nothing will come.
const QUIET: Duration = Duration::from_secs(1);

struct Sender {
    token: usize,
    /// Among all senders, of all threads.
    number: u64,
    flows: Vec<usize>,
    /// Of the flow whose turn it is.
    cursor: usize,
    due: u64,
    built: u64,
    /// It stands in the list of those that owe.
    owing: bool,
}

/// One thread's share of a plan.
pub(crate) struct Traffic<'a> {
    plan: &'a Plan,
    identities: &'a [Arc<Identity>],
    /// The number of its first client among the driver's.
    base: usize,
    pattern: Pattern,
    heads: Vec<[u8; PACKET_AT]>,
    zero: Instant,
    window: [u64; 2],

    // Sending.
    senders: Vec<Sender>,
    /// By number among all senders: index into `senders`, if it is this thread's.
    own: Vec<Option<usize>>,
    owing: Vec<usize>,
    /// The next tick of the comb.
    tick: u64,
    /// By flow; the next packet's sequence number.
    sent: Vec<u64>,
    lateness: Histogram<u64>,
    offered: u64,
    sent_in_window: u64,

    // Receiving.
    received: Vec<Received>,
    latency: Histogram<u64>,
    /// By flow.
    of_window: Vec<u64>,
    arrived_in_window: u64,
    last_arrival: Instant,
    faults: Faults,
    cut_off: u64,
}

impl<'a> Traffic<'a> {
    /// Of the plan's clients, with the numbers from `base` on, those of one of several threads.
    pub(crate) fn new(
        plan: &'a Plan,
        identities: &'a [Arc<Identity>],
        base: usize,
        [thread, threads]: [usize; 2],
    ) -> Self {
        let mut senders: Vec<Sender> = Vec::new();
        let mut own = Vec::new();
        let mut by_client: Vec<Option<usize>> = vec![None; identities.len()];
        for (index, flow) in plan.flows.iter().enumerate() {
            if by_client[flow.from].is_none() {
                by_client[flow.from] = Some(own.len());
                let mine = flow.from % threads == thread;
                own.push(mine.then_some(senders.len()));
                if mine {
                    // Until the start, the token's place holds the client's own place among this thread's.
                    let (token, number) = (flow.from / threads, own.len() as u64 - 1);
                    senders.push(Sender { token, number, flows: vec![], cursor: 0, due: 0, built: 0, owing: false });
                }
            }
            if let Some(sender) = by_client[flow.from].and_then(|number| own[number]) {
                senders[sender].flows.push(index);
            }
        }
        let now = Instant::now();
        Self {
            plan,
            identities,
            base,
            pattern: Pattern::new(plan.size),
            heads: plan.flows.iter().map(|flow| frame::send_packet(&identities[flow.to].key, plan.size)).collect(),
            zero: now,
            window: plan.window(),
            senders,
            own,
            owing: Vec::new(),
            tick: 0,
            sent: vec![0; plan.flows.len()],
            lateness: histogram(),
            offered: 0,
            sent_in_window: 0,
            received: vec![Received::default(); plan.flows.len()],
            latency: histogram(),
            of_window: vec![0; plan.flows.len()],
            arrived_in_window: 0,
            last_arrival: now,
            faults: Faults::default(),
            cut_off: 0,
        }
    }

    /// `tokens` of this thread's clients, in the order of their numbers.
    pub(crate) fn start(&mut self, tokens: &[usize], zero: Instant) {
        self.zero = zero;
        for sender in &mut self.senders {
            sender.token = tokens[sender.token];
        }
        if let Pace::Flood { .. } = self.plan.pace {
            self.owing = (0..self.senders.len()).collect();
        }
    }

    /// Frames that have not left in full were not sent: no relay can deliver them.
    pub(crate) fn take_back_unsent(&mut self, driver: &Driver) {
        let length = PACKET_AT + self.plan.size;
        for sender in &mut self.senders {
            let flows = sender.flows.len();
            for back in 1..=driver.unsent(sender.token).div_ceil(length) {
                let flow = sender.flows[(sender.cursor + flows - back % flows) % flows];
                self.sent[flow] -= 1;
                // Only the last batch can be left, and that is of the window.
                self.sent_in_window = self.sent_in_window.saturating_sub(1);
            }
        }
    }

    fn packets_received(&self) -> u64 {
        self.received.iter().map(|received| received.packets).sum()
    }

    fn next_due(&self) -> u64 {
        let Pace::Comb(comb) = self.plan.pace else {
            return u64::MAX;
        };
        let own = (self.tick..).take(self.own.len()).find(|&tick| self.own[comb.sender(tick) as usize].is_some());
        own.map_or(u64::MAX, |tick| comb.due(tick))
    }

    /// Writes one batch for each sender that owes one and may write. True if somebody may write again at once.
    fn send(&mut self, driver: &mut Driver, now: u64) -> bool {
        if let Pace::Comb(comb) = self.plan.pace {
            while comb.due(self.tick) <= now {
                self.owe(comb);
            }
        }
        let mut again = false;
        for index in std::mem::take(&mut self.owing) {
            let wrote = self.send_batch(index, driver, now);
            let sender = &mut self.senders[index];
            sender.owing = matches!(self.plan.pace, Pace::Flood { .. }) || sender.built < sender.due;
            if sender.owing {
                again |= wrote && driver.unsent(sender.token) == 0;
                self.owing.push(index);
            }
        }
        again
    }

    /// The next tick is due.
    fn owe(&mut self, comb: Comb) {
        let number = comb.sender(self.tick) as usize;
        if let Some(index) = self.own[number] {
            let sender = &mut self.senders[index];
            sender.due += 1;
            if !std::mem::replace(&mut sender.owing, true) {
                self.owing.push(index);
            }
            if self.in_window(comb.due(self.tick)) {
                self.offered += comb.batch;
            }
        }
        self.tick += 1;
    }

    /// Ticks that came due after the last time anything was sent were offered all the same.
    fn count_unsent_ticks(&mut self) {
        if let Pace::Comb(comb) = self.plan.pace {
            while comb.due(self.tick) < self.window[1] {
                self.owe(comb);
            }
        }
    }

    fn send_batch(&mut self, index: usize, driver: &mut Driver, now: u64) -> bool {
        let Some(out) = driver.room(self.senders[index].token) else {
            return false;
        };
        let sender = &mut self.senders[index];
        let (batch, at) = match self.plan.pace {
            Pace::Comb(comb) => (comb.batch, comb.due_of(sender.number, sender.built)),
            Pace::Flood { batch } => (batch, now),
        };
        sender.built += 1;
        for _ in 0..batch {
            let flow = sender.flows[sender.cursor];
            sender.cursor = (sender.cursor + 1) % sender.flows.len();
            let sequence = self.sent[flow];
            self.sent[flow] += 1;
            out.extend_from_slice(&self.heads[flow]);
            let packet_at = out.len();
            out.resize(packet_at + self.plan.size, 0);
            self.pattern
                .write(Stamp { flow: self.plan.phase << PHASE | flow as u32, sequence, at }, &mut out[packet_at..]);
        }
        let token = sender.token;
        driver.send(token);
        if self.in_window(at) {
            self.sent_in_window += batch;
            self.lateness.saturating_record(now.saturating_sub(at).max(1));
            if let Pace::Flood { .. } = self.plan.pace {
                self.offered += batch;
            }
        }
        true
    }

    fn in_window(&self, at: u64) -> bool {
        (self.window[0]..self.window[1]).contains(&at)
    }

    fn packet(&mut self, number: usize, source: &[u8], packet: &[u8], now: Instant) {
        self.last_arrival = now;
        let Some(stamp) = self.pattern.read(packet).filter(|_| packet.len() == self.plan.size) else {
            self.faults.corrupt += 1;
            self.faults.note(|| format!("client {number} got a packet of {} bytes that nobody sent", packet.len()));
            return;
        };
        if stamp.flow >> PHASE < self.plan.phase {
            // Of the run before, which has counted it as lost.
            return;
        }
        let index = (stamp.flow - (self.plan.phase << PHASE)) as usize;
        let flow = self.plan.flows.get(index);
        if flow.is_none_or(|flow| flow.to != number || self.identities[flow.from].key.as_bytes() != source) {
            self.faults.misdelivered += 1;
            self.faults.note(|| format!("client {number} got {stamp:?}, which is another's or under another's name"));
            return;
        }
        if !self.received[index].in_order(stamp.sequence) {
            self.faults.disordered += 1;
            self.faults.note(|| format!("client {number} got {stamp:?} after {:?}", self.received[index]));
            return;
        }
        let arrived = nanoseconds(now.saturating_duration_since(self.zero));
        if self.in_window(arrived) {
            self.arrived_in_window += 1;
        }
        if self.in_window(stamp.at) {
            self.of_window[index] += 1;
            if index >= self.plan.aside {
                self.latency.saturating_record(arrived.saturating_sub(stamp.at).max(1));
            }
        }
    }
}

impl Handler for Traffic<'_> {
    fn opened(&mut self, _number: usize, _now: Instant) {}

    fn frame(&mut self, number: usize, frame: &[u8], now: Instant) {
        if frame[0] == FrameType::RecvPacket as u8 && frame.len() >= PACKET_AT {
            self.packet(number - self.base, &frame[KEY_AT..PACKET_AT], &frame[PACKET_AT..], now);
        }
    }

    fn closed(&mut self, number: usize, why: &str) {
        let slow = self.plan.flows[..self.plan.aside].iter().any(|flow| flow.to + self.base == number);
        if slow {
            self.cut_off += 1;
            return;
        }
        self.faults.disconnected += 1;
        self.faults.note(|| format!("client {number} was lost: {why}"));
    }
}

impl Part for Traffic<'_> {
    fn owns(&self, number: usize) -> bool {
        (self.base..self.base + self.identities.len()).contains(&number)
    }

    fn step(&mut self, driver: &mut Driver, now: u64) -> io::Result<u64> {
        let again = self.send(driver, now);
        Ok(if again { now } else { self.next_due() })
    }

    fn end(&mut self, _driver: &mut Driver) -> io::Result<()> {
        self.count_unsent_ticks();
        Ok(())
    }

    fn outstanding(&self, driver: &Driver, over: Instant) -> Option<Instant> {
        if self.senders.iter().any(|sender| driver.unsent(sender.token) > 0) {
            return Some(over + FOREVER);
        }
        // Only a thread that sees both ends of all flows knows what there is to come.
        let complete = self.own.iter().all(Option::is_some) && self.packets_received() == self.sent.iter().sum::<u64>();
        (!complete).then(|| self.last_arrival.max(over) + QUIET)
    }
}

/// Conservation is a matter of all threads: a flow's two ends may be on different ones.
pub(crate) fn merge(plan: &Plan, parts: Vec<Traffic<'_>>, samples: Samples) -> Outcome {
    let mut outcome = Outcome {
        offered: 0,
        sent: 0,
        delivered: 0,
        arrived: 0,
        sent_in_all: 0,
        delivered_in_all: 0,
        latency: histogram(),
        lateness: histogram(),
        faults: Faults::default(),
        samples,
        shares: Vec::new(),
        cut_off: 0,
    };
    for (index, flow) in plan.flows.iter().enumerate() {
        let sent = parts[flow.from % parts.len()].sent[index];
        let received = parts[flow.to % parts.len()].received[index];
        outcome.sent_in_all += sent;
        outcome.delivered_in_all += received.packets;
        if received.lost_of(sent).is_none() {
            outcome.faults.invented += 1;
            outcome.faults.note(|| format!("of {flow:?} {sent} packets were sent, and {received:?}"));
        }
    }
    outcome.shares =
        plan.flows.iter().enumerate().map(|(index, flow)| parts[flow.to % parts.len()].of_window[index]).collect();
    for part in parts {
        outcome.offered += part.offered;
        outcome.sent += part.sent_in_window;
        outcome.delivered += part.of_window.iter().sum::<u64>();
        outcome.arrived += part.arrived_in_window;
        outcome.latency.add(&part.latency).expect("all histograms have the same bounds");
        outcome.lateness.add(&part.lateness).expect("all histograms have the same bounds");
        outcome.cut_off += part.cut_off;
        outcome.faults.add(&part.faults);
    }
    outcome
}
