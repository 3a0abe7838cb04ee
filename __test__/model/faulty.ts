/** The native lane with a bug in it. */
import type { Binding } from '../../src/plane/binding.js';
import { nativePlane } from '../../src/plane/native.js';
import { type Fault, type FaultyPlane, faultyAddon } from '../helpers/faulty-addon.js';
import type { Lane } from '../helpers/lanes.js';
import type { Rig } from './rig.js';

export interface FaultyLane extends Lane {
  readonly addon: Binding;
  /** Plants a fault in the plane of an open relay of this lane. */
  plant(rig: Rig, fault: Fault | 'panic'): void;
}

/** Builds it, if it is not there, and loads it. */
export function faultyLane(): FaultyLane {
  const binding = faultyAddon();
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
      const plane = nativePlane({ ...binding, BindingPlane: Plane })(options, events);
      planes.set(plane, made as FaultyPlane);
      return plane;
    },
  });
  const plant = (rig: Rig, fault: Fault | 'panic') => planes.get(rig.relay.dataPlane)?.plant(fault);
  return { name: 'native', planeKind: 'native', select, plant, addon: binding };
}
