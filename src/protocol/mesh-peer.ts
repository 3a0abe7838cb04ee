/** Relays of a mesh, as settings and files name them. Pure. */
import { isHostname, withoutFinalDot } from './host-name.js';
import { bracketed, parseAddress } from './host-port.js';

/** A relay of the mesh, as a setting names it. */
export interface MeshPeer {
  /** The name that its certificate must cover, without a final dot; an address has no brackets. */
  readonly host: string;
  /** The Host header: with brackets, and with the port unless that is 443. */
  readonly authority: string;
  readonly port: number;
  /** The host to resolve and to connect to, at `port`. */
  readonly dialHost: string;
}

/** Reads `host` or `host:port`, optionally followed by `/dialhost`. */
export function parseMeshPeer(text: string): MeshPeer | undefined {
  const [given = '', dialled, ...more] = text.split('/');
  if (more.length > 0) return undefined;
  const withPort = /^(?:\[[^\]]*\]|[^:[\]]*):\d+$/.test(given);
  const address = parseAddress(withPort ? given : `${given}:443`);
  const named = address && bare(address.host);
  const dialHost = dialled === undefined ? named : bare(dialled);
  if (!named || !dialHost || !address.port || named.includes(':') !== given.startsWith('[')) return undefined;
  return meshPeer(named, address.port, dialHost);
}

/** A relay whose certificate is for `name`, at a port of `dialHost`. */
export function meshPeer(name: string, port: number, dialHost: string): MeshPeer {
  const host = withoutFinalDot(name);
  return { host, authority: port === 443 ? bracketed(host) : `${bracketed(host)}:${port}`, port, dialHost };
}

/** The host without the brackets of an IPv6 address; `undefined` if it is not a host. */
function bare(text: string): string | undefined {
  const host = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  return isHostname(host) ? host : undefined;
}
