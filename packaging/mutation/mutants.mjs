/** Names mutants so that the names survive edits elsewhere in a file, and selects samples. */
import { createHash } from 'node:crypto';

/**
 * Gives each mutant an id. `line` is the text of its first line, `change` describes it. Equal changes of equal lines in
 * a file are numbered.
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

/** Selects `count` mutants by the seed and their ids, so that an edit changes little of the selection. */
export function sampled(mutants, count, seed) {
  if (count === undefined) return mutants;
  const ranked = mutants.map((mutant) => ({ mutant, rank: digest(seed, mutant.id) }));
  ranked.sort((a, b) => (a.rank < b.rank ? -1 : 1));
  const chosen = new Set(ranked.slice(0, count).map(({ mutant }) => mutant));
  return mutants.filter((mutant) => chosen.has(mutant));
}

/** Shortens a text to one line for a list. */
export function brief(text) {
  const line = text.replace(/\s+/g, ' ').trim();
  return line.length > 120 ? `${line.slice(0, 119)}…` : line;
}

export function digest(...texts) {
  const hash = createHash('sha256');
  for (const text of texts) hash.update(text).update('\0');
  return hash.digest('hex').slice(0, 24);
}
