use std::time::Duration;

use derp_proto::token_bucket::Rate;

use super::*;
use crate::base::policy::Policy;
use crate::testing::{World, secret, send_packet};

/// It is workers that look at the clock by which the control plane is told.
#[test]
fn an_answer_wakes_a_worker_if_something_is_to_be_told_in_time() {
    let [there, watched] = [77, 78].map(|number| secret(number).public_key());
    let lookups = LookupBounds {
        rate: Rate { per_second: 1.0, burst: 10.0 },
        keys: 10,
        keys_per_address: 10,
        bytes: 1 << 20,
        bytes_per_address: 1 << 20,
        misses: 10,
        miss_time: Duration::from_secs(2),
    };
    let world = World::with(Policy { lookups: Some(lookups), watched_drops: [watched].into(), ..Policy::default() });
    let ctx = world.ctx();
    ctx.bound_lookups(Some(lookups));
    let mut client = world.admitted(1, false);
    for key in [there, watched] {
        client.feed(&send_packet(&key, b"data"), &world).unwrap();
    }
    world.wakes_worker();
    world.events();
    assert!(world.shared.drops.take().is_empty());
    ctx.missing(&there);
    assert!(!world.wakes_worker());
    ctx.missing(&watched);
    assert!(world.wakes_worker());
    assert_eq!(world.shared.drops.take().len(), 1);
}
