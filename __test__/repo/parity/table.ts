/** What derper has, row by row, and the test that shows that derpkit has it too. */

export interface Row {
  readonly name: string;
  /** `FILE#TITLE` below `__test__`; without one it is not there yet. */
  readonly test?: string;
  /** What the row needs to be said, if it is not there as in derper. */
  readonly note?: string;
  /** It is about Go's runtime and will never be here. */
  readonly never?: true;
}

export interface Table {
  readonly title: string;
  readonly rows: readonly Row[];
}

/** The tables as Markdown. */
export function render(tables: readonly Table[]): string {
  const rows = tables.flatMap((table) => table.rows);
  const count = (state: string) => rows.filter((row) => stateOf(row) === state).length;
  const head = [
    '# What of derper is here',
    '',
    'Made from `__test__/repo/parity` by `npx vitest run --project repo parity -u`; a test holds it to that. The interop suite',
    'holds the flags and metrics to what the real `derper` prints. Each row names a test that fails where derpkit differs;',
    'where it differs on purpose: [`__test__/interop/deviations.ts`](../__test__/interop/deviations.ts).',
    '',
    `${count('there')} are there, ${count('not yet')} not yet, ${count('never')} are about Go’s runtime and will not be.`,
  ];
  return `${[...head, ...tables.flatMap(section)].join('\n')}\n`;
}

function section({ title, rows }: Table): string[] {
  return ['', `## ${title}`, '', '| name | the test that shows it |', '|---|---|', ...rows.map(line)];
}

function line(row: Row): string {
  const [file, title] = row.test?.split('#') ?? [];
  const state = { there: `${title} ([${file}](../__test__/${file}))`, 'not yet': 'not yet', never: 'Go’s own' };
  const note = row.note ? `; ${row.note}` : '';
  return `| \`${row.name}\` | ${state[stateOf(row)]}${note} |`;
}

function stateOf({ test, never }: Row): 'there' | 'not yet' | 'never' {
  if (never) return 'never';
  return test === undefined ? 'not yet' : 'there';
}

/** Rows whose test is not where they say it is. */
export function unfounded(rows: readonly Row[], read: (path: string) => string): Row[] {
  return rows.filter(({ test }) => {
    const [file = '', title = ''] = test?.split('#') ?? [];
    // A title stands in quotes, or as the end of a template behind other words.
    return test !== undefined && !(title !== '' && read(`__test__/${file}`).includes(title));
  });
}
