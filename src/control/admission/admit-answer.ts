/** Reads the answer of an admission controller as Go's decoder does: only the first JSON value counts. */
import { endOfString, membersOf } from '../../protocol/members.js';

/** Bytes of an answer that derper reads. */
export const MOST_ANSWER = 4 << 10;

/** The `Allow` of the first JSON value. `undefined` if that is incomplete, or Go would refuse it. */
export function readAllow(body: string): boolean | undefined {
  const text = firstObject(body);
  if (text === undefined) return startsWithNull(body) ? false : undefined;
  let allow = false;
  try {
    JSON.parse(text);
    // As in Go: names match in any case, the last of repeated names counts, and `null` changes nothing.
    for (const [name, value] of membersOf(text)) {
      if (!/^allow$/iu.test(name) || value === 'null') continue;
      if (value !== 'true' && value !== 'false') return undefined;
      allow = value === 'true';
    }
  } catch {
    return undefined;
  }
  return allow;
}

/** The text of the object at the start, after blanks; `undefined` if there is none, or it is incomplete. */
export function firstObject(body: string): string | undefined {
  const start = /^[ \t\r\n]*\{/.exec(body)?.[0].length ?? body.length;
  let depth = 1;
  for (let at = start; at < body.length; at++) {
    const character = body[at];
    if (character === '"') at = endOfString(body, at);
    else if (character === '{' || character === '[') depth += 1;
    else if (character === '}' || character === ']') depth -= 1;
    if (depth === 0) return body.slice(start - 1, at + 1);
  }
  return undefined;
}

function startsWithNull(body: string): boolean {
  return /^[ \t\r\n]*null\b/.test(body);
}
