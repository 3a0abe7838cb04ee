/** What a client received, told so that two relays that did the same say the same. */
import { PeerGoneReason } from '../../src/protocol/wire.js';
import type { Receipt } from './peer.js';
import type { Link, World } from './world.js';

const SHORT = 'short';

/**
 * One line. Packets stand under their source, each source between its PeerGones; those of one sending connection and kind
 * in their order, for which alone there is a promise.
 */
export function told(link: Link, receipts: readonly Receipt[], world: World): string {
  const sources = new Map<string, Map<string, string[]>[]>();
  const segment = (key: string): Map<string, string[]> => {
    const segments = sources.get(key) ?? [new Map()];
    sources.set(key, segments);
    return segments.at(-1) as Map<string, string[]>;
  };
  const others: string[] = [];
  for (const receipt of receipts) {
    if (receipt.type === 'packet') {
      const { source, label, length } = receipt;
      const row = label ? `${label.sender}/${label.kind}` : SHORT;
      append(segment(source), row, label ? `${label.sequence}:${length}` : `${length}`);
    } else if (receipt.type === 'present') {
      others.push(`+${receipt.key}${whose(receipt, world)} ${receipt.about}`);
    } else if (receipt.type === 'odd') {
      others.push(receipt.what);
    } else if (receipt.reason === PeerGoneReason.NotHere) {
      others.push(`${receipt.key} is not here`);
    } else if (!link.loose.has(receipt.key)) {
      segment(receipt.key);
      sources.get(receipt.key)?.push(new Map());
    }
  }
  const lines = [...sources].sort().map(([key, segments]) => `${key}: ${segments.map(rows).join(' gone ')}`);
  return [...lines, ...others].join('; ');
}

/** What is wrong with what came to a connection that did not read for a while. Which packets did not is the relay's affair. */
export function wrongAfterStall(link: Link, receipts: readonly Receipt[], queueDepth: number): string[] {
  const wrong: string[] = [];
  const sent = link.stall?.sent ?? [];
  for (const kind of ['data', 'disco'] as const) {
    const ofKind = sent.filter((label) => label.kind === kind);
    const came = receipts.flatMap((receipt) =>
      receipt.type === 'packet' && receipt.label?.kind === kind ? [{ ...receipt.label, source: receipt.source }] : [],
    );
    // Sources take turns, those that one mesh peer sends for among them: the order is that of each.
    const rowOf = ({ sender, source }: { sender: number; source: string }) => `${sender} for ${source}`;
    const rows = new Set(ofKind.map(rowOf));
    for (const row of new Set([...rows, ...came.map(rowOf)])) {
      const of = (labels: typeof came) =>
        labels.filter((label) => rowOf(label) === row).map(({ sequence }) => sequence);
      const all = of(ofKind);
      const got = of(came);
      if (!isPartOf(got, all)) wrong.push(`of ${all.join(' ')} by ${row} came ${got.join(' ')}`);
      // The oldest make room, so the newest are there.
      const newest = all.slice(-queueDepth);
      if (rows.size === 1 && !isPartOf(newest, got)) {
        wrong.push(`the newest ${kind} packets of ${row} did not all come: ${got.join(' ')} of ${all.join(' ')}`);
      }
    }
    const least = Math.min(ofKind.length, queueDepth);
    if (came.length < least) wrong.push(`${came.length} ${kind} packets came, fewer than there is room for`);
  }
  return wrong;
}

/** Whether all of `part` is in `whole`, in this order, each once. */
function isPartOf(part: readonly number[], whole: readonly number[]): boolean {
  let at = -1;
  return part.every((number) => {
    at = whole.indexOf(number, at + 1);
    return at >= 0;
  });
}

/** Which connection of its key a presence is about; of a key with several nobody promises which. */
function whose({ key, port }: Receipt & { type: 'present' }, world: World): string {
  const link = world.byPort(port);
  if (link?.actor.name !== key) return ` at a port of ${link ? link.actor.name : 'nobody'}`;
  return world.cloned.has(key) ? '' : ` ${link.number}`;
}

function rows(segment: Map<string, string[]>): string {
  return (
    [...segment]
      .sort()
      // Short packets do not say whose they are, and several connections may send as one key: they are counted alone.
      .map(([row, packets]) => `[${row} ${(row === SHORT ? packets.sort() : packets).join(' ')}]`)
      .join('')
  );
}

function append(lists: Map<string, string[]>, name: string, value: string): void {
  const list = lists.get(name);
  if (list) list.push(value);
  else lists.set(name, [value]);
}
