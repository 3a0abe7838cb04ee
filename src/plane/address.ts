/** Addresses and listen errors, as every plane reports them. */
import { DerpkitError } from '../errors.js';
import type { ListenSpec } from './plane.js';

/**
 * Plain IPv4 text for the mapped form in which a dual-stack socket reports an IPv4 address; any other text unchanged.
 */
export function unmapped(address: string): string {
  return address.startsWith('::ffff:') && address.includes('.') ? address.slice('::ffff:'.length) : address;
}

/** Why a descriptor that was handed over is not listened on. */
export function unfit(text: string, cause: unknown): Error {
  return new Error(text, { cause });
}

/** The error with which `listen` rejects; its cause is the system's error. */
export function listenError({ kind, host, port, fd }: ListenSpec, cause: Error): DerpkitError {
  if (fd !== undefined) return new DerpkitError('ERR_LISTEN', `cannot listen on descriptor ${fd} (${kind})`, { cause });
  const where = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
  return new DerpkitError('ERR_LISTEN', `cannot listen on ${where} (${kind})`, { cause });
}
