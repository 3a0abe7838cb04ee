import { describe, expect, it } from 'vitest';
import { CLIENT_SORTS, type ClientsQuery, parseClientsQuery } from '../../../src/http/clients-query.js';
import { ClientsWalk, VALUES } from '../../../src/http/clients-walk.js';
import type { ClientStatus } from '../../../src/registry/client-status.js';
import { collectGarbage } from '../../helpers/memory.js';
import { seeded } from '../../helpers/random.js';
import { turn } from '../../helpers/wait.js';

function walk(query: string, clients: readonly ClientStatus[]) {
  const parsed = parseClientsQuery(query, Date.now());
  if (!parsed) throw new Error('it asks for the index');
  const found = new ClientsWalk(parsed);
  for (let at = 0; at < clients.length; at += 1000) found.take(clients.slice(at, at + 1000));
  return found.page();
}

/** Clients of which some share keys, addresses, ages and counts. */
function crowd(size: number): ClientStatus[] {
  const random = seeded(20);
  const below = (most: number) => Math.floor(random() * most);
  return Array.from({ length: size }, (_, index) => ({
    id: index + 1,
    key: `nodekey:${below(size).toString(16).padStart(64, '0')}`,
    address: below(2) ? `192.0.2.${below(256)}` : `2001:db8::${below(16).toString(16)}`,
    port: 1 + below(3),
    connectedAt: 1_700_000_000_000 + below(50),
    active: true,
    duplicate: false,
    home: false,
    mesh: false,
    notIdeal: false,
    prober: false,
    version: 2,
    app: ['', 'a', 'b'][below(3)] as string,
    tls: null,
    received: { packets: below(9), bytes: below(9) },
    sent: { packets: below(9), bytes: below(9) },
    dropped: below(9),
    queued: below(9),
    senders: below(9),
    roundTrip: below(3) ? below(9000) / 1000 : null,
    queueDrops: { head: 0, tail: 0, age: 0, overBudget: 0 },
    queueDelay: below(3) ? { mean: below(9000) / 1000, max: below(99) } : null,
  }));
}

const few = crowd(300);

describe('a walk over the clients', () => {
  it.each(CLIENT_SORTS.flatMap((sort) => [sort, `-${sort}`]))(
    'a walk by %s shows each client once, page by page',
    (sort) => {
      const shown: ClientStatus[] = [];
      for (let after = ''; ; ) {
        const { clients, conns, remaining } = walk(`all&limit=7&sort=${sort}${after}`, few);
        expect(conns).toBe(few.length);
        shown.push(...clients);
        expect(remaining).toBe(few.length - shown.length);
        const last = clients.at(-1) as ClientStatus;
        if (remaining === 0) break;
        after = cursor(sort.replace('-', ''), last);
      }
      expect(new Set(shown.map(({ id }) => id)).size).toBe(few.length);
      const column = VALUES[sort.replace('-', '') as keyof typeof VALUES];
      const sorted = few.toSorted((one, other) => {
        const [a, b] = [column(one), column(other)];
        return (a < b ? -1 : a > b ? 1 : one.id - other.id) * (sort.startsWith('-') ? -1 : 1);
      });
      expect(shown.map(({ id }) => id)).toEqual(sorted.map(({ id }) => id));
    },
  );

  it.each([
    ['ip=192.0.2.7', ({ address }: ClientStatus) => address === '192.0.2.7'],
    ['ip=2001:0db8:0::3', ({ address }: ClientStatus) => address === '2001:db8::3'],
    ['cidr=192.0.2.0/25', ({ address }: ClientStatus) => Number(/^192\.0\.2\.(\d+)$/.exec(address)?.[1] ?? 999) < 128],
    [`key=${few[0]?.key}`, ({ key }: ClientStatus) => key === few[0]?.key],
    ['app=a', ({ app }: ClientStatus) => app === 'a'],
    ['app=a&app=', ({ app }: ClientStatus) => app !== 'b'],
    ['cidr=2001:db8::/32&app=b', ({ address, app }: ClientStatus) => address.includes(':') && app === 'b'],
  ])('a walk with the filter %s shows the clients that match, and no others', (query, fits) => {
    const wanted = few.filter(fits);
    expect(wanted.length).toBeGreaterThan(0);
    const { clients, conns, keys, remaining } = walk(`${query}&sort=conn&limit=1000`, few);
    expect(clients).toEqual(wanted);
    expect({ conns, keys, remaining }).toEqual({
      conns: wanted.length,
      keys: new Set(wanted.map(({ key }) => key)).size,
      remaining: 0,
    });
  });

  it('a cursor without a connection skips every connection with its value', () => {
    const { clients } = walk('all&limit=1000&sort=rx&after=4', few);
    expect(clients.map(({ received }) => received.bytes).every((bytes) => bytes > 4)).toBe(true);
    expect(clients).toHaveLength(few.filter(({ received }) => received.bytes > 4).length);
  });

  it.each(CLIENT_SORTS)('a walk by %s shows the client that has least of it first', (sort) => {
    const [template] = few as [ClientStatus];
    const one: ClientStatus = {
      ...{ ...template, id: 2, key: `nodekey:${'1'.repeat(64)}`, address: '192.0.2.1', connectedAt: 1 },
      ...{ received: { packets: 1, bytes: 1 }, sent: { packets: 1, bytes: 1 }, dropped: 1, queued: 1, senders: 0 },
      ...{ roundTrip: 0, queueDelay: { mean: 0, max: 0 } },
    };
    const least: ClientStatus = {
      ...{ ...template, id: sort === 'conn' ? 1 : 3, key: `nodekey:${'0'.repeat(64)}`, address: '192.0.2.0' },
      ...{ received: { packets: 0, bytes: 0 }, sent: { packets: 0, bytes: 0 }, dropped: 0, queued: 0 },
      // What is not known stands before 0.
      ...{ connectedAt: 0, senders: null, roundTrip: null, queueDelay: null },
    };
    expect(walk(`all&sort=${sort}`, [one, least]).clients).toEqual([least, one]);
  });

  it('a walk over 100,000 clients shows one page and counts all clients', () => {
    const many = crowd(100_000);
    const { clients, conns, remaining } = walk('all&limit=10&sort=-conn', many);
    expect(clients.map(({ id }) => id)).toEqual(Array.from({ length: 10 }, (_, index) => 100_000 - index));
    expect({ conns, remaining }).toEqual({ conns: 100_000, remaining: 99_990 });
  });

  it('a walk holds on to a few pages of clients, however many there are', async () => {
    const query = parseClientsQuery('all&limit=10&sort=-conn', Date.now()) as ClientsQuery;
    const found = new ClientsWalk(query);
    const passed: WeakRef<ClientStatus>[] = [];
    found.take(crowd(100));
    for (let piece = 0; piece < 100; piece++) {
      const clients = crowd(10).map((client) => ({ ...client, id: 10 * piece + client.id }));
      passed.push(...clients.map((client) => new WeakRef(client)));
      found.take(clients);
    }
    await turn();
    collectGarbage();
    expect(passed.filter((client) => client.deref()).length).toBeLessThanOrEqual(30);
    expect(found.page().clients.map(({ id }) => id)).toEqual(Array.from({ length: 10 }, (_, index) => 1000 - index));
  });
});

function cursor(sort: string, client: ClientStatus): string {
  const { id, address, port, key, connectedAt, received, sent, dropped, queued, senders, roundTrip, queueDelay } =
    client;
  const values: Record<string, string> = {
    key,
    ip: address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`,
    conn: String(id),
    connected: `${connectedAt}000000`,
    rx: String(received.bytes),
    tx: String(sent.bytes),
    rxpkts: String(received.packets),
    txpkts: String(sent.packets),
    dropped: String(dropped),
    queued: String(queued),
    senders: String(senders),
    rtt: String(roundTrip ?? -1),
    delay: String(queueDelay?.mean ?? -1),
    maxdelay: String(queueDelay?.max ?? -1),
  };
  return `&after=${encodeURIComponent(values[sort] as string)}&afterconn=${id}`;
}
