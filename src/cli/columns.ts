/** Tables and numbers as commands print them, in a terminal or to a file. */
import { printable } from './terminal-text.js';

/** Codes that make text stand out; empty where there is no colour. */
export interface Style {
  readonly label: (text: string) => string;
  readonly head: (text: string) => string;
  readonly alarm: (text: string) => string;
}

export const PLAIN: Style = { label: (text) => text, head: (text) => text, alarm: (text) => text };
export const COLOURED: Style = {
  label: (text) => `\x1b[1m${text}\x1b[0m`,
  head: (text) => `\x1b[7m${text}\x1b[0m`,
  alarm: (text) => `\x1b[1;31m${text}\x1b[0m`,
};

/** A column with its width; with a negative one it aligns to the left, and is narrower if it can be. */
export type Column<Row> = readonly [head: string, width: number, cell: (row: Row) => string];

/** The rows with their heads. Columns of text are as wide as what is in them, and numbers stand below each other. */
export function columnsOf<Row>(columns: readonly Column<Row>[], rows: readonly Row[]): string[] {
  const cells = [
    columns.map(([name]) => name),
    ...rows.map((row) => columns.map(([, , cell]) => printable(cell(row)))),
  ];
  const widths = columns.map(([, most], column) =>
    most > 0 ? most : Math.max(most, -Math.max(...cells.map((row) => row[column]?.length ?? 0))),
  );
  return cells.map((row) =>
    row
      .map((cell, column) => fitted(cell, widths[column] as number))
      .join(' ')
      .trimEnd(),
  );
}

const UNITS = ['', 'k', 'M', 'G', 'T', 'P'];

/** A number in four characters or less, and its unit: `0.5`, `12`, `1.2k`, `340M`. */
export function short(value: number): string {
  let [rest, unit] = [value, 0];
  // What would be rounded to 1000 has the next unit.
  for (; rest >= 999.5 && unit < UNITS.length - 1; unit++) rest /= 1000;
  const digits = rest >= 99.95 || Number.isInteger(rest) ? 0 : 1;
  return `${Number(rest.toFixed(digits))}${UNITS[unit]}`;
}

/** Text of this width; a negative one aligns it to the left. */
function fitted(text: string, width: number): string {
  return width < 0 ? text.slice(0, -width).padEnd(-width) : text.slice(0, width).padStart(width);
}
