import type { Settings } from '../config.js';
import { ConfigError, ListenError, type ListenSetting, type Problem, reasonOf } from '../errors.js';
import type { Face } from '../http/server.js';
import type { DataPlane, ListenerId, Listening, ListenSpec } from '../plane/plane.js';
import type { Endpoint, InheritedSockets, RelayAddress } from './api.js';

/** The listeners of a relay, on sockets of its own or of a service manager; and the face that the HTTP server shows on each. */
export class Listeners {
  /** The plain and the TLS port, for redirects; the well-known ports until a listener is open. */
  readonly ports = { plain: 80, tls: 443 };
  /** The port of the relay's own listener; 0 until it is open. */
  ownPort = 0;
  private readonly faces = new Map<ListenerId, Face>();

  constructor(
    private readonly settings: Settings,
    private readonly sockets: InheritedSockets,
    private readonly plane: Pick<DataPlane, 'listen'>,
  ) {}

  face(id: ListenerId): Face {
    return this.faces.get(id) ?? 'main';
  }

  /** Rejects with a `ListenError` that names the setting, or with a `ConfigError` about a socket that was handed over. */
  async open(): Promise<RelayAddress> {
    const problems = [...unused(this.settings, this.sockets)];
    if (problems.length > 0) throw new ConfigError(problems);
    const { listen, derp, stun, stunPort, httpPort, certMode } = this.settings;
    const { host } = listen;
    const { sockets } = this;
    const tls = certMode !== 'off';
    const kind = tls ? 'tls' : 'tcp';
    const main = await this.listen({ kind, derp, host, port: listen.port, fd: sockets.derp }, 'main', 'listen');
    this.ownPort = main.port;
    if (tls) this.ports.tls = main.port;
    const withHttp = tls && (httpPort >= 0 || sockets.http !== undefined);
    const plain = { kind: 'tcp', derp: false, host, port: httpPort, fd: sockets.http } as const;
    const http = withHttp && (await this.listen(plain, 'redirect', 'httpPort'));
    if (http) this.ports.plain = http.port;
    const asked = { kind: 'stun', derp: false, host, port: stunPort, fd: sockets.stun } as const;
    const stunListener = stun && (await this.listen(asked, 'main', 'stunPort'));
    return {
      derp: { ...endpoint(main), tls },
      ...(http && { http: endpoint(http) }),
      ...(stunListener && { stun: endpoint(stunListener) }),
    };
  }

  private async listen(spec: ListenSpec, face: Face, setting: ListenSetting): Promise<Listening> {
    try {
      const listening = await this.plane.listen(spec);
      this.faces.set(listening.id, face);
      return listening;
    } catch (error) {
      const { message, cause } = error as Error;
      throw listenFault(setting, spec.fd, message, cause);
    }
  }
}

const SOCKET_OF = {
  listen: 'sockets.derp',
  httpPort: 'sockets.http',
  stunPort: 'sockets.stun',
  'metrics.listen': 'sockets.metrics',
} as const;

/** What is said of a listener that could not be opened, on a socket of its own or on one that was handed over. */
export function listenFault(setting: ListenSetting, fd: number | undefined, message: string, cause: unknown): Error {
  if (fd === undefined) return new ListenError(setting, message, { cause });
  return new ConfigError([{ path: SOCKET_OF[setting], message: `descriptor ${fd} ${reasonOf(cause)}` }]);
}

function* unused({ certMode, stun }: Settings, sockets: InheritedSockets): Generator<Problem> {
  if (sockets.http !== undefined && certMode === 'off') {
    const message = 'is not needed without TLS: the socket derp has all of HTTP; take it away, or choose a certMode';
    yield { path: 'sockets.http', message };
  }
  if (sockets.stun !== undefined && !stun) {
    yield { path: 'sockets.stun', message: 'is not needed, because stun is false; take it away, or turn STUN on' };
  }
}

function endpoint({ address, port }: Listening): Endpoint {
  return { address, port };
}
