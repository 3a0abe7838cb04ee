import { readdirSync, readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import type { ProcessFigures } from './derper.js';

const residentBytesAtStart = process.memoryUsage.rss();
const startedAt = Math.floor(Date.now() / 1000 - process.uptime());

/** What the system and Node say of this process, now. */
export function processFigures(): ProcessFigures {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed } = process.memoryUsage();
  return {
    startedAt,
    bootedAt: bootTime(),
    uptime: Math.floor(process.uptime()),
    cpuSeconds: (user + system) / 1e6,
    residentBytes: rss,
    residentBytesAtStart,
    heapBytes: heapUsed,
    openFiles: openFiles(),
  };
}

function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}

function bootTime(): number {
  try {
    return Number(/^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1]);
  } catch {
    return Math.floor(Date.now() / 1000 - uptime());
  }
}
