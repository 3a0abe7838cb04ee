/** The TCP listener for metrics. It does not pass through the plane, whose health it tells of. */
import { once } from 'node:events';
import { type AddressInfo, createServer, type ListenOptions, type Server, type Socket } from 'node:net';
import type { Barrier } from '../faults/barrier.js';
import { unfit, unmapped } from '../plane/address.js';
import type { HttpServer } from './server.js';
import { METRICS_LISTENER } from './visitors.js';

const WHAT = 'the metrics listener';

export class MetricsListener {
  private readonly server: Server;

  constructor(
    private readonly http: Pick<HttpServer, 'accept'>,
    private readonly barrier: Barrier,
  ) {
    this.server = createServer({ allowHalfOpen: true, noDelay: true });
    barrier.on(this.server, WHAT, { connection: (socket: Socket) => this.accept(socket) });
  }

  /** Opens it on an address, or on a socket that is open already. Rejects with the system's error. */
  async open({ fd, ...address }: ListenOptions & { readonly fd?: number | undefined }): Promise<AddressInfo> {
    const { server } = this;
    try {
      // `exclusive`: in a cluster, each process has a listener of its own.
      server.listen(fd === undefined ? { ...address, exclusive: true } : { fd });
      await once(server, 'listening');
    } catch (error) {
      throw fd === undefined ? error : unfit('is no TCP socket that listens', error);
    }
    // The system may refuse connections later: it has no more descriptors, for instance.
    const error = (error: Error) => {
      throw error;
    };
    this.barrier.on(server, WHAT, { error });
    const bound = server.address();
    // Of an inherited socket of Unix, Node knows no address.
    if (bound === null || typeof bound === 'string') throw unfit('is no TCP socket that listens', undefined);
    return bound;
  }

  close(): void {
    this.server.close();
  }

  private accept(socket: Socket): void {
    socket.on('error', () => socket.destroy());
    const { remoteAddress = '', remotePort = 0 } = socket;
    const peer = { address: unmapped(remoteAddress), port: remotePort };
    // Nothing here becomes DERP, so that no connection needs a number of its own.
    this.http.accept(0, socket, 'main', { listener: METRICS_LISTENER, peer, tlsVersion: null });
  }
}
