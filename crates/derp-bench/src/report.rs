//! What a run came to: as JSON, and as the columns of a table.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::faults::Faults;
use crate::figures::{
    Bystander, Clients, Kernel, Logins, Narrow, Overload, Process, Restart, Slow, Stun, Times, Traffic, fairness,
};
use crate::process::{Memory, Sample, percent};
use crate::samples::Samples;
use crate::varz::Counts;
use crate::{idle, load, mesh, narrow, overload, restart, slow, storm, stun};

/// Above this the generator is the bottleneck, or may be, and the relay's figures are a lower bound.
const SATURATED: f64 = 90.0;

/// One run's figures. What could not be measured, for want of a process to look at, is absent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// In words.
    pub(crate) scenario: String,
    /// Every packet that arrived was sent, whole and in order, and no client was disconnected.
    pub(crate) ok: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) faults: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) traffic: Option<Traffic>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) logins: Option<Logins>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) clients: Option<Clients>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) overload: Option<Overload>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) slow: Option<Slow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) narrow: Option<Narrow>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stun: Option<Stun>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) restart: Option<Restart>,
    /// The other of two relays, which mesh with each other; the CPU of a packet is that of both.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) other_server: Option<Process>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bystander: Option<Bystander>,
    /// What the relay says of its drops, by reason, and of its locks; absent if it says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) relay_counts: Option<Counts>,
    /// Suite and key exchange; none over plain TCP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) cipher: Option<String>,
    /// The generator was the bottleneck, or may have been.
    #[serde(default)]
    pub(crate) generator_limited: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) server: Option<Process>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generator: Option<Process>,
    /// What all other programs had of the CPUs during the whole run, logins included; 100 is one core. By the kernel's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) others_cpu_percent: Option<f64>,
    /// What the hypervisor kept back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stolen_cpu_percent: Option<f64>,
}

impl Report {
    pub(crate) fn of_load(
        scenario: String,
        plan: &load::Plan,
        outcome: &load::Outcome,
        memory: Option<Memory>,
    ) -> Self {
        let mut report = Self::new(scenario, &outcome.faults, &outcome.samples, memory);
        let lost = outcome.sent - outcome.delivered;
        let pps = outcome.arrived as f64 / plan.length.as_secs_f64();
        let used = outcome.samples.server.as_ref().map(|[a, b]| b.since(a).used);
        report.traffic = Some(Traffic {
            offered: outcome.offered,
            sent: outcome.sent,
            delivered: outcome.delivered,
            lost,
            lost_percent: 100.0 * lost as f64 / outcome.sent.max(1) as f64,
            delivered_pps: pps,
            gbit_per_second: pps * plan.size as f64 * 8.0 / 1e9,
            sent_in_all: outcome.sent_in_all,
            delivered_in_all: outcome.delivered_in_all,
            lost_in_all: outcome.sent_in_all - outcome.delivered_in_all,
            latency: Times::of(&outcome.latency),
            lateness: Times::of(&outcome.lateness),
            cpu_us_per_delivered: each(used, outcome.arrived),
            cpu_us_per_received: each(used, outcome.sent),
            fairness: fairness(&outcome.shares).filter(|_| outcome.shares.len() > 1),
        });
        report
    }

    /// Without the costs of one of them the price of a packet is not known.
    pub(crate) fn of_mesh(scenario: String, plan: &load::Plan, outcome: mesh::Outcome, memory: Option<Memory>) -> Self {
        let mut report = Self::of_load(scenario, plan, &outcome.load, memory);
        let used = |looks: &Option<[Sample; 2]>| looks.as_ref().map(|[a, b]| b.since(a).used);
        let both = used(&outcome.load.samples.server).zip(used(&outcome.other)).map(|(one, other)| one + other);
        if let Some(traffic) = &mut report.traffic {
            traffic.cpu_us_per_delivered = each(both, outcome.load.arrived);
            traffic.cpu_us_per_received = each(both, outcome.load.sent);
        }
        report.other_server = outcome.other.as_ref().map(|[a, b]| Process::of(&b.since(a), None));
        report
    }

    pub(crate) fn of_storm(
        scenario: String,
        plan: &storm::Plan,
        outcome: &storm::Outcome,
        memory: Option<Memory>,
    ) -> Self {
        let mut report = Self::new(scenario, &outcome.bystander.faults, &outcome.samples, memory);
        report.bystander = Some(Bystander::of(&outcome.bystander));
        if outcome.failed > 0 {
            let why = outcome.why.as_deref().unwrap_or_default();
            report.fault(format!("{} logins failed, the first one so: {why}", outcome.failed));
        }
        let used = outcome.samples.server.as_ref().map(|[a, b]| b.since(a).used);
        report.logins = Some(Logins {
            completed: outcome.logins,
            failed: outcome.failed,
            per_second: outcome.logins as f64 / plan.length.as_secs_f64(),
            latency: Times::of(&outcome.latency),
            cpu_us_per_login: each(used, outcome.logins),
        });
        report
    }

    pub(crate) fn of_idle(scenario: String, plan: &idle::Plan, outcome: &idle::Outcome) -> Self {
        let mut report = Self::new(scenario, &outcome.faults, &Samples::default(), None);
        let by_client = |before: u64, after: u64| (after as f64 - before as f64) * 1024.0 / plan.clients as f64;
        let each = |after: Option<idle::Look>| Some(by_client(outcome.before?.process.rss, after?.process.rss));
        let kernel = || {
            let (before, after) = (outcome.before?.kernel?, outcome.settled?.kernel?);
            Some(Kernel {
                queue_bytes_each: by_client(before.queues, after.queues),
                object_bytes_each: by_client(before.objects, after.objects),
            })
        };
        report.clients = Some(Clients {
            count: plan.clients,
            before: outcome.before.map(|look| look.process),
            settled: outcome.settled.map(|look| look.process),
            bytes_each_at_once: each(outcome.at_once),
            bytes_each_settled: each(outcome.settled),
            bytes_each_touched: each(outcome.touched),
            bytes_each_stormed: each(outcome.stormed),
            kernel: kernel(),
        });
        let last = outcome.stormed.or(outcome.touched).or(outcome.settled).map(|look| look.process);
        report.server = outcome.usage.as_ref().map(|usage| Process::of(usage, last));
        report
    }

    /// The generator's limits are the row's as anywhere else: three times the peak is much for it too.
    pub(crate) fn of_overload(scenario: String, plan: &load::Plan, outcome: overload::Outcome) -> Self {
        let bystander = Bystander::of(&outcome.bystander);
        let mut load = outcome.load;
        load.samples = outcome.samples;
        load.faults.add(&outcome.bystander.faults);
        let mut report = Self::of_load(scenario, plan, &load, None);
        let goodput = report.traffic.as_ref().map_or(0.0, |traffic| traffic.delivered_pps);
        report.overload = Some(Overload {
            peak_pps: outcome.peak,
            offered_pps: outcome.offered as f64,
            goodput_percent_of_peak: 100.0 * goodput / outcome.peak.max(1e-9),
        });
        report.bystander = Some(bystander);
        report
    }

    pub(crate) fn of_slow(scenario: String, plan: &load::Plan, outcome: slow::Outcome) -> Self {
        let mut load = outcome.load;
        load.samples = outcome.samples;
        let mut report = Self::of_load(scenario, plan, &load, None);
        let seconds = plan.length.as_secs_f64();
        let others: u64 = load.shares[1..].iter().sum();
        // The sender deals its packets to all receivers in turn.
        let due = (load.sent as f64 * (load.shares.len() - 1) as f64 / load.shares.len() as f64).floor();
        report.slow = Some(Slow {
            others_pps: others as f64 / seconds,
            others_lost_percent: (100.0 * (1.0 - others as f64 / due.max(1.0))).max(0.0),
            slow_pps: load.shares[0] as f64 / seconds,
            cut_off: load.cut_off > 0,
        });
        report
    }

    pub(crate) fn of_narrow(scenario: String, plan: &narrow::Plan, outcome: narrow::Outcome) -> Self {
        let (mut bulk, sparse) = (outcome.bulk, outcome.sparse);
        bulk.samples = outcome.samples;
        bulk.faults.add(&sparse.faults);
        let mut report = Self::of_load(scenario, &plan.bulk(), &bulk, None);
        let bytes = bulk.arrived * plan.size as u64 + sparse.arrived * plan.sparse_size as u64;
        let bits = bytes as f64 * 8.0 / plan.length.as_secs_f64();
        let sparse_lost = sparse.sent.saturating_sub(sparse.delivered);
        report.narrow = Some(Narrow {
            goodput_percent: 100.0 * bits / plan.link.get() as f64,
            goodput_mbit: bits / 1e6,
            bulk: Times::of(&bulk.latency),
            sparse: Times::of(&sparse.latency),
            sparse_lost_percent: 100.0 * sparse_lost as f64 / sparse.sent.max(1) as f64,
        });
        report
    }

    pub(crate) fn of_stun(scenario: String, outcome: &stun::Outcome) -> Self {
        let mut faults = outcome.faults.clone();
        faults.add(&outcome.bystander.faults);
        let mut report = Self::new(scenario, &faults, &outcome.samples, None);
        let used = outcome.samples.server.as_ref().map(|[a, b]| b.since(a).used);
        report.stun = Some(Stun {
            requests: outcome.requests,
            answers: outcome.answers,
            latency: Times::of(&outcome.latency),
            cpu_us_per_answer: each(used, outcome.answers),
        });
        if outcome.answers == 0 {
            report.fault("no STUN request was answered".into());
        }
        report.bystander = Some(Bystander::of(&outcome.bystander));
        report
    }

    pub(crate) fn of_restart(scenario: String, outcome: &restart::Outcome) -> Self {
        let mut report = Self::new(scenario, &Faults::default(), &Samples::default(), None);
        if outcome.back < outcome.clients {
            let why = outcome.why.as_deref().unwrap_or("they have not come far enough");
            report.fault(format!(
                "{} of {} clients are not back: {why}",
                outcome.clients - outcome.back,
                outcome.clients
            ));
        }
        report.restart = Some(Restart {
            clients: outcome.clients,
            back: outcome.back,
            seconds: outcome.took.as_secs_f64(),
            retries: outcome.retries,
            latency: Times::of(&outcome.latency),
            cpu_us_per_login: each(outcome.usage.as_ref().map(|usage| usage.used), outcome.back as u64),
            peak_rss_mb: outcome.peak.map(|peak| peak as f64 / 1024.0),
        });
        report.server = outcome.usage.as_ref().map(|usage| Process::of(usage, None));
        report
    }

    /// What has to be said beside the figures.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = self.faults.clone();
        if self.generator_limited {
            notes.push("generator-limited: the relay may well do better than this".into());
        }
        if let Some(traffic) = &self.traffic
            && traffic.sent < traffic.offered
        {
            notes.push(format!(
                "{} packets could not be sent when they were due: the relay took no bytes, or the generator was late",
                traffic.offered - traffic.sent
            ));
        }
        notes
    }

    fn new(scenario: String, faults: &Faults, samples: &Samples, memory: Option<Memory>) -> Self {
        let server = samples.server.as_ref().map(|[a, b]| b.since(a));
        let generator = samples.generator.as_ref().map(|[a, b]| b.since(a));
        let stolen = samples.machine.zip(generator.as_ref());
        let mut report = Self {
            scenario,
            ok: true,
            faults: Vec::new(),
            traffic: None,
            logins: None,
            clients: None,
            overload: None,
            slow: None,
            narrow: None,
            stun: None,
            restart: None,
            other_server: None,
            bystander: None,
            relay_counts: None,
            cipher: None,
            generator_limited: false,
            server: server.map(|usage| Process::of(&usage, memory)),
            generator: generator.as_ref().map(|usage| {
                let spun = percent(samples.spun, usage.elapsed);
                let process = Process::of(usage, None);
                Process { cpu_percent: (process.cpu_percent - spun).max(0.0), spun_percent: spun, ..process }
            }),
            others_cpu_percent: None,
            stolen_cpu_percent: stolen
                .map(|([a, b], generator)| percent(b.stolen.saturating_sub(a.stolen), generator.elapsed)),
        };
        report.generator_limited = report.generator.as_ref().is_some_and(|generator| generator.cpu_percent > SATURATED);
        if faults.count() > 0 {
            report.fault(format!(
                "{} corrupt, {} out of order, {} misdelivered, {} invented, {} clients disconnected; first: {}",
                faults.corrupt,
                faults.disordered,
                faults.misdelivered,
                faults.invented,
                faults.disconnected,
                faults.first.as_deref().unwrap_or("unknown"),
            ));
        }
        report
    }

    fn fault(&mut self, what: String) {
        self.ok = false;
        self.faults.push(what);
    }
}

fn each(used: Option<Duration>, count: u64) -> Option<f64> {
    used.filter(|_| count > 0).map(|used| used.as_secs_f64() * 1e6 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow;
    use crate::load::{Plan, histogram};

    fn outcome() -> load::Outcome {
        let mut latency = histogram();
        (1..=1000_u64).for_each(|microseconds| latency.record(microseconds * 1000).unwrap());
        load::Outcome {
            offered: 1100,
            sent: 1050,
            delivered: 1000,
            arrived: 900,
            sent_in_all: 2000,
            delivered_in_all: 1900,
            latency,
            lateness: histogram(),
            faults: Faults::default(),
            samples: Samples::default(),
            shares: vec![1000],
            cut_off: 0,
        }
    }

    fn report(outcome: &load::Outcome) -> Report {
        let plan = Plan::new(flow::pairs(1), 1000, Duration::ZERO, Duration::from_secs(2));
        Report::of_load("a test".into(), &plan, outcome, None)
    }

    #[test]
    fn figures_add_up() {
        let report = report(&outcome());
        let traffic = report.traffic.as_ref().unwrap();
        assert_eq!((traffic.lost, traffic.lost_in_all), (50, 100));
        assert!((traffic.delivered_pps - 450.0).abs() < 1e-9);
        assert!((traffic.gbit_per_second - 450.0 * 8000.0 / 1e9).abs() < 1e-12);
        for (time, expected) in [(traffic.latency.p50, 500.0), (traffic.latency.p99, 990.0)] {
            assert!((time - expected).abs() < expected / 500.0, "{time} instead of {expected}");
        }
        assert!(report.ok);
        assert_eq!(report.notes().len(), 1, "50 packets were held back: {:?}", report.notes());
    }

    #[test]
    fn a_fault_is_no_success() {
        let mut outcome = outcome();
        outcome.faults.corrupt = 1;
        let report = report(&outcome);
        assert!(!report.ok && report.notes()[0].starts_with("1 corrupt"));
    }

    #[test]
    fn json_comes_back_as_it_was() {
        let report = report(&outcome());
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}
