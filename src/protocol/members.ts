/** Go's decoder goes no deeper. */
const MAX_JSON_DEPTH = 10_000;

/**
 * The names of the outermost object's members in a valid JSON text, and the text of their values, as they stand there:
 * `JSON.parse` would lose the earlier ones of a name, and how a number was written. Throws where Go would, for depth.
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

/** Where the string that begins at `at` has its closing quote; the length of the text if it has none. */
export function endOfString(json: string, at: number): number {
  let end = at + 1;
  while (end < json.length && json[end] !== '"') end += json[end] === '\\' ? 2 : 1;
  return Math.min(end, json.length);
}
