/** How many connections there may be at once: what the system's limit of file descriptors leaves. */
import { readFileSync } from 'node:fs';
import { availableParallelism, networkInterfaces } from 'node:os';
import type { Settings } from '../config.js';

/** What is kept of the limit for everything else: files, names that are looked up, links, connections on their way. */
const LEAST_RESERVE = 64;
const RESERVED_SHARE = 0.1;
/** Of the reserve, what has to be left for what comes and goes. */
const SPARE = 32;
/** As many as there may be where nothing bounds them. */
export const MOST_CONNECTIONS = 2 ** 31 - 1;

export interface DescriptorUse {
  /** The soft limit; `undefined` where it is not known, or there is none. */
  readonly limit: number | undefined;
  /** Descriptors that are open before the relay opens any; 0 where that is not known. */
  readonly open: number;
  /** Those that the relay will have beside its connections. */
  readonly own: number;
}

/** How many connections there may be: the limit less the larger of 64 and 10 %, or more where more is in use. */
export function connectionsWithin({ limit, open, own }: DescriptorUse): number {
  if (limit === undefined) return MOST_CONNECTIONS;
  const reserve = Math.max(LEAST_RESERVE, Math.ceil(limit * RESERVED_SHARE), open + own + SPARE);
  return Math.min(MOST_CONNECTIONS, Math.max(1, limit - reserve));
}

/** What bounds connections, for the log. */
export interface ConnectionBound {
  /** How many there may be at once. */
  readonly connections: number;
  /** The limit of descriptors, where it is known. */
  readonly descriptors?: number;
}

/** How many connections there may be at once. `open` is how many descriptors are open before. */
export function boundConnections(
  { limits, workers, meshWith }: Pick<Settings, 'limits' | 'workers' | 'meshWith'>,
  open: number,
): ConnectionBound {
  const limit = descriptorLimit();
  const own = ownDescriptors(workers, meshWith.length);
  const connections = limits.connections ?? connectionsWithin({ limit, open, own });
  return { connections, ...(limit !== undefined && { descriptors: limit }) };
}

/** What a relay has beside its connections: for each worker two, for each mesh link one, and its listeners. */
function ownDescriptors(workers: number, links: number): number {
  return 2 * (workers || availableParallelism()) + links + stunSockets() + 8;
}

/** The JavaScript plane has a socket of STUN for each local address. */
function stunSockets(): number {
  try {
    return Math.min(64, Object.values(networkInterfaces()).flat().length);
  } catch {
    return 0;
  }
}

/** The soft limit of this process; `undefined` where the system does not say, or there is none. Never throws. */
export function descriptorLimit(): number | undefined {
  try {
    const limits = readFileSync('/proc/self/limits', 'utf8');
    return numberOf(/^Max open files +(\S+)/m.exec(limits)?.[1]);
  } catch {
    return reportedLimit();
  }
}

function reportedLimit(): number | undefined {
  try {
    const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
    const { excludeNetwork = false } = report;
    // The names of all hosts that are connected to would be looked up otherwise.
    report.excludeNetwork = true;
    const { userLimits } = report.getReport() as { userLimits?: { open_files?: { soft?: unknown } } };
    report.excludeNetwork = excludeNetwork;
    return numberOf(userLimits?.open_files?.soft);
  } catch {
    return undefined;
  }
}

function numberOf(limit: unknown): number | undefined {
  const number = Number(limit);
  return Number.isSafeInteger(number) && number > 0 ? number : undefined;
}
