/** The list of clients in `derpkit top`, and what it can be sorted by. */
import type { DebugClient } from '../debug-client.js';
import { fits, ListOf, type Shape } from '../shapes.js';
import { parsed } from '../stream-parts.js';
import type { Busy } from './feed.js';

/** Bytes of the longest answer: a thousand clients with all their figures. */
const LONGEST = 4 << 20;

export interface Sort {
  readonly name: string;
  /** The key that selects it. */
  readonly key: string;
  readonly about: string;
  readonly of: (client: Busy) => number;
  /** The column of `/debug/clients.json` that has it: then all clients are looked at, and otherwise the busiest. */
  readonly column?: 'rx' | 'tx';
}

export const SORTS: readonly Sort[] = [
  { name: 'rate', key: 'r', about: 'rate', of: ({ rxRate, txRate }) => rxRate + txRate },
  { name: 'from', key: 'f', about: 'rate from it', of: ({ rxRate }) => rxRate },
  { name: 'to', key: 't', about: 'rate to it', of: ({ txRate }) => txRate },
  { name: 'rx', key: 'i', about: 'bytes from it', of: ({ rxBytes }) => rxBytes, column: 'rx' },
  { name: 'tx', key: 'o', about: 'bytes to it', of: ({ txBytes }) => txBytes, column: 'tx' },
  { name: 'queued', key: 'u', about: 'queued', of: ({ queued }) => queued },
  { name: 'dropped', key: 'd', about: 'dropped', of: ({ dropped }) => dropped },
];

export function sorted(clients: readonly Busy[], { of }: Sort): readonly Busy[] {
  return [...clients].sort((one, other) => of(other) - of(one));
}

/** A client in `/debug/clients.json`, as far as the list shows it. */
interface Listed {
  readonly id: number;
  readonly key: string;
  readonly address: string;
  readonly app: string;
  readonly received: { readonly bytes: number };
  readonly sent: { readonly bytes: number };
  readonly dropped: number;
  readonly queued: number;
}

const LIST: Shape = {
  clients: new ListOf({
    ...{ id: 'number', key: 'string', address: 'string', app: 'string', dropped: 'number', queued: 'number' },
    ...{ received: { bytes: 'number' }, sent: { bytes: 'number' } },
  }),
};

type Look = ReadonlyMap<number, Listed>;

/** The clients with most bytes, looked at again and again: the rates are those since the last look. */
export class TopClients {
  private last: { readonly look: Look; readonly at: number } | undefined;

  constructor(private readonly client: DebugClient) {}

  async look(column: 'rx' | 'tx', limit: number): Promise<readonly Busy[]> {
    const { last } = this;
    const listed = await this.fetch({ sort: `-${column}`, limit: String(limit) });
    const at = performance.now();
    const seconds = last ? (at - last.at) / 1000 : Number.POSITIVE_INFINITY;
    this.last = { look: new Map(listed.map((client) => [client.id, client])), at };
    return listed.map(({ id, key, address, app, received, sent, dropped, queued }) => {
      // One that was not looked at before has no rate yet.
      const before = last?.look.get(id) ?? { received, sent };
      return {
        ...{ key, address, app, dropped, queued },
        rxRate: ((received.bytes - before.received.bytes) * 8) / seconds,
        txRate: ((sent.bytes - before.sent.bytes) * 8) / seconds,
        rxBytes: received.bytes,
        txBytes: sent.bytes,
      };
    });
  }

  private async fetch(query: Readonly<Record<string, string>>): Promise<readonly Listed[]> {
    const answer = await this.client.get('clients.json', query, 'application/json');
    const chunks: Buffer[] = [];
    let length = 0;
    for await (const chunk of answer) {
      chunks.push(chunk as Buffer);
      length += (chunk as Buffer).length;
      if (length > LONGEST) throw new Error('the list of clients is too long');
    }
    const list = parsed(Buffer.concat(chunks).toString());
    if (!fits(list, LIST)) throw new Error('the answer has no list of clients');
    return (list as { clients: Listed[] }).clients;
  }
}
