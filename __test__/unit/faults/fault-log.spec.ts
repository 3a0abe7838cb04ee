import { beforeEach, expect, it } from 'vitest';
import { FaultLog } from '../../../src/faults/fault-log.js';

let now: number;
let lines: [object, string][];
let log: FaultLog;

beforeEach(() => {
  now = 0;
  lines = [];
  log = new FaultLog({ error: (facts: object, text: string) => lines.push([facts, text]) } as never, () => now);
});

it('the fault log has each kind of fault once a minute, with the number of times', () => {
  for (const what of ['a', 'a', 'b', 'a']) log.tell(what, 'broken');
  expect(lines.map(([, text]) => text[0])).toEqual(['a', 'b']);
  now = 59_999;
  log.tell('a', 'broken');
  expect(lines).toHaveLength(2);
  now = 60_000;
  log.tell('a', 'broken again');
  expect(lines.at(-1)?.[0]).toEqual({ times: 4, reason: 'broken again' });
  expect(log.count).toBe(6);
});

it('the fault log has a stack for faults of our own, and words for refusals of the system', () => {
  log.report('a', new Error('ours'));
  log.report('b', Object.assign(new Error('EMFILE: whatever'), { errno: -24, code: 'EMFILE' }));
  const reasons = lines.map(([facts]) => (facts as { reason: string }).reason);
  expect(reasons[0]).toMatch(/^Error: ours\n +at /);
  expect(reasons[1]).toBe('too many open files');
});

it('the fault log accepts thrown values that are not errors', () => {
  for (const thrown of [undefined, null, 'text', { message: 'object' }]) log.report(String(thrown), thrown);
  expect(log.count).toBe(4);
});

it('the fault log bounds the number of kinds', () => {
  for (let kind = 0; kind < 1000; kind++) log.tell(`kind ${kind}`, 'broken');
  expect(lines.length).toBeLessThanOrEqual(257);
  expect(log.count).toBe(1000);
});
