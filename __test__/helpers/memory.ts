/** What this process holds on to, its relays and its tests together. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { PlaneKind } from '../../src/plane/plane.js';
import { turn } from './wait.js';

/**
 * Bytes in use once the garbage is gone: of a plane in JavaScript the heap and its buffers, of a native one what lies
 * outside of them. That is what its allocator keeps, so it shows what grows, and not what was given back.
 */
export async function bytesHeld(plane: PlaneKind): Promise<number> {
  // What has closed is let go of in the turns after it.
  for (let time = 0; time < 3; time++) {
    collectGarbage();
    await turn();
  }
  const { rss, heapTotal, heapUsed, external } = process.memoryUsage();
  return plane === 'js' ? heapUsed + external : rss - heapTotal - external;
}

let collect: (() => void) | undefined;

/** Frees what nothing holds on to. A `WeakRef` holds on to its object until the turn of its making is over. */
export function collectGarbage(): void {
  if (!collect) {
    setFlagsFromString('--expose-gc');
    collect = runInNewContext('gc') as () => void;
  }
  collect();
}
