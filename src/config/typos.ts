/** Which known name a misspelt one is likely to stand for. Pure. */

/** Longer names are no typing errors, and are not looked at. */
const LONGEST = 64;

/**
 * The name that differs least from `given`, by letters that are wrong, missing, too many or exchanged; `undefined` if each
 * differs in more than a third of its letters, or in more than two. `bare` is the form of a name that is compared.
 */
export function nearest(
  given: string,
  names: readonly string[],
  bare: (name: string) => string = (name) => name,
): string | undefined {
  if (given.length > LONGEST) return undefined;
  let best: string | undefined;
  let least = Math.min(2, Math.floor(given.length / 3)) + 1;
  for (const name of names) {
    const far = distance(given, bare(name));
    if (far < least) [best, least] = [name, far];
  }
  return best;
}

/** Edits that turn one text into the other, where two neighbours that change places are one edit. */
function distance(one: string, other: string): number {
  const rows = [Array.from({ length: other.length + 1 }, (_, column) => column)];
  for (let row = 1; row <= one.length; row++) {
    const [above = [], before = []] = [rows[row - 1], rows[row - 2]];
    const current = [row];
    for (let column = 1; column <= other.length; column++) {
      const isEqual = one[row - 1] === other[column - 1];
      const edits = [at(above, column) + 1, at(current, column - 1) + 1, at(above, column - 1) + (isEqual ? 0 : 1)];
      const isSwapped = one[row - 1] === other[column - 2] && one[row - 2] === other[column - 1];
      if (isSwapped && row > 1 && column > 1) edits.push(at(before, column - 2) + 1);
      current.push(Math.min(...edits));
    }
    rows.push(current);
  }
  return at(rows[one.length] ?? [], other.length);
}

function at(row: readonly number[], column: number): number {
  return row[column] ?? Number.POSITIVE_INFINITY;
}
