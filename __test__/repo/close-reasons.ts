/** Reads the words of `CloseReason`: where they are declared, and where a connection ends with them. */

/** The words that `plane.ts` declares, each with its comment; empty if it has none. */
export function declaredWords(text: string): Map<string, string> {
  const [, union = ''] = /^export type CloseReason =\n([\s\S]*?);\n/m.exec(text) ?? [];
  const rows = union.matchAll(/(?:\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*)?\| '(\w+)'/g);
  return new Map([...rows].map(([, comment = '', word = '']) => [word, comment.trim()]));
}

/** The words of the enum `CloseReason` of the crates, by the names of its variants. Of one file has to be the enum. */
export function rustWords(sources: readonly string[]): Map<string, string> {
  const declaring = sources.filter((text) => /^ *(?:pub(?:\(\w+\))? )?enum CloseReason \{/m.test(text));
  if (declaring.length !== 1) throw new Error(`${declaring.length} files declare the enum CloseReason`);
  const pairs = (declaring[0] as string).matchAll(/^\s+([A-Z]\w+)(?:\([^()]*\))? => "(\w+)",$/gm);
  return new Map([...pairs].map(([, variant = '', word = '']) => [variant, word]));
}

/** The variants that some code of the crates ends a connection with: those that it does not only match or compare. */
export function rustProduced(sources: readonly string[]): Set<string> {
  const uses = sources.flatMap((text) => [...text.matchAll(/(==\s*)?\bCloseReason::([A-Z]\w*)(\)?\s*=>)?/g)]);
  return new Set(
    uses.filter(([, compared, , matched]) => !compared && !matched).map(([, , variant]) => variant as string),
  );
}

/** The quoted words in the arguments of calls that close a connection. */
export function tsProduced(sources: readonly string[]): Set<string> {
  const calls = sources.flatMap((text) => text.match(/\b(?:close|end)\(.*\);?$|\b(?:close|end)\(.*\),$/gm) ?? []);
  return new Set(calls.flatMap((call) => [...call.matchAll(/'(\w+)'/g)].map(([, word]) => word as string)));
}
