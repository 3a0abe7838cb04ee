/** Names of hosts, and which of them a certificate is for: by Go's rules, which clients and derper follow. Pure. */
import { isIP } from 'node:net';

/** The host of a `Host` field: without its port, without brackets and without a final dot, in lower case. */
export function hostOfField(field: string): string {
  const [, bracketed, plain = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(field) ?? [undefined, undefined, field];
  return withoutFinalDot(bracketed ?? plain).toLowerCase();
}

/** Absolute names of DNS end with a dot; certificates and the server names of TLS have none. */
export function withoutFinalDot(host: string): string {
  return host.length > 1 && host.endsWith('.') ? host.slice(0, -1) : host;
}

/**
 * Whether a DNS name of a certificate covers `host`, which is no address. A star stands for one whole label, the first
 * one, whatever follows: `*.internal` covers `relay.internal`, which Node and OpenSSL deny.
 */
export function covers(pattern: string, host: string): boolean {
  const name = host.toLowerCase();
  const presented = pattern.toLowerCase();
  if (!isValid(presented, true) || !isValid(name, false)) return presented !== '' && presented === name;
  const [first, ...rest] = presented.split('.');
  const [asked, ...others] = withoutFinalDot(name).split('.');
  return (first === '*' || first === asked) && rest.join('.') === others.join('.');
}

/** Whether a list of DNS names and addresses, such as a certificate's, covers a name or an address. */
export function isAmong(names: readonly string[], host: string): boolean {
  if (isIP(host) !== 0) return names.some((name) => isIP(name) !== 0 && isSameAddress(name, host));
  return names.some((name) => isIP(name) === 0 && covers(name, host));
}

/** The names and addresses of a certificate, from Node's text of them, in which a name that is odd is quoted: no host's. */
export function namesIn(subjectAltName: string | undefined): string[] {
  return [...(subjectAltName ?? '').matchAll(/(?:^|, )(?:DNS|IP Address):([^",]+)(?=,|$)/g)].map(
    ([, name]) => name as string,
  );
}

function isSameAddress(a: string, b: string): boolean {
  return canonical(a) === canonical(b);
}

/** One spelling for each address, which for IPv6 is that of URLs. */
function canonical(address: string): string {
  return isIP(address) === 6 ? new URL(`http://[${address}]`).hostname : address;
}

/** Go's `validHostname`: labels of letters, digits, hyphens and underscores, as certificates in the wild have them. */
function isValid(text: string, isPattern: boolean): boolean {
  const labels = (isPattern ? text : withoutFinalDot(text)).split('.');
  const isWild = isPattern && labels.length > 1 && labels[0] === '*';
  return labels.slice(isWild ? 1 : 0).every((label) => /^[a-z0-9_][a-z0-9_-]*$/.test(label));
}
