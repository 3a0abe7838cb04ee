import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DialPlaces } from '../../../../src/control/mesh/dial-places.js';

let taken: string[];
let places: DialPlaces;

beforeEach(() => {
  vi.useFakeTimers();
  taken = [];
  places = new DialPlaces(1, 1000);
});

afterEach(() => {
  vi.useRealTimers();
});

/** Asks for a place under a name. */
function ask(name: string, failures: number) {
  const place = places.take(failures);
  void place.then(() => taken.push(name));
  return place;
}

describe('places for dials', () => {
  it('a free place goes to the relay with the fewest failures, and among equals to the one that asked first', async () => {
    const release = await ask('first', 9);
    for (const [name, failures] of [
      ['failed often', 5],
      ['new', 0],
      ['failed once', 1],
      ['new, too', 0],
    ] as const) {
      void ask(name, failures);
    }
    release();
    for (let second = 0; second < 4; second++) await vi.advanceTimersByTimeAsync(1000);
    expect(taken).toEqual(['first', 'new', 'new, too', 'failed once', 'failed often']);
  });

  it('a place is free again when its dial ends, and after a second at the latest', async () => {
    const release = await ask('one', 0);
    void ask('two', 0);
    void ask('three', 0);
    await vi.advanceTimersByTimeAsync(999);
    expect(taken).toEqual(['one']);
    await vi.advanceTimersByTimeAsync(1);
    expect(taken).toEqual(['one', 'two']);
    // A place that was taken away cannot be given back.
    release();
    await vi.advanceTimersByTimeAsync(999);
    expect(taken).toEqual(['one', 'two']);
    await vi.advanceTimersByTimeAsync(1);
    expect(taken).toEqual(['one', 'two', 'three']);
  });
});
