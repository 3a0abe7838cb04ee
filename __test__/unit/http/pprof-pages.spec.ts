import { pbkdf2Sync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { Profile } from 'pprof-format';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { pprofOf } from '../../../src/http/cpu-profile.js';
import { DebugAccess } from '../../../src/http/debug-access.js';
import { eventually } from '../../helpers/wait.js';
import { Harness } from './harness.js';

const KEY = 'the debug key';

let main: Harness;

beforeEach(async () => {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-pprof-'));
  const keyFile = join(directory, 'key');
  writeFileSync(keyFile, KEY);
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const debugAccess = new DebugAccess({ trustedCidrs: [], hosts: () => ['derp.test'], keyFile });
  main = await Harness.open('main', { debugAccess });
});

afterEach(() => main.close());

interface Got {
  readonly status: number | undefined;
  readonly headers: IncomingMessage['headers'];
  readonly body: Buffer;
}

async function get(path: string, method = 'GET'): Promise<Got> {
  const socket = await main.connect();
  const asked = request({ path: `/debug/pprof/${path}`, method, createConnection: () => socket, host: 'derp.test' });
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  const chunks: Buffer[] = [];
  for await (const chunk of response) chunks.push(chunk as Buffer);
  return { status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) };
}

/** Work with a name that a profile has to show. Not a loop: V8 would compile that into its caller. */
function burnForTheProfile(): Buffer {
  return pbkdf2Sync('password', 'salt', 20_000, 32, 'sha256');
}

/** Burns until the promise settles. */
async function whileBurning<T>(promise: Promise<T>): Promise<T> {
  let isOver = false;
  const over = promise.finally(() => {
    isOver = true;
  });
  while (!isOver) {
    burnForTheProfile();
    await new Promise((resolve) => setImmediate(resolve));
  }
  return over;
}

/** The headers of a file that a browser saves. */
function download(type: string, file: string) {
  return {
    'content-type': type,
    'content-disposition': `attachment; filename="${file}"`,
    'cache-control': 'no-store',
    'content-security-policy': expect.stringMatching(/; style-src 'self' 'unsafe-inline'$/),
  };
}

describe('a CPU profile', () => {
  it('a profile shows as pprof where the time goes, with whole stacks', async () => {
    const { status, headers, body } = await whileBurning(get('profile?seconds=1'));
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'content-type': 'application/octet-stream',
      'content-disposition': expect.stringContaining('profile.pb.gz'),
    });
    const saved = download('application/octet-stream', 'profile.pb.gz');
    expect(headers).toMatchObject({ ...saved, 'content-length': String(body.length) });
    const { stringTable, sample, location, function: functions, sampleType } = Profile.decode(gunzipSync(body));
    const text = (index: number | bigint) => stringTable.strings[Number(index)] ?? '';
    expect(sampleType.map(({ type, unit }) => [text(type), text(unit)])).toEqual([
      ['samples', 'count'],
      ['cpu', 'nanoseconds'],
    ]);
    const nameOf = (id: number | bigint) => {
      const line = location.find((each) => each.id === id)?.line[0];
      return text(functions.find((each) => each.id === line?.functionId)?.name ?? 0);
    };
    const stacks = sample.map(({ locationId, value }) => ({ names: locationId.map(nameOf), value: value.map(Number) }));
    const burning = stacks.filter(({ names }) => names.includes('burnForTheProfile'));
    const nanoseconds = burning.reduce((sum, { value }) => sum + (value[1] ?? 0), 0);
    expect(nanoseconds).toBeGreaterThan(1e8);
    // Leaf first; the function that calls it stands behind.
    for (const { names } of burning)
      expect(names.indexOf('whileBurning')).toBeGreaterThan(names.indexOf('burnForTheProfile'));
    expect(stacks.filter(({ names }) => names.includes('(root)') || names.includes('(idle)'))).toEqual([]);
  });

  it('a profile is JSON for the DevTools of Chrome if that is asked for', async () => {
    const { headers, body } = await whileBurning(get('profile?seconds=1&format=cpuprofile'));
    expect(headers['content-disposition']).toContain('.cpuprofile');
    const saved = download('application/json', 'derpkit.cpuprofile');
    expect(headers).toMatchObject({ ...saved, 'content-length': String(body.length) });
    const { nodes, samples, timeDeltas, startTime, endTime } = JSON.parse(body.toString());
    expect(nodes.map(({ callFrame }: { callFrame: { functionName: string } }) => callFrame.functionName)).toContain(
      'burnForTheProfile',
    );
    expect(samples.length).toBe(timeDeltas.length);
    expect(endTime - startTime).toBeGreaterThan(5e5);
  });

  it('there is one profile at a time, and a client that leaves ends its own', async () => {
    const socket = await main.connect();
    socket.write('GET /debug/pprof/profile?seconds=300 HTTP/1.1\r\nHost: derp.test\r\n\r\n');
    let refused = await get('profile?seconds=300x');
    expect(refused.status).toBe(400);
    while (refused.status !== 409) refused = await get('profile?seconds=1');
    const text = 'a profile is being recorded already: try again when it is done\n';
    expect(refused.body.toString()).toBe(text);
    // Its connection may be silent for as long as the profile takes, and its answer.
    expect(main.sockets.get(1)?.timeout).toBe(330_000);
    socket.destroy();
    let next = refused;
    while (next.status === 409) next = await get('profile?seconds=1');
    expect(next.status).toBe(200);
  });

  it.each(['seconds=0', 'seconds=301', 'seconds=1.5', 'seconds=x', 'seconds=1&format=svg'])(
    'a profile with %s is refused',
    async (query) => {
      expect((await get(`profile?${query}`)).status).toBe(400);
    },
  );

  it('HEAD records nothing', async () => {
    expect(await get('profile?seconds=300', 'HEAD')).toMatchObject({ status: 200, body: Buffer.alloc(0) });
  });

  it.each([
    ['seconds=0', 'seconds must be a whole number from 1 to 300\n'],
    ['seconds=x', 'seconds must be a whole number from 1 to 300\n'],
    ['format=svg', 'format must be pprof or cpuprofile\n'],
  ])('a profile with %s is refused with the reason', async (query, text) => {
    const { status, body } = await get(`profile?${query}`);
    expect({ status, text: body.toString() }).toEqual({ status: 400, text });
  });

  it.each([
    ['', 'application/octet-stream', 'profile.pb.gz'],
    ['?format=pprof', 'application/octet-stream', 'profile.pb.gz'],
    ['?seconds=&format=', 'application/octet-stream', 'profile.pb.gz'],
    ['?format=cpuprofile', 'application/json', 'derpkit.cpuprofile'],
  ])('HEAD has the headers of the profile for the query %j', async (query, type, file) => {
    const { status, headers } = await get(`profile${query}`, 'HEAD');
    expect(status).toBe(200);
    expect(headers).toMatchObject(download(type, file));
  });

  it('a sample lasts until the next one, and waiting is not in the profile', async () => {
    const frame = (functionName: string) => ({
      functionName,
      scriptId: '1',
      url: 'file:///a.js',
      lineNumber: 6,
      columnNumber: 0,
    });
    const bytes = await pprofOf(
      {
        nodes: [
          { id: 1, callFrame: frame('(root)'), children: [2, 3] },
          { id: 2, callFrame: frame('work'), children: [4] },
          { id: 3, callFrame: frame('(idle)') },
          { id: 4, callFrame: frame('') },
        ],
        startTime: 1000,
        endTime: 2000,
        samples: [2, 3, 4, 4],
        timeDeltas: [100, 200, 300, 150],
      },
      5000,
    );
    const { sample, function: functions, stringTable, timeNanos, durationNanos } = Profile.decode(gunzipSync(bytes));
    expect(sample.map(({ locationId, value }) => [locationId.map(Number), value.map(Number)])).toEqual([
      [[2], [1, 200_000]],
      [
        [4, 2],
        [2, 400_000],
      ],
    ]);
    const anonymous = functions.find(({ id }) => Number(id) === 4);
    expect([stringTable.strings[Number(anonymous?.name)], Number(anonymous?.startLine)]).toEqual(['(anonymous)', 7]);
    expect([Number(timeNanos), Number(durationNanos)]).toEqual([5e9, 1e6]);
  });
});

describe('a heap snapshot', () => {
  it('a snapshot is given for the debug key alone', async () => {
    for (const query of ['', '?debugkey=', '?debugkey=wrong']) {
      const { status, body } = await get(`heapsnapshot${query}`);
      expect(status).toBe(403);
      expect(body.toString()).toMatch(
        /^debug access denied: \/debug\/pprof\/heapsnapshot answers requests with the debug key alone/,
      );
    }
  });

  it('a snapshot has every object, for the DevTools of Chrome', async () => {
    const marker = ['an object', 'of this test', Math.random()].join(' ');
    const { status, headers, body } = await get(`heapsnapshot?debugkey=${encodeURIComponent(KEY)}`);
    expect(status).toBe(200);
    expect(headers).toMatchObject({
      'cache-control': 'no-store',
      'content-disposition': expect.stringContaining('.heapsnapshot'),
    });
    const { snapshot, nodes, strings } = JSON.parse(body.toString());
    expect(nodes.length).toBe(snapshot.node_count * snapshot.meta.node_fields.length);
    expect(strings).toContain(marker);
  });

  it('there is one snapshot at a time, and a client that leaves makes room for the next', async () => {
    const path = `heapsnapshot?debugkey=${encodeURIComponent(KEY)}`;
    const socket = await main.connect();
    socket.write(`GET /debug/pprof/${path} HTTP/1.1\r\nHost: derp.test\r\n\r\n`);
    await once(socket, 'readable');
    const { status, body } = await get(path);
    const text = 'a snapshot is being sent already: try again when it is done\n';
    expect({ status, text: body.toString() }).toEqual({ status: 409, text });
    socket.destroy();
    const next = await eventually(async () => {
      const answer = await get(path);
      return answer.status === 200 && answer;
    }, 'the next snapshot');
    expect(next.headers).toMatchObject(download('application/json', 'derpkit.heapsnapshot'));
  });
});

describe('the index of profiles', () => {
  it('the index says what a snapshot contains, and where /debug/pprof leads', async () => {
    const { body } = await get('');
    expect(body.toString()).toContain('private keys');
    const redirect = await main.ask('GET /debug/pprof HTTP/1.1');
    expect(redirect).toMatchObject({ status: 307, headers: { location: '/debug/pprof/' } });
    expect((await main.ask('GET /debug/pprof/goroutine HTTP/1.1')).status).toBe(404);
  });
});
