import { once } from 'node:events';
import type { Socket } from 'node:net';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { ClientStatus } from '../../../src/registry/client-status.js';
import { eventually } from '../../helpers/wait.js';
import { Harness, NOTHING_TO_SHOW } from './harness.js';

const NOW = Date.UTC(2026, 10, 30, 12);
const [A, B] = [`nodekey:${'aa'.repeat(32)}`, `nodekey:${'bb'.repeat(32)}`];

/** A client that has just come, and has done nothing. */
const QUIET: ClientStatus = {
  ...{ id: 1, key: A, address: '192.0.2.1', port: 41_000, connectedAt: NOW, active: true, duplicate: false },
  ...{ home: false, mesh: false, notIdeal: false, prober: false, version: 2, app: '', tls: null },
  ...{ received: { packets: 0, bytes: 0 }, sent: { packets: 0, bytes: 0 }, dropped: 0, queued: 0, senders: null },
  ...{ queueDrops: { head: 0, tail: 0, age: 0, overBudget: 0 }, queueDelay: null, roundTrip: null },
};

/** A client of which there is something in each column. */
const BUSY: ClientStatus = {
  ...{ id: 7, key: B, address: '2001:db8::1', port: 443, connectedAt: NOW - 12_345_678, active: true, duplicate: true },
  ...{ home: true, mesh: true, notIdeal: true, prober: true, version: 2, app: '<cat> & co', tls: '1.3' },
  ...{ received: { packets: 11, bytes: 1100 }, sent: { packets: 12, bytes: 1200 }, dropped: 13, queued: 14 },
  ...{ queueDrops: { head: 1, tail: 2, age: 4, overBudget: 6 }, queueDelay: { mean: 2.5, max: 16 }, roundTrip: 1.5 },
  senders: 15,
};

let main: Harness;

beforeEach(() => void vi.useFakeTimers({ toFake: ['Date'], now: NOW }));

afterEach(async () => {
  vi.useRealTimers();
  await main.close();
});

async function showing(clients: () => AsyncIterable<readonly ClientStatus[]>): Promise<void> {
  const counts = () => ({ connections: 3, localKeys: 2 });
  main = await Harness.open('main', { debug: { ...NOTHING_TO_SHOW, clients, counts } });
}

function list(...clients: ClientStatus[]): Promise<void> {
  return showing(async function* () {
    yield clients;
  });
}

/** The text of a page. */
async function page(path: string, type: string): Promise<string> {
  const { status, headers, body } = await main.ask(`GET /debug/${path} HTTP/1.1`);
  expect({ status, type: headers['content-type'] }).toEqual({ status: 200, type });
  expect(headers['content-security-policy']).toMatch(/; style-src 'self' 'unsafe-inline'$/);
  return Buffer.from(body, 'latin1').toString();
}

const html = (query: string) => page(`clients/${query}`, 'text/html; charset=utf-8');
const json = (query: string) => page(`clients/${query}`, 'application/json');

function htmlPage(title: string, ...lines: string[]): string {
  return `<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${title}</title>
<style>
:root { color-scheme: light dark; font-family: system-ui, sans-serif }
table { border-collapse: collapse; font-family: ui-monospace, monospace; font-size: small }
th, td { border-bottom: 1px solid #8886; padding: .2em .6em; text-align: left; white-space: nowrap }
td.number { text-align: right }
</style></head>
<body><h1>${title}</h1>
${lines.join('\n')}
</body></html>
`;
}

describe('the index of clients', () => {
  it('the index counts connections and keys, and offers lists', async () => {
    await list();
    const field = (name: string, label: string, example: string) =>
      `<form><label>${label}: <input name="${name}" size="40" placeholder="${example}"></label> <button>Show</button></form>`;
    const lines = [
      '<p>3 connections of 2 node keys.</p>',
      '<p><a href="?all=1">All clients</a>, <a href="?all=1&amp;sort=-rx">those that send most first</a></p>',
      field('ip', 'Address', '192.0.2.1'),
      field('cidr', 'Network', '192.0.2.0/24'),
      field('key', 'Node key', 'nodekey:…'),
      field('app', 'App name', 'tailcat'),
      '<p>The query takes <code>sort</code> (key, ip, conn, connected, rx, tx, rxpkts, txpkts, dropped, queued, senders, ' +
        'rtt, delay, maxdelay; a leading <code>-</code> turns the order round),',
      '<code>limit</code>, <code>after</code> (a value of the sorted column; for connected a duration such as 30m, too), more',
      'than one <code>app</code>, and <code>format=json</code>.</p>',
    ];
    expect(await html('')).toBe(htmlPage('clients', ...lines));
    expect(await html('?ip=')).toBe(htmlPage('clients', ...lines));
  });

  it('the index has its two counts as JSON for those that ask for it', async () => {
    await list();
    expect(await json('?format=json')).toBe('{"conns":3,"keys":2}\n');
  });
});

describe('a page of clients', () => {
  it('a page has everything about each client, and its heads sort', async () => {
    await list(QUIET, BUSY);
    const heads = [
      '<a href="?all=1&amp;sort=conn">connection</a>',
      '<a href="?all=1&amp;sort=key">node key</a>',
      '<a href="?all=1&amp;sort=ip">remote</a>',
      '<a href="?all=1&amp;sort=connected">connected</a>',
      'flags',
      'TLS',
      'app',
      '<a href="?all=1&amp;sort=-rxpkts">packets from it</a>',
      '<a href="?all=1&amp;sort=rx">bytes from it</a> ▼',
      '<a href="?all=1&amp;sort=-txpkts">packets to it</a>',
      '<a href="?all=1&amp;sort=-tx">bytes to it</a>',
      '<a href="?all=1&amp;sort=-dropped">dropped</a>',
      '<a href="?all=1&amp;sort=-queued">queued</a>',
      '<a href="?all=1&amp;sort=-senders">senders</a>',
      '<a href="?all=1&amp;sort=-rtt">round trip, ms</a>',
      '<a href="?all=1&amp;sort=-delay">queue delay, ms</a>',
      '<a href="?all=1&amp;sort=-maxdelay">longest, ms</a>',
    ];
    const number = (value: number | string) => `<td class="number">${value}</td>`;
    const busy = [
      number(7),
      `<td><a href="?key=${B}">${B}</a></td>`,
      '<td><a href="?ip=2001%3Adb8%3A%3A1">[2001:db8::1]:443</a></td>',
      number('3h25m45s'),
      '<td>home mesh prober notideal dup-active</td>',
      '<td>1.3</td>',
      '<td><a href="?app=%3Ccat%3E%20%26%20co">&lt;cat&gt; &amp; co</a></td>',
      ...[11, 1100, 12, 1200, 13, 14, 15, 1.5, 2.5, 16].map(number),
    ];
    const quiet = [
      number(1),
      `<td><a href="?key=${A}">${A}</a></td>`,
      '<td><a href="?ip=192.0.2.1">192.0.2.1:41000</a></td>',
      number('0s'),
      '<td></td><td></td><td></td>',
      ...[0, 0, 0, 0, 0, 0, '', '', '', ''].map(number),
    ];
    expect(await html('?all=1&sort=-rx')).toBe(
      htmlPage(
        'all clients',
        '<p><a href="./">Index</a>. 2 of 2 connections (2 node keys).</p>',
        '<table>',
        `<tr>${heads.map((head) => `<th>${head}</th>`).join('')}</tr>`,
        `<tr>${busy.join('')}</tr>`,
        `<tr>${quiet.join('')}</tr>`,
        '</table>',
        '<p></p>',
      ),
    );
  });

  it('a page leads to the next one, above and below, and says how many clients are behind it', async () => {
    await list(QUIET, BUSY);
    const body = await html('?all=1&sort=rx&limit=1');
    const next = ' <a href="?after=0&amp;afterconn=1&amp;all=1&amp;limit=1&amp;sort=rx">Next page</a> (1 more)';
    expect(body).toContain(`\n<p><a href="./">Index</a>. 1 of 2 connections (2 node keys).${next}</p>\n`);
    expect(body).toContain(`</table>\n<p>${next}</p>\n</body>`);
    expect(body).toContain('<th><a href="?all=1&amp;limit=1&amp;sort=-rx">bytes from it</a> ▲</th>');
  });

  it.each([
    [-5_000, '0s'],
    [59_999, '59s'],
    [60_000, '1m0s'],
    [3_599_000, '59m59s'],
    [3_600_000, '1h0m0s'],
    [360_061_000, '100h1m1s'],
  ])('a page shows a connection of %d milliseconds as %s', async (age, shown) => {
    await list({ ...QUIET, connectedAt: NOW - age });
    expect(await html('?all')).toContain(`<td class="number">${shown}</td>`);
  });

  it.each([
    ['home', { home: true }],
    ['mesh', { mesh: true }],
    ['prober', { prober: true }],
    ['notideal', { notIdeal: true }],
    ['dup', { duplicate: true, active: false }],
  ])('a page has the flag %s for a client with nothing but %j', async (flag, more) => {
    await list({ ...QUIET, ...more });
    expect(await html('?all')).toContain(`<td>${flag}</td>`);
  });

  it.each([
    ['all', 'all clients'],
    ['app=a&app=', 'all clients with app a or (none)'],
    ['ip=192.0.2.1', 'clients from 192.0.2.1'],
    ['cidr=192.0.2.0/24&app=x', 'clients from 192.0.2.0/24 with app x'],
    [`key=${A}`, `connections for ${A}`],
  ])('the page of %s says which clients it has', async (query, title) => {
    await list();
    expect(await html(`?${query}`)).toContain(`<title>${title}</title>`);
    expect(JSON.parse(await json(`?${query}&format=json`))).toMatchObject({ query: title, conns: 0, clients: [] });
  });

  it('a page of HTML shows no app name as HTML in its title', async () => {
    await list();
    const title = 'all clients with app &lt;b&gt;';
    expect(await html('?app=%3Cb%3E')).toContain(`<title>${title}</title>`);
    expect(await html('?app=%3Cb%3E')).toContain(`<h1>${title}</h1>`);
  });

  it('a page of JSON has the names and units of derper', async () => {
    await list({ ...QUIET, connectedAt: NOW + 5000 }, BUSY);
    const quiet = {
      ...{ connNum: 1, key: A, remote: '192.0.2.1:41000', connectedAt: '2026-11-30T12:00:05.000Z', connected: 0 },
      ...{ active: true, dup: false, disabled: false, home: false, meshPeer: false, notIdeal: false, prober: false },
      ...{ version: 2, appName: '', rxPkts: 0, rxBytes: 0, txPkts: 0, txBytes: 0, senders: 0 },
    };
    const busy = {
      ...{ connNum: 7, key: B, remote: '[2001:db8::1]:443', connectedAt: '2026-11-30T08:34:14.322Z' },
      ...{ connected: 12_345_678_000_000, active: true, dup: true, disabled: false, home: true, meshPeer: true },
      ...{ notIdeal: true, prober: true, version: 2, appName: '<cat> & co', rxPkts: 11, rxBytes: 1100, txPkts: 12 },
      ...{ txBytes: 1200, senders: 15 },
    };
    const whole = { query: 'all clients', conns: 2, keys: 2, remaining: 0, clients: [quiet, busy] };
    expect(await json('?all&format=json')).toBe(`${JSON.stringify(whole, undefined, '\t')}\n`);
    const next = `?after=nodekey%3A${'aa'.repeat(32)}&afterconn=1&all=1&format=json&limit=1&sort=key`;
    const first = { query: 'all clients', conns: 2, keys: 2, remaining: 1, next, clients: [quiet] };
    expect(await json('?all&format=json&limit=1')).toBe(`${JSON.stringify(first, undefined, '\t')}\n`);
  });

  it.each([
    ['conn', '?after=1&all=1&format=json&limit=1&sort=conn'],
    ['-conn', '?after=7&all=1&format=json&limit=1&sort=-conn'],
    ['ip', '?after=192.0.2.1%3A41000&afterconn=1&all=1&format=json&limit=1&sort=ip'],
    ['-ip', '?after=%5B2001%3Adb8%3A%3A1%5D%3A443&afterconn=7&all=1&format=json&limit=1&sort=-ip'],
    ['connected', `?after=${NOW - 12_345_678}000000&afterconn=7&all=1&format=json&limit=1&sort=connected`],
    ['-rtt', '?after=1.5&afterconn=7&all=1&format=json&limit=1&sort=-rtt'],
  ])('the link behind a page that is sorted by %s is %s, and leads to the rest', async (sort, next) => {
    await list(QUIET, BUSY);
    const first = JSON.parse(await json(`?all&format=json&limit=1&sort=${sort}`));
    expect(first).toMatchObject({ remaining: 1, next });
    const second = JSON.parse(await json(next));
    expect(second).not.toHaveProperty('next');
    const numbers = [first, second].flatMap(({ clients }) =>
      clients.map(({ connNum }: { connNum: number }) => connNum),
    );
    expect(numbers.toSorted()).toEqual([1, 7]);
  });

  it('a query that cannot be understood is answered with the reason alone, without a look at the clients', async () => {
    let looks = 0;
    await showing(async function* () {
      looks += 1;
      yield [QUIET];
    });
    for (const path of ['clients/?all&format=json&sort=x', 'clients.json?ip=x']) {
      const { status, headers, body } = await main.ask(`GET /debug/${path} HTTP/1.1`);
      expect({ status, type: headers['content-type'] }).toEqual({ status: 400, type: 'text/plain; charset=utf-8' });
      expect(body).toMatch(/^(?:sort must be one of |ip must be an IP address, not "x"\n$)/);
    }
    expect(looks).toBe(0);
  });
});

describe('/debug/clients.json', () => {
  const clientsJson = (query: string) => page(`clients.json${query}`, 'application/json');

  it.each(['', '?all', '?sort=conn', '?ip=', '?key=&cidr='])('the answer to %j has every client', async (query) => {
    await list(QUIET, BUSY);
    const whole = { connections: 2, keys: 2, remaining: 0, next: '', clients: [QUIET, BUSY] };
    expect(await clientsJson(query)).toBe(`${JSON.stringify(whole)}\n`);
  });

  it.each(['ip=192.0.2.1', 'cidr=192.0.2.0/24', `key=${A}`, 'app='])(
    'the answer to %s has the clients that match',
    async (query) => {
      await list(QUIET, BUSY);
      const some = { connections: 1, keys: 1, remaining: 0, next: '', clients: [QUIET] };
      expect(await clientsJson(`?${query}`)).toBe(`${JSON.stringify(some)}\n`);
    },
  );

  it('the answer has a link to the rest, which works for either list', async () => {
    await list(QUIET, BUSY);
    const { remaining, next } = JSON.parse(await clientsJson('?sort=conn&limit=1'));
    expect({ remaining, next }).toEqual({ remaining: 1, next: '?after=1&all=1&format=json&limit=1&sort=conn' });
    expect(JSON.parse(await clientsJson(next)).clients).toEqual([BUSY]);
    expect(JSON.parse(await json(next)).clients).toMatchObject([{ connNum: 7 }]);
  });
});

describe('lists in the making', () => {
  it('four lists are made at once, and the next is refused until one is done', async () => {
    let release = () => {};
    const held = new Promise<void>((resolve) => {
      release = resolve;
    });
    let walks = 0;
    await showing(async function* () {
      walks += 1;
      await held;
      yield [QUIET];
    });
    const answers = Array.from({ length: 5 }, () => main.ask('GET /debug/clients.json HTTP/1.1'));
    const refused = await Promise.race(answers);
    const body = '4 lists of clients are being made already; try again\n';
    expect(refused).toMatchObject({ status: 503, body });
    expect(walks).toBe(4);
    release();
    const statuses = (await Promise.all(answers)).map(({ status }) => status);
    expect(statuses.toSorted()).toEqual([200, 200, 200, 200, 503]);
    for (let time = 0; time < 5; time++) await clientsOf('');
  });

  it('a client that leaves ends the walk for its list, and makes room for the next', async () => {
    const state = { begun: 0, goesOn: 0, ended: 0 };
    let leave = () => {};
    const gone = new Promise<void>((resolve) => {
      leave = resolve;
    });
    await showing(async function* () {
      try {
        state.begun += 1;
        await gone;
        yield [QUIET];
        state.goesOn += 1;
      } finally {
        state.ended += 1;
      }
    });
    for (let id = 1; id <= 4; id++) {
      const socket = await main.connect();
      socket.write('GET /debug/clients/?all HTTP/1.1\r\nHost: derp.test\r\n\r\n');
      await eventually(() => state.begun === id, 'the walk to begin');
      const left = once(main.sockets.get(id) as Socket, 'close');
      socket.destroy();
      await left;
    }
    leave();
    await eventually(() => state.ended === 4, 'the walks to end');
    expect(state.goesOn).toBe(0);
    await clientsOf('?all');
  });
});

function clientsOf(query: string): Promise<string> {
  return page(`clients.json${query}`, 'application/json');
}
