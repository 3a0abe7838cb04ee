import { onTestFailed } from 'vitest';

/** Mulberry32: seeded, small, and good enough to shuffle and to delay with. Returns numbers of [0, 1). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** So many bytes of a generator of numbers. */
export function randomBytes(random: () => number, length: number): Buffer {
  return Buffer.from(Array.from({ length }, () => Math.floor(random() * 256)));
}

/** The seed of everything random in a run: a new one each time, or the one that `DERPKIT_SEED` gives to see a run again. */
export const SEED: number = process.env.DERPKIT_SEED ? Number(process.env.DERPKIT_SEED) : Date.now() % 2 ** 31;

/** For every test that is random by {@link SEED}: a failure without it could not be seen again. */
export function showSeedOnFailure(lane: string): void {
  onTestFailed(() => console.error(`the ${lane} lane ran with DERPKIT_SEED=${SEED}`));
}
