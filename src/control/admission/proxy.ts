/** Selects the proxy of a request from environment variables, as Go does. Pure. */
import { isIP } from 'node:net';
import { addressBytes } from '../../protocol/frame.js';

/** What a proxy may speak. */
const KINDS = /^(?:https?|socks5h?):$/i;

export type ProxyVariables = Readonly<Record<string, string | undefined>>;

/**
 * The proxy for a URL; `undefined` for none. Throws if a variable does not name a proxy, without repeating its value,
 * which may contain a password.
 */
export function proxyFor(url: URL, env: ProxyVariables): URL | undefined {
  const tls = url.protocol === 'https:';
  const name = tls ? 'HTTPS_PROXY' : 'HTTP_PROXY';
  const value = variable(name, env);
  if (value === '' || !isProxied(url, variable('NO_PROXY', env))) return undefined;
  // In a CGI program, the sender of the request sets HTTP_PROXY; it must not count.
  if (!tls && env.REQUEST_METHOD) throw new Error('HTTP_PROXY is not used where REQUEST_METHOD is set');
  const [, scheme = ''] = /^([a-z][a-z\d+.-]*):\/\//i.exec(value) ?? [];
  if (scheme !== '' && !KINDS.test(`${scheme}:`)) {
    throw new Error(`${name} names a proxy that speaks ${scheme}; it has to be http, https, socks5 or socks5h`);
  }
  // As in Go, a text that is not a URL counts as unset.
  return parse(value);
}

function variable(name: string, env: ProxyVariables): string {
  return env[name] || env[name.toLowerCase()] || '';
}

/** A bare `host:port` means an HTTP proxy. */
function parse(text: string): URL | undefined {
  for (const candidate of [text, `http://${text}`]) {
    const url = URL.canParse(candidate) ? new URL(candidate) : undefined;
    if (url && KINDS.test(url.protocol) && url.hostname) return url;
  }
  return undefined;
}

function isProxied(url: URL, noProxy: string): boolean {
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = url.port || (url.protocol === 'https:' ? '443' : '80');
  if (host === 'localhost' || isLoopback(host)) return false;
  return !noProxy
    .split(',')
    .map((entry) => entry.trim().toLowerCase())
    .some((entry) => entry === '*' || covers(entry, host, port));
}

function isLoopback(host: string): boolean {
  return host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

/**
 * Whether an entry covers a host. An entry is a network, an address or a name; the latter two may have a port. A name
 * covers its subdomains, too.
 */
function covers(entry: string, host: string, port: string): boolean {
  const [, network = '', bits = ''] = /^([^/]+)\/(\d+)$/.exec(entry) ?? [];
  const family = isIP(network);
  if (family !== 0 && Number(bits) <= (family === 4 ? 32 : 128)) return inNetwork(host, network, Number(bits));
  // As in Go, an address in brackets has a port behind them.
  const [, bracketed, plain, wanted] = /^(?:\[([^\]]*)\](?=:)|([^:]*))(?::(\d*))?$/.exec(entry) ?? [];
  const name = bracketed ?? (isIP(entry) === 6 ? entry : plain);
  if (!name || (wanted && wanted !== port)) return false;
  const address = addressBytes(name);
  if (address) return addressBytes(host)?.equals(address) ?? false;
  // A name entry never covers an IP address, however that ends.
  if (isIP(host) !== 0) return false;
  const below = name.replace(/^\*\./, '.');
  return below.startsWith('.') ? host.endsWith(below) : host === below || host.endsWith(`.${below}`);
}

/** The bits in front of an IPv4 address that is written as an IPv6 address, `::ffff:192.0.2.1`. */
const MAPPED = 96;

/** As in Go, an IPv4 address is itself in either spelling, and in no network of IPv6 addresses, however large. */
function inNetwork(host: string, network: string, bits: number): boolean {
  const [address, base] = [addressBytes(host), addressBytes(network)];
  if (!address || !base) return false;
  const length = isIP(network) === 4 ? bits + MAPPED : bits;
  if (isMapped(address) && length < MAPPED) return false;
  return haveOneStart(address, base, length);
}

function isMapped(address: Buffer): boolean {
  return address.readBigUInt64BE() === 0n && address.readUInt32BE(8) === 0xffff;
}

function haveOneStart(one: Buffer, other: Buffer, bits: number): boolean {
  const whole = bits >> 3;
  if (!one.subarray(0, whole).equals(other.subarray(0, whole))) return false;
  const rest = bits & 7;
  return ((one[whole] as number) ^ (other[whole] as number)) >> (8 - rest) === 0;
}
