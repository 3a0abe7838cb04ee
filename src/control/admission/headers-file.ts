/** Headers that are sent with questions, from a file: secrets do not belong in settings that everyone may read. */
import { readFile } from 'node:fs/promises';

export class HeadersFile {
  headers: Readonly<Record<string, string>> = {};

  constructor(readonly path: string) {}

  /** Reads it, again too. Rejects if it cannot be used; the headers before stay then. */
  async load(): Promise<void> {
    this.headers = parseHeaders(await readFile(this.path, 'utf8'));
  }
}

/** `Name: value`, one a line; `#` at its beginning makes a line a comment. Throws what is wrong, without repeating it. */
export function parseHeaders(text: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*(?:#.*)?$/.test(line)) continue;
    const [, name, value] = /^([!#$%&'*+.^_`|~\w-]+):\s*([\t\x20-\x7e\x80-\xff]*?)\s*$/.exec(line) ?? [];
    if (name === undefined || value === undefined) throw new Error(`line ${index + 1} is no header, Name: value`);
    headers[name] = value;
  }
  return headers;
}
