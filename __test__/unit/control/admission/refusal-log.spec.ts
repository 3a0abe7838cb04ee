import { expect, it } from 'vitest';
import { RefusalLog } from '../../../../src/control/admission/refusal-log.js';

it('the log of refusals tells clients and reasons apart, and forgets the client that was refused longest ago', () => {
  let now = 0;
  const log = new RefusalLog(() => now);
  expect(log.take('a', 'x')).toEqual({});
  expect(log.take('a', 'x')).toBeUndefined();
  expect(log.take('a', 'y')).toEqual({});
  for (let other = 0; other < 1024; other++) {
    now += 500;
    expect(log.take(`other ${other}`, 'x')).toEqual({});
  }
  now += 500;
  // It is as new: what it was refused before is not known.
  expect(log.take('a', 'x')).toEqual({});
});

it('the log of refusals counts what there was no room for', () => {
  let now = 0;
  const log = new RefusalLog(() => now);
  for (let client = 0; client < 5; client++) expect(log.take(`${client}`, 'x')).toEqual({});
  for (let times = 0; times < 3; times++) expect(log.take('late', 'x')).toBeUndefined();
  now += 500;
  expect(log.take('late', 'x')).toEqual({ times: 4, heldBack: 3 });
  now += 60_000;
  expect(log.take('late', 'x')).toEqual({});
  expect(log.take('late', 'x')).toBeUndefined();
});

it.each([
  [1023, { times: 2, heldBack: 1024 }],
  [1024, { heldBack: 1025 }],
])('the log of refusals remembers 1024 clients, the oldest not after %s more', (others, line) => {
  let now = 0;
  const log = new RefusalLog(() => now);
  for (let client = 0; client < 5; client++) log.take(`first ${client}`, 'x');
  log.take('a', 'x');
  for (let other = 0; other < others; other++) log.take(`other ${other}`, 'x');
  now += 500;
  expect(log.take('a', 'x')).toEqual(line);
});
