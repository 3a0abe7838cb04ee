import type { ServerResponse } from 'node:http';
import type { Barrier } from '../faults/barrier.js';
import { BROWSER_HEADERS, hangUp, sendError } from './responses.js';

/** Pages that are fed at once. */
export const MOST_VIEWERS = 64;
/** Milliseconds between samples. */
const INTERVAL = 1000;
/** Samples that a page begins with: five minutes. */
const HISTORY = 300;
/** Without a viewer, sampling goes on for this many samples, so that a page that is reloaded keeps its past. */
const AFTERGLOW = 300;
/** Bytes that may wait for a slow browser; it misses the samples beyond them. */
const MOST_WAITING = 512 * 1024;
/** Samples that a browser may miss one after the other before its connection ends. */
const MOST_MISSED = 30;

/** What is drawn, and what is listed. */
export interface LiveSource {
  /** Figures of this moment, as the page draws them; the page keeps {@link HISTORY} of them. */
  figures(): object;
  /** The busiest clients since the last call. */
  busiest(): Promise<object>;
}

interface Viewer {
  readonly response: ServerResponse;
  missed: number;
}

/** Feeds the live pages: one sample a second, taken once for all of them, and none where there is no page. */
export class LiveFeed {
  private readonly viewers = new Set<Viewer>();
  private readonly history: string[] = [];
  private timer: NodeJS.Timeout | undefined;
  private idle = 0;
  private isLooking = false;

  constructor(
    private readonly source: LiveSource,
    private readonly barrier: Barrier,
  ) {}

  /** Answers with server-sent events, until the page goes. */
  join(response: ServerResponse): void {
    if (this.viewers.size >= MOST_VIEWERS) {
      sendError(response, 503, `${MOST_VIEWERS} pages are open already; close one, and try again`);
      return;
    }
    response.writeHead(200, {
      ...BROWSER_HEADERS,
      'Content-Type': 'text/event-stream',
      'Cache-Control': 'no-store',
    });
    if (response.req.method === 'HEAD') {
      response.end();
      return;
    }
    const viewer = { response, missed: 0 };
    this.viewers.add(viewer);
    response.once('close', () => this.viewers.delete(viewer));
    response.write(`event: history\ndata: [${this.history.join(',')}]\n\n`);
    this.start();
  }

  stop(): void {
    clearInterval(this.timer);
    this.timer = undefined;
    for (const { response } of this.viewers) hangUp(response);
  }

  private start(): void {
    this.idle = 0;
    if (this.timer) return;
    const sample = this.barrier.guard(
      'http: a sample of the live page',
      () => this.sample(),
      () => {},
    );
    this.timer = setInterval(sample, INTERVAL).unref();
  }

  private sample(): void {
    this.idle = this.viewers.size > 0 ? 0 : this.idle + 1;
    if (this.idle > AFTERGLOW) {
      clearInterval(this.timer);
      this.timer = undefined;
      // Behind a pause it would be drawn as if nothing had been between.
      this.history.length = 0;
      return;
    }
    const figures = JSON.stringify(this.source.figures());
    this.history.push(figures);
    if (this.history.length > HISTORY) this.history.shift();
    if (this.viewers.size === 0) return;
    this.tell('figures', figures);
    void this.barrier.settle('http: the busiest clients', this.look(), () => {});
  }

  /** The list takes as long as it takes where there are many clients: the next second then goes without one. */
  private async look(): Promise<void> {
    if (this.isLooking) return;
    this.isLooking = true;
    try {
      this.tell('busiest', JSON.stringify(await this.source.busiest()));
    } finally {
      this.isLooking = false;
    }
  }

  private tell(event: string, data: string): void {
    const text = `event: ${event}\ndata: ${data}\n\n`;
    for (const viewer of this.viewers) {
      const { response } = viewer;
      if (response.writableLength < MOST_WAITING) {
        viewer.missed = 0;
        response.write(text);
      } else {
        viewer.missed += 1;
        if (viewer.missed > MOST_MISSED) hangUp(response);
      }
    }
  }
}
