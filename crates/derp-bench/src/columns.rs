//! A report as columns of a table.

use crate::figures::Clients;
use crate::report::Report;

/// One column of the table.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Column {
    name: &'static str,
    value: f64,
    digits: usize,
}

type Cell = (&'static str, Option<f64>, usize);

/// Those without a figure are left out.
fn columns(report: &Report) -> Vec<Column> {
    let mut cells: Vec<Cell> = Vec::new();
    if let Some(overload) = &report.overload {
        cells.push(("peak pps", Some(overload.peak_pps), 0));
        cells.push(("offered pps", Some(overload.offered_pps), 0));
        cells.push(("goodput % of peak", Some(overload.goodput_percent_of_peak), 1));
    }
    if let Some(slow) = &report.slow {
        cells.push(("others' pps", Some(slow.others_pps), 0));
        cells.push(("others lost %", Some(slow.others_lost_percent), 2));
        cells.push(("slow one's pps", Some(slow.slow_pps), 0));
        cells.push(("cut off", Some(f64::from(u8::from(slow.cut_off))), 0));
    }
    if let Some(narrow) = &report.narrow {
        cells.push(("goodput Mbit/s", Some(narrow.goodput_mbit), 2));
        cells.push(("age p50 ms", Some(narrow.bulk.p50 / 1e3), 1));
        cells.push(("age p95 ms", Some(narrow.bulk.p95 / 1e3), 1));
        cells.push(("age p99 ms", Some(narrow.bulk.p99 / 1e3), 1));
        cells.push(("sparse p50 ms", Some(narrow.sparse.p50 / 1e3), 1));
        cells.push(("sparse p95 ms", Some(narrow.sparse.p95 / 1e3), 1));
        cells.push(("sparse p99 ms", Some(narrow.sparse.p99 / 1e3), 1));
        cells.push(("sparse lost %", Some(narrow.sparse_lost_percent), 2));
    }
    if let Some(traffic) = &report.traffic {
        cells.push(("delivered pps", Some(traffic.delivered_pps), 0));
        cells.push(("lost %", Some(traffic.lost_percent), 2));
        cells.push(("Gbit/s", Some(traffic.gbit_per_second), 3));
        cells.push(("CPU µs/delivered", traffic.cpu_us_per_delivered, 2));
        cells.push(("CPU µs/received", traffic.cpu_us_per_received, 2));
        cells.push(("Jain", traffic.fairness.filter(|_| report.overload.is_some()), 3));
        cells.push(("p50 µs", Some(traffic.latency.p50), 0));
        cells.push(("p99 µs", Some(traffic.latency.p99), 0));
        cells.push(("p99.9 µs", Some(traffic.latency.p999), 0));
        cells.push(("late p99 µs", Some(traffic.lateness.p99), 0));
    }
    if let Some(logins) = &report.logins {
        cells.push(("logins/s", Some(logins.per_second), 0));
        cells.push(("CPU µs/login", logins.cpu_us_per_login, 0));
        cells.push(("login p50 µs", Some(logins.latency.p50), 0));
        cells.push(("login p99 µs", Some(logins.latency.p99), 0));
    }
    if let Some(restart) = &report.restart {
        cells.push(("all back ms", Some(restart.seconds * 1000.0), 0));
        cells.push(("retries", Some(restart.retries as f64), 0));
        cells.push(("CPU µs/login", restart.cpu_us_per_login, 0));
        cells.push(("peak RSS MB", restart.peak_rss_mb, 1));
    }
    if let Some(stun) = &report.stun {
        let lost = 100.0 * (1.0 - stun.answers as f64 / stun.requests.max(1) as f64);
        cells.push(("CPU µs/answer", stun.cpu_us_per_answer, 2));
        cells.push(("unanswered %", Some(lost), 2));
        cells.push(("answer p50 µs", Some(stun.latency.p50), 0));
        cells.push(("answer p99 µs", Some(stun.latency.p99), 0));
    }
    if let Some(bystander) = &report.bystander {
        cells.push(("bystander p50 µs", Some(bystander.latency.p50), 0));
        cells.push(("bystander p99 µs", Some(bystander.latency.p99), 0));
        cells.push(("bystander lost", Some(bystander.lost as f64), 0));
    }
    if let Some(clients) = &report.clients {
        of_clients(clients, &mut cells);
    }
    if let Some(server) = &report.server {
        cells.push(("server CPU %", Some(server.cpu_percent), 1));
        cells.push(("RSS MB", server.memory.map(|memory| memory.rss as f64 / 1024.0), 1));
    }
    cells.push(("other server CPU %", report.other_server.as_ref().map(|other| other.cpu_percent), 1));
    cells.push(("generator CPU %", report.generator.as_ref().map(|generator| generator.cpu_percent), 0));
    cells.push(("waited %", report.generator.as_ref().map(|generator| generator.waited_percent), 1));
    cells.push(("foreign CPU %", report.others_cpu_percent, 0));
    let column = |(name, value, digits): Cell| Some(Column { name, value: value?, digits });
    cells.into_iter().filter_map(column).collect()
}

fn of_clients(clients: &Clients, cells: &mut Vec<Cell>) {
    cells.push(("B/client at once", clients.bytes_each_at_once, 0));
    cells.push(("B/client settled", clients.bytes_each_settled, 0));
    cells.push(("B/client after traffic", clients.bytes_each_touched, 0));
    cells.push(("B/client after a storm", clients.bytes_each_stormed, 0));
    cells.push(("kernel queues B/client", clients.kernel.map(|kernel| kernel.queue_bytes_each), 0));
    cells.push(("kernel objects B/client", clients.kernel.map(|kernel| kernel.object_bytes_each), 0));
    cells.push(("RSS MB before", clients.before.map(|memory| memory.rss as f64 / 1024.0), 1));
}

/// Two lines for people: names and values.
pub(crate) fn table(report: &Report) -> String {
    let columns = columns(report);
    let names = columns.iter().map(|column| column.name.to_owned()).collect();
    let values = columns.iter().map(|column| number(column.value, column.digits)).collect();
    markdown([names, values].into_iter())
}

/// Rows of a Markdown table, each followed by a line end.
fn markdown(rows: impl Iterator<Item = Vec<String>>) -> String {
    rows.map(|cells| format!("| {} |\n", cells.join(" | "))).collect()
}

/// With a blank after each three digits: long numbers are hard to read.
fn number(value: f64, digits: usize) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_can_be_read() {
        assert_eq!(number(1234.0, 0), "1234");
        assert_eq!(number(12345.678, 1), "12 345.7");
        assert_eq!(number(-1234567.0, 0), "-1 234 567");
        assert_eq!(number(0.123, 2), "0.12");
    }
}
