#!/usr/bin/env node
/** The command `derpkit`. */
import { launch } from './launch.js';
import { catchSignals } from './signals.js';
import { beginSmallStart } from './small-start.js';

/** The commands that run a relay. A signal ends any other command, as it does most programs. */
const RELAYS: readonly (string | undefined)[] = ['serve', 'start'];

if (RELAYS.includes(process.argv[2])) {
  catchSignals();
  beginSmallStart();
}
await launch('derpkit', () => import('./derpkit-command.js'));
