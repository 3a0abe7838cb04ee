export const PARTS: readonly {
  readonly name: string;
  readonly source: string;
  readonly tests?: readonly string[];
}[];
