//! What a run came to: as JSON, and as the columns of a table.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::load::{self, Faults};
use crate::process::{Memory, Usage, percent};
use crate::samples::Samples;
use crate::{idle, storm};

/// Above this the generator is the bottleneck, or may be, and the relay's figures are a lower bound.
const SATURATED: f64 = 90.0;

/// One run's figures. What could not be measured, for want of a process to look at, is absent.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    /// In words.
    pub(crate) scenario: String,
    /// Whatever arrived was sent, whole and in order, and nobody was disconnected.
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
    pub(crate) server: Option<Process>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) generator: Option<Process>,
    /// What everybody else had of the CPUs; 100 is one core. Sampled by the kernel's clock: a hint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) others_cpu_percent: Option<f64>,
    /// What the hypervisor kept back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stolen_cpu_percent: Option<f64>,
}

/// Packets. Those that were due in the window, unless it says otherwise; times in microseconds.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Traffic {
    pub(crate) offered: u64,
    pub(crate) sent: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) lost_percent: f64,
    /// Arrivals within the window, by its length.
    pub(crate) delivered_pps: f64,
    pub(crate) gbit_per_second: f64,
    /// In the whole run: `sent = delivered + lost`, exactly.
    pub(crate) sent_in_all: u64,
    pub(crate) delivered_in_all: u64,
    pub(crate) lost_in_all: u64,
    /// From being due to having arrived.
    pub(crate) latency: Times,
    /// From being due to being written.
    pub(crate) lateness: Times,
    pub(crate) cpu_us_per_delivered: Option<f64>,
    pub(crate) cpu_us_per_received: Option<f64>,
}

#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Logins {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) per_second: f64,
    /// From connect to ServerInfo.
    pub(crate) latency: Times,
    pub(crate) cpu_us_per_login: Option<f64>,
}

/// Quiet clients. Bytes are those of the relay's process beyond what it had before, by the number of clients.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Clients {
    pub(crate) count: usize,
    pub(crate) before: Option<Memory>,
    pub(crate) settled: Option<Memory>,
    pub(crate) bytes_each_at_once: Option<f64>,
    pub(crate) bytes_each_settled: Option<f64>,
    /// After they have carried traffic and been quiet again.
    pub(crate) bytes_each_touched: Option<f64>,
}

/// In microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

/// A process during the window.
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Process {
    /// 100 is one core. Of the generator without what it spun.
    pub(crate) cpu_percent: f64,
    /// What it spent on looking whether there is something to do.
    #[serde(default)]
    pub(crate) spun_percent: f64,
    /// Time that its threads were ready to run and did not, of the window's; above 100 if several waited.
    pub(crate) waited_percent: f64,
    /// By thread name, the busiest first.
    pub(crate) threads: Vec<(String, f64)>,
    /// After the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) memory: Option<Memory>,
}

/// One column of the table.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Column {
    pub(crate) name: &'static str,
    pub(crate) value: f64,
    pub(crate) digits: usize,
    /// A cost, of which the ratio to somebody else's says something.
    pub(crate) cost: bool,
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
        });
        report
    }

    pub(crate) fn of_storm(
        scenario: String,
        plan: &storm::Plan,
        outcome: &storm::Outcome,
        memory: Option<Memory>,
    ) -> Self {
        let mut report = Self::new(scenario, &Faults::default(), &outcome.samples, memory);
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
        let each = |after: Option<Memory>| {
            let (before, after) = (outcome.before?, after?);
            Some((after.rss as f64 - before.rss as f64) * 1024.0 / plan.clients as f64)
        };
        report.clients = Some(Clients {
            count: plan.clients,
            before: outcome.before,
            settled: outcome.settled,
            bytes_each_at_once: each(outcome.at_once),
            bytes_each_settled: each(outcome.settled),
            bytes_each_touched: each(outcome.touched),
        });
        report.server = outcome.usage.as_ref().map(|usage| Process::of(usage, outcome.touched.or(outcome.settled)));
        report
    }

    /// The table's columns, those without a figure left out.
    pub(crate) fn columns(&self) -> Vec<Column> {
        let mut columns = Vec::new();
        let mut add = |name, value: Option<f64>, digits, cost| {
            columns.extend(value.map(|value| Column { name, value, digits, cost }));
        };
        if let Some(traffic) = &self.traffic {
            add("delivered pps", Some(traffic.delivered_pps), 0, false);
            add("lost %", Some(traffic.lost_percent), 2, false);
            add("Gbit/s", Some(traffic.gbit_per_second), 3, false);
            add("CPU µs/delivered", traffic.cpu_us_per_delivered, 2, true);
            add("CPU µs/received", traffic.cpu_us_per_received, 2, true);
            add("p50 µs", Some(traffic.latency.p50), 0, false);
            add("p99 µs", Some(traffic.latency.p99), 0, false);
            add("p99.9 µs", Some(traffic.latency.p999), 0, false);
            add("late p99 µs", Some(traffic.lateness.p99), 0, false);
        }
        if let Some(logins) = &self.logins {
            add("logins/s", Some(logins.per_second), 0, false);
            add("CPU µs/login", logins.cpu_us_per_login, 0, true);
            add("p50 µs", Some(logins.latency.p50), 0, false);
            add("p99 µs", Some(logins.latency.p99), 0, false);
        }
        if let Some(clients) = &self.clients {
            add("B/client at once", clients.bytes_each_at_once, 0, true);
            add("B/client settled", clients.bytes_each_settled, 0, true);
            add("B/client after traffic", clients.bytes_each_touched, 0, true);
            add("RSS MB before", clients.before.map(|memory| memory.rss as f64 / 1024.0), 1, false);
        }
        if let Some(server) = &self.server {
            add("server CPU %", Some(server.cpu_percent), 1, false);
            add("RSS MB", server.memory.map(|memory| memory.rss as f64 / 1024.0), 1, true);
        }
        add("generator CPU %", self.generator.as_ref().map(|generator| generator.cpu_percent), 0, false);
        add("waited %", self.generator.as_ref().map(|generator| generator.waited_percent), 1, false);
        columns
    }

    /// Two lines for people: names and values.
    pub(crate) fn table(&self) -> String {
        let mut table = markdown(std::iter::once(self.columns().iter().map(|c| c.name.to_owned()).collect()));
        table += &markdown(std::iter::once(self.columns().iter().map(|c| number(c.value, c.digits)).collect()));
        table
    }

    /// What has to be said beside the figures.
    pub(crate) fn notes(&self) -> Vec<String> {
        let mut notes = self.faults.clone();
        if self.is_saturated() {
            notes.push("the generator was saturated: the relay may well do better than this".into());
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

    pub(crate) fn is_saturated(&self) -> bool {
        self.generator.as_ref().is_some_and(|generator| generator.cpu_percent > SATURATED)
    }

    fn new(scenario: String, faults: &Faults, samples: &Samples, memory: Option<Memory>) -> Self {
        let server = samples.server.as_ref().map(|[a, b]| b.since(a));
        let generator = samples.generator.as_ref().map(|[a, b]| b.since(a));
        let others = samples.machine.zip(generator.as_ref()).map(|([a, b], generator)| {
            let ours = generator.used + server.as_ref().map_or(Duration::ZERO, |server| server.used);
            percent(b.busy.saturating_sub(a.busy).saturating_sub(ours), generator.elapsed)
        });
        let stolen = samples.machine.zip(generator.as_ref());
        let mut report = Self {
            scenario,
            ok: true,
            faults: Vec::new(),
            traffic: None,
            logins: None,
            clients: None,
            server: server.map(|usage| Process::of(&usage, memory)),
            generator: generator.as_ref().map(|usage| {
                let spun = percent(samples.spun, usage.elapsed);
                let process = Process::of(usage, None);
                Process { cpu_percent: (process.cpu_percent - spun).max(0.0), spun_percent: spun, ..process }
            }),
            others_cpu_percent: others,
            stolen_cpu_percent: stolen
                .map(|([a, b], generator)| percent(b.stolen.saturating_sub(a.stolen), generator.elapsed)),
        };
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

impl Times {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self { p50: at(0.5), p99: at(0.99), p999: at(0.999), max: histogram.max() as f64 / 1000.0 }
    }
}

impl Process {
    fn of(usage: &Usage, memory: Option<Memory>) -> Self {
        let threads = usage.threads.iter().map(|(name, used)| (name.clone(), percent(*used, usage.elapsed))).collect();
        let waited_percent = percent(usage.waited, usage.elapsed);
        Self { cpu_percent: usage.percent(), spun_percent: 0.0, waited_percent, threads, memory }
    }
}

/// Rows of a Markdown table, each followed by a line end.
pub(crate) fn markdown(rows: impl Iterator<Item = Vec<String>>) -> String {
    rows.map(|cells| format!("| {} |\n", cells.join(" | "))).collect()
}

/// With a blank after each three digits: long numbers are hard to read.
pub(crate) fn number(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    let count = whole.trim_start_matches('-').len();
    for (index, character) in whole.chars().enumerate() {
        let left = whole.len() - index;
        if left % 3 == 0 && left < count && count > 4 {
            out.push(' ');
        }
        out.push(character);
    }
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

fn each(used: Option<Duration>, count: u64) -> Option<f64> {
    used.filter(|_| count > 0).map(|used| used.as_secs_f64() * 1e6 / count as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow;
    use crate::load::{Pace, Plan, histogram};

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
        }
    }

    fn report(outcome: &load::Outcome) -> Report {
        let plan = Plan {
            flows: flow::pairs(1),
            size: 1000,
            pace: Pace::Flood { batch: 1 },
            warm_up: Duration::ZERO,
            length: Duration::from_secs(2),
            threads: 1,
        };
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

    #[test]
    fn numbers_can_be_read() {
        assert_eq!(number(1234.0, 0), "1234");
        assert_eq!(number(12345.678, 1), "12 345.7");
        assert_eq!(number(-1234567.0, 0), "-1 234 567");
        assert_eq!(number(0.123, 2), "0.12");
    }
}
