import { execFileSync } from 'node:child_process';
import { describe, expect, it } from 'vitest';
import { processFigures } from '../../../src/metrics/process.js';

/** The value of this limit in the shell. */
function ulimit(flag: string): number {
  const text = execFileSync('/bin/sh', ['-c', `ulimit ${flag}`], { encoding: 'utf8' }).trim();
  return text === 'unlimited' ? 2 ** 64 : Number(text);
}

describe.runIf(process.platform === 'linux')('figures that Linux has of this process', () => {
  it('the metrics have the limits of the process, as the shell shows them', () => {
    const { linux, openFiles } = processFigures();
    expect(linux?.maxOpenFiles).toBe(ulimit('-Sn'));
    expect(linux?.maxOpenFiles).toBeGreaterThan(openFiles);
    expect([ulimit('-Sv'), ulimit('-Sv') * 1024]).toContain(linux?.maxVirtualBytes);
  });

  it('the metrics have the virtual memory of the process', () => {
    const { linux, residentBytes } = processFigures();
    expect(linux?.virtualBytes).toBeGreaterThan(residentBytes);
  });

  it('the metrics have the network traffic of the process', () => {
    const { linux } = processFigures();
    expect(linux?.networkBytes.received).toBeGreaterThan(0);
    expect(linux?.networkBytes.sent).toBeGreaterThan(0);
  });
});
