/** Host names, and which of them a certificate covers. Both follow Go's rules, because clients and derper do. Pure. */
import { isIP } from 'node:net';

/** The host of a `Host` field: without its port, without brackets and without a final dot, in lower case. */
export function hostOfField(field: string): string {
  const [, bracketed, plain = ''] = /^(?:\[([^\]]*)\]|([^:]*))(?::\d*)?$/.exec(field) ?? [undefined, undefined, field];
  return withoutFinalDot(bracketed ?? plain).toLowerCase();
}

/** Whether a text is a host name or an IP address, without brackets and without a zone. */
export function isHostname(text: string): boolean {
  if (isIP(text) !== 0) return !text.includes('%');
  return text.length <= 253 && /^(?!-)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?$/.test(text);
}

/** The name without the final dot of an absolute DNS name: certificates and TLS server names have none. */
export function withoutFinalDot(host: string): string {
  return host.length > 1 && host.endsWith('.') ? host.slice(0, -1) : host;
}

/**
 * Whether a DNS name of a certificate covers `host`, which is not an IP address. A star stands for the whole first
 * label, whatever follows: `*.internal` covers `relay.internal`, although Node and OpenSSL deny it.
 */
export function covers(pattern: string, host: string): boolean {
  const name = host.toLowerCase();
  const presented = pattern.toLowerCase();
  if (!isValid(presented, true) || !isValid(name, false)) return presented !== '' && presented === name;
  const [first, ...rest] = presented.split('.');
  const [asked, ...others] = withoutFinalDot(name).split('.');
  return (first === '*' || first === asked) && rest.join('.') === others.join('.');
}

/** Whether a list of DNS names and IP addresses, such as a certificate's, covers a host. */
export function isAmong(names: readonly string[], host: string): boolean {
  if (isIP(host) !== 0) return names.some((name) => isIP(name) !== 0 && isSameAddress(name, host));
  return names.some((name) => isIP(name) === 0 && covers(name, host));
}

/**
 * The names and addresses of a certificate, from Node's text of its alternative names. Node quotes a name with odd
 * characters; no host has such a name, so this skips it.
 */
export function namesIn(subjectAltName: string | undefined): string[] {
  return [...(subjectAltName ?? '').matchAll(/(?:^|, )(?:DNS|IP Address):([^",]+)(?=,|$)/g)].map(
    ([, name]) => name as string,
  );
}

function isSameAddress(a: string, b: string): boolean {
  return canonical(a) === canonical(b);
}

/** The one spelling that compares equal for an address; for IPv6, the spelling of URLs. */
function canonical(address: string): string {
  return isIP(address) === 6 ? new URL(`http://[${address}]`).hostname : address;
}

/**
 * Go's `validHostname`: labels of letters, digits, hyphens and underscores, because certificates in use have
 * underscores.
 */
function isValid(text: string, isPattern: boolean): boolean {
  const labels = (isPattern ? text : withoutFinalDot(text)).split('.');
  const isWild = isPattern && labels.length > 1 && labels[0] === '*';
  return labels.slice(isWild ? 1 : 0).every((label) => /^[a-z0-9_][a-z0-9_-]*$/.test(label));
}
