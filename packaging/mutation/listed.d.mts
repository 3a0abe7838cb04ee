export interface Entry {
  readonly file: string;
  readonly line: string;
  readonly change: string | undefined;
  readonly reason: string;
}
export interface Mutant {
  readonly file: string;
  readonly line: string;
  readonly change: string;
}
export function parseListed(text: string): Entry[];
export function asEntry(mutant: Mutant): string;
export function compare<M extends Mutant>(
  entries: readonly Entry[],
  mutants: readonly M[],
  statusOf: (mutant: M) => string | undefined,
  all?: readonly M[],
): { unlisted: M[]; removable: Entry[] };
