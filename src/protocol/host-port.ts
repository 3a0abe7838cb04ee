/** Hosts with ports, as text. Pure. */
import { isIP } from 'node:net';

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Reads `host:port` as Go's net package does, with the service names `http` and `https`. */
export function parseAddress(text: string): Address | undefined {
  const [, bracketed, plain, service] = /^(?:\[([^\]]*)\]|([^:[\]]*)):([^:]*)$/.exec(text) ?? [];
  if (service === undefined) return undefined;
  const host = bracketed ?? plain ?? '';
  if (bracketed !== undefined && bracketed !== '' && isIP(bracketed) === 0) return undefined;
  const number = service === 'https' ? 443 : service === 'http' ? 80 : /^\d{0,5}$/.test(service) ? Number(service) : -1;
  return number >= 0 && number <= 65535 ? { host, port: number } : undefined;
}

/** The host and port as one text: an IPv6 address gets brackets. */
export function formatAddress({ host, port }: Address): string {
  return `${bracketed(host)}:${port}`;
}

/** The host as a URL has it: an IPv6 address in brackets. */
export function bracketed(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}
