//! The figures of a report, by what they are about.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::load;
use crate::process::{Memory, Usage, percent};

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
    /// Jain's index of what the flows got: 1 if all got the same, 1/n if one got everything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) fairness: Option<f64>,
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
    /// After others have logged in and left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) bytes_each_stormed: Option<f64>,
    /// The kernel's, of both ends, when settled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kernel: Option<Kernel>,
}

/// What the machine's kernel holds beyond what it held before, by the number of clients; of both ends and of all other programs.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Kernel {
    pub(crate) queue_bytes_each: f64,
    pub(crate) object_bytes_each: f64,
}

/// A pair that has no part in what goes on.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Bystander {
    pub(crate) offered: u64,
    pub(crate) lost: u64,
    /// From being due to having arrived.
    pub(crate) latency: Times,
}

/// More than the relay can carry. Packets a second.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Overload {
    pub(crate) peak_pps: f64,
    pub(crate) offered_pps: f64,
    pub(crate) goodput_percent_of_peak: f64,
}

/// A slow receiver, and those beside it.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Slow {
    pub(crate) others_pps: f64,
    pub(crate) others_lost_percent: f64,
    pub(crate) slow_pps: f64,
    /// The relay has ended its connection.
    pub(crate) cut_off: bool,
}

/// A narrow link, and the senders to its other end. Ages are from being due to having arrived.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Narrow {
    /// Of what the link takes, what arrived of both senders' packets; payload alone.
    pub(crate) goodput_percent: f64,
    pub(crate) goodput_mbit: f64,
    pub(crate) bulk: Times,
    pub(crate) sparse: Times,
    /// Of the sparse sender's packets.
    pub(crate) sparse_lost_percent: f64,
}

/// STUN.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Stun {
    pub(crate) requests: u64,
    pub(crate) answers: u64,
    pub(crate) latency: Times,
    /// Of the whole process, the bystander's packets included.
    pub(crate) cpu_us_per_answer: Option<f64>,
}

/// All clients at once.
#[derive(Clone, Copy, PartialEq, Debug, Serialize, Deserialize)]
pub(crate) struct Restart {
    pub(crate) clients: usize,
    pub(crate) back: usize,
    pub(crate) seconds: f64,
    pub(crate) retries: u64,
    pub(crate) latency: Times,
    pub(crate) cpu_us_per_login: Option<f64>,
    pub(crate) peak_rss_mb: Option<f64>,
}

/// In microseconds.
#[derive(Clone, Copy, PartialEq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Times {
    pub(crate) p50: f64,
    #[serde(default)]
    pub(crate) p95: f64,
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

impl Times {
    pub(crate) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1000.0;
        Self { p50: at(0.5), p95: at(0.95), p99: at(0.99), p999: at(0.999), max: histogram.max() as f64 / 1000.0 }
    }
}

impl Process {
    pub(crate) fn of(usage: &Usage, memory: Option<Memory>) -> Self {
        let threads = usage.threads.iter().map(|(name, used)| (name.clone(), percent(*used, usage.elapsed))).collect();
        let waited_percent = percent(usage.waited, usage.elapsed);
        Self { cpu_percent: usage.percent(), spun_percent: 0.0, waited_percent, threads, memory }
    }
}

impl Bystander {
    pub(crate) fn of(outcome: &load::Outcome) -> Self {
        let lost = outcome.sent.saturating_sub(outcome.delivered);
        Self { offered: outcome.offered, lost, latency: Times::of(&outcome.latency) }
    }
}

/// Jain's index; `None` of nothing.
pub(crate) fn fairness(shares: &[u64]) -> Option<f64> {
    let sum: f64 = shares.iter().map(|&share| share as f64).sum();
    let squares: f64 = shares.iter().map(|&share| (share as f64).powi(2)).sum();
    (squares > 0.0).then(|| sum * sum / (shares.len() as f64 * squares))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fairness_is_one_for_equals_and_one_of_n_for_a_tyrant() {
        assert_eq!(fairness(&[5, 5, 5, 5]), Some(1.0));
        assert_eq!(fairness(&[9, 0, 0, 0]), Some(0.25));
        assert_eq!(fairness(&[0, 0]), None);
        assert_eq!(fairness(&[]), None);
    }
}
