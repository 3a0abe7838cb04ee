/** What a relay feeds to `derpkit top`. */
import type { Busy, Sample } from '../../../../src/cli/top/feed.js';

export const SAMPLE: Required<Sample> = {
  time: 1_795_000_000,
  connections: 2,
  keys: 2,
  home: 1,
  links: 1,
  packetsIn: 1000,
  packetsOut: 900,
  bytesIn: 1_000_000,
  bytesOut: 900_000,
  drops: { unknown_dest: 5 },
  queueDelay: 0.25,
  admitted: 10,
  failed: 1,
  refused: 0,
  failures: { 'login bad_box': 1 },
  cpu: 3,
  memory: 80_000_000,
  mesh: [{ relay: 'b.test', state: 'connected', peers: 7 }],
};

export const CLIENT: Busy = {
  key: `nodekey:${'ab'.repeat(32)}`,
  app: '',
  address: '192.0.2.1',
  rxRate: 1,
  txRate: 1,
  rxBytes: 1,
  txBytes: 1,
  dropped: 0,
  queued: 0,
};
