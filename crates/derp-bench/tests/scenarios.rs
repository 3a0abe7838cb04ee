//! Every scenario once, for a moment, against the floor: whether the books are right, and nothing about speed.

use std::ffi::OsStr;
use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

struct Floor {
    child: Child,
    address: SocketAddr,
}

impl Floor {
    fn start(flags: &[&str]) -> Self {
        let floor = Self::begin(free(), flags);
        floor.listens();
        floor
    }

    fn begin(address: SocketAddr, flags: &[impl AsRef<OsStr>]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_derp-bench"));
        let child = command.args(["floor", "--listen", &address.to_string()]).args(flags).spawn().unwrap();
        Self { child, address }
    }

    fn listens(&self) {
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(self.address).is_err() {
            assert!(Instant::now() < end, "the floor does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn report(&self, line: &str) -> Value {
        let mut command = Command::new(env!("CARGO_BIN_EXE_derp-bench"));
        let process = self.child.id().to_string();
        command.args(line.split(' ')).args(["--json", "--target", &self.address.to_string(), "--pid", &process]);
        let output = command.output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["ok"], true, "{line}: {report}");
        report
    }
}

impl Drop for Floor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

const SHORT: &str = "--seconds 0.3 --warm-up 0.1";

#[test]
fn packets_go_from_one_to_the_other() {
    for flags in [&[][..], &["--aead"]] {
        let floor = Floor::start(flags);
        for shape in ["pairs --pairs 4 --rate 4000", "pairs --pairs 4 --flood", "fan-in --senders 8 --rate 2000"] {
            let report = floor.report(&format!("{shape} {SHORT}"));
            let traffic = &report["traffic"];
            let in_all = |name: &str| traffic[name].as_u64().unwrap();
            assert!(in_all("delivered_in_all") > 0, "{report}");
            assert_eq!(in_all("sent_in_all"), in_all("delivered_in_all") + in_all("lost_in_all"), "{report}");
            assert!(traffic["fairness"].as_f64().is_some_and(|index| index > 0.0 && index <= 1.0), "{report}");
        }
        let report = floor.report(&format!("fan-out --receivers 200 --rate 2000 {SHORT}"));
        assert_eq!(report["traffic"]["lost_in_all"], 0, "{report}");
    }
}

#[test]
fn pairs_of_two_relays_find_each_other() {
    // Both addresses lead to the same one, which knows everybody; that relays know each other's clients is their test.
    let floor = Floor::start(&[]);
    let (address, process) = (floor.address, floor.child.id());
    let other = format!("--target-b {address} --pid-b {process}");
    let report = floor.report(&format!("mesh {other} --pairs 4 --size 100 --rate 2000 {SHORT}"));
    assert_eq!(report["traffic"]["lost_in_all"], 0, "{report}");
    if cfg!(target_os = "linux") {
        assert!(report["traffic"]["cpu_us_per_delivered"].is_number(), "{report}");
        assert!(report["other_server"]["cpu_percent"].is_number(), "{report}");
    }
}

#[test]
fn two_floors_forward_to_each_other() {
    for flags in [&[][..], &["--aead"]] {
        let [here, there] = [free(), free()];
        let with = |peer: &str| {
            [&["--peer", peer][..], flags].concat().iter().map(|&flag| flag.to_owned()).collect::<Vec<_>>()
        };
        let (to_there, to_here) = (with(&there.to_string()), with(&here.to_string()));
        let first = Floor::begin(here, &to_there);
        let second = Floor::begin(there, &to_here);
        first.listens();
        second.listens();
        let other = format!("--target-b {there} --pid-b {}", second.child.id());
        for pace in ["--rate 2000", "--rate 8000 --batch 8"] {
            let report = first.report(&format!("mesh {other} --pairs 4 --size 1400 {pace} {SHORT}"));
            assert_eq!(report["traffic"]["lost_in_all"], 0, "{report}");
        }
    }
}

#[test]
fn stun_is_answered() {
    let stun = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let floor = Floor::start(&["--stun", &stun]);
    let report = floor.report(&format!("stun --rate 500 --stun {stun} {SHORT}"));
    assert!(report["stun"]["answers"].as_u64().unwrap() > 100, "{report}");
    assert_eq!(report["stun"]["answers"], report["stun"]["requests"], "{report}");
}

#[test]
fn a_bystander_is_heard_during_a_storm() {
    let report = Floor::start(&[]).report(&format!("storm --rate 300 --bystander 100 {SHORT}"));
    assert!(report["logins"]["completed"].as_u64().unwrap() > 30, "{report}");
    assert!(report["bystander"]["offered"].as_u64().unwrap() >= 29, "{report}");
    assert_eq!(report["bystander"]["lost"], 0, "{report}");
}

#[test]
fn all_come_back_at_once() {
    let report = Floor::start(&[]).report("restart --clients 60");
    assert_eq!((&report["restart"]["back"], &report["restart"]["retries"]), (&60.into(), &0.into()), "{report}");
}

#[test]
fn the_others_are_told_from_the_slow_one() {
    // So little is read that the sockets fill up within the window.
    let line = format!("slow --receivers 4 --rate 4000 --size 8192 --reads 50000 {SHORT}");
    let report = Floor::start(&[]).report(&line);
    assert_eq!(report["slow"]["others_lost_percent"], 0.0, "{report}");
    let pps = |name: &str| report["slow"][name].as_f64().unwrap();
    assert!(pps("slow_pps") < pps("others_pps"), "{report}");
}

#[test]
fn a_receiver_has_the_packets_of_both_senders() {
    let floor = Floor::start(&[]);
    let line = format!("narrow --receiver {} --link 8000000 --times 0.5 --sparse 100 {SHORT}", floor.address);
    let report = floor.report(&line);
    let figure = |name: &str| report["narrow"][name].as_f64().unwrap();
    // Loopback is no narrow link: what is offered arrives, half of what the link would take and a little beside it.
    assert_eq!((figure("sparse_lost_percent"), report["traffic"]["lost_in_all"].as_u64()), (0.0, Some(0)), "{report}");
    assert!(report["narrow"]["sparse"]["p95"].as_f64().unwrap() > 0.0, "{report}");
    assert!(figure("goodput_mbit") > 0.0 && figure("goodput_percent") < 100.0, "{report}");
}

#[test]
fn three_times_the_peak_is_offered() {
    let report = Floor::start(&[]).report(&format!("overload --pairs 2 --size 64 --step 0.05 --times 3 {SHORT}"));
    let figure = |name: &str| report["overload"][name].as_f64().unwrap();
    assert!(figure("peak_pps") > 0.0, "{report}");
    assert!((figure("offered_pps") - 3.0 * figure("peak_pps")).abs() <= 1.0, "{report}");
    assert!(report["bystander"]["offered"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn idle_clients_are_weighed_after_a_burst_and_a_storm() {
    let report = Floor::start(&[]).report("idle --clients 40 --primer 5 --settle 0.1 --touch 2 --storm 20");
    assert_eq!(report["clients"]["count"], 40);
    if cfg!(target_os = "linux") {
        for look in ["at_once", "settled", "touched", "stormed"] {
            assert!(report["clients"][format!("bytes_each_{look}")].is_number(), "{look}: {report}");
        }
        assert!(report["clients"]["kernel"]["queue_bytes_each"].is_number(), "{report}");
    }
}

#[test]
fn stun_that_nobody_answers_is_a_fault() {
    let floor = Floor::start(&[]);
    let nobody = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_derp-bench"));
    let stun = nobody.local_addr().unwrap().to_string();
    command.args(["stun", "--json", "--rate", "100", "--stun", &stun, "--target", &floor.address.to_string()]);
    let mut child = command.args(SHORT.split(' ')).stdout(Stdio::piped()).spawn().unwrap();
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{text}");
    assert!(text.contains("no STUN request was answered"), "{text}");
}

#[test]
fn who_burns_takes_time_and_ends() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_derp-bench"));
    let begin = Instant::now();
    assert!(command.args(["burn", "--threads", "2", "--seconds", "0.2"]).status().unwrap().success());
    assert!(begin.elapsed() >= Duration::from_millis(200));
}
