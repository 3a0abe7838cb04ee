//! What Linux says of a process and of the machine. Elsewhere there are no such figures, and nothing fails for it.

use std::fs;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

/// One thread's name and what it has used.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Thread {
    id: u32,
    name: String,
    used: Duration,
    /// Ready to run while its core ran something else.
    waited: Duration,
}

/// A process at one moment.
#[derive(Clone, Debug)]
pub(crate) struct Sample {
    at: Instant,
    used: Duration,
    threads: Vec<Thread>,
}

/// What a process used between two moments.
#[derive(Clone, Debug)]
pub(crate) struct Usage {
    pub(crate) used: Duration,
    pub(crate) elapsed: Duration,
    /// What its threads waited for a core, each other included.
    pub(crate) waited: Duration,
    /// By name, the busiest first; threads that used nothing are left out.
    pub(crate) threads: Vec<(String, Duration)>,
}

impl Usage {
    /// 100 is one core.
    pub(crate) fn percent(&self) -> f64 {
        percent(self.used, self.elapsed)
    }
}

/// 100 is one core.
pub(crate) fn percent(used: Duration, elapsed: Duration) -> f64 {
    100.0 * used.as_secs_f64() / elapsed.as_secs_f64().max(1e-9)
}

impl Sample {
    /// `None` if there is no such process, or no `/proc`.
    pub(crate) fn of(process: u32) -> Option<Self> {
        let stat = read_stat(&format!("/proc/{process}/stat"))?;
        let mut threads = Vec::new();
        for entry in fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten() {
            let id = entry.file_name().to_str().and_then(|name| name.parse().ok());
            // A thread may end while it is looked at.
            let (Some(id), Some(stat)) = (id, read_stat(&format!("{}/stat", entry.path().display()))) else {
                continue;
            };
            let schedule = fs::read_to_string(entry.path().join("schedstat")).ok();
            let schedule = schedule.and_then(|text| parse_schedule(&text));
            let (used, waited) = schedule.unwrap_or((stat.used, Duration::ZERO));
            threads.push(Thread { id, name: stat.name, used, waited });
        }
        Some(Self { at: Instant::now(), used: stat.used, threads })
    }

    pub(crate) fn since(&self, earlier: &Self) -> Usage {
        let mut threads: Vec<(String, Duration)> = Vec::new();
        let mut waited = Duration::ZERO;
        for thread in &self.threads {
            let before = earlier.threads.iter().find(|other| other.id == thread.id);
            let (used_before, waited_before) = before.map_or_else(Default::default, |t| (t.used, t.waited));
            let used = thread.used.saturating_sub(used_before);
            waited += thread.waited.saturating_sub(waited_before);
            match threads.iter_mut().find(|(name, _)| *name == thread.name) {
                Some((_, sum)) => *sum += used,
                None => threads.push((thread.name.clone(), used)),
            }
        }
        threads.retain(|(_, used)| !used.is_zero());
        threads.sort_by_key(|(_, used)| std::cmp::Reverse(*used));
        // The threads' own figures are exact, those of the process are cut to ticks; but of threads that have ended since,
        // the process alone knows.
        let whole = self.used.saturating_sub(earlier.used).saturating_sub(ticks(2));
        let used = threads.iter().map(|(_, used)| *used).sum::<Duration>().max(whole);
        Usage { used, elapsed: self.at.duration_since(earlier.at), waited, threads }
    }
}

/// In KiB.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Memory {
    pub(crate) rss: u64,
    /// Pages that several processes share are counted in parts.
    pub(crate) pss: u64,
}

impl Memory {
    /// Walks the process's page tables, which holds it up for a moment: not while something is being measured.
    pub(crate) fn of(process: u32) -> Option<Self> {
        parse_smaps(&fs::read_to_string(format!("/proc/{process}/smaps_rollup")).ok()?)
    }
}

/// The most that a process has had resident since it began, in KiB.
pub(crate) fn peak(process: u32) -> Option<u64> {
    parse_peak(&fs::read_to_string(format!("/proc/{process}/status")).ok()?)
}

/// What the kernel keeps for sockets, of the whole machine: both ends of every connection, if both are here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub(crate) struct KernelMemory {
    /// Pages in TCP's queues, in KiB.
    pub(crate) queues: u64,
    /// All of the kernel's small objects, in KiB: those of sockets are among them, and those of all programs.
    pub(crate) objects: u64,
}

impl KernelMemory {
    pub(crate) fn now() -> Option<Self> {
        let pages = parse_queues(&fs::read_to_string("/proc/net/sockstat").ok()?)?;
        let objects = parse_objects(&fs::read_to_string("/proc/meminfo").ok()?)?;
        Some(Self { queues: pages * rustix::param::page_size() as u64 / 1024, objects })
    }
}

/// What all CPUs of the machine have been busy, and what the hypervisor has kept from them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Machine {
    pub(crate) busy: Duration,
    pub(crate) stolen: Duration,
}

impl Machine {
    pub(crate) fn now() -> Option<Self> {
        let text = fs::read_to_string("/proc/stat").ok()?;
        let (busy, stolen) = parse_machine(text.lines().next()?)?;
        Some(Self { busy: ticks(busy), stolen: ticks(stolen) })
    }
}

#[derive(PartialEq, Debug)]
struct Stat {
    name: String,
    used: Duration,
}

fn read_stat(path: &str) -> Option<Stat> {
    let (name, used) = parse_stat(&fs::read_to_string(path).ok()?)?;
    Some(Stat { name, used: ticks(used) })
}

/// Name and ticks. The name stands in parentheses, and may hold any characters, those included.
fn parse_stat(text: &str) -> Option<(String, u64)> {
    let (before, after) = text.rsplit_once(')')?;
    let (_, name) = before.split_once('(')?;
    // After the name comes field 3; 14 and 15 are user and system time.
    let mut fields = after.split_ascii_whitespace().skip(14 - 3);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((name.to_owned(), user + system))
}

/// Nanoseconds run, nanoseconds waited, and how many times.
fn parse_schedule(text: &str) -> Option<(Duration, Duration)> {
    let mut fields = text.split_ascii_whitespace().map(|field| field.parse().ok().map(Duration::from_nanos));
    fields.next()?.zip(fields.next()?)
}

fn parse_smaps(text: &str) -> Option<Memory> {
    Some(Memory { rss: first_number(text, "Rss:")?, pss: first_number(text, "Pss:")? })
}

fn parse_peak(text: &str) -> Option<u64> {
    first_number(text, "VmHWM:")
}

/// `TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 2`
fn parse_queues(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:"))?;
    line.split_once(" mem ")?.1.split_ascii_whitespace().next()?.parse().ok()
}

fn parse_objects(text: &str) -> Option<u64> {
    first_number(text, "Slab:")
}

fn first_number(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Ticks busy (guests are part of user time) and ticks stolen.
fn parse_machine(line: &str) -> Option<(u64, u64)> {
    let mut fields = line.strip_prefix("cpu ")?.split_ascii_whitespace().map(|field| field.parse::<u64>().ok());
    let mut next = || fields.next().flatten();
    let (user, nice, system, _idle, _wait) = (next()?, next()?, next()?, next()?, next()?);
    let (irq, soft_irq, stolen) = (next()?, next()?, next()?);
    Some((user + nice + system + irq + soft_irq, stolen))
}

fn ticks(count: u64) -> Duration {
    Duration::from_secs_f64(count as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let fields = "S 1 2 3 0 -1 4194560 5 6 7 8 150 50 9 10 20 0 12 0 100 200";
        assert_eq!(parse_stat(&format!("42 (node) {fields}")), Some(("node".into(), 200)));
        assert_eq!(parse_stat(&format!("42 (a) b (c) {fields}\n")), Some(("a) b (c".into(), 200)));
        assert_eq!(parse_stat("42 (node) S 1 2 3"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn memory_is_read_by_name() {
        let text = "5581-7ffd ---p 00000000 00:00 0 [rollup]\nRss:    61184 kB\nPss:    40000 kB\nPss_Dirty: 1 kB\n";
        assert_eq!(parse_smaps(text), Some(Memory { rss: 61184, pss: 40000 }));
        assert_eq!(parse_smaps("Rss: 1 kB\n"), None);
    }

    #[test]
    fn the_kernel_and_the_peak_are_read_by_name() {
        let sockstat = "sockets: used 12\nTCP: inuse 1 orphan 0 tw 1391 alloc 1 mem 320\nUDP: inuse 0 mem 7\n";
        assert_eq!(parse_queues(sockstat), Some(320));
        assert_eq!(parse_objects("MemTotal: 1 kB\nSlab:             256360 kB\n"), Some(256_360));
        assert_eq!(parse_peak("Name:\tnode\nVmHWM:\t   1234 kB\nVmRSS:\t 1000 kB\n"), Some(1234));
        assert_eq!(parse_queues("UDP: inuse 0 mem 7\n"), None);
    }

    #[test]
    fn the_first_figure_is_what_ran_and_the_second_the_wait() {
        assert_eq!(parse_schedule("123 456 7\n"), Some((Duration::from_nanos(123), Duration::from_nanos(456))));
        assert_eq!(parse_schedule("123"), None);
    }

    #[test]
    fn waiting_is_not_being_busy() {
        assert_eq!(parse_machine("cpu  100 10 20 1000 500 3 4 7 50 0"), Some((137, 7)));
        assert_eq!(parse_machine("cpu0 100 10 20 1000 500 3 4 7 50 0"), None);
        assert_eq!(parse_machine("cpu  100 10"), None);
    }

    #[test]
    fn usage_is_by_thread_name() {
        let at = Instant::now();
        let thread = |id, name: &str, used| Thread {
            id,
            name: name.into(),
            used: Duration::from_millis(used),
            waited: Duration::from_millis(used / 10),
        };
        let before = Sample {
            at,
            used: Duration::from_millis(100),
            threads: vec![thread(1, "node", 50), thread(2, "derp-0", 50), thread(3, "pool", 1)],
        };
        let after = Sample {
            at: at + Duration::from_secs(1),
            used: Duration::from_millis(600),
            threads: vec![
                thread(1, "node", 60),
                thread(2, "derp-0", 300),
                thread(3, "pool", 1),
                thread(4, "derp-0", 200),
            ],
        };
        let usage = after.since(&before);
        let expected = [("derp-0".to_owned(), Duration::from_millis(450)), ("node".into(), Duration::from_millis(10))];
        assert_eq!(usage.threads, expected);
        // A thread has ended meanwhile: what it used is the process's.
        assert_eq!(usage.used, Duration::from_millis(500) - ticks(2));
        let others = Sample { used: before.used, ..after.clone() };
        assert_eq!(others.since(&before).used, Duration::from_millis(460));
        assert!((usage.percent() - 48.0).abs() < 1e-9);
        assert_eq!(usage.waited, Duration::from_millis(1 + 25 + 20));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_very_process_can_be_looked_at() {
        let process = std::process::id();
        let first = Sample::of(process).unwrap();
        let second = Sample::of(process).unwrap();
        assert!(second.since(&first).used < Duration::from_secs(60));
        let memory = Memory::of(process).unwrap();
        assert!(memory.rss >= memory.pss && memory.pss > 0);
        assert!(Machine::now().unwrap().busy > Duration::ZERO);
        assert!(Sample::of(u32::MAX).is_none());
    }
}
