/**
 * Connections to NATS by the library of its authors. Only a relay with `nats.servers` loads this file. The library's own
 * reconnects are off: `connection.ts` connects again, because it paces what follows.
 */
import { readFile } from 'node:fs/promises';
import { checkServerIdentity } from 'node:tls';
import {
  type ConnectionOptions,
  credsAuthenticator,
  errors,
  type Msg,
  type NatsConnection,
  NatsConnectionImpl,
  type Subscription,
  setTransportFactory,
} from '@nats-io/transport-node';
import { NodeTransport, nodeResolveHost } from '@nats-io/transport-node/lib/node_transport.js';
import { reasonOf } from '../../errors.js';
import type { Barrier } from '../../faults/barrier.js';
import { formatAddress } from '../../protocol/host-port.js';
import type { NatsServer } from '../../protocol/nats-server.js';
import type { Link, LinkListener, LinkMessage, LinkSubscription } from './link.js';

export interface LinkOptions {
  readonly server: NatsServer;
  readonly credsFile: string | undefined;
  readonly caFile: string | undefined;
  /** What the server's lists call this connection. */
  readonly name: string;
  readonly barrier: Barrier;
}

/** Milliseconds for name lookup, TCP, TLS and login together. */
const CONNECT = 5_000;
/** The library's own pings; those of the directory notice a dead server long before. */
const PING_INTERVAL = 60_000;

/** The messages that a relay needs, in bytes: no configuration has a reason to permit less. */
const LEAST_PAYLOAD = 8_192;

/** Sees the transport of a dial, because the library leaves the socket of a dial open that takes too long. */
interface Dial extends ConnectionOptions {
  onTransport?(transport: NodeTransport): void;
  /** The host that the certificate has to be for. */
  certificateHost?: string;
}

class SeenTransport extends NodeTransport {
  override connect(...[server, options]: Parameters<NodeTransport['connect']>): Promise<void> {
    (options as Dial).onTransport?.(this);
    return super.connect(server, options);
  }

  /** The library names no host where it is an address, and Node would take a certificate for localhost then. */
  override startTLS(): ReturnType<NodeTransport['startTLS']> {
    const { certificateHost = '', tls } = this.options as Dial;
    const isFor: typeof checkServerIdentity = (_host, certificate) => checkServerIdentity(certificateHost, certificate);
    this.options = { ...this.options, tls: { ...tls, checkServerIdentity: isFor } as Dial['tls'] & object };
    return super.startTLS();
  }
}

/** Connects to one server. Rejects with an Error whose message has no secret. */
export async function connectNats(options: LinkOptions): Promise<Link> {
  const { server, credsFile, caFile, name } = options;
  const { user, password, token } = server;
  const transports: NodeTransport[] = [];
  const dial: Dial = {
    servers: formatAddress(server),
    name,
    ...(user !== undefined && { user, pass: password ?? '' }),
    ...(token !== undefined && { token }),
    ...(credsFile !== undefined && { authenticator: credsAuthenticator(await textOf(credsFile, 'nats.credsFile')) }),
    ...(caFile !== undefined && { tls: { ca: (await textOf(caFile, 'nats.tls.caFile')).toString() } }),
    ...(caFile === undefined && server.tls && { tls: {} }),
    ...{ reconnect: false, noEcho: true, ignoreClusterUpdates: true, noAsyncTraces: true },
    ...{ timeout: CONNECT, pingInterval: PING_INTERVAL },
    onTransport: (transport) => void transports.push(transport),
    certificateHost: server.host,
  };
  // For all connections of the process: a program that embeds the relay may have set its own.
  setTransportFactory({ factory: () => new SeenTransport(), dnsResolveFn: nodeResolveHost });
  try {
    const connection = await NatsConnectionImpl.connect(dial);
    const most = connection.info?.max_payload ?? 0;
    if (most < LEAST_PAYLOAD) {
      await connection.close();
      throw new Error(`the server permits messages of ${most} bytes only (max_payload)`);
    }
    return new NatsLink(connection, formatAddress(server), options.barrier);
  } catch (error) {
    for (const transport of transports) transport.discard();
    throw new Error(reasonIn(error), { cause: error });
  }
}

class NatsLink implements Link {
  readonly version: string;
  readonly ownAddress: string;
  readonly ended: Promise<string>;
  private reason: string | undefined;

  constructor(
    private readonly connection: NatsConnection,
    readonly server: string,
    private readonly barrier: Barrier,
  ) {
    const { version = '', client_ip: ownAddress = '' } = connection.info ?? {};
    this.version = version;
    this.ownAddress = ownAddress;
    this.ended = connection
      .closed()
      .then((error) => this.reason ?? (error ? reasonIn(error) : 'the server has ended it'));
    void barrier.settle('the state of NATS', this.watch());
  }

  publish(subject: string, data: Uint8Array, reply?: string): void {
    if (!this.connection.isClosed()) this.connection.publish(subject, data, reply === undefined ? {} : { reply });
  }

  subscribe(subject: string, listener: LinkListener): LinkSubscription {
    if (this.connection.isClosed()) return NONE;
    const { barrier } = this;
    return slim(
      this.connection.subscribe(subject, {
        callback: (error, message) => {
          // An error is the end of the subscription, and what `watch` hears of ends the connection.
          if (!error) barrier.run('a message of NATS', () => listener.onMessage(read(message)));
        },
      }),
    );
  }

  async flush(): Promise<void> {
    await this.connection.flush();
    // What the server has refused comes before its answer, and by a longer way.
    await new Promise((resolve) => setImmediate(resolve));
    if (this.reason !== undefined) throw new Error(this.reason);
  }

  end(reason: string): void {
    this.reason ??= reason;
    // Without waiting for what is still to be sent: a server that stands still takes none of it.
    void this.barrier.settle('the end of NATS', this.connection.close());
  }

  /** What the server refuses makes the connection useless. */
  private async watch(): Promise<void> {
    for await (const status of this.connection.status()) {
      if (status.type === 'error') this.end(reasonIn(status.error));
    }
  }
}

/** A subscription of a connection that has ended. */
const NONE: LinkSubscription = { unsubscribe: () => {} };
const IDLE = Object.assign(Promise.resolve(), { resolve: () => {}, reject: () => {} });

/**
 * Takes from a subscription what belongs to its use as an iterator, which is two thirds of its 1.2 kB. There is one for each
 * client. A test measures it, because these fields are the library's own affair.
 */
function slim(subscription: Subscription): Subscription {
  return Object.assign(subscription, { closed: IDLE, iterClosed: IDLE, signal: IDLE, yields: undefined });
}

function read(message: Msg): LinkMessage {
  const { data, subject } = message;
  const isNoResponders = data.length === 0 && message.headers?.code === 503;
  return { data, subject, reply: message.reply ?? '', isNoResponders };
}

async function textOf(path: string, setting: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new Error(`${setting}: ${path}: ${reasonOf(error)}`, { cause: error });
  }
}

/** Why, in words. The library's messages name subjects and options, and never a user, a password or a token. */
function reasonIn(error: unknown): string {
  if (error instanceof errors.AuthorizationError) return 'the server refuses the user, the token or the credentials';
  if (error instanceof errors.UserAuthenticationExpiredError) return 'the credentials have expired';
  if (error instanceof errors.PermissionViolationError) {
    // Without what is random in an inbox, so that a reason that repeats is one.
    const subject = error.subject.replace(/\.inbox\..*/, '.inbox.>');
    return `the server does not permit this user the ${error.operation} of ${subject}, which is of the region of mesh.region`;
  }
  if (error instanceof errors.TimeoutError) return 'the server does not answer in time';
  const { cause } = (error ?? {}) as Error;
  return reasonOf(cause instanceof Error ? cause : error);
}
