/** Reads import statements, and says which of them go the wrong way. */
import { posix } from 'node:path';

export interface Import {
  /** As it is written. */
  readonly specifier: string;
  /** Nothing of it is left when the program runs. */
  readonly typeOnly: boolean;
}

const STATEMENT = /^(?:import|export)\s+(type\s+)?(?:([\w*{][^;'"]*?)\s+from\s+)?'([^']+)'(?:\s+with\s+\{[^}]*\})?;$/gm;
const DYNAMIC = /\bimport\(\s*('[^']*')?/g;

/** The imports and re-exports of a file as the formatter leaves it. Throws where there is one that it cannot read. */
export function importsOf(text: string): Import[] {
  const found = [...text.matchAll(STATEMENT)].map(([, type, names = '', specifier = '']) => ({
    specifier,
    typeOnly: type !== undefined || namesTypesOnly(names),
  }));
  const written = text.match(/^import\b(?!\()|^export (?:type )?(?:\*|\{[^}]*\}) from\b/gm) ?? [];
  if (written.length !== found.length)
    throw new Error(`${written.length} imports, of which ${found.length} can be read`);
  const dynamic = [...text.replaceAll(/^\s*(?:\/\/|\/?\*).*$/gm, '').matchAll(DYNAMIC)].map(([, literal]) => {
    if (!literal) throw new Error('an import of what is known only when the program runs');
    return { specifier: literal.slice(1, -1), typeOnly: false };
  });
  return [...found, ...dynamic];
}

/** `{ type A, type B }`, and not `{ type A, b }` or `{}`. */
function namesTypesOnly(names: string): boolean {
  const inner = /^\{([^}]*)\}$/.exec(names)?.[1];
  const each = (inner ?? '').split(',').map((name) => name.trim());
  const given = each.filter((name) => name !== '');
  return given.length > 0 && given.every((name) => name.startsWith('type '));
}

/** What one part of the sources may import. A name that ends in `/` is a folder, any other a file. */
export interface Rule {
  /** Parts of ours. A part may always import itself. */
  readonly ours?: readonly string[];
  /** Parts of ours that it may import types of. */
  readonly types?: readonly string[];
  /** Packages. Those of Node are always free. */
  readonly npm?: readonly string[];
}

/** Every import that no rule permits, and every file that has no rule. Of rules that fit a file the longest counts. */
export function violations(files: ReadonlyMap<string, string>, rules: Readonly<Record<string, Rule>>): string[] {
  return [...files].flatMap(([path, text]) => {
    const part = partOf(path, Object.keys(rules));
    if (part === undefined) return [`${path}: no rule says what it may import`];
    const { ours = [], types = [], npm = [] } = rules[part] as Rule;
    return importsOf(text).flatMap(({ specifier, typeOnly }) => {
      const wrong = [`${path}: ${typeOnly ? 'type ' : ''}${specifier}`];
      if (specifier.startsWith('node:')) return [];
      if (!specifier.startsWith('.')) return npm.includes(packageOf(specifier)) ? [] : wrong;
      const target = resolve(path, specifier);
      if (!files.has(target)) return [`${path}: ${specifier} is no source file`];
      const permitted = [part, ...ours, ...(typeOnly ? types : [])];
      return permitted.some((each) => isIn(target, each)) ? [] : wrong;
    });
  });
}

/** Each ring of files that import one another, be it for types alone, as the path round. */
export function cycles(files: ReadonlyMap<string, string>): string[] {
  const done = new Set<string>();
  const found: string[] = [];
  const visit = (path: string, way: readonly string[]): void => {
    const at = way.indexOf(path);
    if (at >= 0) found.push([...way.slice(at), path].join(' → '));
    if (at >= 0 || done.has(path)) return;
    for (const { specifier } of importsOf(files.get(path) ?? '')) {
      if (specifier.startsWith('.')) visit(resolve(path, specifier), [...way, path]);
    }
    done.add(path);
  };
  for (const path of files.keys()) visit(path, []);
  return found;
}

/** Which packages the sources import. */
export function packagesOf(files: ReadonlyMap<string, string>): Set<string> {
  const specifiers = [...files.values()].flatMap(importsOf).map(({ specifier }) => specifier);
  return new Set(specifiers.filter((specifier) => !/^(?:\.|node:)/.test(specifier)).map(packageOf));
}

/** Statements of a file that are not re-exports. */
export function beyondReexports(text: string): string {
  return text
    .replaceAll(/\/\*[\s\S]*?\*\/|^\s*\/\/.*$/gm, '')
    .replaceAll(/^export (?:type )?\{[^}]*\} from '[^']+';$/gm, '')
    .trim();
}

function partOf(path: string, parts: readonly string[]): string | undefined {
  return parts.filter((part) => isIn(path, part)).sort((a, b) => b.length - a.length)[0];
}

function isIn(path: string, part: string): boolean {
  return part.endsWith('/') ? path.startsWith(part) : path === part;
}

function resolve(from: string, specifier: string): string {
  return posix.join(posix.dirname(from), specifier).replace(/\.js$/, '.ts');
}

function packageOf(specifier: string): string {
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/');
}
