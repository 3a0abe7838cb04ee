//! Starts each relay itself, fresh for every run, and measures them in turn, A B C A B C: what the machine does meanwhile
//! hits all of them alike. The relay has one set of CPUs and the generator another.

use std::fmt::Write;
use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use clap::{Args, Parser};
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;

use crate::cli::{Cli, at_least_one};
use crate::columns::{columns, markdown, number};
use crate::report::Report;
use crate::transport::greeting;

const SCENARIOS: [&str; 9] = [
    "pairs --rate 10000",
    "pairs --rate 20000",
    "pairs --rate 100000 --batch 8",
    "pairs --flood",
    "fan-in --rate 20000",
    "fan-in --flood",
    "fan-out --rate 20000",
    "idle",
    "storm",
];

#[derive(Args, Debug)]
pub(crate) struct Compare {
    /// A relay: NAME=COMMAND, with {port}, {key} (a file that need not exist) and {dir} (an empty folder) filled in
    #[arg(short, long = "contender", required = true, value_parser = contender)]
    pub(crate) contenders: Vec<Contender>,
    /// The one that the others are measured by [default: the last]
    #[arg(long)]
    pub(crate) baseline: Option<String>,
    /// What to run: another command of this program, with its flags [default: a short list of all]
    #[arg(short, long = "scenario")]
    pub(crate) scenarios: Vec<String>,
    /// How often each relay is measured in each scenario
    #[arg(long, default_value_t = 3, value_parser = at_least_one)]
    pub(crate) rounds: usize,
    /// The relay's CPUs, as `taskset -c` takes them
    #[arg(long, default_value = "0")]
    pub(crate) server_cpus: String,
    /// The generator's CPUs
    #[arg(long, default_value = "1")]
    pub(crate) generator_cpus: String,
    /// Descriptors that a relay may have
    #[arg(long, default_value_t = 20_000)]
    pub(crate) descriptors: u64,
    /// A run of which the generator waited more than this for its CPU, in percent, is tried again
    #[arg(long, default_value_t = 3.0)]
    pub(crate) calm: f64,
    /// How often it is tried again, at most
    #[arg(long, default_value_t = 2)]
    pub(crate) retries: usize,
    /// A file for all runs' figures
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
}

/// A relay that [`Compare`] can start.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Contender {
    pub(crate) name: String,
    pub(crate) command: String,
}

fn contender(text: &str) -> Result<Contender, String> {
    match text.split_once('=') {
        Some((name, command)) if !name.is_empty() && !name.contains(' ') && command.contains("{port}") => {
            Ok(Contender { name: name.into(), command: command.trim().into() })
        }
        _ => Err("a contender is NAME=COMMAND, with {port} in the command".into()),
    }
}

/// One relay's figures in one run.
#[derive(Serialize)]
struct Run {
    scenario: String,
    contender: String,
    round: usize,
    /// The generator did not get its CPU when it needed it, each time that it was tried.
    disturbed: bool,
    report: Report,
}

/// False if a relay did what none may.
pub(crate) fn run(compare: &Compare) -> io::Result<bool> {
    let baseline = baseline(compare)?;
    let scenarios: Vec<String> = match &compare.scenarios[..] {
        [] => SCENARIOS.iter().map(ToString::to_string).collect(),
        given => given.to_vec(),
    };
    for scenario in &scenarios {
        let line = ["derp-bench"].into_iter().chain(scenario.split_whitespace());
        Cli::try_parse_from(line).map_err(|error| io::Error::other(format!("{scenario}: {error}")))?;
    }
    let stage = Stage::new(compare)?;
    let mut all: Vec<Run> = Vec::new();
    for scenario in &scenarios {
        for round in 0..compare.rounds {
            for contender in &compare.contenders {
                eprintln!("{scenario}: round {} of {}, {}", round + 1, compare.rounds, contender.name);
                match stage.measure_calmly(contender, scenario, compare) {
                    Ok((report, disturbed)) => all.push(Run {
                        scenario: scenario.clone(),
                        contender: contender.name.clone(),
                        round,
                        disturbed,
                        report,
                    }),
                    Err(error) => eprintln!("{}: {error}", contender.name),
                }
            }
        }
        let runs: Vec<&Run> = all.iter().filter(|run| run.scenario == *scenario).collect();
        println!("{}", table(&runs, &compare.contenders, baseline));
        if let Some(path) = &compare.json {
            fs::write(path, serde_json::to_string_pretty(&all)?)?;
        }
    }
    let complete = all.len() == scenarios.len() * compare.rounds * compare.contenders.len();
    Ok(complete && all.iter().all(|run| run.report.ok))
}

fn baseline(compare: &Compare) -> io::Result<&str> {
    let names = || compare.contenders.iter().map(|contender| contender.name.as_str());
    match &compare.baseline {
        None => names().next_back().ok_or_else(|| io::Error::other("nobody to compare")),
        Some(name) => names().find(|other| other == name).ok_or_else(|| {
            io::Error::new(ErrorKind::InvalidInput, format!("there is no contender named {name} to measure by"))
        }),
    }
}

/// Where runs take place.
struct Stage {
    folder: PathBuf,
    /// In front of the relay's command, and of the generator's.
    server_pin: String,
    generator_pin: Vec<String>,
    descriptors: u64,
}

impl Stage {
    fn new(compare: &Compare) -> io::Result<Self> {
        let folder = std::env::temp_dir().join(format!("derp-bench-{}", std::process::id()));
        fs::create_dir_all(&folder)?;
        let cpus = std::thread::available_parallelism()?.get();
        let has_taskset = Command::new("taskset").arg("-V").stdout(Stdio::null()).status().is_ok_and(|s| s.success());
        let pin = cpus > 1 && has_taskset;
        if !pin {
            eprintln!("note: one CPU, or no taskset: the relays and the generator are not kept apart");
        }
        let generator_pin = ["taskset".to_owned(), "-c".into(), compare.generator_cpus.clone()];
        Ok(Self {
            folder,
            server_pin: if pin { format!("taskset -c {} ", compare.server_cpus) } else { String::new() },
            generator_pin: if pin { generator_pin.into() } else { Vec::new() },
            descriptors: compare.descriptors,
        })
    }

    /// Measures, and does so again if the generator had to wait for its CPU. The calmest run counts.
    fn measure_calmly(&self, contender: &Contender, scenario: &str, compare: &Compare) -> io::Result<(Report, bool)> {
        let noise = |report: &Report| report.generator.as_ref().map_or(0.0, |generator| generator.waited_percent);
        let mut best = self.measure(contender, scenario)?;
        for _ in 0..compare.retries {
            if noise(&best) <= compare.calm {
                break;
            }
            let next = self.measure(contender, scenario)?;
            if noise(&next) < noise(&best) {
                best = next;
            }
        }
        let disturbed = noise(&best) > compare.calm;
        Ok((best, disturbed))
    }

    fn measure(&self, contender: &Contender, scenario: &str) -> io::Result<Report> {
        let server = Server::start(self, contender)?;
        let mut line = self.generator_pin.clone();
        line.push(std::env::current_exe()?.display().to_string());
        line.extend(scenario.split_whitespace().map(ToOwned::to_owned));
        let flags = ["--json".into(), "--target".into(), server.address.to_string(), "--pid".into()];
        line.extend(flags.into_iter().chain([server.child.id().to_string()]));
        let output = Command::new(&line[0]).args(&line[1..]).stderr(Stdio::inherit()).output()?;
        serde_json::from_slice(&output.stdout).map_err(|_| {
            io::Error::other(format!("{scenario} gave no figures; the relay's last words:\n{}", server.last_words()))
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // What cannot be removed is in the system's folder for such things.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A relay that runs.
struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

/// From its start until it greets.
const START: Duration = Duration::from_secs(20);
/// From being asked to stop.
const STOP: Duration = Duration::from_secs(5);

impl Server {
    fn start(stage: &Stage, contender: &Contender) -> io::Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let folder = stage.folder.join(format!("{}-{port}", contender.name));
        fs::create_dir_all(&folder)?;
        let log = stage.folder.join(format!("{}-{port}.log", contender.name));
        let command = fill(&contender.command, port, &stage.folder, &folder);
        // One process from the shell to the relay, so that its id is the child's.
        let line = format!("ulimit -n {} 2>/dev/null; exec {}env {command}", stage.descriptors, stage.server_pin);
        let child = Command::new("sh")
            .args(["-c", &line])
            .stdin(Stdio::null())
            .stdout(File::create(&log)?)
            .stderr(File::options().append(true).open(&log)?)
            .spawn()?;
        let mut server = Self { child, address, log };
        let end = Instant::now() + START;
        while greeting(address, &None, Duration::from_secs(1)).is_err() {
            let ended = server.child.try_wait()?.is_some();
            if ended || Instant::now() >= end {
                let why = if ended { "ended" } else { "does not greet" };
                return Err(io::Error::other(format!("{line}\n{why}: {}", server.last_words())));
            }
            sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    fn last_words(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Each step is for a relay that the step before has not ended.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let end = Instant::now() + STOP;
        while Instant::now() < end {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn fill(command: &str, port: u16, keys: &Path, folder: &Path) -> String {
    let key = keys.join(format!("{port}.key"));
    command
        .replace("{port}", &port.to_string())
        .replace("{key}", &key.display().to_string())
        .replace("{dir}", &folder.display().to_string())
}

/// Medians of one scenario's runs, with their ranges, and the costs as multiples of the baseline's.
fn table(runs: &[&Run], contenders: &[Contender], baseline: &str) -> String {
    let Some(first) = runs.first() else {
        return "nothing was measured".into();
    };
    let mut text =
        format!("\n### {}, {} rounds\n\n", first.report.scenario, 1 + runs.iter().map(|r| r.round).max().unwrap_or(0));
    let columns = columns(&first.report);
    let names = columns.iter().map(|column| column.name.to_owned());
    let head: Vec<String> = std::iter::once(String::new()).chain(names).collect();
    let rule = vec!["---".to_owned(); head.len()];
    let values = |contender: &str, name: &str| -> Vec<f64> {
        let own = runs.iter().filter(|run| run.contender == contender);
        own.flat_map(|run| crate::columns::columns(&run.report)).filter(|c| c.name == name).map(|c| c.value).collect()
    };
    let row = |contender: &Contender| {
        let cells = columns.iter().map(|column| {
            let Some(spread) = Spread::of(values(&contender.name, column.name)) else {
                return "–".to_owned();
            };
            let mut cell = spread.text(column.digits);
            let reference = Spread::of(values(baseline, column.name)).filter(|s| column.cost && s.median > 0.0);
            if let Some(reference) = reference.filter(|_| contender.name != baseline) {
                let _ = write!(cell, " **{:.2}×**", spread.median / reference.median);
            }
            cell
        });
        std::iter::once(contender.name.clone()).chain(cells).collect()
    };
    text += &markdown([head, rule].into_iter().chain(contenders.iter().map(row)));
    for run in runs {
        let disturbed = run.disturbed.then(|| "the machine was busy with other things".to_owned());
        for note in run.report.notes().into_iter().chain(disturbed) {
            let _ = writeln!(text, "- {}, round {}: {note}", run.contender, run.round + 1);
        }
    }
    text
}

/// Several runs' values of one figure.
#[derive(Clone, Copy, PartialEq, Debug)]
struct Spread {
    least: f64,
    median: f64,
    most: f64,
}

impl Spread {
    fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (least, most) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 { values[middle] } else { (values[middle - 1] + values[middle]) / 2.0 };
        Some(Self { least, median, most })
    }

    fn text(&self, digits: usize) -> String {
        let [least, median, most] = [self.least, self.median, self.most].map(|value| number(value, digits));
        if least == most { median } else { format!("{median} ({least}–{most})") }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_have_a_middle() {
        assert_eq!(Spread::of(vec![]), None);
        let spread = Spread::of(vec![3.0, 1.0, 2.0]).unwrap();
        assert_eq!(spread, Spread { least: 1.0, median: 2.0, most: 3.0 });
        assert_eq!(spread.text(1), "2.0 (1.0–3.0)");
        assert!((Spread::of(vec![4.0, 1.0, 2.0, 3.0]).unwrap().median - 2.5).abs() < 1e-9);
        assert_eq!(Spread::of(vec![5.0]).unwrap().text(0), "5");
    }

    #[test]
    fn commands_are_filled_in() {
        let filled = fill("derper -a :{port} -c {key} -d {dir}", 99, Path::new("/tmp/a"), Path::new("/tmp/a/b"));
        assert_eq!(filled, "derper -a :99 -c /tmp/a/99.key -d /tmp/a/b");
    }

    #[test]
    fn the_short_list_can_be_run() {
        for scenario in SCENARIOS {
            let line = ["derp-bench"].into_iter().chain(scenario.split_whitespace());
            assert!(Cli::try_parse_from(line).is_ok(), "{scenario}");
        }
    }

    #[test]
    fn a_table_has_a_ratio_to_the_baseline() {
        let report = |used: f64| Report {
            scenario: "a test".into(),
            ok: true,
            faults: vec![],
            traffic: None,
            logins: Some(crate::figures::Logins {
                completed: 1,
                failed: 0,
                per_second: 1.0,
                latency: Default::default(),
                cpu_us_per_login: Some(used),
            }),
            clients: None,
            overload: None,
            slow: None,
            stun: None,
            restart: None,
            bystander: None,
            relay_counts: None,
            cipher: None,
            generator_limited: false,
            server: None,
            generator: None,
            others_cpu_percent: None,
            stolen_cpu_percent: None,
        };
        let run = |contender: &str, used| Run {
            scenario: "storm".into(),
            contender: contender.into(),
            round: 0,
            disturbed: false,
            report: report(used),
        };
        let runs = [run("ours", 50.0), run("theirs", 200.0)];
        let contenders = ["ours", "theirs"].map(|name| Contender { name: name.into(), command: "x {port}".into() });
        let text = table(&runs.iter().collect::<Vec<_>>(), &contenders, "theirs");
        assert!(text.contains("50 **0.25×**") && text.contains("| theirs | 1 | 200 |"), "{text}");
    }
}
