/** Servers of NATS, as a setting names them. Pure. */
import { isHostname } from './host-name.js';

/** A server of NATS. Password and token must never be shown. */
export interface NatsServer {
  readonly host: string;
  readonly port: number;
  /** Whether the connection has to be encrypted; otherwise it is if the server can. */
  readonly tls: boolean;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly token: string | undefined;
}

const PORT = 4222;
const LONGEST = 1024;

/**
 * Reads `host`, `host:port`, or a URL `nats://` or `tls://`, with `user:password@` or `token@` before the host. A name may
 * contain any character as `%` and two hex digits.
 */
export function parseNatsServer(text: string): NatsServer | undefined {
  if (text.length > LONGEST || /[\s\p{Cc}]/u.test(text)) return undefined;
  const [, scheme = 'nats', name, host, port] =
    /^(?:(nats|tls):\/\/)?(?:([^/?#@]*)@)?(\[[^\]]*\]|[^:/?#@[\]]*)(?::(\d{1,5}))?\/?$/.exec(text) ?? [];
  const bare = host?.replace(/^\[(.*)\]$/, '$1');
  const number = port === undefined ? PORT : Number(port);
  if (!bare || !isHostname(bare) || host?.includes(':') !== host?.startsWith('[')) return undefined;
  if (number < 1 || number > 65535) return undefined;
  const credentials = name === undefined ? {} : credentialsIn(name);
  const none = { user: undefined, password: undefined, token: undefined };
  return credentials && { host: bare, port: number, tls: scheme === 'tls', ...none, ...credentials };
}

function credentialsIn(name: string): Pick<NatsServer, 'user' | 'password'> | Pick<NatsServer, 'token'> | undefined {
  try {
    const [first = '', ...rest] = name.split(':');
    if (first === '') return undefined;
    if (rest.length === 0) return { token: decodeURIComponent(first) };
    return { user: decodeURIComponent(first), password: decodeURIComponent(rest.join(':')) };
  } catch {
    // A `%` without two hex digits.
    return undefined;
  }
}
