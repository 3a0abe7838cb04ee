/** How a policy crosses to the native plane: its numbers in the order of the addon's rows, and what is no number. */
import { nodeKeyBytes } from '../protocol/key.js';
import type { BindingPolicy } from './binding.js';
import type { PlanePolicy } from './plane.js';

/** `rows` are the addon's names of the numbers: `limits.headBytes` is `policy.limits.headBytes`. */
export function policyForBinding(rows: readonly string[], policy: PlanePolicy, receiveEpoch: number): BindingPolicy {
  return {
    numbers: Float64Array.from(rows, (row) => numberAt(policy, row)),
    exempt: policy.limits.exempt,
    receiveEpoch,
    watchedDrops: policy.watchedDrops.map(nodeKeyBytes),
  };
}

/** A truth value is 0 or 1, and what a `null` would have is `NaN`. */
function numberAt(policy: PlanePolicy, row: string): number {
  let value: unknown = policy;
  for (const name of row.split('.')) {
    if (value === null) return Number.NaN;
    value = (value as Readonly<Record<string, unknown>>)[name];
  }
  if (typeof value === 'boolean') return Number(value);
  if (typeof value !== 'number') throw new Error(`a policy has no number ${row}`);
  return value;
}
