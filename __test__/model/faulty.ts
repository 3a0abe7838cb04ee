/**
 * A build of the native plane in which bugs can be planted. It lies with Cargo's own files, under a name that no loader
 * looks for: nothing but a test that asks for it here can get it.
 */
import { spawnSync } from 'node:child_process';
import { copyFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Binding, type BindingPlane, loadAddon, nativePlane } from '../../src/plane/native.js';
import type { Lane } from '../helpers/lanes.js';
import type { Rig } from './rig.js';

export const FAULTS = ['reorder', 'misroute', 'lost-peer-gone', 'stale-route'] as const;
export type Fault = (typeof FAULTS)[number];

interface FaultyPlane extends BindingPlane {
  plant(fault: Fault | 'panic' | null): void;
}

export interface FaultyLane extends Lane {
  readonly addon: Binding;
  /** Plants a fault in the plane of an open relay of this lane. */
  plant(rig: Rig, fault: Fault | 'panic'): void;
}

/** Builds it, if it is not there, and loads it. */
export function faultyLane(): FaultyLane {
  const binding = loadAddon(build());
  const planes = new WeakMap<object, FaultyPlane>();
  const select: Lane['select'] = () => ({
    kind: 'native',
    reason: 'bugs are planted in it',
    create: (options, events) => {
      let made: FaultyPlane | undefined;
      const Plane = new Proxy(binding.BindingPlane, {
        construct: (target, args: ConstructorParameters<Binding['BindingPlane']>) => {
          made = new target(...args) as FaultyPlane;
          return made;
        },
      });
      const plane = nativePlane({ version: () => binding.version(), BindingPlane: Plane })(options, events);
      planes.set(plane, made as FaultyPlane);
      return plane;
    },
  });
  const plant = (rig: Rig, fault: Fault | 'panic') => planes.get(rig.relay.dataPlane)?.plant(fault);
  return { name: 'native', planeKind: 'native', select, plant, addon: binding };
}

function build(): string {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const args = ['build', '--locked', '--package', 'derp-node', '--features', 'fault-injection'];
  const { status, stdout, stderr } = spawnSync('cargo', [...args, '--message-format', 'json-render-diagnostics'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 1 << 26,
  });
  if (status !== 0) throw new Error(`the build with faults failed: ${stderr}`);
  const messages = stdout.split('\n').filter((line) => line.startsWith('{"reason":"compiler-artifact"'));
  const artifacts = messages.map((line) => JSON.parse(line) as { target: { name: string }; filenames: string[] });
  const library = artifacts.find(({ target }) => target.name === 'derp_node')?.filenames[0];
  if (!library) throw new Error('the build with faults has made no library');
  const addon = join(dirname(library), 'derpkit-with-faults.node');
  // A running process may have the old file mapped.
  rmSync(addon, { force: true });
  copyFileSync(library, addon);
  return addon;
}
