#!/usr/bin/env node
/** The command `derper`. */
import { launch } from './launch.js';
import { catchSignals } from './signals.js';

catchSignals();
await launch('derper', () => import('./derper-command.js'));
