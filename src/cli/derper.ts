#!/usr/bin/env node
/** The command `derper`. */
import { launch } from './launch.js';
import { catchSignals } from './signals.js';
import { beginSmallStart } from './small-start.js';

catchSignals();
beginSmallStart();
await launch('derper', () => import('./derper-command.js'));
