/** What derper has, row by row, and the test that shows that derpkit has it too. */

export interface Row {
  readonly name: string;
  /** `FILE#TITLE` below `__test__`; absent from what derpkit will not have. */
  readonly test?: string;
  /** What the row needs to be said, if it is not there as in derper. */
  readonly note?: string;
  /** It is about Go's runtime and will never be here. */
  readonly never?: true;
  /** Why derpkit will not have it. */
  readonly willNotBe?: string;
}

export interface Table {
  readonly title: string;
  readonly rows: readonly Row[];
}

/** The guide and the tables, as one page of Markdown. */
export function render(guide: string, tables: readonly Table[]): string {
  const rows = tables.flatMap((table) => table.rows);
  const count = (state: string) => rows.filter((row) => stateOf(row) === state).length;
  const head = [
    '# derper and derpkit, feature by feature',
    '',
    guide,
    '## Every feature',
    '',
    '`npx vitest run --project repo parity -u` makes this page from `__test__/repo/parity`, and a test compares the two. The interop',
    'suite compares the flags and metrics with those that the real `derper` prints. Each row names a test that fails if derpkit differs',
    'from derper. [`__test__/interop/deviations.ts`](../__test__/interop/deviations.ts) lists the differences that are intended.',
    '',
    `derpkit has ${count('there')} of these features. It will not have ${count('will not be')} others, for the reason in their row. ${count('never')} more describe the Go`,
    'runtime, which derpkit does not have.',
  ];
  return `${[...head, ...tables.flatMap(section)].join('\n')}\n`;
}

function section({ title, rows }: Table): string[] {
  return ['', `## ${title}`, '', '| name | the test that shows it |', '|---|---|', ...rows.map(line)];
}

function line(row: Row): string {
  const [file, title] = row.test?.split('#') ?? [];
  const state = {
    there: `${title} ([${file}](../__test__/${file}))`,
    'will not be': `will not be: ${row.willNotBe}`,
    never: 'Go’s own',
  };
  const note = row.note ? `; ${row.note}` : '';
  return `| \`${row.name}\` | ${state[stateOf(row)]}${note} |`;
}

function stateOf({ never, willNotBe }: Row): 'there' | 'will not be' | 'never' {
  if (never) return 'never';
  return willNotBe === undefined ? 'there' : 'will not be';
}

/** Rows that name no test, and do not say why there is none; and rows that do both. */
export function unsettled(rows: readonly Row[]): Row[] {
  return rows.filter(({ test, never, willNotBe }) => (test === undefined) !== (never || willNotBe !== undefined));
}

/** Rows whose test is not where they say it is. */
export function unfounded(rows: readonly Row[], read: (path: string) => string): Row[] {
  return rows.filter(({ test }) => {
    const [file = '', title = ''] = test?.split('#') ?? [];
    // A title stands in quotes, or as the end of a template behind other words.
    return test !== undefined && !(title !== '' && read(`__test__/${file}`).includes(title));
  });
}
