//! A load generator for DERP relays: see the README beside it.
#![forbid(unsafe_code)]

mod cli;
mod compare;
mod driver;
mod faults;
mod flow;
mod idle;
mod load;
mod pacing;
mod packet;
mod process;
mod report;
mod samples;
mod session;
mod storm;
mod target;
mod timer;
mod transport;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::cli::{Cli, Command};
use crate::flow::Flow;
use crate::load::Pace;
use crate::pacing::Comb;
use crate::process::Memory;
use crate::report::Report;
use crate::target::Target;

fn main() -> ExitCode {
    raise_descriptor_limit();
    match run(Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("derp-bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// False if the relay did what no relay may.
fn run(command: Command) -> io::Result<bool> {
    match command {
        Command::Pairs { pairs, load, target } => {
            packets(&format!("{pairs} pairs"), flow::pairs(pairs), &load, &target)
        }
        Command::FanIn { senders, load, target } => {
            packets(&format!("{senders} to 1"), flow::fan_in(senders), &load, &target)
        }
        Command::FanOut { receivers, load, target } => {
            packets(&format!("1 to {receivers}"), flow::fan_out(receivers), &load, &target)
        }
        Command::Idle { clients, primer, settle, touch, size, target } => {
            let plan = idle::Plan { clients, primer, settle, touch, size };
            let outcome = idle::run(&relay(&target)?, &plan)?;
            let scenario = format!("{clients} idle clients");
            Ok(print(&Report::of_idle(scenario, &plan, &outcome), target.json))
        }
        Command::Storm { rate, window, target } => {
            let plan = storm::Plan {
                rate: rate.map(|rate| rate.get() as f64),
                warm_up: window.warm_up,
                length: window.seconds,
            };
            let outcome = storm::run(&relay(&target)?, &plan)?;
            let scenario = rate.map_or_else(|| "logins, flood".into(), |rate| format!("logins, {rate}/s"));
            let report = Report::of_storm(scenario, &plan, &outcome, target.pid.and_then(Memory::of));
            Ok(print(&report, target.json))
        }
        Command::Compare(compare) => compare::run(&compare),
    }
}

fn packets(shape: &str, flows: Vec<Flow>, load: &cli::Load, target: &cli::Target) -> io::Result<bool> {
    let batch = load.batch.map_or(if load.flood { 32 } else { 1 }, |batch| batch.get());
    let mut senders: Vec<usize> = flows.iter().map(|flow| flow.from).collect();
    senders.dedup();
    let pace = if load.flood {
        Pace::Flood { batch }
    } else {
        Pace::Comb(Comb { rate: load.rate, batch, senders: senders.len() as u64 })
    };
    let plan = load::Plan {
        flows,
        size: load.size,
        pace,
        warm_up: load.window.warm_up,
        length: load.window.seconds,
        threads: load.threads,
    };
    let rate = if load.flood { "flood".into() } else { format!("{} pps", load.rate) };
    let in_batches = if batch > 1 { format!(" in batches of {batch}") } else { String::new() };
    let scenario = format!("{shape}, {} B, {rate}{in_batches}", load.size);
    let outcome = load::run(&relay(target)?, &plan)?;
    let report = Report::of_load(scenario, &plan, &outcome, target.pid.and_then(Memory::of));
    Ok(print(&report, target.json))
}

fn relay(target: &cli::Target) -> io::Result<Target> {
    Target::new(target.target, target.fast_start, target.pid, target.at_once)
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", target.target)))
}

fn print(report: &Report, json: bool) -> bool {
    if json {
        println!("{}", serde_json::to_string(report).expect("a report can be written as JSON"));
    } else {
        println!("{}\n{}", report.scenario, report.table().trim_end());
        report.notes().iter().for_each(|note| println!("note: {note}"));
    }
    report.ok
}

/// A client is a descriptor, and the limit that shells begin with is low. Where it cannot be raised, connecting says so.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
