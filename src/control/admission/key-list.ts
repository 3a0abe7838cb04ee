/** Lists of node keys in text files. Pure. */
import { type NodeKey, parseNodeKeyHex } from '../../protocol/key.js';

/** Longest list in bytes: half a million keys. */
export const MOST_LIST_BYTES = 32 << 20;

/**
 * Parses one key on each line: `nodekey:` and 64 hex digits, or the digits alone; `#` begins a comment. Throws an error
 * that says what is wrong, and on which line.
 */
export function parseKeyList(text: string): Set<NodeKey> {
  const keys = new Set<NodeKey>();
  let number = 0;
  for (const line of text.split('\n')) {
    number += 1;
    const written = line.replace(/#.*/, '').trim();
    if (written === '') continue;
    const key = parseNodeKeyHex(written.replace(/^nodekey:/, ''));
    if (key === undefined)
      throw new Error(`line ${number} is not a node key: nodekey: and 64 hex digits, or the digits alone`);
    keys.add(key);
  }
  return keys;
}

/** The keys of `before` that `after` lacks. */
export function missingFrom(before: ReadonlySet<NodeKey>, after: ReadonlySet<NodeKey>): NodeKey[] {
  return [...before].filter((key) => !after.has(key));
}
