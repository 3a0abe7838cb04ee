import { readFile } from 'node:fs/promises';
import type { ReceiveRate } from '../plane/plane.js';
import { MAX_BODY_LENGTH } from '../protocol/wire.js';

/** Reads derper's rate file: the receive limit of clients. Zeros set no limit. Rejects if it is missing or malformed. */
export async function loadRateConfig(path: string): Promise<ReceiveRate> {
  return parseRateConfig(await readFile(path, 'utf8'));
}

/**
 * Parses the rate file. Names match in any case; unknown names are ignored. Throws an Error that says what is wrong.
 */
export function parseRateConfig(text: string): ReceiveRate {
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
  // The largest frame must fit into the bucket, or it would never pass.
  return bytesPerSecond === 0
    ? { bytesPerSecond, burst: 0 }
    : { bytesPerSecond, burst: Math.max(burst, MAX_BODY_LENGTH) };
}

function numberOf(config: object, name: string): number {
  const values = Object.entries(config).filter(([key]) => key.toLowerCase() === name.toLowerCase());
  // Anything that JSON can hold, until it is checked.
  const value: number = values.at(-1)?.[1] ?? 0;
  if (!Number.isInteger(value) || value < 0 || value >= 2 ** 64) {
    throw new Error(`${name} has to be a number of bytes, 0 or more`);
  }
  return value;
}
