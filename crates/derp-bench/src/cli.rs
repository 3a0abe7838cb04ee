//! The command line.

use std::net::SocketAddr;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::tls::Cipher;
use crate::{bystander, packet};

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
        /// Others that then log in and leave, before a fourth look
        #[arg(long, default_value_t = 0)]
        storm: u64,
        /// Bytes of each of those packets
        #[arg(short, long, default_value_t = 1400, value_parser = size)]
        size: usize,
        #[command(flatten)]
        target: Target,
    },
    /// Clients that log in and leave: what a connection costs, and what those feel who stay
    Storm {
        /// Logins a second; as many as the relay takes if not given
        #[arg(short, long)]
        rate: Option<NonZeroU64>,
        /// Packets a second of a pair that stays
        #[arg(long, default_value_t = bystander::RATE)]
        bystander: NonZeroU64,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        target: Target,
    },
    /// First the most that the relay carries, then a multiple of that: goodput, fairness, a bystander's latency
    Overload {
        /// How many pairs
        #[arg(short, long, default_value_t = 10, value_parser = at_least_one)]
        pairs: usize,
        /// Bytes of a packet
        #[arg(short, long, default_value_t = 1400, value_parser = size)]
        size: usize,
        /// Packets with each write
        #[arg(short, long, default_value = "8")]
        batch: NonZeroU64,
        /// How long each rate is tried on the way to the peak
        #[arg(long, default_value = "1", value_parser = seconds)]
        step: Duration,
        /// What is offered, as a multiple of the peak
        #[arg(long, default_value_t = 3.0)]
        times: f64,
        /// Packets a second of the bystander
        #[arg(long, default_value_t = bystander::RATE)]
        bystander: NonZeroU64,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        target: Target,
    },
    /// One client that sends to many, of which one reads slowly
    Slow {
        /// How many receive, the slow one included
        #[arg(long, default_value_t = 10, value_parser = at_least_two)]
        receivers: usize,
        /// Bytes of a packet
        #[arg(short, long, default_value_t = 1400, value_parser = size)]
        size: usize,
        /// Packets a second, to all of them together
        #[arg(short, long, default_value = "10000")]
        rate: NonZeroU64,
        /// Bytes a second that the slow one reads
        #[arg(long, default_value_t = 200_000, value_parser = at_least_one)]
        reads: usize,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        target: Target,
    },
    /// A bulk sender and a sparse one, to one receiver behind a narrow link: how old packets are when they arrive
    Narrow {
        /// The relay's address over the narrow link, where the receiver connects
        #[arg(long)]
        receiver: SocketAddr,
        /// Bits a second that the link takes
        #[arg(long, default_value = "10000000")]
        link: NonZeroU64,
        /// What the bulk sender offers, as a multiple of that
        #[arg(long, default_value_t = 2.0)]
        times: f64,
        /// Bytes of its packets
        #[arg(short, long, default_value_t = 1400, value_parser = size)]
        size: usize,
        /// Packets a second of the sparse sender
        #[arg(long, default_value = "20")]
        sparse: NonZeroU64,
        /// Bytes of its packets
        #[arg(long, default_value_t = 100, value_parser = size)]
        sparse_size: usize,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        target: Target,
    },
    /// Pairs of clients of two relays that mesh with each other
    Mesh {
        /// The other relay's address
        #[arg(long)]
        target_b: SocketAddr,
        /// The other relay's process
        #[arg(long)]
        pid_b: Option<u32>,
        /// How many; every other one sends the other way
        #[arg(short, long, default_value_t = 10, value_parser = at_least_one)]
        pairs: usize,
        /// Bytes of a packet
        #[arg(short, long, default_value_t = 1400, value_parser = size)]
        size: usize,
        /// Packets a second, of all senders together
        #[arg(short, long, default_value = "20000")]
        rate: NonZeroU64,
        /// Packets with each write
        #[arg(short, long, default_value = "1")]
        batch: NonZeroU64,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        target: Target,
    },
    /// STUN requests, and a pair that feels them
    Stun {
        /// Where STUN is answered
        #[arg(long)]
        stun: SocketAddr,
        /// Requests a second
        #[arg(short, long, default_value = "5000")]
        rate: NonZeroU64,
        /// Packets a second of the bystander
        #[arg(long, default_value_t = bystander::RATE)]
        bystander: NonZeroU64,
        #[command(flatten)]
        window: Window,
        #[command(flatten)]
        target: Target,
    },
    /// Many clients that all come at once, as after a restart: time until the last is back, and the memory it takes
    Restart {
        /// How many
        #[arg(short = 'n', long, default_value_t = 2000, value_parser = at_least_one)]
        clients: usize,
        #[command(flatten)]
        target: Target,
    },
    /// A relay that does nothing but receive, copy keys, and send: what no relay on sockets can be cheaper than
    Floor {
        /// Where to listen
        #[arg(short, long)]
        listen: SocketAddr,
        /// Open and seal as many bytes as TLS would, without its protocol
        #[arg(long)]
        aead: bool,
        /// Where to answer STUN
        #[arg(long)]
        stun: Option<SocketAddr>,
        /// Another of these, which gets the packets for clients that are not here
        #[arg(long)]
        peer: Option<SocketAddr>,
    },
    /// Uses up CPU time, so that a relay on the same core gets only a part of it
    Burn {
        /// Threads that do so: a relay beside three of them has a quarter of the core
        #[arg(long, default_value_t = 3, value_parser = at_least_one)]
        threads: usize,
        /// It ends by itself after that
        #[arg(long, default_value = "60", value_parser = seconds)]
        seconds: Duration,
    },
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
    /// A process that is meant to be there, whose CPU time is not foreign
    #[arg(long)]
    pub(crate) beside: Vec<u32>,
    /// Logins under way at a time
    #[arg(long, default_value_t = 64, value_parser = at_least_one)]
    pub(crate) at_once: usize,
    /// Log in without waiting for the relay's HTTP answer
    #[arg(long)]
    pub(crate) fast_start: bool,
    /// Speak TLS
    #[arg(long)]
    pub(crate) tls: bool,
    /// The one cipher that is offered
    #[arg(long, value_enum, default_value_t = Cipher::default())]
    pub(crate) cipher: Cipher,
    /// The only certificate that the relay may have, PEM; any will do if not given
    #[arg(long)]
    pub(crate) pin: Option<PathBuf>,
    /// Print JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,
}

pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = |_| "not a number of seconds";
    let seconds: f64 = text.parse().map_err(|_| "not a number of seconds")?;
    if seconds > 3600.0 {
        return Err("an hour is the longest".into());
    }
    Duration::try_from_secs_f64(seconds).map_err(wrong).map_err(Into::into)
}

pub(crate) fn size(text: &str) -> Result<usize, String> {
    let longest = derp_proto::wire::MAX_PACKET_LENGTH;
    let range = packet::MIN_LENGTH..=longest;
    let size = text.parse().ok().filter(|size| range.contains(size));
    size.ok_or_else(|| format!("a packet has {} to {longest} bytes", packet::MIN_LENGTH))
}

pub(crate) fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count > 0).ok_or_else(|| "at least 1".into())
}

fn at_least_two(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&count| count > 1).ok_or_else(|| "at least 2".into())
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
        assert!(refused("derp-bench burn --threads 0"));
        assert!(!refused("derp-bench pairs --flood --batch 8 --seconds 0.5"));
    }
}
