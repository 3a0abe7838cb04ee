/** `/debug/clients/` beside the real derper's: one crowd of clients at each relay, and the same questions. */
import { readFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { formatNodeKey, generateKeyPair, type KeyPair, keyPairOf, parsePrivateKey } from '../../src/protocol/key.js';
import { DerpClient } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';
import { makeWorkspace, SERVER_NAME, type Workspace } from './scenarios.ts';
import { type Implementation, Relay } from './servers.ts';

/** Both relays get clients with these keys, so that one order by key holds at both. */
const KEYS = Array.from({ length: 4 }, () => generateKeyPair());
const [A, B, C, D] = KEYS.map(({ publicKey }) => formatNodeKey(publicKey));

interface Shown {
  readonly query: string;
  readonly conns: number;
  readonly keys: number;
  readonly remaining: number;
  readonly next?: string;
  readonly clients: readonly Record<string, unknown>[];
}

let workspace: Workspace;
const relays: Partial<Record<Implementation, Relay>> = {};

beforeAll(async () => {
  workspace = await makeWorkspace(SERVER_NAME);
  for (const implementation of ['derper', 'derpkit'] as const) {
    const { directory, peers } = workspace;
    const options = { directory, name: `clients-${implementation}`, address: '127.0.0.1' };
    const relay = await Relay.start(implementation, peers, options);
    relays[implementation] = relay;
  }
});

afterAll(async () => {
  await Promise.all(Object.values(relays).map((relay) => relay.stop()));
  workspace?.remove();
});

/** Five connections of four keys: each from an address of its own, so that one order by address holds at both relays. */
async function populate(relay: Relay, name: string): Promise<void> {
  const text = JSON.parse(readFileSync(join(workspace.directory, `${name}.key`), 'utf8')).PrivateKey;
  const server = keyPairOf(parsePrivateKey(text) as Uint8Array).publicKey;
  const meshKey = readFileSync(workspace.meshKey, 'utf8').trim();
  const [a, b, c, d] = KEYS as [KeyPair, KeyPair, KeyPair, KeyPair];
  const login = async (last: number, options: ConstructorParameters<typeof DerpClient>[2]) => {
    const wire = await Wire.open({ host: '127.0.0.1', port: relay.port, from: `127.0.0.${last}` });
    const client = new DerpClient(wire, server, options);
    await client.login();
    return client;
  };
  const first = await login(9, { keys: a, appName: 'tailcat' });
  const second = await login(10, { keys: b, prober: true, idealNode: 'x' });
  await login(2, { keys: c, meshKey });
  await login(77, { keys: d, appName: 'other' });
  await login(3, { keys: d });
  second.notePreferred(true);
  for (const size of [100, 20]) first.sendPacket(second.key, Buffer.alloc(size));
  second.sendPacket(first.key, Buffer.alloc(7));
  for (const client of [first, second]) await client.expect('RecvPacket');
  for (const client of [first, second]) await client.fence();
  await eventually(async () => {
    const { body } = await ask(at(relay), '/debug/clients/?all&format=json');
    return JSON.parse(body).clients.reduce((sum: number, { txPkts }: { txPkts: number }) => sum + txPkts, 0) === 3;
  }, 'the packets to be counted');
}

function at({ port }: Relay) {
  return { host: '127.0.0.1', port };
}

/** What a relay shows, without what differs from run to run: numbers of connections, ports and times. */
async function shown(relay: Relay, query: string): Promise<Shown> {
  const { status, body, headers } = await ask(at(relay), `/debug/clients/${query}`);
  expect(status, body).toBe(200);
  expect(headers['content-type']).toBe('application/json');
  const page = JSON.parse(body);
  return {
    ...page,
    clients: page.clients.map(({ connNum, connected, connectedAt, remote, ...client }: Record<string, unknown>) => {
      expect(connNum).toBeGreaterThan(0);
      expect(connected).toBeGreaterThanOrEqual(0);
      expect(Date.parse(connectedAt as string)).toBeGreaterThan(Date.now() - 600_000);
      return { ...client, remote: (remote as string).replace(/:\d+$/, '') };
    }),
  };
}

/** A page and those behind it. */
async function pages(relay: Relay, query: string): Promise<Omit<Shown, 'next'>[]> {
  const { next, ...page } = await shown(relay, query);
  return [page, ...(next ? await pages(relay, next) : [])];
}

const QUESTIONS = [
  ...['all', 'all=1', 'app=tailcat', 'app=', 'app=tailcat&app=other', 'app=nothing', 'all&app=other'],
  ...[
    'ip=127.0.0.9',
    'ip=::ffff:127.0.0.9',
    'ip=127.0.0.1',
    'cidr=127.0.0.0/28',

    'cidr=0.0.0.0/0',
  ],
  ...['cidr=::/0', `key=${A}`, `key=${D}`, `key=nodekey:${'01'.repeat(32)}`, `key=${D}&app=other`],
  ...['key', 'ip', 'conn', 'connected', 'rx', 'tx', 'rxpkts', 'txpkts'].flatMap((sort) =>
    ['', '-'].flatMap((sign) =>
      ['', '&limit=1', '&limit=2', '&limit=4'].map((limit) => `all&sort=${sign}${sort}${limit}`),
    ),
  ),
  ...['all&sort=ip&after=127.0.0.9', 'all&sort=-ip&after=127.0.0.9', 'all&sort=ip&after=127.0.0.3:0', `all&after=${B}`],
  ...[`all&sort=-key&after=${C}`, 'all&sort=rx&after=7', 'all&sort=-tx&after=7', 'all&sort=connected&after=0s'],
  ...['all&sort=connected&after=1h', 'all&sort=-connected&after=1h', 'all&sort=conn&after=0'],
];

it('derper and derpkit show one list, page by page, whatever the question, and stream the clients whose bytes grow', async () => {
  const [theirs, ours] = [relays.derper as Relay, relays.derpkit as Relay];
  await populate(theirs, 'clients-derper');
  await populate(ours, 'clients-derpkit');
  expect((await pages(theirs, '?all&format=json&limit=2')).map(({ clients }) => clients.length)).toEqual([2, 2, 1]);
  for (const query of QUESTIONS) {
    const wanted = await pages(theirs, `?${query}&format=json`);
    expect(await pages(ours, `?${query}&format=json`), query).toEqual(wanted);
  }
  for (const relay of [theirs, ours]) {
    const lines = await traffic(relay);
    expect(Object.keys(lines[0] ?? {})).toEqual(['Sent', 'Recv', 'Key']);
    const [a, b] = [A, B].map((key) => lines.find(({ Key }) => Key === key));
    // derper counts what TCP carries: at least the packets.
    expect(a?.Recv).toBeGreaterThanOrEqual(120);
    expect(b?.Sent).toBeGreaterThanOrEqual(120);
  }
});

interface TrafficLine {
  readonly Sent: number;
  readonly Recv: number;
  readonly Key: string;
}

/** The lines of a stream up to its first empty line. */
function traffic({ port }: Relay): Promise<TrafficLine[]> {
  return new Promise((resolve, reject) => {
    let text = '';
    const asked = request({ host: '127.0.0.1', port, path: '/debug/traffic' }, (response) => {
      expect(response.headers['content-type']).toBe('text/plain; charset=utf-8');
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
        if (!text.includes('\n\n')) return;
        response.destroy();
        resolve(
          text
            .split('\n\n', 1)[0]
            ?.split('\n')
            .map((line) => JSON.parse(line)) ?? [],
        );
      });
    });
    asked.on('error', reject).end();
  });
}

const REFUSED = [
  ...[
    'all&ip=127.0.0.1',
    'ip=127.0.0.1&cidr=127.0.0.0/8',
    'ip=x',
    'ip=127.0.0.1/8',
    'cidr=127.0.0.1',
    'cidr=x/8',
    'cidr=::/129',
  ],
  ...['key=x', `key=${'ab'.repeat(32)}`, 'all&sort=x', 'all&sort=--key', 'all&limit=0', 'all&limit=x', 'all&limit=-1'],
  ...[
    'all&format=xml',
    'format=xml',
    'all&after=x',
    'all&sort=ip&after=x',
    'all&sort=conn&after=x',
    'all&sort=rx&after=-1',
  ],
  ...['all&sort=connected&after=x', `all&after=${A}&afterconn=x`],
];

it.each(REFUSED)('derper and derpkit refuse %s', async (query) => {
  for (const relay of Object.values(relays)) {
    expect(await ask(at(relay), `/debug/clients/?${query}`)).toMatchObject({ status: 400 });
  }
});

it.each([
  '',
  '?',
  '?format=json',
  '?limit=0',
  '?sort=x',
  '?all&all',
  '?all&sort=',
  '?all&limit=&after=',
  '?all&afterconn=x',
])('derper and derpkit answer %j with one kind of page', async (query) => {
  const answers = await Promise.all(
    ([relays.derper, relays.derpkit] as Relay[]).map(async (relay) => {
      const { status, headers, body } = await ask(at(relay), `/debug/clients/${query}`);
      return { status, type: headers['content-type'], json: query.includes('json') ? JSON.parse(body) : undefined };
    }),
  );
  expect(answers[1]).toEqual(answers[0]);
});

it('derper and derpkit redirect /debug/clients, and show the list on every path below it', async () => {
  const answers = await Promise.all(
    ([relays.derper, relays.derpkit] as Relay[]).flatMap((relay) =>
      ['/debug/clients', '/debug/clients?all', '/debug/clients/more'].map(async (path) => {
        const { status, headers } = await ask(at(relay), path);
        return { status, location: headers.location };
      }),
    ),
  );
  expect(answers.slice(3)).toEqual(answers.slice(0, 3));
});
