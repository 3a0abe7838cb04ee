interface Digests {
  readonly source: (file: string) => string | undefined;
  readonly test: (file: string) => string | undefined;
  readonly text: (file: string) => string;
  readonly tests: readonly string[];
  readonly all: string;
}
interface Tried {
  readonly id: string;
  readonly file: string;
}
export function openResults(
  directory: string,
  digests: Digests,
): {
  get(mutant: Tried): { readonly status: string } | undefined;
  add(mutant: Tried, status: string, by?: string): void;
};
