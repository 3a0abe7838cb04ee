import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { LiveFeed, MOST_VIEWERS } from '../../../src/http/live-feed.js';
import { STRICT } from '../../helpers/strict-barrier.js';

/** A browser that reads what it gets, or leaves it unread. */
class Viewer extends EventEmitter {
  status = 0;
  text = '';
  writableLength = 0;
  isDestroyed = false;
  /** Behind another answer of its connection: Node destroys it only when its turn comes. */
  isQueued = false;
  readonly req = { method: 'GET', socket: { destroy: () => this.close() } };

  writeHead(status: number): this {
    this.status = status;
    return this;
  }

  write(text: string): void {
    this.text += text;
  }

  end(): void {
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

  it('the feed serves 64 pages, and refuses the next', () => {
    const viewers = Array.from({ length: MOST_VIEWERS }, join);
    expect(viewers.every(({ status }) => status === 200)).toBe(true);
    expect(join().status).toBe(503);
    viewers[0]?.end();
    expect(join().status).toBe(200);
  });
});
