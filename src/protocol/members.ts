/** The greatest depth that Go's decoder accepts. */
const MAX_JSON_DEPTH = 10_000;

/**
 * The members of the outermost object of a valid JSON text: each name, and the source text of its value. `JSON.parse`
 * would lose earlier members of a repeated name, and how a number is written. Throws at the depth at which Go fails.
 */
export function membersOf(json: string): [name: string, value: string][] {
  const found: [string, string][] = [];
  let name: string | undefined;
  let start = 0;
  let depth = 0;
  for (let at = 0; at < json.length; at++) {
    const character = json[at];
    if (character === '"') {
      at = endOfString(json, at);
    } else if (character === '{' || character === '[') {
      depth += 1;
      if (depth > MAX_JSON_DEPTH) throw new Error('the JSON is nested too deeply');
      if (depth === 1) start = at + 1;
    } else if (character === ':' && depth === 1) {
      name = JSON.parse(json.slice(start, at)) as string;
      start = at + 1;
    } else if (character === ',' || character === '}' || character === ']') {
      if (depth === 1 && name !== undefined) {
        found.push([name, json.slice(start, at).trim()]);
        name = undefined;
        start = at + 1;
      }
      if (character !== ',') depth -= 1;
    }
  }
  return found;
}

/** The offset of the closing quote of the string that begins at `at`; the text's length if it has none. */
export function endOfString(json: string, at: number): number {
  let end = at + 1;
  while (end < json.length && json[end] !== '"') end += json[end] === '\\' ? 2 : 1;
  return Math.min(end, json.length);
}
