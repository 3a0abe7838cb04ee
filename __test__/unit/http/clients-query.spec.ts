import { describe, expect, it } from 'vitest';
import { ClientsQueryError, clientsLink, endpointOrder, parseClientsQuery } from '../../../src/http/clients-query.js';

const KEY = `nodekey:${'ab'.repeat(32)}`;
const NOW = 1_700_000_000_000;
const parse = (query: string) => parseClientsQuery(query, NOW);

describe('the query of /debug/clients/', () => {
  it.each(['', 'format=json', 'sort=bogus', 'limit=0', 'ip=', 'key='])('the query %j asks for the index', (query) => {
    expect(parse(query)).toBeUndefined();
  });

  it.each([
    ['all', { by: 'all' }],
    ['all=0', { by: 'all' }],
    ['app=', { by: 'all' }],
    ['ip=192.0.2.1', { by: 'ip', value: '192.0.2.1' }],
    ['ip=2001:db8::1', { by: 'ip', value: '2001:db8::1' }],
    ['cidr=192.0.2.0/24', { by: 'cidr', value: '192.0.2.0/24' }],
    [`key=${KEY.toUpperCase().replace('NODEKEY', 'nodekey')}`, { by: 'key', value: KEY }],
  ])('the query %s filters clients', (query, filter) => {
    expect(parse(query)).toMatchObject({ filter, sort: 'key', descending: false, limit: 100, format: 'html' });
  });

  it.each([
    ['all&ip=192.0.2.1', 'only one of all, ip, cidr and key'],
    ['ip=192.0.2', 'ip must be an IP address, not "192.0.2"'],
    ['cidr=192.0.2.0/33', 'cidr must be a network'],
    ['cidr=192.0.2.0', 'cidr must be a network'],
    ['key=nodekey:ab', 'key must be nodekey: and 64 hex digits'],
    ['all&sort=size', 'sort must be one of key, ip'],
    ['all&limit=0', 'limit must be a number above 0'],
    ['all&limit=ten', 'limit must be a number above 0'],
    ['all&after=x', 'after must be nodekey:'],
    ['all&sort=ip&after=x', 'after must be an address'],
    ['all&sort=ip&after=1.2.3.4:70000', 'after must be an address'],
    ['all&sort=connected&after=x', 'after must be nanoseconds since 1970'],
    ['all&sort=rx&after=-1', 'after must be a whole number'],
    ['all&sort=rx&after=1&afterconn=x', 'afterconn must be a whole number'],
  ])('the query %s is refused with the reason', (query, reason) => {
    expect(() => parse(query)).toThrow(reason);
  });

  it.each([
    ['all&limit=x5', 'limit must be a number above 0, not "x5"'],
    ['all&limit=5x', 'limit must be a number above 0, not "5x"'],
    ['all&sort=ip&after=x[2001:db8::1]:80', 'after must be an address, or address:port, not "x[2001:db8::1]:80"'],
    ['all&sort=ip&after=192.0.2.1:80x', 'after must be an address, or address:port, not "192.0.2.1:80x"'],
    ['all&sort=connected&after=x5', 'after must be nanoseconds since 1970, or a duration such as 30m, not "x5"'],
    ['all&sort=rtt&after=x1', 'after must be milliseconds, not "x1"'],
    ['all&sort=delay&after=1x', 'after must be milliseconds, not "1x"'],
    ['all&sort=maxdelay&after=-2', 'after must be milliseconds, not "-2"'],
    ['all&sort=rx&after=1x', 'after must be a whole number, not "1x"'],
    [`key=x${KEY}`, `key must be nodekey: and 64 hex digits, not "x${KEY}"`],
    [`key=${KEY}0`, `key must be nodekey: and 64 hex digits, not "${KEY}0"`],
    ['all&ip=192.0.2.1', 'only one of all, ip, cidr and key may be given'],
    ['cidr=x', 'cidr must be a network such as 192.0.2.0/24, not "x"'],
    [`all&format=${'x'.repeat(101)}`, `format must be json or html, not "${'x'.repeat(100)}"`],
    [
      'all&sort=size',
      'sort must be one of key, ip, conn, connected, rx, tx, rxpkts, txpkts, dropped, queued, senders, rtt, delay, ' +
        'maxdelay, with or without a leading -, not "size"',
    ],
  ])('the query %s is refused with a whole sentence', (query, sentence) => {
    expect(() => parse(query)).toThrow(new ClientsQueryError(sentence));
  });

  it('a page of clients has at least 1, and takes a number with a sign as Go does', () => {
    expect(parse('all&limit=1')).toMatchObject({ limit: 1 });
    expect(parse('all&limit=%2B5')).toMatchObject({ limit: 5 });
  });

  it('a page of clients has at most 1,000', () => {
    expect(parse('all&limit=999')).toMatchObject({ limit: 999 });
    expect(parse('all&limit=1000000')).toMatchObject({ limit: 1000 });
  });

  it.each([
    ['sort=conn&after=7&afterconn=9', 7, undefined],
    ['sort=rx&after=7&afterconn=9', 7, 9],
    [`sort=-key&after=${KEY}&afterconn=9`, KEY, 9],
    ['sort=connected&after=1700000000123456789', 1_700_000_000_123, undefined],
    ['sort=connected&after=30m', NOW - 30 * 60_000, undefined],
    ['sort=ip&after=192.0.2.1:80', endpointOrder('192.0.2.1', 80), undefined],
    ['sort=ip&after=[2001:db8::1]:80', endpointOrder('2001:db8::1', 80), undefined],
    ['sort=ip&after=192.0.2.1', endpointOrder('192.0.2.1', 65535), undefined],
    ['sort=-ip&after=2001:db8::1', endpointOrder('2001:db8::1', 0), undefined],
    ['sort=ip&after=192.0.2.1:65535', endpointOrder('192.0.2.1', 65535), undefined],
    ['sort=ip&after=2001:db8:0:0:0:0:0:1', endpointOrder('2001:db8::1', 65535), undefined],
    ['sort=connected&after=-5000000', -5, undefined],
    ['sort=rtt&after=5', 5, undefined],
  ])('a page of clients begins behind the cursor of %s', (query, value, conn) => {
    expect(parse(`all&${query}`)?.after).toEqual({ value, conn });
  });

  it('the link to the next page repeats the query', () => {
    const text = `after=${encodeURIComponent(KEY)}&afterconn=3&all=1&app=a+b&app=&format=json&limit=7&sort=-key`;
    const query = parse(text);
    if (!query) throw new Error('it asks for the index');
    expect(clientsLink(query, '-key', { text: KEY, value: KEY, conn: 3 })).toBe(`?${text}`);
  });

  it.each(['all=1', 'cidr=192.0.2.0%2F24', 'ip=2001%3Adb8%3A%3A1', `key=${encodeURIComponent(KEY)}`])(
    'the link to another order keeps the filter %s, and leaves out what is usual',
    (filter) => {
      const query = parse(filter);
      if (!query) throw new Error('it asks for the index');
      expect(clientsLink(query, '-rx')).toBe(`?${filter}&sort=-rx`);
      const after = { text: '7', value: 7, conn: undefined };
      expect(clientsLink(query, 'conn', after)).toBe(`?after=7&${filter}&sort=conn`);
    },
  );
});

it('addresses sort as in Go: IPv4 first, then by bytes, then by ports', () => {
  const rising = [
    ['9.0.0.1', 1],
    ['10.0.0.1', 9],
    ['10.0.0.1', 80],
    ['10.0.0.2', 1],
    ['::1', 1],
    ['::ffff:1.2.3.4', 1],
    ['2001:db8::', 1],
    ['2001:db8::1', 2],
    ['2001:db8:0:0:0:0:0:2', 1],
    ['fe80::1%eth0', 1],
  ] as const;
  const orders = rising.map(([address, port]) => endpointOrder(address, port));
  expect(orders.toSorted()).toEqual(orders);
  expect(new Set(orders.map((order) => order.slice(1)).map(({ length }) => length))).toEqual(new Set([12, 36]));
});

it('addresses that are not known sort before all others, by their ports', () => {
  const rising = [endpointOrder('', 80), endpointOrder('', 41_000), endpointOrder('0.0.0.0', 0)];
  expect(rising.toSorted()).toEqual(rising);
});
