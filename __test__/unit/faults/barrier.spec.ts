import { EventEmitter } from 'node:events';
import { expect, it } from 'vitest';
import { Barrier } from '../../../src/faults/barrier.js';

const BROKEN = new Error('broken');

function fail(): never {
  throw BROKEN;
}

function barrier(): { readonly barrier: Barrier; readonly told: [string, unknown][] } {
  const told: [string, unknown][] = [];
  return { barrier: new Barrier((what, error) => told.push([what, error])), told };
}

it('the barrier returns what the handler returns, and reports nothing', () => {
  const { barrier: made, told } = barrier();
  expect(made.run('x', () => 7, fail)).toBe(7);
  expect(told).toEqual([]);
});

it('the barrier reports what a handler throws, and calls its end', () => {
  const { barrier: made, told } = barrier();
  const ended: string[] = [];
  const guarded = made.guard<[string]>('x', fail, (text) => ended.push(text));
  guarded('a');
  guarded('b');
  expect(ended).toEqual(['a', 'b']);
  expect(told).toEqual([
    ['x', BROKEN],
    ['x', BROKEN],
  ]);
});

it('the barrier survives an end that fails, and reports it', () => {
  const { barrier: made, told } = barrier();
  expect(made.run('x', fail, fail)).toBeUndefined();
  expect(told).toHaveLength(2);
});

it('the barrier survives a report that fails, and calls the end of the handler', () => {
  let ended = 0;
  const made = new Barrier(fail);
  made.run('x', fail, () => {
    ended += 1;
  });
  expect(ended).toBe(1);
});

it('the barrier names the event of an emitter', () => {
  const { barrier: made, told } = barrier();
  const emitter = new EventEmitter();
  made.on(emitter, 'a stream', { data: fail, end: () => {} });
  emitter.emit('data');
  emitter.emit('end');
  expect(told).toEqual([['a stream: data', BROKEN]]);
});

it('the barrier calls each listener of another program, even if one throws or rejects', async () => {
  const { barrier: made, told } = barrier();
  const emitter = new EventEmitter();
  const heard: unknown[] = [];
  emitter.once('x', fail);
  emitter.on('x', async () => fail());
  emitter.on('x', (value) => heard.push(value));
  made.emit(emitter, 'x', [1]);
  made.emit(emitter, 'x', [2]);
  await new Promise(setImmediate);
  expect(heard).toEqual([1, 2]);
  // The first event fails in both listeners, and the second in the one that is left.
  expect(told).toEqual(Array(3).fill(['a listener of x', BROKEN]));
});

it('the barrier reports the rejection of a promise, and calls its end', async () => {
  const { barrier: made, told } = barrier();
  let ended = 0;
  await made.settle('x', Promise.reject(BROKEN), () => {
    ended += 1;
  });
  await made.settle('x', Promise.resolve(), fail);
  expect({ told, ended }).toEqual({ told: [['x', BROKEN]], ended: 1 });
});
