import { readdirSync, readFileSync } from 'node:fs';
import { uptime } from 'node:os';
import { getHeapStatistics } from 'node:v8';
import type { LinuxFigures, ProcessFigures } from './derper.js';

/** The last that was known: where no descriptor is left, the system cannot be asked. */
const known = { residentBytes: 0, residentBytesAtStart: 0 };
const startedAt = Math.floor(Date.now() / 1000 - process.uptime());

/** Remembers what the process was like when the relay started. */
export function rememberStart(): void {
  known.residentBytesAtStart ||= residentBytes();
}

/** What the system and Node say of this process, now. */
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

/** What only `/proc` tells. */
function linuxFigures(): LinuxFigures | undefined {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    // Names of processes may have blanks and brackets.
    const [, stat = ''] = /^.*\) (.*)$/s.exec(readFileSync('/proc/self/stat', 'utf8')) ?? [];
    const network = namedRow(readFileSync('/proc/self/net/netstat', 'utf8'), 'IpExt');
    return {
      maxOpenFiles: limit(limits, 'Max open files'),
      maxVirtualBytes: limit(limits, 'Max address space'),
      // The 23rd field; the two before the brackets end are gone.
      virtualBytes: Number(stat.split(' ')[20]),
      networkBytes: { received: network.get('InOctets') ?? 0, sent: network.get('OutOctets') ?? 0 },
    };
  } catch {
    return undefined;
  }
}

/** The soft limit; none is what the largest one would be. */
function limit(limits: string, name: string): number {
  const value = new RegExp(`^${name} +(\\S+)`, 'm').exec(limits)?.[1];
  return value === 'unlimited' ? 2 ** 64 : Number(value);
}

/** A line of names and one of values, both behind the name of the row. */
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
    // It opens a file of /proc.
  }
  return known.residentBytes;
}

/** Descriptors that are open, or 0 where the system does not tell. */
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
    // Where there is no /proc, nothing tells; no machine was booted after its programs were started.
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
