//! One command against one relay, from its flags to its report.

use std::fs::File;
use std::io::{self, BufReader};
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use crate::cli::{self, Command};
use crate::flow::{self, Flow};
use crate::foreign::Foreign;
use crate::load::{self, Pace};
use crate::pacing::Comb;
use crate::process::Memory;
use crate::report::Report;
use crate::target::Target;
use crate::tls::Tls;
use crate::{idle, mesh, narrow, overload, restart, slow, storm, stun, varz};

/// `None` for the commands that are about no relay in particular.
pub(crate) fn run(command: &Command) -> io::Result<Option<(Report, bool)>> {
    let Some(given) = target_of(command) else {
        return Ok(None);
    };
    let relay = relay(given)?;
    let before = varz::counts(given.target, &relay.security).unwrap_or_default();
    let beside: Vec<u32> = given.beside.iter().copied().chain(other_process(command)).collect();
    let foreign = Foreign::begin(given.pid, &beside);
    let mut report = measure(command, &relay)?;
    report.others_cpu_percent = foreign.and_then(|foreign| foreign.percent());
    report.cipher = relay.cipher.clone();
    report.relay_counts = varz::counts(given.target, &relay.security).map(|after| varz::since(after, &before));
    Ok(Some((report, given.json)))
}

fn target_of(command: &Command) -> Option<&cli::Target> {
    match command {
        Command::Pairs { target, .. }
        | Command::FanIn { target, .. }
        | Command::FanOut { target, .. }
        | Command::Idle { target, .. }
        | Command::Storm { target, .. }
        | Command::Overload { target, .. }
        | Command::Slow { target, .. }
        | Command::Mesh { target, .. }
        | Command::Narrow { target, .. }
        | Command::Stun { target, .. }
        | Command::Restart { target, .. } => Some(target),
        Command::Floor { .. } | Command::Burn { .. } => None,
    }
}

fn other_process(command: &Command) -> Option<u32> {
    if let Command::Mesh { pid_b, .. } = command { *pid_b } else { None }
}

fn measure(command: &Command, relay: &Target) -> io::Result<Report> {
    let memory = || relay.process.and_then(Memory::of);
    match *command {
        Command::Pairs { pairs, ref load, .. } => packets(&format!("{pairs} pairs"), flow::pairs(pairs), load, relay),
        Command::FanIn { senders, ref load, .. } => {
            packets(&format!("{senders} to 1"), flow::fan_in(senders), load, relay)
        }
        Command::FanOut { receivers, ref load, .. } => {
            packets(&format!("1 to {receivers}"), flow::fan_out(receivers), load, relay)
        }
        Command::Idle { clients, primer, settle, touch, storm, size, .. } => {
            let plan = idle::Plan { clients, primer, settle, touch, storm, size };
            let outcome = idle::run(relay, &plan)?;
            Ok(Report::of_idle(format!("{clients} idle clients"), &plan, &outcome))
        }
        Command::Storm { rate, bystander, ref window, .. } => {
            let rate = rate.map(|rate| rate.get() as f64);
            let plan = storm::Plan { rate, bystander, warm_up: window.warm_up, length: window.seconds };
            let outcome = storm::run(relay, &plan)?;
            let scenario = rate.map_or_else(|| "logins, flood".into(), |rate| format!("logins, {rate}/s"));
            Ok(Report::of_storm(scenario, &plan, &outcome, memory()))
        }
        Command::Overload { pairs, size, batch, step, times, bystander, ref window, .. } => {
            let (warm_up, length, batch) = (window.warm_up, window.seconds, batch.get());
            let plan = overload::Plan { pairs, size, batch, step, times, bystander, warm_up, length };
            let outcome = overload::run(relay, &plan)?;
            let scenario = format!("{pairs} pairs, {size} B, {times} times the peak");
            Ok(Report::of_overload(scenario, &load::Plan::new(flow::pairs(pairs), size, warm_up, length), outcome))
        }
        Command::Slow { receivers, size, rate, reads, ref window, .. } => {
            let (warm_up, length) = (window.warm_up, window.seconds);
            let plan = slow::Plan { receivers, size, rate, reads, warm_up, length };
            let outcome = slow::run(relay, &plan)?;
            let scenario = format!("1 to {receivers}, {size} B, {rate} pps, one reads {reads} B/s");
            Ok(Report::of_slow(scenario, &load::Plan::new(flow::fan_out(receivers), size, warm_up, length), outcome))
        }
        Command::Mesh { target_b, pid_b, pairs, size, rate, batch, ref window, ref target } => {
            let (warm_up, length) = (window.warm_up, window.seconds);
            let plan = mesh::Plan { pairs, size, rate, batch, warm_up, length };
            let other = relay_at(target_b, pid_b, target)?;
            let scenario = format!("{pairs} pairs across two relays, {size} B, {rate} pps");
            let load = load::Plan::new(flow::pairs(pairs), size, warm_up, length);
            Ok(Report::of_mesh(scenario, &load, mesh::run([relay, &other], &plan)?, memory()))
        }
        Command::Narrow { receiver, link, times, size, sparse, sparse_size, ref window, .. } => {
            let (warm_up, length) = (window.warm_up, window.seconds);
            let plan = narrow::Plan { receiver, link, times, size, sparse, sparse_size, warm_up, length };
            let outcome = narrow::run(relay, &plan)?;
            let scenario = format!("{} pps of {size} B, and {sparse} pps, over {link} bit/s", plan.rate());
            Ok(Report::of_narrow(scenario, &plan, outcome))
        }
        Command::Stun { stun, rate, bystander, ref window, .. } => {
            let (warm_up, length) = (window.warm_up, window.seconds);
            let plan = stun::Plan { server: stun, rate, bystander, warm_up, length };
            Ok(Report::of_stun(format!("STUN, {rate}/s"), &stun::run(relay, &plan)?))
        }
        Command::Restart { clients, .. } => {
            Ok(Report::of_restart(format!("{clients} clients at once"), &restart::run(relay, clients)?))
        }
        Command::Floor { .. } | Command::Burn { .. } => Err(io::Error::other("this measures no relay")),
    }
}

fn packets(shape: &str, flows: Vec<Flow>, load: &cli::Load, relay: &Target) -> io::Result<Report> {
    let batch = load.batch.map_or(if load.flood { 32 } else { 1 }, |batch| batch.get());
    let mut senders: Vec<usize> = flows.iter().map(|flow| flow.from).collect();
    senders.dedup();
    let pace = if load.flood {
        Pace::Flood { batch }
    } else {
        Pace::Comb(Comb { rate: load.rate, batch, senders: senders.len() as u64 })
    };
    let plan = load::Plan {
        pace,
        threads: load.threads,
        ..load::Plan::new(flows, load.size, load.window.warm_up, load.window.seconds)
    };
    let rate = if load.flood { "flood".into() } else { format!("{} pps", load.rate) };
    let in_batches = if batch > 1 { format!(" in batches of {batch}") } else { String::new() };
    let scenario = format!("{shape}, {} B, {rate}{in_batches}", load.size);
    let outcome = load::run(relay, &plan)?;
    Ok(Report::of_load(scenario, &plan, &outcome, relay.process.and_then(Memory::of)))
}

fn relay(given: &cli::Target) -> io::Result<Target> {
    relay_at(given.target, given.pid, given)
}

fn relay_at(address: SocketAddr, process: Option<u32>, given: &cli::Target) -> io::Result<Target> {
    let pin = given.pin.as_ref().map(|path| {
        let mut reader = BufReader::new(File::open(path)?);
        let certificate = CertificateDer::from_pem_reader(&mut reader).map_err(io::Error::other)?;
        Ok::<_, io::Error>(certificate.as_ref().to_vec())
    });
    let pin = pin.transpose()?;
    let security = given.tls.then(|| Tls::new(given.cipher, pin).map(Arc::new)).transpose()?;
    Target::new(address, security, given.fast_start, process, given.at_once)
        .map_err(|error| io::Error::new(error.kind(), format!("{address}: {error}")))
}
