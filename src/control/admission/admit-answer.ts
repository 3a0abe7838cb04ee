/** Reads an admission controller's answer as Go's decoder does: the first JSON value, whatever comes behind it. */
import { endOfString, membersOf } from '../../protocol/members.js';

/** How much of an answer derper reads. */
export const MOST_ANSWER = 4 << 10;

/** `Allow` of the first JSON value. `undefined` if that is not whole, or nothing that Go would take. */
export function readAllow(body: string): boolean | undefined {
  const text = firstObject(body);
  if (text === undefined) return startsWithNull(body) ? false : undefined;
  let allow = false;
  try {
    JSON.parse(text);
    // Names match in any case, the last of several wins, and `null` leaves it alone.
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

/** The text of an object at the front, blanks before it left out; `undefined` if there is none, or not all of it. */
export function firstObject(body: string): string | undefined {
  const start = /^[ \t\r\n]*\{/.exec(body)?.[0].length;
  if (start === undefined) return undefined;
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
