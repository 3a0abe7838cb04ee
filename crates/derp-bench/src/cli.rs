//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::packet;

/// Loads a DERP relay, checks every packet that comes back, and says what the relay spent on it.
#[derive(Parser, Debug)]
#[command(name = "derp-bench", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Pairs of clients, of which one sends to the other
    Pairs {
        /// How many
        #[arg(short, long, default_value_t = 10, value_parser = at_least_one)]
        pairs: usize,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        target: Target,
    },
    /// Many clients that send to one
    FanIn {
        /// How many send
        #[arg(long, default_value_t = 50, value_parser = at_least_one)]
        senders: usize,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        target: Target,
    },
    /// One client that sends to many, in turn
    FanOut {
        /// How many receive
        #[arg(long, default_value_t = 50, value_parser = at_least_one)]
        receivers: usize,
        #[command(flatten)]
        load: Load,
        #[command(flatten)]
        target: Target,
    },
    /// Clients that are logged in and quiet: the relay's memory
    Idle {
        /// How many
        #[arg(short = 'n', long, default_value_t = 4000, value_parser = at_least_one)]
        clients: usize,
        /// Clients that are logged in before the first look
        #[arg(long, default_value_t = 100)]
        primer: usize,
        /// How long they are quiet before the last look
        #[arg(long, default_value = "5", value_parser = seconds)]
        settle: Duration,
        /// Packets that each then sends to the next, before a third look
        #[arg(long, default_value_t = 0)]
        touch: u64,
        /// Bytes of each of those packets
        #[arg(short, long, default_value_t = 1400, value_parser = size)]
        size: usize,
        #[command(flatten)]
        target: Target,
    },
    /// Clients that log in and leave: what a connection costs
    Storm {
        /// Logins a second; as many as the relay takes if not given
        #[arg(short, long)]
        rate: Option<NonZeroU64>,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        target: Target,
    },
    /// Starts several relays in turn, and compares them
    Compare(Compare),
}

#[derive(Args, Debug)]
pub(crate) struct Load {
    /// Bytes of a packet
    #[arg(short, long, default_value_t = 1400, value_parser = size)]
    pub(crate) size: usize,
    /// Packets a second, of all senders together
    #[arg(short, long, default_value = "20000", conflicts_with = "flood")]
    pub(crate) rate: NonZeroU64,
    /// As fast as the sockets take them
    #[arg(long)]
    pub(crate) flood: bool,
    /// Packets with each write [default: 1, or 32 with --flood]
    #[arg(short, long)]
    pub(crate) batch: Option<NonZeroU64>,
    /// Threads of the generator
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    pub(crate) threads: usize,
    #[command(flatten)]
    pub(crate) window: Window,
}

#[derive(Args, Debug)]
pub(crate) struct Window {
    /// How long to measure
    #[arg(long, default_value = "5", value_parser = seconds)]
    pub(crate) seconds: Duration,
    /// How long to run before that
    #[arg(long, default_value = "1", value_parser = seconds)]
    pub(crate) warm_up: Duration,
}

#[derive(Args, Debug)]
pub(crate) struct Target {
    /// The relay's address
    #[arg(short, long, default_value = "127.0.0.1:3340")]
    pub(crate) target: SocketAddr,
    /// The relay's process, whose CPU time and memory are measured
    #[arg(long)]
    pub(crate) pid: Option<u32>,
    /// Logins under way at a time
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
    pub(crate) at_once: usize,
    /// Log in without waiting for the relay's HTTP answer
    #[arg(long)]
    pub(crate) fast_start: bool,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

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

/// A relay that [`Command::Compare`] can start.
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

fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = |_| "not a number of seconds";
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if seconds > 3600.0 {
        return Err("an hour is the longest".into());
    }
    Duration::try_from_secs_f64(seconds).map_err(wrong).map_err(Into::into)
}

fn size(text: &str) -> Result<usize, String> {
    let longest = derp_proto::wire::MAX_PACKET_LENGTH;
    let range = packet::MIN_LENGTH..=longest;
    let size = text.parse().ok().filter(|size| range.contains(size));
    size.ok_or_else(|| format!("a packet has {} to {longest} bytes", packet::MIN_LENGTH))
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count > 0).ok_or_else(|| "at least 1".into())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn flags_are_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn nonsense_is_refused() {
        let refused = |line: &str| Cli::try_parse_from(line.split(' ')).is_err();
        assert!(refused("derp-bench pairs --size 31"));
        assert!(refused("derp-bench pairs --size 65537"));
        assert!(refused("derp-bench pairs --rate 0"));
        assert!(refused("derp-bench pairs --rate 1 --flood"));
        assert!(refused("derp-bench pairs --pairs 0"));
        assert!(refused("derp-bench storm --seconds -1"));
        assert!(refused("derp-bench compare"));
        assert!(refused("derp-bench compare --contender derper"));
        assert!(!refused("derp-bench pairs --flood --batch 8 --seconds 0.5"));
    }

    #[test]
    fn a_contender_has_a_name_and_a_port() {
        let good = contender("js=env PLANE=js derper -a :{port}").unwrap();
        assert_eq!(good, Contender { name: "js".into(), command: "env PLANE=js derper -a :{port}".into() });
        assert!(contender("js=derper").is_err());
        assert!(contender("derper -a :{port} -c={key}").is_err());
    }
}
