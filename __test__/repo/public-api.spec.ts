import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { ROOT } from './project.js';
import { publicApi, undocumentedIn } from './public-api.js';

describe('the declarations of the package', () => {
  const { names, undocumented, unnamed } = publicApi(join(ROOT, 'dist/index.d.ts'));

  it('each exported name has a comment, and so has each of its fields and methods', () => {
    expect(names).toEqual(expect.arrayContaining(['createRelay', 'RelayConfig', 'SETTINGS', 'Logger', 'MeshStatus']));
    expect(undocumented).toEqual([]);
  });

  it('the declarations mention no type that is not exported', () => {
    expect(unnamed).toEqual([]);
  });
});

describe('the contract between the planes', () => {
  it.each(['plane', 'certificate-set', 'packet-tap', 'snapshot', 'counter-figures'])(
    'every name and field of %s.ts has a comment',
    (name) => {
      expect(undocumentedIn(join(ROOT, `dist/plane/${name}.d.ts`))).toEqual([]);
    },
  );
});

describe('these tests can fail', () => {
  it('the test finds names without a comment, and types without a name', () => {
    const entry = written({
      'index.d.ts': `
export { f, type A, type Alias as Renamed, C, type K } from './a.js';
export type { Foreign } from './b.js';
`,
      'a.d.ts': `
import type { EventEmitter } from 'node:events';
import type { B } from './b.js';
/** Documented. */
export interface A extends EventEmitter {
  /** Documented. */
  readonly known: Promise<A>;
  readonly bare: number;
  /** Documented. */
  readonly group: { readonly inner: B };
  /** */
  method(): void;
}
export declare function f(a: A): Hidden;
interface Hidden { readonly x: number }
/** Documented. */
export type Alias<T> = T extends infer U ? U | import('./b.js').B : typeof list;
declare const list: readonly ['a'];
/** Documented. */
export declare class C {
  private readonly own;
  readonly shown: string;
  /** Documented. */
  constructor(shown: string);
}
export type K = 'a' | 'b';
`,
      'b.d.ts': `
import type { Readable as Foreign } from 'node:stream';
export interface B { readonly x: number }
export type { Foreign };
`,
    });
    const { names, undocumented, unnamed } = publicApi(entry);
    expect(names).toEqual(['f', 'A', 'Renamed', 'C', 'K', 'Foreign']);
    expect(undocumented).toEqual(['f', 'A.bare', 'A.group.inner', 'A.method', 'C.shown', 'K']);
    expect(unnamed).toEqual(['f: Hidden', 'A: B', "Renamed: import('./b.js').B", 'Renamed: list']);
  });

  it('the test reads nothing but re-exported names', () => {
    expect(() => publicApi(written({ 'index.d.ts': 'export declare const x: number;' }))).toThrow('re-exports by name');
  });
});

/** Writes files into a folder of their own, and gives the path of the first. */
function written(files: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), 'public-api-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text);
  return join(folder, Object.keys(files)[0] as string);
}
