import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll } from 'vitest';

/** A directory that is removed after the tests of the file that asked for it. */
export function temporaryDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'derpkit-unit-'));
  afterAll(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
