import { readdirSync, readlinkSync } from 'node:fs';
import { afterAll, beforeAll } from 'vitest';
import { eventually } from './wait.js';

/** After the tests of a file nothing of theirs is open: no socket, no listener, no handle of Node's. */
export function nothingIsLeft(): void {
  let before = '';
  beforeAll(() => {
    before = JSON.stringify(whatIsOpen());
  });
  afterAll(async () => {
    await eventually(
      () => JSON.stringify(whatIsOpen()) === before,
      () => `${before} to be open, as before the tests, not ${JSON.stringify(whatIsOpen())}`,
    );
  });
}

/** Sockets of this process, of both sides of every connection. Handles of Node's where the system does not tell. */
export function openSockets(): number {
  return descriptors()?.filter((target) => target.startsWith('socket:')).length ?? handles().length;
}

/** Descriptors of this process that lead to this file; none where the system does not tell. */
export function descriptorsOf(path: string): number {
  return descriptors()?.filter((target) => target === path).length ?? 0;
}

/** What the descriptors of this process lead to; undefined where the system does not tell. */
function descriptors(): string[] | undefined {
  try {
    return readdirSync('/proc/self/fd').map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return '';
      }
    });
  } catch {
    return undefined;
  }
}

function whatIsOpen(): { sockets: number; handles: string[] } {
  return { sockets: openSockets(), handles: handles() };
}

function handles(): string[] {
  return process.getActiveResourcesInfo().filter((name) => /TCP|TLS|UDP|FSReq|Process/.test(name));
}
