import { once } from 'node:events';
import { closeSync, openSync } from 'node:fs';
import { type AddressInfo, connect, type Server, Socket } from 'node:net';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Barrier } from '../../../src/faults/barrier.js';
import { MetricsListener } from '../../../src/http/metrics-listener.js';
import type { HttpServer } from '../../../src/http/server.js';
import { METRICS_LISTENER } from '../../../src/http/visitors.js';
import { STRICT } from '../../helpers/strict-barrier.js';
import { eventually } from '../../helpers/wait.js';
import { closed, received } from './harness.js';
import { metricsServer } from './metrics-server.js';

const ANYWHERE = { host: '127.0.0.1', port: 0 };
const REQUEST = 'GET /healthz HTTP/1.1\r\nHost: relay.test\r\nConnection: close\r\n\r\n';

type Accepted = Parameters<HttpServer['accept']>;

async function open(http: Pick<HttpServer, 'accept'>, barrier = STRICT): Promise<[MetricsListener, AddressInfo]> {
  const listener = new MetricsListener(http, barrier);
  onTestFinished(() => listener.close());
  return [listener, await listener.open(ANYWHERE)];
}

/** A server that only notes the connections that it is given. */
function noting(): { accepted: Accepted[]; http: Pick<HttpServer, 'accept'> } {
  const accepted: Accepted[] = [];
  return { accepted, http: { accept: (...given) => void accepted.push(given) } };
}

/** A barrier whose faults are noted. */
function noted(): { faults: string[]; barrier: Barrier } {
  const faults: string[] = [];
  return { faults, barrier: new Barrier((what, error) => faults.push(`${what}: ${(error as Error).message}`)) };
}

/** The listener's own server: nothing else makes it fail once it listens, but a system without descriptors. */
const serverOf = (listener: MetricsListener) => (listener as unknown as { readonly server: Server }).server;

describe('the metrics listener', () => {
  it('the listener tells where it listens, and passes connections on to the HTTP server', async () => {
    const http = metricsServer();
    onTestFinished(() => http.close());
    const [, { address, port }] = await open(http);
    expect(address).toBe('127.0.0.1');
    const socket = connect(port, '127.0.0.1');
    // Also if the client ends its side at once.
    socket.end(REQUEST);
    expect(await received(socket)).toMatch(/^HTTP\/1\.1 200 OK\r\n[\s\S]*\r\n\r\nalive\n$/);
  });

  it('a connection comes with the address of its client, and is one of the metrics listener', async () => {
    const { accepted, http } = noting();
    const [, { port }] = await open(http);
    const client = connect(port, '127.0.0.1');
    await once(client, 'connect');
    await eventually(() => accepted.length === 1, 'the connection');
    const [[, socket, face, info]] = accepted as [Accepted];
    expect(face).toBe('main');
    const peer = { address: '127.0.0.1', port: client.localPort };
    expect(info).toEqual({ listener: METRICS_LISTENER, peer, tlsVersion: null });
    expect(METRICS_LISTENER).toBe(-1);
    // Without the HTTP server, which listens for errors of connections that it reads.
    socket.emit('error', new Error('reset'));
    expect(socket.destroyed).toBe(true);
    await closed(client);
  });

  it('a connection whose client has left already has no address', async () => {
    const { accepted, http } = noting();
    const [listener] = await open(http);
    serverOf(listener).emit('connection', new Socket());
    expect(accepted[0]?.[3]).toMatchObject({ peer: { address: '', port: 0 } });
  });

  it('a connection that cannot be accepted is a fault of the listener, which goes on', async () => {
    const { faults, barrier } = noted();
    const accept = () => {
      throw new Error('broken');
    };
    const [listener] = await open({ accept }, barrier);
    serverOf(listener).emit('connection', new Socket());
    expect(faults).toEqual(['the metrics listener: connection: broken']);
    expect(serverOf(listener).listening).toBe(true);
  });

  it('an error of the system while it listens is a fault of the listener, which goes on', async () => {
    const { faults, barrier } = noted();
    const [listener] = await open(noting().http, barrier);
    serverOf(listener).emit('error', new Error('accept EMFILE'));
    expect(faults).toEqual(['the metrics listener: error: accept EMFILE']);
    expect(serverOf(listener).listening).toBe(true);
  });

  it('a closed listener takes no further connection', async () => {
    const [listener, { port }] = await open(noting().http);
    listener.close();
    const refused = connect(port, '127.0.0.1');
    const error = await new Promise<Error>((resolve) => refused.once('error', resolve));
    expect(error).toMatchObject({ code: 'ECONNREFUSED' });
  });

  it('a port that is taken is refused with the error of the system', async () => {
    const [, { port }] = await open(noting().http);
    const second = new MetricsListener(noting().http, STRICT);
    await expect(second.open({ host: '127.0.0.1', port })).rejects.toMatchObject({ code: 'EADDRINUSE' });
  });

  it('a descriptor that is no socket is refused in the words of all listeners', async () => {
    const fd = openSync(new URL(import.meta.url), 'r');
    onTestFinished(() => closeSync(fd));
    const error = await new MetricsListener(noting().http, STRICT).open({ fd }).catch((reason: Error) => reason);
    expect(error).toMatchObject({ message: 'is no TCP socket that listens', cause: { code: 'EINVAL' } });
  });
});
