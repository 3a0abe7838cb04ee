import { lookup } from 'node:dns/promises';
import { inTime } from '../in-time.js';

/** All addresses of a name, in the system's order. An address stands for itself. Rejects after `patience` milliseconds. */
export async function addressesOf(host: string, patience: number): Promise<string[]> {
  const found = lookup(host, { all: true, verbatim: true });
  const addresses = await inTime(found, patience, 'its name is not resolved in time');
  return addresses.map(({ address }) => address);
}
