import { Barrier } from '../../src/faults/barrier.js';

/** For parts whose handlers must not fail: what one throws becomes an uncaught exception, which fails the run. */
export const STRICT = new Barrier((_what, error) => {
  queueMicrotask(() => {
    throw error;
  });
});
