/** `derpkit top` and `derpkit tap` where the answer comes from something that is no relay, or a hostile one. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { CLIENT, SAMPLE } from '../unit/cli/top/sample.js';
import { lines, run } from './commands.js';

/** Something that answers each path of its `answers` so. */
async function answering(answers: Readonly<Record<string, string>>): Promise<string> {
  const server = createServer(({ url = '' }, response) => {
    const [path = ''] = url.slice('/debug/'.length).split('?');
    response.end(answers[path] ?? '');
  });
  onTestFinished(() => void server.close());
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const event = (name: string, data: unknown) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
const feed = (sample: unknown, clients: unknown) =>
  event('figures', sample) + event('busiest', clients) + event('figures', sample) + event('busiest', clients);

it.each([
  ['figures without a field', {}, [], 'the answer has no figures of a relay'],
  ['clients that are no list', SAMPLE, {}, 'the answer has no list of clients'],
  ['a client that is null', SAMPLE, [null], 'the answer has no list of clients'],
])('derpkit top fails in one line for %s', async (_, sample, clients, message) => {
  const url = await answering({ 'live/events': feed(sample, clients) });
  const { code, stdout, stderr } = await run('derpkit', ['top', '--url', url, '--once']);
  expect({ code, stdout, stderr }).toEqual({ code: 1, stdout: '', stderr: `derpkit top: ${url}: ${message}\n` });
});

it.each(['{}', '[]', '{"clients":{}}', '{"clients":[null]}', '{"clients":[{"id":1}]}'])(
  'derpkit top fails in one line for the list %s',
  async (list) => {
    const url = await answering({ 'live/events': feed(SAMPLE, [CLIENT]), 'clients.json': list });
    const { code, stderr } = await run('derpkit', ['top', '--url', url, '--once', '--sort', 'rx']);
    expect({ code, stderr }).toEqual({
      code: 1,
      stderr: `derpkit top: ${url}: the answer has no list of clients\n`,
    });
  },
);

it('derpkit top prints no character of a relay that could move the cursor, in JSON either', async () => {
  const evil = '\u009b2J\u202e\x1b[2J';
  const sample = { ...SAMPLE, drops: { [evil]: 1 }, mesh: [{ relay: evil, state: evil, peers: 1 }] };
  const url = await answering({ 'live/events': feed(sample, [{ ...CLIENT, app: evil, key: evil, address: evil }]) });
  for (const args of [[], ['--json']]) {
    const { code, stdout, stderr } = await run('derpkit', ['top', '--url', url, '--once', ...args]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).not.toMatch(/[^\n\x20-\x7e]/);
    if (args.length > 0) expect(JSON.parse(stdout).mesh[0].relay).toBe(evil);
  }
});

it.each(['{"source":5}', '{"source":"a","destination":7}', '{"missed":"x"}', 'null', '[{}]'])(
  'derpkit tap fails in one line for %s',
  async (line) => {
    const url = await answering({ tap: `${line}\n` });
    const { code, stdout, stderr } = await run('derpkit', ['tap', '--url', url]);
    expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
    expect(lines(stderr).slice(1)).toEqual([
      expect.stringMatching(/^derpkit tap: http:\S+: the answer is no (?:tap|JSON)$/),
    ]);
  },
);
