/** Runs a relay as the programs do, over the build with faults at the first argument, and has a worker panic. */

import { runRelay } from '../../../dist/cli/run-relay.js';
import { parseSettings } from '../../../dist/config.js';
import { loadAddon } from '../../../dist/plane/addon.js';
import { nativePlane } from '../../../dist/plane/native.js';
import { composeRelay } from '../../../dist/relay.js';

const addon = loadAddon(process.argv[2]);
let made;
class Watched extends addon.BindingPlane {
  constructor(...args) {
    super(...args);
    made = this;
  }
}
const create = nativePlane({ ...addon, BindingPlane: Watched });
const settings = parseSettings({
  ...{ listen: '127.0.0.1:0', certMode: 'off', httpPort: -1, stun: false, plane: 'native' },
  privateKey: `privkey:${'11'.repeat(32)}`,
});
const relay = composeRelay(settings, { kind: 'native', reason: 'a test', create });
// What is closed beside the plane may hang: the process ends all the same.
if (process.argv[3] === 'hanging') relay.close = () => new Promise(() => {});
await runRelay(relay, () => made.plant('panic'), undefined);
