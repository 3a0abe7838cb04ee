//! A load generator for DERP relays: see the README beside it.
#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod burn;
mod bystander;
mod cli;
mod columns;
mod crew;
mod driver;
mod faults;
mod figures;
mod floor;
mod flow;
mod foreign;
mod idle;
mod load;
mod mesh;
mod narrow;
mod overload;
mod pacing;
mod packet;
mod parts;
mod plan;
mod process;
mod report;
mod restart;
mod samples;
mod scenario;
mod session;
mod slow;
mod storm;
mod stun;
mod target;
mod timer;
mod tls;
mod traffic;
mod transport;
mod varz;

use std::io;
use std::process::ExitCode;

use clap::Parser;
use rustix::process::{Resource, getrlimit, setrlimit};

use crate::cli::{Cli, Command};
use crate::report::Report;

fn main() -> ExitCode {
    raise_descriptor_limit();
    match run(&Cli::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("derp-bench: {error}");
            ExitCode::from(2)
        }
    }
}

/// False if the relay did what no relay may.
fn run(command: &Command) -> io::Result<bool> {
    match command {
        &Command::Floor { listen, aead, stun, peer } => {
            floor::run(&floor::Plan { listen, aead, stun, peer }).map(|()| true)
        }
        Command::Burn { threads, seconds } => {
            burn::run(*threads, *seconds);
            Ok(true)
        }
        measured => match scenario::run(measured)? {
            Some((report, json)) => Ok(print(&report, json)),
            None => Ok(true),
        },
    }
}

fn print(report: &Report, json: bool) -> bool {
    if json {
        println!("{}", serde_json::to_string(report).expect("a report can be written as JSON"));
    } else {
        println!("{}\n{}", report.scenario, columns::table(report).trim_end());
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
