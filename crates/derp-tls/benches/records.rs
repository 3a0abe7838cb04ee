//! What TLS costs by the record, without a socket: sealing from where packets lie, and opening where they were read.
#[path = "../tests/common/mod.rs"]
mod common;

use common::{Peer, SUITES, Suite, connect_server, one_certificate};
use derp_tls::Established;
use divan::counter::BytesCount;
use divan::{Bencher, black_box};

const SIZES: [usize; 3] = [100, 1400, 16384];

fn main() {
    divan::main();
}

/// What Go's clients and relays agree on.
fn connected() -> (Peer, Established) {
    let suite = SUITES.into_iter().find(|suite: &Suite| suite.name.as_str() == Some("TLS13_AES_128_GCM_SHA256"));
    let suite = suite.expect("it is one of the suites");
    let mut peer = Peer::client(suite.client_config());
    let (established, _) = connect_server(&mut peer, &one_certificate(suite.pem()), usize::MAX, b"");
    (peer, established)
}

#[divan::bench(args = SIZES)]
fn seal(bencher: Bencher, size: usize) {
    let (_peer, mut established) = connected();
    let plaintext = vec![7_u8; size];
    let mut out = vec![0; established.sender.room_for(size)];
    bencher
        .counter(BytesCount::new(size))
        .bench_local(|| established.sender.seal(&[black_box(plaintext.as_slice())], &mut out).unwrap());
}

#[divan::bench(args = SIZES)]
fn open(bencher: Bencher, size: usize) {
    let (mut peer, mut established) = connected();
    let plaintext = vec![7_u8; size];
    bencher
        .counter(BytesCount::new(size))
        .with_inputs(|| peer.write(&plaintext))
        .bench_local_values(|mut record| black_box(established.receiver.open(&mut record, 0)));
}
