/** Tables as the pages below `/debug/` show them. */
import { escapeHtml } from './responses.js';

/** A page with a title; `body` is HTML. */
export function htmlPage(title: string, body: string): string {
  const start = `<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8"><title>${title}</title></head>`;
  return `${start}\n<body><h1>${title}</h1>${body}</body></html>\n`;
}

/** The first row has the names of the columns. */
export function htmlTable(rows: readonly (readonly string[])[]): string {
  const lines = rows.map((cells, index) => {
    const tag = index === 0 ? 'th' : 'td';
    return `<tr>${cells.map((cell) => `<${tag}>${escapeHtml(cell)}</${tag}>`).join('')}</tr>`;
  });
  return `<table>\n${lines.join('\n')}\n</table>`;
}
