/** Values of the settings in the groups `metrics` and `limits`, and what they come to. */
import type { SettingName } from '../../src/config.js';

export const GOOD_GROUPS: [SettingName, unknown, unknown][] = [
  ['metrics.listen', 9090, { host: '127.0.0.1', port: 9090 }],
  ['metrics.listen', '9090', { host: '127.0.0.1', port: 9090 }],
  ['metrics.listen', ':9090', { host: '127.0.0.1', port: 9090 }],
  ['metrics.listen', '0.0.0.0:0', { host: '0.0.0.0', port: 0 }],
  ['metrics.listen', '[::]:9090', { host: '::', port: 9090 }],
  ['metrics.listen', 'localhost:9090', { host: 'localhost', port: 9090 }],
  ['limits.connections', '1000', 1000],
  ['limits.exempt', '10.0.0.0/8, fd00::/8', ['10.0.0.0/8', 'fd00::/8']],
  ['limits.exempt', '', []],
  ['limits.partialBytes', '512KiB', 512 << 10],
  ['limits.queuedBytes', '2GiB', 2 ** 31],
  ['limits.queuedBytes', '65536', 65536],
  ['limits.queuedBytes', 65536, 65536],
];
