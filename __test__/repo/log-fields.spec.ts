import { expect, it } from 'vitest';
import { LOG_FIELDS } from '../helpers/log-fields.js';
import { read } from './project.js';

it('docs/operating.md has a table of the fields of log lines', () => {
  const [, table = ''] =
    /\n\| field \| what it says \|\n\|---\|---\|\n((?:\|.*\n)*)/.exec(read('docs/operating.md')) ?? [];
  const rows = Object.entries(LOG_FIELDS).map(([name, text]) => `| \`${name}\` | ${text} |\n`);
  expect(table).toBe(rows.join(''));
});
