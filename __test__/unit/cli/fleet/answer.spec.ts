import { describe, expect, it } from 'vitest';
import { readReport } from '../../../../src/cli/fleet/answer.js';
import { FULL, key, REPORT } from './report.js';

const WHEREABOUTS = {
  key: key('ee'),
  here: false,
  elsewhere: { relay: key('bb'), address: '', generation: 1 },
  trouble: '',
};

describe('the answer of a relay about its fleet', () => {
  it('a report is read, with fields that a later version adds', () => {
    for (const report of [REPORT, FULL, { ...REPORT, key: WHEREABOUTS }, { ...REPORT, more: 1 }])
      expect(readReport(JSON.stringify(report))).toEqual(report);
  });

  it.each([
    ['no JSON', '<html>', 'the answer is no JSON'],
    ['something else', '[]', 'the answer is no report about a fleet'],
    ['null', 'null', 'the answer is no report about a fleet'],
  ])('an answer that is %s is refused in words', (_what, text, message) => {
    expect(() => readReport(text)).toThrow(new Error(message));
  });

  it('a report without any one of its values, or with another kind of value, is refused', () => {
    const whole = { ...REPORT, mesh: FULL.mesh, key: WHEREABOUTS };
    const free = /differences\.\d\.(here|there)$/;
    let checked = 0;
    for (const path of pathsOf(whole)) {
      if (free.test(path)) continue;
      for (const value of [undefined, {}]) {
        checked += 1;
        expect(() => readReport(JSON.stringify(withValue(whole, path, value))), path).toThrow('no report');
      }
    }
    expect(checked).toBeGreaterThan(100);
  });
});

/** The path of each value that is no object and no list. */
function pathsOf(value: unknown, before = ''): string[] {
  if (value === null || typeof value !== 'object') return [before];
  return Object.entries(value).flatMap(([name, each]) => pathsOf(each, before === '' ? name : `${before}.${name}`));
}

function withValue(value: unknown, path: string, to: unknown): unknown {
  const copy = structuredClone(value) as Record<string, unknown>;
  const names = path.split('.');
  const last = names.pop() as string;
  let at = copy;
  for (const name of names) at = at[name] as Record<string, unknown>;
  at[last] = to;
  return copy;
}
