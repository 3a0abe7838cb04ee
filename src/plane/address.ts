/** What every plane says of addresses. */
import { DerpkitError } from '../errors.js';
import type { ListenSpec } from './plane.js';

/** IPv4 addresses that a dual-stack socket reports in their mapped form are ordinary IPv4 addresses to everyone else. */
export function unmapped(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}

/** Why a descriptor that was handed over is not listened on. */
export function unfit(text: string, cause: unknown): Error {
  return new Error(text, { cause });
}

/** The error that `listen` rejects with; its cause is the system's. */
export function listenError({ kind, host, port, fd }: ListenSpec, cause: Error): DerpkitError {
  if (fd !== undefined) return new DerpkitError('ERR_LISTEN', `cannot listen on descriptor ${fd} (${kind})`, { cause });
  const where = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return new DerpkitError('ERR_LISTEN', `cannot listen on ${where} (${kind})`, { cause });
}
