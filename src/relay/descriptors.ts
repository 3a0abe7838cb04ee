/** How many connections may exist at once: what the system's limit of file descriptors leaves. */
import { readFileSync } from 'node:fs';
import { availableParallelism, networkInterfaces } from 'node:os';
import type { Settings } from '../config.js';

/**
 * The reserve: descriptors for other uses, such as files, name lookups, mesh links and connections that are being
 * accepted.
 */
const LEAST_RESERVE = 64;
const RESERVED_SHARE = 0.1;
/** The part of the reserve that stays free for short uses. */
const SPARE = 32;
/** The bound if there is no limit of descriptors. */
export const MOST_CONNECTIONS = 2 ** 31 - 1;

export interface DescriptorUse {
  /** The soft limit; `undefined` if it is unknown or unlimited. */
  readonly limit: number | undefined;
  /** Descriptors that are open before the relay opens any; 0 if unknown. */
  readonly open: number;
  /** Descriptors that the relay needs beside its connections. */
  readonly own: number;
}

/** How many connections fit: the limit less the larger of 64 and 10 %, or less even more if more are in use. */
export function connectionsWithin({ limit, open, own }: DescriptorUse): number {
  if (limit === undefined) return MOST_CONNECTIONS;
  const reserve = Math.max(LEAST_RESERVE, Math.ceil(limit * RESERVED_SHARE), open + own + SPARE);
  return Math.min(MOST_CONNECTIONS, Math.max(1, limit - reserve));
}

/** The bound of connections, for the log. */
export interface ConnectionBound {
  /** Connections at once. */
  readonly connections: number;
  /** The limit of descriptors, if it is known. */
  readonly descriptors?: number;
}

/** Computes the bound of connections. `open` is the number of descriptors that are open already. */
export function boundConnections(
  { limits, workers, meshWith }: Pick<Settings, 'limits' | 'workers' | 'meshWith'>,
  open: number,
): ConnectionBound {
  const limit = descriptorLimit();
  const own = ownDescriptors(workers, meshWith.length);
  const connections = limits.connections ?? connectionsWithin({ limit, open, own });
  return { connections, ...(limit !== undefined && { descriptors: limit }) };
}

/** Descriptors beside the connections: two for each worker, one for each mesh link, and the listeners. */
function ownDescriptors(workers: number, links: number): number {
  return 2 * (workers || availableParallelism()) + links + stunSockets() + 8;
}

/** On the JavaScript plane, STUN has one socket for each local address. */
function stunSockets(): number {
  try {
    return Math.min(64, Object.values(networkInterfaces()).flat().length);
  } catch {
    return 0;
  }
}

/** The soft limit of this process; `undefined` if the system does not tell, or it is unlimited. Never throws. */
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
    // Without this, Node looks up the host name of every connected peer.
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
