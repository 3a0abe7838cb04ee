/**
 * Reads `__test__/mutation.md`: the mutants that may survive, each with a reason. The heading names the file; an entry
 * names the line by its text, and the change. An entry without a change covers every mutant of such a line.
 */
const HEADING = /^## `(.+)`$/;
const ENTRY = /^- (`+) ?(.+?) ?\1(?: → (`+) ?(.+?) ?\3)?: (\S.*)$/;

/** The entries of the list; throws if one is malformed. */
export function parseListed(text) {
  const entries = [];
  let file;
  for (const [index, line] of text.split('\n').entries()) {
    file = HEADING.exec(line)?.[1] ?? file;
    if (!line.startsWith('- ')) continue;
    const match = ENTRY.exec(line);
    if (!file || !match) throw new Error(`mutation.md, line ${index + 1}, is no entry: ${line}`);
    entries.push({ file, line: match[2], change: match[4], reason: match[5] });
  }
  return entries;
}

export function isFor(entry, mutant) {
  return (
    entry.file === mutant.file &&
    entry.line === mutant.line &&
    (entry.change === undefined || entry.change === mutant.change)
  );
}

/** A mutant in the form of an entry, without the reason. */
export function asEntry({ line, change }) {
  return `- ${code(line)} → ${code(change)}:`;
}

function code(text) {
  const longest = Math.max(0, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const ticks = '`'.repeat(longest + 1);
  return longest === 0 ? `\`${text}\`` : `${ticks} ${text} ${ticks}`;
}

/**
 * The report on a part: unlisted survivors, and entries that are no longer needed, because all of their mutants were killed
 * or `all` has none. An entry with a mutant that was not tried, as in a part with a sample, is in neither.
 */
export function compare(entries, mutants, statusOf, all = mutants) {
  const survivors = mutants.filter((mutant) => statusOf(mutant) === 'survived');
  const listed = (mutant) => entries.some((entry) => isFor(entry, mutant));
  return {
    unlisted: survivors.filter((mutant) => !listed(mutant)),
    removable: entries.filter((entry) => {
      const meant = all.filter((mutant) => isFor(entry, mutant));
      return meant.every((mutant) => statusOf(mutant) === 'killed');
    }),
  };
}
