import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { Barrier } from '../../../src/faults/barrier.js';
import { LiveFeed, type LiveSource, MOST_VIEWERS } from '../../../src/http/live-feed.js';
import { BROWSER_HEADERS } from '../../../src/http/responses.js';
import { STRICT } from '../../helpers/strict-barrier.js';

/** A browser that reads what it gets, or leaves it unread. */
class Viewer extends EventEmitter {
  status = 0;
  headers: Readonly<Record<string, string>> = {};
  text = '';
  writableLength = 0;
  isDestroyed = false;
  /** Behind another answer of its connection: Node destroys it only when its turn comes. */
  isQueued = false;
  readonly req = { method: 'GET', socket: { destroy: () => this.close() } };

  writeHead(status: number, headers: Readonly<Record<string, string>>): this {
    this.status = status;
    this.headers = headers;
    return this;
  }

  write(text: string): void {
    this.text += text;
  }

  end(body = ''): void {
    this.text += body;
    this.emit('close');
  }

  destroy(): void {
    if (!this.isQueued) this.close();
  }

  private close(): void {
    this.isDestroyed = true;
    this.emit('close');
  }

  get events(): string[] {
    return [...this.text.matchAll(/^event: (.*)$/gm)].map(([, name]) => name as string);
  }
}

let samples = 0;
let looks = 0;
let feed: LiveFeed;

function join(method = 'GET'): Viewer {
  const viewer = new Viewer();
  viewer.req.method = method;
  feed.join(viewer as unknown as ServerResponse);
  return viewer;
}

beforeEach(() => {
  vi.useFakeTimers();
  [samples, looks] = [0, 0];
  feed = new LiveFeed(
    {
      figures: () => {
        samples += 1;
        return { sample: samples };
      },
      busiest: async () => {
        looks += 1;
        return [];
      },
    },
    STRICT,
  );
});

afterEach(() => {
  feed.stop();
  vi.useRealTimers();
});

const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1000);

describe('the feed of the live page', () => {
  it('a HEAD request gets the headers alone, and is no viewer', async () => {
    const viewers = Array.from({ length: MOST_VIEWERS + 1 }, () => join('HEAD'));
    await pass(2);
    expect(viewers.map(({ status, text }) => [status, text])).toEqual(viewers.map(() => [200, '']));
    expect(samples).toBe(0);
  });

  it('the feed takes no sample before the first page is open', async () => {
    await pass(10);
    expect([samples, looks]).toEqual([0, 0]);
  });

  it('the feed takes one sample a second for all pages together', async () => {
    const viewers = Array.from({ length: 50 }, join);
    await pass(3);
    expect([samples, looks]).toEqual([3, 3]);
    for (const { events, text } of viewers) {
      expect(events).toEqual(['history', 'figures', 'busiest', 'figures', 'busiest', 'figures', 'busiest']);
      expect(text).toContain('data: {"sample":3}');
    }
  });

  it('a new page gets the samples of the last five minutes', async () => {
    join();
    await pass(400);
    const [, history = ''] = /data: (\[.*\])/.exec(join().text) ?? [];
    const seen: { sample: number }[] = JSON.parse(history);
    expect(seen).toHaveLength(300);
    expect(seen.at(-1)).toEqual({ sample: 400 });
  });

  it('the feed samples for five minutes after the last page closes, looks at no client meanwhile, and then rests', async () => {
    const viewer = join();
    await pass(1);
    viewer.end();
    await pass(1000);
    expect([samples, looks]).toEqual([301, 1]);
    // A page does not draw samples from before the rest as if one second had passed since.
    expect(join().text).toContain('data: []');
  });

  it.each([false, true])(
    'a slow browser misses samples, and is disconnected if it misses too many; behind another answer %s',
    async (isQueued) => {
      const [slow, quick] = [join(), join()];
      slow.isQueued = isQueued;
      slow.writableLength = 1 << 20;
      await pass(10);
      expect(slow.events).toEqual(['history']);
      slow.writableLength = 0;
      await pass(1);
      expect(slow.events).toEqual(['history', 'figures', 'busiest']);
      slow.writableLength = 1 << 20;
      await pass(20);
      expect(slow.isDestroyed).toBe(true);
      expect(quick.isDestroyed).toBe(false);
      expect(quick.events.length).toBeGreaterThan(50);
    },
  );

  it('a page gets server-sent events that no cache keeps, each with its name and its data', async () => {
    const viewer = join();
    expect(viewer.headers).toEqual({
      ...BROWSER_HEADERS,
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store',
    });
    expect(viewer.text).toBe('event: history\ndata: []\n\n');
    await pass(2);
    expect(join().text).toBe('event: history\ndata: [{"sample":1},{"sample":2}]\n\n');
    const told = (sample: number) => `event: figures\ndata: {"sample":${sample}}\n\nevent: busiest\ndata: []\n\n`;
    expect(viewer.text).toBe(`event: history\ndata: []\n\n${told(1)}${told(2)}`);
  });

  it.each([
    [512 * 1024 - 1, 3],
    [512 * 1024, 1],
  ])('a browser with %i bytes that it has not read has %i events', async (waiting, events) => {
    const viewer = join();
    viewer.writableLength = waiting;
    await pass(1);
    expect(viewer.events).toHaveLength(events);
  });

  it('a slow browser may miss 30 events, and none more', async () => {
    const viewer = join();
    viewer.writableLength = 1 << 20;
    await pass(15);
    expect(viewer.isDestroyed).toBe(false);
    await pass(1);
    expect(viewer.isDestroyed).toBe(true);
  });

  it('a page that opens after the rest of the feed gets samples again', async () => {
    join().end();
    await pass(1000);
    const before = samples;
    const viewer = join();
    await pass(2);
    expect(samples).toBe(before + 2);
    expect(viewer.events).toEqual(['history', 'figures', 'busiest', 'figures', 'busiest']);
  });

  it('a page that opens before the rest of the feed puts it off', async () => {
    join().end();
    await pass(299);
    join().end();
    await pass(1000);
    expect(samples).toBe(599);
  });

  it('a feed that stops ends its pages, and takes no further sample until a page opens', async () => {
    const viewers = [join(), join()];
    await pass(1);
    feed.stop();
    expect(viewers.map(({ isDestroyed }) => isDestroyed)).toEqual([true, true]);
    expect(vi.getTimerCount()).toBe(0);
    const next = join();
    await pass(1);
    expect(samples).toBe(2);
    expect(next.events).toContain('figures');
  });

  it('the feed serves 64 pages, and refuses the next', () => {
    const viewers = Array.from({ length: MOST_VIEWERS }, join);
    expect(viewers.every(({ status }) => status === 200)).toBe(true);
    expect(join().text).toBe('64 pages are open already; close one, and try again\n');
    expect(join().status).toBe(503);
    viewers[0]?.end();
    expect(join().status).toBe(200);
  });
});

describe('a source that fails or is slow', () => {
  const faults: string[] = [];
  const barrier = new Barrier((what, error) => faults.push(`${what}: ${(error as Error).message}`));
  const fed = (source: Partial<LiveSource>) => {
    faults.length = 0;
    feed = new LiveFeed({ figures: () => ({}), busiest: async () => [], ...source }, barrier);
    return join();
  };
  const broken = () => {
    throw new Error('broken');
  };

  it('a sample that fails is reported, and the next second has another', async () => {
    const figures = vi.fn(() => ({ sample: 2 })).mockImplementationOnce(broken);
    const viewer = fed({ figures });
    await pass(2);
    expect(faults).toEqual(['http: a sample of the live page: broken']);
    expect(viewer.events).toEqual(['history', 'figures', 'busiest']);
  });

  it('a list of clients that fails is reported, and the next second has another', async () => {
    const busiest = vi.fn(async () => []).mockImplementationOnce(async () => broken());
    const viewer = fed({ busiest });
    await pass(2);
    expect(faults).toEqual(['http: the busiest clients: broken']);
    expect(viewer.events).toEqual(['history', 'figures', 'figures', 'busiest']);
  });

  it('a list of clients that takes its time is not asked for again before it is there', async () => {
    const lists: ((clients: object) => void)[] = [];
    const busiest = () => new Promise<object>((resolve) => lists.push(resolve));
    const viewer = fed({ busiest });
    await pass(3);
    expect(lists).toHaveLength(1);
    lists[0]?.([]);
    await pass(1);
    expect(lists).toHaveLength(2);
    expect(viewer.events).toEqual(['history', 'figures', 'figures', 'figures', 'busiest', 'figures']);
    expect(faults).toEqual([]);
  });
});
