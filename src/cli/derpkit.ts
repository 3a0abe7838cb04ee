#!/usr/bin/env node
/** The command `derpkit`. */
import { launch } from './launch.js';

await launch('derpkit', () => import('./derpkit-command.js'));
