/** Request targets as Go's ServeMux reads them: what is asked for, and where a target that is not clean is sent. Pure. */

export interface Target {
  /** Decoded, without the query. */
  readonly path: string;
  /** Without its question mark; empty if there is none. */
  readonly query: string;
  /** Where a target that is spelt otherwise than its path is redirected to, query included. */
  readonly redirect: string | undefined;
}

/** What Go leaves as it is in a path. */
const PLAIN = /[A-Za-z0-9\-_.~$&+,/:;=@]/;
/** What it takes from others besides. */
const VALID = /^(?:[A-Za-z0-9\-_.~$&+,/:;=@!'()*[\]]|%[0-9A-Fa-f]{2})*$/;

/** `undefined` for a target with a broken escape, which Go's server refuses. */
export function parseTarget(target: string): Target | undefined {
  const [, given = '', query = ''] =
    /^(?:[a-zA-Z][a-zA-Z0-9+.-]*:\/\/[^/?#]*)?([^?#]*)(?:\?([^#]*))?/.exec(target) ?? [];
  if (/%(?![0-9A-Fa-f]{2})/.test(given)) return undefined;
  const spelt = VALID.test(given) ? given : escaped(unescaped(given));
  const clean = cleanPath(spelt);
  const suffix = query === '' ? '' : `?${query}`;
  return { path: pathOf(clean), query, redirect: clean === spelt ? undefined : `${clean}${suffix}` };
}

/** Without empty, `.` and `..` segments; a slash at the end stays. */
export function cleanPath(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  const clean = `/${segments.join('/')}`;
  return path.endsWith('/') && clean !== '/' ? `${clean}/` : clean;
}

/** One character for each byte. */
function unescaped(path: string): string {
  return path.replace(/%([0-9A-Fa-f]{2})/g, (_escape, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}

/** An escaped slash is part of a name, and separates none: it stays as it is. */
function pathOf(spelt: string): string {
  return spelt
    .split(/(%2f)/i)
    .map((part, index) => (index % 2 === 0 ? unescaped(part) : part))
    .join('');
}

/** As Go spells a path with characters that it does not take. */
function escaped(bytes: string): string {
  const hex = (byte: string) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
  return [...bytes].map((byte) => (PLAIN.test(byte) ? byte : hex(byte))).join('');
}
