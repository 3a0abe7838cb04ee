/** What a mutant is called, so that its name outlives edits elsewhere in its file, and which mutants a sample has. */
import { createHash } from 'node:crypto';

/**
 * Gives each mutant its id. `line` is the text of the line that it begins in, `change` says what it does. Equal changes of
 * equal lines of a file are told apart by their order.
 */
export function named(mutants) {
  const seen = new Map();
  return mutants.map((mutant) => {
    const alike = `${mutant.file}\n${mutant.line}\n${mutant.change}`;
    const order = (seen.get(alike) ?? 0) + 1;
    seen.set(alike, order);
    return { ...mutant, id: digest(alike, String(order)) };
  });
}

/** So many of them. Which ones depends on the seed and their ids, so that an edit replaces few of a sample. */
export function sampled(mutants, count, seed) {
  if (count === undefined) return mutants;
  const ranked = mutants.map((mutant) => ({ mutant, rank: digest(seed, mutant.id) }));
  ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1));
  const chosen = new Set(ranked.slice(0, count).map(({ mutant }) => mutant));
  return mutants.filter((mutant) => chosen.has(mutant));
}

/** In one line, and not too long for a list. */
export function brief(text) {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > 120 ? `${line.slice(0, 119)}…` : line;
}

export function digest(...texts) {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(text).update('\0');
  return hash.digest('hex').slice(0, 24);
}
