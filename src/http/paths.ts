/**
 * Request targets as Go's ServeMux reads them: the path that is meant, and the redirect for an unclean target. Pure.
 */

export interface Target {
  /** Decoded, without the query. */
  readonly path: string;
  /** Without the question mark; empty if there is none. */
  readonly query: string;
  /** The clean target with its query, if the request's target is spelt differently. */
  readonly redirect: string | undefined;
}

/** Characters that Go does not escape in a path. */
const PLAIN = /[A-Za-z0-9\-_.~$&+,/:;=@]/;
/** Texts that Go accepts as an escaped path, if their escapes are whole. */
const VALID = /^[A-Za-z0-9\-_.~$&+,/:;=@!'()*[\]%]*$/;

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

/** Removes empty, `.` and `..` segments; keeps a slash at the end. */
export function cleanPath(path: string): string {
  const segments: string[] = [];
  for (const segment of path.split('/')) {
    if (segment === '..') segments.pop();
    else if (segment !== '' && segment !== '.') segments.push(segment);
  }
  const clean = `/${segments.join('/')}`;
  return path.endsWith('/') && clean !== '/' ? `${clean}/` : clean;
}

/** Decodes escapes; each character of the result is one byte. */
function unescaped(path: string): string {
  return path.replace(/%([0-9A-Fa-f]{2})/g, (_escape, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
}

/** Decodes escapes except those of slashes: an escaped slash belongs to a name and separates nothing. */
function pathOf(spelt: string): string {
  return spelt
    .split(/(%2f)/i)
    .map((part, index) => (index % 2 === 0 ? unescaped(part) : part))
    .join('');
}

/** Escapes a path as Go does. */
function escaped(bytes: string): string {
  const hex = (byte: string) => `%${byte.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0')}`;
  return [...bytes].map((byte) => (PLAIN.test(byte) ? byte : hex(byte))).join('');
}
