/** The notes of a release: the section of CHANGELOG.md, cut out by a script that the workflow runs. */
import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { ROOT } from './project.js';

const CHANGES = `# Changelog

## 1.1.0 (unreleased)

Not yet.

## 1.0.0 (2026-12-01)

The first one.

### Relay

- It relays.

## 1.0.0-rc.1 (2026-11-30)

Before it.
`;

function sectionOf(version: string) {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-changelog-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  mkdirSync(join(directory, 'packaging'));
  for (const name of ['changelog.mjs', 'ensure.mjs']) {
    cpSync(join(ROOT, 'packaging', name), join(directory, 'packaging', name));
  }
  writeFileSync(join(directory, 'CHANGELOG.md'), CHANGES);
  const { status, stdout, stderr } = spawnSync(process.execPath, ['packaging/changelog.mjs', version], {
    cwd: directory,
    encoding: 'utf8',
  });
  return { status, stdout, stderr };
}

it('the section of a version is what stands under its heading, and no more', () => {
  const text = 'The first one.\n\n### Relay\n\n- It relays.\n';
  expect(sectionOf('1.0.0')).toEqual({ status: 0, stdout: text, stderr: '' });
  expect(sectionOf('1.0.0-rc.1')).toEqual({ status: 0, stdout: 'Before it.\n', stderr: '' });
});

it.each([
  ['1.1.0', 'CHANGELOG.md calls 1.1.0 unreleased; its heading needs a date'],
  ['1.0', 'CHANGELOG.md has no section "## 1.0"'],
])('no section is released for %s', (version, message) => {
  expect(sectionOf(version)).toEqual({ status: 1, stdout: '', stderr: `derpkit: ${message}\n` });
});
