/** Reads the paths of Rust sources, and says which of them go up, or round in a circle. Tests within a crate are not read. */

/** The sources of one crate: what stands in its `src`, by the path below it. */
export type Crate = ReadonlyMap<string, string>;

export interface Arrow {
  readonly from: string;
  readonly to: string;
}

/** Which files import which, by `use`, by a path in the code, or by the name of a module that they declare. */
export function arrowsOf(crate: Crate): Arrow[] {
  const product = [...crate.keys()].filter((path) => !isTest(crate, path));
  const modules = new Map(product.map((path) => [moduleOf(path).join('::'), path]));
  return product.flatMap((from) => {
    const targets = new Set<string>();
    for (const path of pathsOf(plain(crate.get(from) ?? ''), moduleOf(from))) {
      const to = fileOf(modules, path);
      if (to !== undefined && to !== from) targets.add(to);
    }
    return [...targets].map((to) => ({ from, to }));
  });
}

/**
 * Arrows that do not lead to a lower floor or stay on their own, and files that stand on no floor. Floors are listed from the
 * top down; rooms of one floor do not import one another.
 */
export function upward(crate: Crate, floors: readonly (readonly string[])[]): string[] {
  const place = (path: string): [number, string] | undefined => {
    const room = moduleOf(path)[0] ?? '';
    const floor = floors.findIndex((rooms) => rooms.includes(room));
    return floor < 0 ? undefined : [floor, room];
  };
  const homeless = [...crate.keys()].filter((path) => !isTest(crate, path) && place(path) === undefined);
  const wrong = arrowsOf(crate).filter(({ from, to }) => {
    const [here, there] = [place(from), place(to)];
    return here && there && here[1] !== there[1] && here[0] >= there[0];
  });
  return [...homeless.map((path) => `${path} stands on no floor`), ...wrong.map(({ from, to }) => `${from} → ${to}`)];
}

/** The groups of files that import one another in a circle, each in the order of the alphabet. */
export function circles(arrows: readonly Arrow[]): string[][] {
  const next = new Map<string, string[]>();
  for (const { from, to } of arrows) next.set(from, [...(next.get(from) ?? []), to]);
  const reach = (from: string): Set<string> => {
    const seen = new Set<string>();
    const todo = [...(next.get(from) ?? [])];
    for (let path = todo.pop(); path !== undefined; path = todo.pop()) {
      if (seen.has(path)) continue;
      seen.add(path);
      todo.push(...(next.get(path) ?? []));
    }
    return seen;
  };
  const reached = new Map([...next.keys()].map((path) => [path, reach(path)]));
  const groups = [...reached]
    .filter(([path, seen]) => seen.has(path))
    .map(([path, seen]) => {
      const others = [...seen].filter((other) => reached.get(other)?.has(path));
      return others.sort().join(' ');
    });
  return [...new Set(groups)].map((group) => group.split(' '));
}

/** `a/b.rs` is the module `a::b`; `lib.rs` and `main.rs` are the root. */
function moduleOf(path: string): string[] {
  const parts = path.replace(/\.rs$/, '').split('/');
  if (parts.at(-1) === 'mod') parts.pop();
  return parts.length === 1 && (parts[0] === 'lib' || parts[0] === 'main') ? [] : parts;
}

/** Whether a file, or a module that it is part of, is declared behind `#[cfg(test)]` or one that asks for more. */
function isTest(crate: Crate, path: string): boolean {
  const parts = moduleOf(path);
  return parts.some((name, depth) => {
    const parent = parts.slice(0, depth);
    const file = [...crate.keys()].find((other) => moduleOf(other).join('::') === parent.join('::'));
    const declared = new RegExp(String.raw`#\[cfg\([^\]]*\btest\b[^\]]*\)\]\s*(?:pub(?:\([a-z]+\))? )?mod ${name};`);
    return file !== undefined && declared.test(crate.get(file) ?? '');
  });
}

/** The source without comments, strings and the modules of tests. */
function plain(text: string): string {
  const code = text.replace(/\/\/.*$|"(?:[^"\\]|\\[\s\S])*"|'(?:[^'\\]|\\.)'/gm, (found) =>
    found.startsWith('"') ? '""' : '',
  );
  const test = /#\[cfg\([^\]]*\btest\b[^\]]*\)\]\s*(?:pub(?:\([a-z]+\))? )?mod \w+ \{/g;
  let kept = '';
  let at = 0;
  for (let found = test.exec(code); found; found = test.exec(code)) {
    if (found.index < at) continue;
    kept += code.slice(at, found.index);
    at = endOfBlock(code, found.index + found[0].length);
    test.lastIndex = at;
  }
  return kept + code.slice(at);
}

/** Behind the bracket that closes the block that begins at `at`. */
function endOfBlock(code: string, at: number): number {
  let depth = 1;
  let end = at;
  while (depth > 0 && end < code.length) {
    if (code[end] === '{') depth += 1;
    if (code[end] === '}') depth -= 1;
    end += 1;
  }
  return end;
}

/** Every path to a module of the crate, from its root; names at the end of a path may be items. */
function pathsOf(code: string, here: readonly string[]): string[][] {
  const inline = /\bmod (\w+) \{/.exec(code);
  if (inline) {
    const begin = inline.index + inline[0].length;
    const end = endOfBlock(code, begin);
    const inner = pathsOf(code.slice(begin, end - 1), [...here, inline[1] as string]);
    return [...inner, ...pathsOf(code.slice(0, inline.index) + code.slice(end), here)];
  }
  const children = [...code.matchAll(/\bmod (\w+);/g)].map(([, name]) => name as string);
  const begins = ['crate', 'super', 'self', ...children].join('|');
  const found = code.matchAll(new RegExp(String.raw`(?<![\w:.])(?:${begins})::[\w:]*(\{)?`, 'g'));
  return [...found].flatMap((match) => {
    const [written, group] = match;
    const inside = group
      ? code.slice(match.index + written.length, endOfBlock(code, match.index + written.length) - 1)
      : '';
    const names = group ? expand(inside).map((tail) => written.slice(0, -1) + tail) : [written];
    return names.map((name) => fromRoot(name.split('::').filter(Boolean), here));
  });
}

/** `a, b::{c, d}` are `a`, `b::c` and `b::d`. */
function expand(group: string): string[] {
  const names: string[] = [];
  let name = '';
  for (let at = 0; at < group.length; at += 1) {
    if (group[at] === '{') {
      const end = endOfBlock(group, at + 1);
      names.push(...expand(group.slice(at + 1, end - 1)).map((tail) => name.trim() + tail));
      name = '';
      at = end - 1;
    } else if (group[at] === ',') {
      if (name.trim() !== '') names.push(name.trim());
      name = '';
    } else name += group[at];
  }
  return name.trim() === '' ? names : [...names, name.trim()];
}

function fromRoot(path: readonly string[], here: readonly string[]): string[] {
  const [first, ...rest] = path;
  if (first === 'crate') return rest;
  if (first === 'self') return [...here, ...rest];
  if (first !== 'super') return [...here, ...path];
  return fromRoot(rest[0] === 'super' ? rest : ['self', ...rest], here.slice(0, -1));
}

/** The file of the longest module that a path begins with. The root is meant only by a path of items alone. */
function fileOf(modules: ReadonlyMap<string, string>, path: readonly string[]): string | undefined {
  for (let length = path.length; length >= 0; length -= 1) {
    const file = modules.get(path.slice(0, length).join('::'));
    if (file !== undefined) return file;
  }
  return undefined;
}
