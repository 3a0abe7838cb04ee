/** What others have written, made safe for a terminal. */

/** JSON of others as a terminal may show it: with escapes for characters that could move its cursor or turn the text around. */
export function escaped(json: string): string {
  return json.replaceAll(/[\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/gu, escapeOf);
}

/** Text of others in one line of a terminal, with escapes for line ends and codes, too. */
export function escapedLine(text: string): string {
  return escaped(text.replaceAll(/\p{Cc}/gu, escapeOf));
}

/** Text of others as a terminal may show it: without characters that move its cursor or are wider than one column. */
export function printable(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]/gu, '?');
}

function escapeOf(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
