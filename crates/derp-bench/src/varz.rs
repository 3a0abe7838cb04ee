//! What a relay itself says of its drops, where it says so: `/debug/varz`, which derper serves to loopback.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::transport::Security;

/// By name, or by reason.
pub(crate) type Counts = BTreeMap<String, u64>;

const PATIENCE: Duration = Duration::from_secs(2);
const LONGEST: u64 = 1 << 20;

/// The relay's counts of dropped packets by reason, and of contended locks; `None` where it serves no such page.
pub(crate) fn counts(relay: SocketAddr, security: &Security) -> Option<Counts> {
    let page = page(relay, security).ok()?;
    page.starts_with("HTTP/1.1 200 ").then(|| parse(&page)).filter(|counts| !counts.is_empty())
}

/// What was added, without what is zero.
pub(crate) fn since(later: Counts, earlier: &Counts) -> Counts {
    let grown = later.into_iter().map(|(name, count)| {
        let before = earlier.get(&name).copied().unwrap_or(0);
        (name, count.saturating_sub(before))
    });
    grown.filter(|(_, count)| *count > 0).collect()
}

fn page(relay: SocketAddr, security: &Security) -> io::Result<String> {
    let stream = TcpStream::connect_timeout(&relay, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    match security {
        None => get(stream, relay),
        Some(tls) => get(tls.over(stream)?, relay),
    }
}

fn get(mut stream: impl Read + Write, relay: SocketAddr) -> io::Result<String> {
    write!(stream, "GET /debug/varz HTTP/1.1\r\nHost: {relay}\r\nConnection: close\r\n\r\n")?;
    let mut bytes = Vec::new();
    match stream.take(LONGEST).read_to_end(&mut bytes) {
        // Not every relay says goodbye.
        Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error),
        _ => {}
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `derp_packets_dropped{reason="queue_head",kind="other"} 5`: kinds are added up.
fn parse(page: &str) -> Counts {
    let mut counts = Counts::new();
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, value)) = line.trim_end().rsplit_once(' ') else {
            continue;
        };
        let (bare, labels) = name.split_once('{').unwrap_or((name, ""));
        let key = if bare.ends_with("packets_dropped") {
            labels.split_once("reason=\"").and_then(|(_, rest)| rest.split('"').next())
        } else {
            bare.contains("contended").then_some(bare)
        };
        if let (Some(key), Ok(value)) = (key, value.parse::<u64>()) {
            *counts.entry(key.to_owned()).or_default() += value;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_added_and_other_lines_passed_over() {
        let page = "HTTP/1.1 200 OK\r\n\r\n# TYPE derp_packets_dropped counter\n\
                    derp_packets_dropped{reason=\"queue_head\",kind=\"disco\"} 1\n\
                    derp_packets_dropped{reason=\"queue_head\",kind=\"other\"} 5\n\
                    derp_bytes_dropped{reason=\"queue_head\",kind=\"other\"} 99\n\
                    derp_egress_contended 7\nderp_accepts 3\n";
        let counts = parse(page);
        assert_eq!(counts, Counts::from([("queue_head".into(), 6), ("derp_egress_contended".into(), 7)]));
        let before = Counts::from([("queue_head".into(), 6), ("derp_egress_contended".into(), 3)]);
        assert_eq!(since(counts, &before), Counts::from([("derp_egress_contended".into(), 4)]));
    }
}
