import { describe, expect, it } from 'vitest';
import type { DebugClient } from '../../../../src/cli/debug-client.js';
import { type Span, spansOf } from '../../../../src/cli/top/feed.js';
import { CLIENT, SAMPLE } from './sample.js';

/** A feed of this text, in chunks of one byte. */
function feed(text: string): DebugClient {
  const get = async function* () {
    for (const byte of Buffer.from(text)) yield Buffer.of(byte);
  };
  return { get: async () => get() } as unknown as DebugClient;
}

const event = (name: string, data: unknown) => `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
const figures = (time: number) => event('figures', { ...SAMPLE, time });
const busiest = (key: string) => event('busiest', [{ ...CLIENT, key }]);
const history = 'event: history\ndata: [{"time":1},{"time":2}]\n\n';

async function spans(text: string, interval = 1): Promise<[number, number, unknown][]> {
  const found: Span[] = [];
  for await (const span of spansOf(feed(text), interval, () => {})) found.push(span);
  return found.map(({ before, now, busiest: list }) => [before.time, now.time, list[0]?.key]);
}

describe('the feed of derpkit top', () => {
  it('a span ends with the list of clients that belongs to its last sample', async () => {
    const text = history + figures(3) + busiest('a') + figures(4) + busiest('b') + figures(5) + busiest('c');
    expect(await spans(text)).toEqual([
      [3, 4, 'b'],
      [4, 5, 'c'],
    ]);
  });

  it('a span has as many samples as were asked for', async () => {
    const text = [0, 1, 2, 3, 4, 5].map((time) => figures(time) + busiest(`${time}`)).join('');
    expect(await spans(text, 2)).toEqual([
      [0, 2, '2'],
      [2, 4, '4'],
    ]);
  });

  it('a span has the list before where the next one takes longer than a second', async () => {
    const text = figures(3) + busiest('a') + figures(4) + figures(5) + busiest('b');
    expect(await spans(text)).toEqual([
      [3, 4, 'a'],
      [4, 5, 'b'],
    ]);
  });

  it('a feed that is no JSON is refused', async () => {
    await expect(spans('event: figures\ndata: {"time":\n\n')).rejects.toThrow('the answer is no JSON');
  });

  const withFields = (of: object, value: unknown) =>
    Object.keys(of).map((name) => [`where ${name} is ${value}`, { ...of, [name]: value }] as const);

  it.each<readonly [string, unknown]>([
    ['that are null', null],
    ['that are a number', 1],
    ['that are a list', []],
    ['of no time', { ...SAMPLE, time: 1e300 }],
    ['with text for a count', { ...SAMPLE, drops: { x: 'y' } }],
    ['with a list for counts', { ...SAMPLE, failures: [] }],
    ['with a relay that is null', { ...SAMPLE, mesh: [null] }],
    ...withFields(SAMPLE, null),
    ...withFields(SAMPLE, 'text'),
  ])('a feed with figures %s is refused', async (_, data) => {
    await expect(spans(event('figures', data))).rejects.toThrow(new Error('the answer has no figures of a relay'));
  });

  it.each<readonly [string, unknown]>([
    ['null', null],
    ['an object', {}],
    ['a list of null', [null]],
    ...withFields(CLIENT, undefined).map(([name, data]) => [`one ${name}`, [data]] as const),
  ])('a feed whose clients are %s is refused', async (_, data) => {
    await expect(spans(event('busiest', data))).rejects.toThrow(new Error('the answer has no list of clients'));
  });

  it('a feed without links is read, and with fields that a later version adds', async () => {
    const { links: _, ...before } = { ...SAMPLE, more: {} };
    expect(await spans(event('figures', before) + figures(2) + busiest('a'))).toEqual([[SAMPLE.time, 2, 'a']]);
  });

  it('an event that never ends is refused', async () => {
    const get = async function* () {
      const line = Buffer.from(`data: ${'x'.repeat(1 << 20)}\n`);
      for (;;) yield line;
    };
    const endless = { get: async () => get() } as unknown as DebugClient;
    await expect(spansOf(endless, 1, () => {}).next()).rejects.toThrow('an event of the answer is too long');
  });

  it('a line that never ends is refused', async () => {
    const get = async function* () {
      for (;;) yield Buffer.alloc(1 << 20, 'x');
    };
    const endless = { get: async () => get() } as unknown as DebugClient;
    await expect(spansOf(endless, 1, () => {}).next()).rejects.toThrow('too long');
  });
});
