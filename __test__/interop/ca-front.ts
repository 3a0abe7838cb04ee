/** A server in front of pebble, which answers some requests itself: what a certificate authority may say and pebble never does. */
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer, request, type Server } from 'node:https';
import type { AddressInfo } from 'node:net';
import { onTestFinished } from 'vitest';
import { pemPair } from '../helpers/relay.js';
import type { Pebble } from './pebble.ts';

export interface FrontAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body: object;
}

/** Decides about a request for an order: an answer, or none where pebble is to answer. */
export type AboutOrders = () => FrontAnswer | undefined;

export class CaFront {
  /** When orders were asked for, in milliseconds since the epoch. */
  readonly orders: number[] = [];
  aboutOrders: AboutOrders = () => undefined;

  private constructor(
    private readonly server: Server,
    /** The certificate that it is trusted by. */
    readonly certificate: string,
  ) {}

  /** Ends with the test. */
  static async start(pebble: Pebble): Promise<CaFront> {
    const { chain, key } = pemPair(['localhost', '127.0.0.1']);
    const server = createServer({ cert: chain, key });
    const front = new CaFront(server, chain);
    const behind = new URL(pebble.directory);
    const ca = readFileSync(pebble.caFile);
    server.on('request', (asked, response) => {
      const parts: Buffer[] = [];
      asked.on('data', (part: Buffer) => parts.push(part));
      asked.on('end', () => {
        if (/order-plz/.test(asked.url ?? '')) {
          front.orders.push(Date.now());
          const own = front.aboutOrders();
          if (own) {
            const type = { 'Content-Type': 'application/problem+json' };
            response.writeHead(own.status, { ...type, ...own.headers }).end(JSON.stringify(own.body));
            return;
          }
        }
        // With the host that was asked for: pebble's URLs, and what requests are signed for, lead here.
        const { method, url, headers } = asked;
        const options = { host: behind.hostname, port: behind.port, method, path: url, headers, ca, agent: false };
        const onward = request(options, (answer) => {
          response.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(response);
        });
        onward.on('error', () => response.destroy());
        onward.end(Buffer.concat(parts));
      });
    });
    await once(server.listen(0, '127.0.0.1'), 'listening');
    onTestFinished(() => {
      server.closeAllConnections();
      server.close();
    });
    return front;
  }

  get directory(): string {
    return `https://127.0.0.1:${(this.server.address() as AddressInfo).port}/dir`;
  }
}
