/** Headers for questions, from a file: settings may be readable to all, and a header may be a secret. */
import { readFile } from 'node:fs/promises';

export class HeadersFile {
  headers: Readonly<Record<string, string>> = {};

  constructor(readonly path: string) {}

  /** Reads the file, the first time or again. If it is faulty, rejects and keeps the last headers. */
  async load(): Promise<void> {
    this.headers = parseHeaders(await readFile(this.path, 'utf8'));
  }
}

/**
 * Parses lines of `Name: value`; a line that starts with `#` is a comment. Throws an error that does not repeat the
 * text.
 */
export function parseHeaders(text: string): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [index, line] of text.split('\n').entries()) {
    if (/^\s*(?:#.*)?$/.test(line)) continue;
    const header = /^([!#$%&'*+.^_`|~\w-]+):\s*([\t\x20-\x7e\x80-\xff]*?)\s*$/.exec(line);
    if (!header) throw new Error(`line ${index + 1} is not a header of the form Name: value`);
    headers[header[1] as string] = header[2] as string;
  }
  return headers;
}
