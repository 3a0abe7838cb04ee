/** The addon as it was built, and a build of it that faults can be planted in. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Binding } from '../../src/plane/binding.js';
import { loadNative, nativePlane } from '../../src/plane/native.js';
import { type FaultyPlane, faultyAddon } from '../helpers/faulty-addon.js';

export const ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Where the addon is that was built here. */
export function addonPath(): string {
  return loadNative().path;
}

/** The workers of all planes in this process, by the names that Linux shows. */
export function workers(): string[] {
  const names = readdirSync('/proc/self/task').map((task) => {
    try {
      return readFileSync(`/proc/self/task/${task}/comm`, 'utf8').trim();
    } catch {
      // It has ended meanwhile.
      return '';
    }
  });
  return names.filter((name) => name.startsWith('derp-'));
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
  return { create: nativePlane({ ...addon, BindingPlane: Watched }), made };
}
