/** The pause after an order that failed, and what the files say about it. */
import { describe, expect, it } from 'vitest';
import { formatAttempt, parseAttempt } from '../../../../src/control/acme/attempts.js';
import { BACK_OFF, nextAttempt } from '../../../../src/control/acme/back-off.js';
import { DAY, HOUR, MINUTE } from '../keeper-rig.js';

describe('the record of the last order', () => {
  const CA = 'https://ca.test/directory';
  const attempt = { failures: 3, next: 5000, trouble: 'too many "orders"\n' };

  it('a record keeps its contents, within bounds', () => {
    expect(parseAttempt(formatAttempt(CA, attempt), CA, 9000)).toEqual(attempt);
    const long = formatAttempt(CA, { failures: 1e9, next: 1e15, trouble: 'x'.repeat(1e6) });
    expect(long.length).toBeLessThan(3000);
    expect(parseAttempt(long, CA, 9000)).toEqual({ failures: 100, next: 9000, trouble: 'x'.repeat(2000) });
  });

  it.each([
    ['another authority', () => formatAttempt('https://other.test', attempt)],
    ['nothing', () => ''],
    ['half of a record', () => formatAttempt(CA, attempt).slice(0, 40)],
    ['null', () => 'null'],
    ['a list', () => '[]'],
    ['a number in words', () => formatAttempt(CA, attempt).replace('5000', '"soon"')],
    ['no number of failures', () => formatAttempt(CA, attempt).replace('3', '3.5')],
    ['a reason that is no text', () => JSON.stringify({ directory: CA, ...attempt, trouble: 7 })],
    ['zeros', () => '\0'.repeat(100)],
    ['far too much', () => `${' '.repeat(20_000)}${formatAttempt(CA, attempt)}`],
  ])('a record counts as none with %s', (_what, text) => {
    expect(parseAttempt(text(), CA, 9000)).toBeUndefined();
  });

  it('a record of 16 KiB counts, and a longer one does not', () => {
    const most = formatAttempt(CA, attempt).padStart(16 << 10);
    expect(parseAttempt(most, CA, 9000)).toEqual(attempt);
    expect(parseAttempt(` ${most}`, CA, 9000)).toBeUndefined();
  });

  it('a record of no failures counts as one of one failure', () => {
    expect(parseAttempt(formatAttempt(CA, { ...attempt, failures: 0 }), CA, 9000)).toEqual({ ...attempt, failures: 1 });
  });
});

describe('the pause after a failure', () => {
  it.each([
    [1, 0, MINUTE],
    [2, 0, 3 * MINUTE],
    [3, 0, 9 * MINUTE],
    [20, 0, 180 * MINUTE],
    [1, 1, 1.2 * MINUTE],
  ])('the pause grows with the number of failures: %d', (failures, random, pause) => {
    expect(nextAttempt(BACK_OFF, failures, 1000, undefined, () => random)).toBe(1000 + pause);
  });

  it('the pause is as long as the CA asks, up to a day', () => {
    expect(nextAttempt(BACK_OFF, 1, 0, 5 * HOUR, () => 0)).toBe(5 * HOUR);
    expect(nextAttempt(BACK_OFF, 1, 0, 500 * HOUR, () => 0)).toBe(DAY);
  });
});
