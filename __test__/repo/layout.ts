/** What files there may be, what they may be called, and how long they may be. */

const TOP = new Set([
  ...['src', '__test__', 'crates', 'npm', 'bench', 'docs', 'examples', 'packaging', '.github', '.ci'],
  ...[
    'package.json',
    'package-lock.json',
    'Cargo.toml',
    'Cargo.lock',
    'rustfmt.toml',
    'biome.json',
    'vitest.config.ts',
  ],
  ...['.gitignore', '.npmrc', 'README.md', 'ARCHITECTURE.md', 'LICENSE', 'CHANGELOG.md', 'SECURITY.md', 'RELEASING.md'],
]);

/** Top-level entries that are not permitted. */
export function strayEntries(paths: readonly string[]): string[] {
  const entries = new Set(paths.map((path) => path.split('/')[0] as string));
  return [...entries].filter((entry) => !TOP.has(entry) && !/^tsconfig(?:\.[a-z]+)?\.json$/.test(entry));
}

const KEBAB = /^[a-z0-9]+(?:-[a-z0-9]+)*(?:\.(?:spec|bench|d))?$/;
const SNAKE = /^[a-z0-9]+(?:_[a-z0-9]+)*$/;

/** How the files of each kind are called: the Rust and Go ways are those of their tools. */
const STYLES: Readonly<Record<string, RegExp>> = {
  ts: KEBAB,
  js: KEBAB,
  mjs: KEBAB,
  cjs: KEBAB,
  sh: KEBAB,
  rs: SNAKE,
  go: SNAKE,
};

/** Source files whose names do not have the style of their kind. Folders of ours are in kebab case too. */
export function oddNames(paths: readonly string[]): string[] {
  return paths.filter((path) => {
    const [, base = '', extension = ''] = /([^/]*?)\.([a-z]+)$/.exec(path) ?? [];
    const style = STYLES[extension];
    // The configuration of a tool has the name that the tool looks for.
    if (!style || !path.includes('/')) return false;
    const folders = path.split('/').slice(0, -1);
    return (
      !style.test(base) ||
      !folders.every((folder) => folder === '__test__' || /^\.?[a-z0-9]+(?:[-_][a-z0-9]+)*$/.test(folder))
    );
  });
}

export const MOST_LINES = 500;

/** Source files that are longer than one can keep in mind, with their lengths. */
export function longFiles(paths: readonly string[], read: (path: string) => string): string[] {
  return paths
    .filter((path) => /\.(?:ts|js|mjs|cjs|rs|go)$/.test(path))
    .map((path) => [path, lines(read(path))] as const)
    .filter(([, count]) => count > MOST_LINES)
    .map(([path, count]) => `${path}: ${count} lines`);
}

function lines(text: string): number {
  return text.split('\n').length - (text.endsWith('\n') ? 1 : 0);
}
