import { readFile } from 'node:fs/promises';
import { MAX_BODY_LENGTH } from '../protocol/wire.js';

/** Receive limit of clients. Zeros limit nothing. */
export interface RateLimit {
  readonly bytesPerSecond: number;
  readonly burst: number;
}

/** Reads derper's rate file. Rejects where there is none, or something else in it. */
export async function loadRateConfig(path: string): Promise<RateLimit> {
  return parseRateConfig(await readFile(path, 'utf8'));
}

/** Its names are read in any case, others passed over. Throws what is wrong, for people. */
export function parseRateConfig(text: string): RateLimit {
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch {
    throw new Error('it is not JSON');
  }
  if (typeof config !== 'object' || config === null || Array.isArray(config)) {
    if (config === null) return { bytesPerSecond: 0, burst: 0 };
    throw new Error('it is not a JSON object');
  }
  const bytesPerSecond = numberOf(config, 'PerClientRateLimitBytesPerSec');
  const burst = numberOf(config, 'PerClientRateBurstBytes');
  // A bucket smaller than the largest frame would never let that pass.
  return bytesPerSecond === 0
    ? { bytesPerSecond, burst: 0 }
    : { bytesPerSecond, burst: Math.max(burst, MAX_BODY_LENGTH) };
}

function numberOf(config: object, name: string): number {
  const values = Object.entries(config).filter(([key]) => key.toLowerCase() === name.toLowerCase());
  const value: unknown = values.at(-1)?.[1] ?? 0;
  if (typeof value !== 'number' || !Number.isInteger(value) || value < 0 || value >= 2 ** 64) {
    throw new Error(`${name} has to be a number of bytes, 0 or more`);
  }
  return value;
}
