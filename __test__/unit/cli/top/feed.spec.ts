import { describe, expect, it } from 'vitest';
import type { DebugClient } from '../../../../src/cli/debug-client.js';
import { type Span, spansOf } from '../../../../src/cli/top/feed.js';

/** A feed of this text, in chunks of one byte. */
function feed(text: string): DebugClient {
  const get = async function* () {
    for (const byte of Buffer.from(text)) yield Buffer.of(byte);
  };
  return { get: async () => get() } as unknown as DebugClient;
}

const figures = (time: number) => `event: figures\ndata: {"time":${time}}\n\n`;
const busiest = (name: string) => `event: busiest\ndata: ["${name}"]\n\n`;
const history = 'event: history\ndata: [{"time":1},{"time":2}]\n\n';

async function spans(text: string, interval = 1): Promise<[number, number, unknown][]> {
  const found: Span[] = [];
  for await (const span of spansOf(feed(text), interval, () => {})) found.push(span);
  return found.map(({ before, now, busiest: list }) => [before.time, now.time, list[0]]);
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

  it('a line that never ends is refused', async () => {
    const get = async function* () {
      for (;;) yield Buffer.alloc(1 << 20, 'x');
    };
    const endless = { get: async () => get() } as unknown as DebugClient;
    await expect(spansOf(endless, 1, () => {}).next()).rejects.toThrow('too long');
  });
});
