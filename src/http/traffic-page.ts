import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { setTimeout } from 'node:timers/promises';
import type { ClientsSource } from './clients-page.js';
import { DEBUG_HEADERS, sendError, TEXT } from './responses.js';

/** Milliseconds between two looks at the clients. */
const INTERVAL = 2000;
/** Streams at once: each looks at every client. */
const MOST_STREAMS = 4;

let streams = 0;

/**
 * `/debug/traffic`: every two seconds a line of JSON for each client that has sent or got packets since the last look, with all
 * bytes since it connected, and an empty line behind them. It goes on until the client of the page leaves.
 */
export async function sendTraffic(response: ServerResponse, source: ClientsSource): Promise<void> {
  if (streams >= MOST_STREAMS) {
    sendError(
      response,
      503,
      `${MOST_STREAMS} streams of traffic are open already; close one, and try again`,
      DEBUG_HEADERS,
    );
    return;
  }
  const left = new AbortController();
  response.once('close', () => left.abort());
  response.writeHead(200, { ...DEBUG_HEADERS, 'Content-Type': TEXT });
  if (response.req.method === 'HEAD') {
    response.end();
    return;
  }
  streams += 1;
  try {
    await stream(response, source, left.signal);
  } finally {
    streams -= 1;
  }
}

async function stream(response: ServerResponse, source: ClientsSource, left: AbortSignal): Promise<void> {
  let before = new Map<number, number>();
  while (!left.aborted) {
    const now = new Map<number, number>();
    for await (const piece of source.clients()) {
      if (left.aborted) return;
      for (const { id, key, sent, received, active, senders } of piece) {
        const all = sent.bytes + received.bytes;
        now.set(id, all);
        if (!active || all <= (before.get(id) ?? 0)) continue;
        const line = {
          Sent: sent.bytes,
          Recv: received.bytes,
          Key: key,
          ...(senders && { UniqueSenders: senders }),
        };
        response.write(`${JSON.stringify(line)}\n`);
      }
      // A reader that is slow holds up its own stream alone.
      if (response.writableNeedDrain) await once(response, 'drain', { signal: left }).catch(() => undefined);
    }
    before = now;
    response.write('\n');
    await setTimeout(INTERVAL, undefined, { signal: left }).catch(() => undefined);
  }
}
