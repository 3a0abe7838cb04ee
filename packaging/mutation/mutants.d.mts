import type { Mutant } from './listed.mjs';

export function named<M extends Mutant>(mutants: readonly M[]): (M & { readonly id: string })[];
export function sampled<M extends { readonly id: string }>(mutants: M[], count: number | undefined, seed: string): M[];
