import { readdirSync, readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import type { LinuxFigures, ProcessFigures } from './sources.js';

/** The last known values: without a free descriptor, the system cannot be asked. */
const known = { residentBytes: 0, residentBytesAtStart: 0 };
const startedAt = Math.floor(Date.now() / 1000 - process.uptime());

/** Notes the memory of the process when the relay starts. */
export function rememberStart(): void {
  known.residentBytesAtStart ||= residentBytes();
}

/** The current figures of this process, from the system and Node. */
export function processFigures(): ProcessFigures {
  const { user, system } = process.cpuUsage();
  return {
    startedAt,
    bootedAt: bootTime(),
    uptime: Math.floor(process.uptime()),
    cpuSeconds: (user + system) / 1e6,
    residentBytes: residentBytes(),
    residentBytesAtStart: known.residentBytesAtStart,
    heapBytes: getHeapStatistics().used_heap_size,
    openFiles: openFiles(),
    linux: linuxFigures(),
  };
}

/** The figures that only `/proc` has. */
function linuxFigures(): LinuxFigures | undefined {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    // The name of a process may contain blanks and brackets.
    const [, stat = ''] = /^.*\) (.*)$/s.exec(readFileSync('/proc/self/stat', 'utf8')) ?? [];
    const network = namedRow(readFileSync('/proc/self/net/netstat', 'utf8'), 'IpExt');
    return {
      maxOpenFiles: limit(limits, 'Max open files'),
      maxVirtualBytes: limit(limits, 'Max address space'),
      // Field 23 of the line; the split text begins behind the first two.
      virtualBytes: Number(stat.split(' ')[20]),
      networkBytes: { received: network.get('InOctets') ?? 0, sent: network.get('OutOctets') ?? 0 },
    };
  } catch {
    return undefined;
  }
}

/** The soft limit; "unlimited" counts as the largest possible limit. */
function limit(limits: string, name: string): number {
  const value = new RegExp(`^${name} +(\\S+)`, 'm').exec(limits)?.[1];
  return value === 'unlimited' ? 2 ** 64 : Number(value);
}

/** Reads a pair of lines that both begin with `row`: one with the names, one with the values. */
function namedRow(text: string, row: string): Map<string, number> {
  const [names = [], values = []] = text
    .split('\n')
    .filter((line) => line.startsWith(`${row}: `))
    .map((line) => line.split(' ').slice(1));
  return new Map(names.map((name, index) => [name, Number(values[index])]));
}

function residentBytes(): number {
  try {
    known.residentBytes = process.memoryUsage.rss();
  } catch {
    // Reading it opens a file of /proc, which may fail.
  }
  return known.residentBytes;
}

/** The number of open descriptors; 0 if the system does not tell. */
export function openFiles(): number {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return 0;
  }
}

function uptimeBoot(): number {
  try {
    return Math.floor(Date.now() / 1000 - uptime());
  } catch {
    // Without /proc the boot time is unknown; it is no later than the start of this process.
    return startedAt;
  }
}

function bootTime(): number {
  try {
    return Number(/^btime (\d+)$/m.exec(readFileSync('/proc/stat', 'utf8'))?.[1]);
  } catch {
    return uptimeBoot();
  }
}
