//! How often sealing and opening ask for memory: exactly, for once a connection is warm it is never.
mod common;
#[path = "../../derp-proto/tests/counting/mod.rs"]
mod counting;

use common::{Peer, SUITES, connect_server, one_certificate, open, seal};
use counting::allocations;

#[test]
fn records_are_sealed_and_opened_where_they_lie() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1, "nothing would be counted otherwise");
    for suite in SUITES {
        let mut peer = Peer::client(suite.client_config());
        let (mut established, _) = connect_server(&mut peer, &one_certificate(suite.pem()), usize::MAX, b"");
        // The first record of each direction sets its cipher up.
        peer.input(&seal(&mut established, &[b"warm"])).unwrap();
        assert_eq!(open(&mut established, &peer.write(b"warm"), usize::MAX).0, b"warm");

        let pieces: [&[u8]; 3] = [&[1; 37], &[2; 1400], &[3; 30_000]];
        let mut out = vec![0; established.sender.room_for(40_000)];
        let mut sealed = 0;
        let count = allocations(|| sealed = established.sender.seal(&pieces, &mut out).unwrap());
        assert_eq!(count, 0, "sealing, {:?}", suite.name);
        assert_eq!(peer.input(&out[..sealed]).unwrap().len(), 31_437);

        let mut records = [peer.write(&[4; 1400]), peer.write(&[5; 30_000])].concat();
        let mut plaintext = 0..0;
        let count = allocations(|| plaintext = established.receiver.open(&mut records, 0).plaintext);
        assert_eq!((plaintext.len(), count), (31_400, 0), "opening, {:?}", suite.name);
    }
}
