import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { processFigures } from '../../../src/metrics/process.js';

/** What the shell is told of the same limit. */
function ulimit(flag: string): number {
  const text = execFileSync('/bin/sh', ['-c', `ulimit ${flag}`], { encoding: 'utf8' }).trim();
  return text === 'unlimited' ? 2 ** 64 : Number(text);
}

describe.runIf(process.platform === 'linux')('what Linux tells of this process', () => {
  it('limits', () => {
    const { linux, openFiles } = processFigures();
    expect(linux?.maxOpenFiles).toBe(ulimit('-Sn'));
    expect(linux?.maxOpenFiles).toBeGreaterThan(openFiles);
    expect([ulimit('-Sv'), ulimit('-Sv') * 1024]).toContain(linux?.maxVirtualBytes);
  });

  it('memory', () => {
    const { linux, residentBytes } = processFigures();
    expect(linux?.virtualBytes).toBeGreaterThan(residentBytes);
  });

  it('network', () => {
    const { linux } = processFigures();
    expect(linux?.networkBytes.received).toBeGreaterThan(0);
    expect(linux?.networkBytes.sent).toBeGreaterThan(0);
  });
});
