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
  try {
    const targets = readdirSync('/proc/self/fd').map((fd) => {
      try {
        return readlinkSync(`/proc/self/fd/${fd}`);
      } catch {
        return '';
      }
    });
    return targets.filter((target) => target.startsWith('socket:')).length;
  } catch {
    return handles().length;
  }
}

function whatIsOpen(): { sockets: number; handles: string[] } {
  return { sockets: openSockets(), handles: handles() };
}

function handles(): string[] {
  return process.getActiveResourcesInfo().filter((name) => /TCP|TLS|UDP|FSReq|Process/.test(name));
}
