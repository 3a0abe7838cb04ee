/** The addon as it was built, and a build of it that faults can be planted in. */
import { spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll } from 'vitest';
import { loadAddon } from '../../src/plane/addon.js';
import { type Binding, type BindingPlane, loadNative, nativePlane } from '../../src/plane/native.js';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Where the addon is that was built here. */
export function addonPath(): string {
  return loadNative().path;
}

/** What the build with faults has, and no other. */
export interface FaultyPlane extends BindingPlane {
  plant(fault: 'panic' | null): void;
  numberCounters(): void;
  isCounters(view: ArrayBuffer): boolean;
}

/** Planes of the build with faults, and what lies below the one made last. */
export function faultyPlanes(page: (page: ArrayBuffer | null) => ArrayBuffer | null = (same) => same) {
  const addon = faultyAddon();
  const made: { plane?: FaultyPlane; page?: ArrayBuffer | null } = {};
  class Watched extends addon.BindingPlane {
    constructor(...args: ConstructorParameters<Binding['BindingPlane']>) {
      super(...args);
      made.plane = this as unknown as FaultyPlane;
    }

    override counters(): ArrayBuffer | null {
      made.page = super.counters();
      return page(made.page);
    }
  }
  return { create: nativePlane({ version: addon.version, BindingPlane: Watched }), made };
}

let faulty: Binding | undefined;

/** Builds the addon with faults, which takes a minute the first time, and loads it. */
export function faultyAddon(): Binding {
  if (faulty) return faulty;
  const target = join(process.env.CARGO_TARGET_DIR ?? join(ROOT, 'target'), 'fault-injection');
  const args = ['build', '--package', 'derp-node', '--features', 'fault-injection', '--locked', '--target-dir', target];
  const { status, stderr } = spawnSync('cargo', args, { cwd: ROOT, encoding: 'utf8' });
  if (status !== 0) throw new Error(`cargo ${args.join(' ')} failed: ${stderr}`);
  const library = ['libderp_node.so', 'libderp_node.dylib']
    .map((name) => join(target, 'debug', name))
    .find((path) => existsSync(path)) as string;
  // Node loads what ends in `.node`, and the next build may replace the original while this one runs.
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-faulty-'));
  afterAll(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'derpkit.node');
  copyFileSync(library, path);
  faulty = loadAddon<Binding>(path);
  return faulty;
}
