//! The rows of the counters page are those of `src/plane/counters.ts`, in the same order: the two look at one memory.
use derp_proto::counters::Counter;

static SOURCE: &str = include_str!("../../../src/plane/counters.ts");
static REASONS: &str = include_str!("../../../src/plane/drop-reasons.ts");
static FAILURES: &str = include_str!("../../../src/plane/failures.ts");

/// The texts in the list of a source that begins with `const NAME = [`.
fn list(source: &'static str, name: &str) -> Vec<&'static str> {
    let (_, list) = source.split_once(&format!("const {name} = [")).unwrap();
    let (list, _) = list.split_once("] as const;").unwrap();
    let rows = list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("/**"));
    let texts = rows.flat_map(|row| row.split(',')).map(str::trim).filter(|text| !text.is_empty());
    texts.map(|text| text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap()).collect()
}

#[test]
fn rows_are_the_twins() {
    let mut names: Vec<_> = list(SOURCE, "PLAIN_COUNTERS").into_iter().map(str::to_owned).collect();
    for (what, reasons) in [
        ("handshakes_failed", "HANDSHAKE_FAILURES"),
        ("requests_failed", "REQUEST_FAILURES"),
        ("logins_failed", "LOGIN_FAILURES"),
    ] {
        names.extend(list(FAILURES, reasons).iter().map(|reason| format!("{what}:{reason}")));
    }
    for reason in list(REASONS, "DROP_REASONS") {
        for kind in list(REASONS, "PACKET_KINDS") {
            names.extend(["packets", "bytes"].map(|what| format!("{what}_dropped:{reason}:{kind}")));
        }
    }
    // The order that the loops above have is the one that the files build their lists in.
    let flat = |source: &str| source.chars().filter(|character| !character.is_whitespace()).collect::<String>();
    assert!(flat(FAILURES).contains(
        "FAILURE_COUNTERS:readonlyFailureCounter[]=[\
         ...HANDSHAKE_FAILURES.map((reason):FailureCounter=>`handshakes_failed:${reason}`),\
         ...REQUEST_FAILURES.map((reason):FailureCounter=>`requests_failed:${reason}`),\
         ...LOGIN_FAILURES.map((reason):FailureCounter=>`logins_failed:${reason}`),]"
    ));
    assert!(flat(SOURCE).contains(
        "COUNTER_NAMES:readonlyCounterName[]=[...PLAIN_COUNTERS,...FAILURE_COUNTERS,...DROP_REASONS.flatMap((reason)=>\
         PACKET_KINDS.flatMap((kind):CounterName[]=>[\
         `packets_dropped:${reason}:${kind}`,`bytes_dropped:${reason}:${kind}`,"
    ));
    assert_eq!(Counter::all().map(|counter| counter.to_string()).collect::<Vec<_>>(), names);
    assert_eq!(Counter::COUNT, names.len());
}
