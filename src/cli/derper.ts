#!/usr/bin/env node
/** The command `derper`. */
import { launch } from './launch.js';

await launch('derper', () => import('./derper-command.js'));
