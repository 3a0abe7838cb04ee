/**
 * `__test__/vectors/request-heads.json` as the second request of a connection: heads that are raw DERP to the planes are raw DERP to the HTTP
 * server. Node's parser sees such a head, so that an upgrade also needs `Connection: Upgrade` and line ends of two bytes here.
 */
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Harness, received } from './harness.js';

interface HeadVector {
  readonly text: string;
  readonly head: 'more' | 'bad' | 'http' | 'derp';
  readonly fastStart?: boolean;
  readonly notIdeal?: boolean;
}

const { heads }: { readonly heads: Readonly<Record<string, HeadVector>> } = JSON.parse(
  readFileSync(new URL('../../vectors/request-heads.json', import.meta.url), 'utf8'),
);
const named = Object.entries(heads);
const upgrades = named.filter(([, { head }]) => head === 'derp');
const hasLoneLineFeed = ({ text }: HeadVector) => /(^|[^\r])\n/.test(text);

let main: Harness;

beforeAll(async () => {
  main = await Harness.open();
});

afterAll(() => main.close());

beforeEach(() => {
  main.adopted.length = 0;
});

/** Sends a head, and half-closes, behind a first request that is answered. */
async function second(text: string): Promise<Socket> {
  const socket = await main.connectAndAsk();
  socket.end(text, 'latin1');
  return socket;
}

describe('the vectors of request heads as second requests', () => {
  it('some vectors are upgrades of a second request, and others are not', () => {
    expect(upgrades.filter(([, vector]) => !hasLoneLineFeed(vector)).length).toBeGreaterThan(0);
    expect(upgrades.length).toBeLessThan(named.length);
  });

  it.each(upgrades)(
    'the HTTP server gives the connection to the plane for the second request %s',
    async (_name, vector) => {
      const lines = vector.text.replaceAll(/\r?\n/g, '\r\n').trimEnd();
      const socket = await second(`${lines}\r\nConnection: Upgrade\r\n\r\n`);
      while (main.adopted.length === 0) await new Promise(setImmediate);
      const [{ how, socket: theirs }] = main.adopted as [(typeof main.adopted)[number]];
      expect(how).toEqual({ framing: 'raw', leftover: Buffer.alloc(0), notIdeal: vector.notIdeal });
      theirs.end('greeting');
      expect(await received(socket)).toMatch(vector.fastStart ? /^greeting$/ : /^HTTP\/1\.1 101 .*greeting$/s);
    },
  );

  it.each(upgrades.filter(([, vector]) => hasLoneLineFeed(vector)))(
    'the HTTP server refuses line ends of one byte in the second request %s',
    async (_name, { text }) => {
      expect(await received(await second(text))).toMatch(/^HTTP\/1\.1 400 /);
      expect(main.adopted).toEqual([]);
    },
  );

  it.each(named.filter(([, { head }]) => head !== 'derp'))(
    'the HTTP server takes no upgrade where the planes see none, in the second request %s',
    async (_name, { text }) => {
      await received(await second(text));
      expect(main.adopted).toEqual([]);
    },
  );
});
