import { defineConfig } from 'vitest/config';

/** Suites by what they need: the cheap ones first, what starts processes and toolchains last and by itself. */
const suite = (name: string, order: number, timeout: number) => ({
  extends: true as const,
  test: {
    name,
    include: [`__test__/${name}/**/*.spec.ts`],
    benchmark: { include: [`__test__/${name}/**/*.bench.ts`] },
    testTimeout: timeout,
    hookTimeout: timeout,
    sequence: { groupOrder: order },
  },
});

export default defineConfig({
  test: {
    // Two cores: more workers would only make each other late.
    maxWorkers: 2,
    projects: [
      suite('unit', 0, 20_000),
      suite('repo', 0, 20_000),
      // Every wait in it has an end of its own: this one is for what hangs without one, on a machine that does other work too.
      suite('conformance', 1, 180_000),
      suite('model', 2, 300_000),
      suite('cli', 3, 60_000),
      suite('install', 3, 240_000),
      suite('interop', 4, 600_000),
      suite('native', 5, 120_000),
      suite('browser', 6, 120_000),
      suite('bench', 7, 120_000),
    ],
  },
});
