//! The generator against a relay of a few lines that can be told to do wrong: what it must find, and what it must count.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;

use derp_proto::frame::{self, KEY_AT, PACKET_AT};
use derp_proto::key::{NodeKey, SecretKey};
use derp_proto::login;
use derp_proto::wire::HEADER_LENGTH;
use serde_json::Value;

/// What the relay does to the packet with this number, of one sender.
#[derive(Clone, Copy)]
enum Fate {
    Deliver,
    Drop,
    /// One bit is changed.
    Damage,
    Repeat,
    /// It changes places with the next one.
    Late,
    /// It gets another sender's name.
    Rename,
    /// The connection ends.
    Cut,
}

type Fates = fn(u64) -> Fate;
type Table = Arc<Mutex<HashMap<NodeKey, TcpStream>>>;

fn relay(fates: Fates) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let table = Table::default();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let table = table.clone();
            // A connection that fails is the test's business, which looks at what the generator says of it.
            thread::spawn(move || serve(stream, &table, fates));
        }
    });
    address
}

fn serve(mut stream: TcpStream, table: &Table, fates: Fates) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let secret = SecretKey::from_bytes([7; 32]);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
    }
    if !String::from_utf8_lossy(&head).contains("Derp-Fast-Start: 1") {
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: DERP\r\n\r\n")?;
    }
    stream.write_all(&frame::greeting(&secret.public_key()))?;
    let mut info = read_frame(&mut stream)?;
    let opened =
        login::open_client_info(&mut info[HEADER_LENGTH..], &secret).map_err(|_| io::ErrorKind::InvalidData)?;
    table.lock().unwrap().insert(opened.key, stream.try_clone()?);
    stream.write_all(&login::seal_server_info(&opened.shared, &[3; 24]))?;
    let mut held: Option<Vec<u8>> = None;
    for number in 0.. {
        let mut packet = read_frame(&mut stream)?;
        let to = NodeKey::first_of(&packet[KEY_AT..]).unwrap();
        frame::rewrite_send_to_recv(&mut packet, &opened.key);
        let mut out = Vec::new();
        match fates(number) {
            Fate::Deliver => out = packet,
            Fate::Drop => {}
            Fate::Damage => {
                let last = packet.len() - 1;
                packet[last] ^= 1;
                out = packet;
            }
            Fate::Repeat => out = [&packet[..], &packet].concat(),
            Fate::Late => {
                held = Some(packet);
                continue;
            }
            Fate::Rename => {
                packet[KEY_AT..PACKET_AT].copy_from_slice(to.as_bytes());
                out = packet;
            }
            Fate::Cut => return stream.shutdown(std::net::Shutdown::Both),
        }
        out.extend(held.take().unwrap_or_default());
        let table = table.lock().unwrap();
        if let Some(mut to) = table.get(&to) {
            to.write_all(&out)?;
        }
    }
    Ok(())
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; HEADER_LENGTH];
    stream.read_exact(&mut frame)?;
    let length = u32::from_be_bytes([frame[1], frame[2], frame[3], frame[4]]);
    frame.resize(HEADER_LENGTH + length as usize, 0);
    stream.read_exact(&mut frame[HEADER_LENGTH..])?;
    Ok(frame)
}

/// Exit code and report.
fn bench(fates: Fates, line: &str) -> (i32, Value) {
    let target = relay(fates).to_string();
    let mut command = Command::new(env!("CARGO_BIN_EXE_derp-bench"));
    command.args(line.split(' ')).args(["--json", "--target", &target, "--pid", &std::process::id().to_string()]);
    let output = command.output().unwrap();
    let report = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
    (output.status.code().unwrap(), report)
}

const SHORT: &str = "--seconds 0.3 --warm-up 0.1";

#[test]
fn a_good_relay_loses_nothing() {
    for scenario in [
        "pairs --pairs 3 --rate 2000",
        "pairs --pairs 3 --rate 2000 --batch 8 --fast-start",
        "pairs --pairs 3 --rate 2000 --threads 2",
        "fan-in --senders 5 --rate 2000 --threads 3",
        "fan-out --receivers 5 --rate 2000 --batch 7",
        "pairs --pairs 2 --flood --size 65536 --batch 2",
        "pairs --pairs 2 --flood --size 32",
    ] {
        let (code, report) = bench(|_| Fate::Deliver, &format!("{scenario} {SHORT}"));
        let traffic = &report["traffic"];
        assert_eq!((code, &report["ok"]), (0, &true.into()), "{report}");
        assert_eq!((&traffic["lost"], &traffic["lost_in_all"]), (&0.into(), &0.into()), "{report}");
        let offered = traffic["offered"].as_u64().unwrap();
        if scenario.contains("--rate") {
            // 0.3 s at 2000, in whole batches.
            assert!((592..=608).contains(&offered), "{report}");
        }
        assert!(offered > 0 && traffic["latency"]["p50"].as_f64().unwrap() > 0.0, "{report}");
    }
}

#[test]
fn what_is_dropped_is_counted_exactly() {
    let line = format!("pairs --pairs 2 --rate 2000 {SHORT}");
    let (code, report) = bench(|number| if number % 10 == 9 { Fate::Drop } else { Fate::Deliver }, &line);
    let in_all = |name: &str| report["traffic"][name].as_u64().unwrap();
    assert_eq!(code, 0, "{report}");
    let (sent, lost) = (in_all("sent_in_all"), in_all("lost_in_all"));
    assert_eq!(sent, in_all("delivered_in_all") + lost);
    // Of each of the two senders, every tenth.
    assert!((sent / 10 - 1..=sent / 10).contains(&lost), "{report}");
}

#[test]
fn whatever_a_relay_does_wrong_fails_the_run() {
    let cases: [(Fates, &str); 5] = [
        (|number| if number == 50 { Fate::Damage } else { Fate::Deliver }, "1 corrupt"),
        (|number| if number == 50 { Fate::Repeat } else { Fate::Deliver }, "1 out of order"),
        (|number| if number == 50 { Fate::Late } else { Fate::Deliver }, "1 out of order"),
        (|number| if number == 50 { Fate::Rename } else { Fate::Deliver }, "1 misdelivered"),
        (|number| if number == 50 { Fate::Cut } else { Fate::Deliver }, "1 clients disconnected"),
    ];
    for (fates, words) in cases {
        let (code, report) = bench(fates, &format!("pairs --pairs 1 --rate 1000 {SHORT}"));
        assert_eq!((code, &report["ok"]), (1, &false.into()), "{words}: {report}");
        assert!(report["faults"][0].as_str().unwrap().contains(words), "{words}: {report}");
    }
}

#[test]
fn logins_are_counted() {
    for line in ["storm --rate 200", "storm --at-once 4"] {
        let (code, report) = bench(|_| Fate::Deliver, &format!("{line} {SHORT}"));
        let logins = report["logins"]["completed"].as_u64().unwrap();
        assert_eq!(code, 0, "{report}");
        assert!(logins > 20 && (!line.contains("--rate") || logins < 70), "{report}");
    }
}

#[test]
fn idle_clients_stay() {
    let (code, report) = bench(|_| Fate::Deliver, "idle --clients 40 --primer 5 --settle 0.2 --touch 2");
    assert_eq!(code, 0, "{report}");
    assert_eq!(report["clients"]["count"], 40);
    if cfg!(target_os = "linux") {
        assert!(report["clients"]["bytes_each_settled"].is_number(), "{report}");
        assert!(report["clients"]["bytes_each_touched"].is_number(), "{report}");
    }
}

#[test]
fn what_is_no_relay_is_an_error() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 426 Upgrade Required\r\n\r\n");
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_derp-bench"));
    let output = command.args(["pairs", "--target", &address.to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no DERP relay"), "{output:?}");
}
