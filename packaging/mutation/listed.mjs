/**
 * `__test__/mutation.md`: the mutants that may survive, each with its reason. An entry names the file by its heading, the
 * line by its text, and the change; an entry without a change is for every mutant of such a line.
 */
const HEADING = /^## `(.+)`$/;
const ENTRY = /^- (`+) ?(.+?) ?\1(?: → (`+) ?(.+?) ?\3)?: (\S.*)$/;

/** Its entries; throws where one cannot be read. */
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

/** As an entry of the list, but for its reason. */
export function asEntry({ line, change }) {
  return `- ${code(line)} → ${code(change)}:`;
}

function code(text) {
  const longest = Math.max(0, ...[...text.matchAll(/`+/g)].map(([ticks]) => ticks.length));
  const ticks = '`'.repeat(longest + 1);
  return longest === 0 ? `\`${text}\`` : `${ticks} ${text} ${ticks}`;
}

/**
 * What is to be said of a part: survivors that are not listed, entries whose mutants have all been tried and are killed,
 * and entries for which there is no mutant. Of a sample, the others of its mutants have not been tried.
 */
export function compare(entries, mutants, statusOf) {
  const tried = mutants.filter((mutant) => ['killed', 'survived'].includes(statusOf(mutant)));
  const survivors = tried.filter((mutant) => statusOf(mutant) === 'survived');
  const listed = (mutant) => entries.some((entry) => isFor(entry, mutant));
  return {
    unlisted: survivors.filter((mutant) => !listed(mutant)),
    removable: entries.filter((entry) => {
      const meant = mutants.filter((mutant) => isFor(entry, mutant));
      return meant.every((mutant) => statusOf(mutant) === 'killed');
    }),
  };
}
