//! Packets through a relay: sends them as paced, checks and counts every one that arrives.
//!
//! A packet belongs to the measured window by its stamp, which is the moment it was *due*, not the moment it left: what a
//! slow relay delays, by not taking bytes, counts as latency.

use std::io;
use std::sync::{Arc, Barrier, OnceLock};
use std::time::{Duration, Instant};

use derp_proto::frame::{self, KEY_AT, PACKET_AT};
use derp_proto::wire::FrameType;
use hdrhistogram::Histogram;

use crate::driver::{Driver, Handler, connect_all};
pub(crate) use crate::faults::Faults;
use crate::flow::{self, Flow, Received};
use crate::pacing::Comb;
use crate::packet::{Pattern, Stamp};
use crate::samples::{Look, Samples};
use crate::session::Identity;
use crate::target::Target;

/// How packets are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// When they are due.
    Comb(Comb),
    /// As fast as the sockets take them, so many with each write.
    Flood { batch: u64 },
}

/// One run.
pub(crate) struct Plan {
    pub(crate) flows: Vec<Flow>,
    /// Of a packet.
    pub(crate) size: usize,
    pub(crate) pace: Pace,
    pub(crate) warm_up: Duration,
    /// Of what is measured.
    pub(crate) length: Duration,
    pub(crate) threads: usize,
}

/// What came of a run.
pub(crate) struct Outcome {
    /// Due in the window, sent or not.
    pub(crate) offered: u64,
    /// Those of the window that were sent, and those of them that arrived, whenever.
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    /// Whatever arrived within the window.
    pub(crate) arrived: u64,
    /// In the whole run, warm-up included.
    pub(crate) sent_in_all: u64,
    pub(crate) delivered_in_all: u64,
    /// Nanoseconds from being due to having arrived.
    pub(crate) latency: Histogram<u64>,
    /// Nanoseconds from being due to being written: the generator's own part, or the relay that takes no bytes.
    pub(crate) lateness: Histogram<u64>,
    pub(crate) faults: Faults,
    pub(crate) samples: Samples,
}

/// Connects the plan's clients, on as many threads as it says, and runs it.
pub(crate) fn run(target: &Target, plan: &Plan) -> io::Result<Outcome> {
    let clients = flow::clients(&plan.flows);
    let identities = target.identities(clients)?;
    let barrier = Barrier::new(plan.threads);
    let zero = OnceLock::new();
    let thread = |index: usize| -> io::Result<Traffic<'_>> {
        let mut traffic = Traffic::new(plan, &identities, index, plan.threads);
        let own: Vec<_> = identities.iter().cloned().enumerate().skip(index).step_by(plan.threads).collect();
        let connected = target.driver().and_then(|mut driver| {
            let at_once = (target.at_once / plan.threads).max(1);
            let tokens = connect_all(&mut driver, &own, at_once, target.deadline(), &mut traffic)?;
            Ok((driver, tokens))
        });
        // Whoever failed still has to come here, or the others would wait for ever.
        barrier.wait();
        let (mut driver, tokens) = connected?;
        traffic.start(&tokens, *zero.get_or_init(|| Instant::now() + Duration::from_millis(100)));
        traffic.run(&mut driver, target.process)?;
        Ok(traffic)
    };
    let parts = std::thread::scope(|scope| {
        let others: Vec<_> = (1..plan.threads).map(|index| scope.spawn(move || thread(index))).collect();
        let mut parts = vec![thread(0)];
        parts.extend(others.into_iter().map(|other| other.join().unwrap_or_else(|_| Err(io::Error::other("panic")))));
        parts.into_iter().collect::<io::Result<Vec<_>>>()
    })?;
    Ok(merge(plan, parts))
}

/// Runs a plan of one thread on clients that are logged in already: number `n` has the `n`th token.
pub(crate) fn run_on(
    driver: &mut Driver,
    target: &Target,
    plan: &Plan,
    identities: &[Arc<Identity>],
    tokens: &[usize],
) -> io::Result<Outcome> {
    let mut traffic = Traffic::new(plan, identities, 0, 1);
    traffic.start(tokens, Instant::now());
    traffic.run(driver, target.process)?;
    Ok(merge(plan, vec![traffic]))
}

/// No relay needs longer to hand out what it holds; derper's write timeout is 2 s.
const LONGEST_DRAIN: Duration = Duration::from_secs(10);
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

/// One thread's part of a run.
struct Traffic<'a> {
    plan: &'a Plan,
    identities: &'a [Arc<Identity>],
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
    delivered_of_window: u64,
    arrived_in_window: u64,
    last_arrival: Instant,
    faults: Faults,
    samples: Samples,
}

impl<'a> Traffic<'a> {
    fn new(plan: &'a Plan, identities: &'a [Arc<Identity>], thread: usize, threads: usize) -> Self {
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
            pattern: Pattern::new(plan.size),
            heads: plan.flows.iter().map(|flow| frame::send_packet(&identities[flow.to].key, plan.size)).collect(),
            zero: now,
            window: [plan.warm_up, plan.warm_up + plan.length].map(nanoseconds),
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
            delivered_of_window: 0,
            arrived_in_window: 0,
            last_arrival: now,
            faults: Faults::default(),
            samples: Samples::default(),
        }
    }

    /// `tokens` of this thread's clients, in the order of their numbers.
    fn start(&mut self, tokens: &[usize], zero: Instant) {
        self.zero = zero;
        for sender in &mut self.senders {
            sender.token = tokens[sender.token];
        }
        if let Pace::Flood { .. } = self.plan.pace {
            self.owing = (0..self.senders.len()).collect();
        }
    }

    fn run(&mut self, driver: &mut Driver, server: Option<u32>) -> io::Result<()> {
        let [begin, end] = self.window;
        let mut first = None;
        loop {
            let now = self.now();
            if now >= end {
                break;
            }
            if now >= begin && first.is_none() {
                first = Some(Look::now(server, driver.spun()));
            }
            let again = self.send(driver, now);
            let mark = if first.is_none() { begin } else { end };
            let until = if again { now } else { mark.min(self.next_due()) };
            driver.turn(self.zero + Duration::from_nanos(until), self)?;
        }
        self.samples = Samples::between(first, Look::now(server, driver.spun()));
        self.count_unsent_ticks();
        self.drain(driver)
    }

    /// Waits for what is under way.
    fn drain(&mut self, driver: &mut Driver) -> io::Result<()> {
        let begin = Instant::now();
        loop {
            let now = Instant::now();
            let unsent = self.senders.iter().any(|sender| driver.unsent(sender.token) > 0);
            // Only a thread that sees both ends of all flows knows what there is to come.
            let complete =
                self.own.iter().all(Option::is_some) && self.packets_received() == self.sent.iter().sum::<u64>();
            let quiet_at = self.last_arrival.max(begin) + QUIET;
            let over = complete || now >= quiet_at;
            if (over && !unsent) || now >= begin + LONGEST_DRAIN {
                break;
            }
            let until = if unsent { begin + LONGEST_DRAIN } else { quiet_at };
            driver.turn(until, self)?;
        }
        self.take_back_unsent(driver);
        Ok(())
    }

    /// Frames that have not left in full were not sent: nobody can deliver them.
    fn take_back_unsent(&mut self, driver: &Driver) {
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

    fn now(&self) -> u64 {
        nanoseconds(self.zero.elapsed())
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
            self.pattern.write(Stamp { flow: flow as u32, sequence, at }, &mut out[packet_at..]);
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
        let index = stamp.flow as usize;
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
            self.delivered_of_window += 1;
            self.latency.saturating_record(arrived.saturating_sub(stamp.at).max(1));
        }
    }
}

impl Handler for Traffic<'_> {
    fn opened(&mut self, _number: usize, _now: Instant) {}

    fn frame(&mut self, number: usize, frame: &[u8], now: Instant) {
        if frame[0] == FrameType::RecvPacket as u8 && frame.len() >= PACKET_AT {
            self.packet(number, &frame[KEY_AT..PACKET_AT], &frame[PACKET_AT..], now);
        }
    }

    fn closed(&mut self, number: usize, why: &str) {
        self.faults.disconnected += 1;
        self.faults.note(|| format!("client {number} was lost: {why}"));
    }
}

/// Conservation is a matter of all threads: a flow's two ends may be on different ones.
fn merge(plan: &Plan, parts: Vec<Traffic<'_>>) -> Outcome {
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
        samples: Samples::default(),
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
    let spun = parts.iter().map(|part| part.samples.spun).sum();
    for part in parts {
        outcome.offered += part.offered;
        outcome.sent += part.sent_in_window;
        outcome.delivered += part.delivered_of_window;
        outcome.arrived += part.arrived_in_window;
        outcome.latency.add(&part.latency).expect("all histograms have the same bounds");
        outcome.lateness.add(&part.lateness).expect("all histograms have the same bounds");
        outcome.faults.add(&part.faults);
        // All threads look at the same processes; one's eyes are enough.
        outcome.samples = part.samples;
    }
    outcome.samples.spun = spun;
    outcome
}

/// From a nanosecond to a minute, to three digits.
pub(crate) fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 60_000_000_000, 3).expect("the bounds are right")
}

pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}
