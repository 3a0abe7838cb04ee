/** A shorter row of things that still fails. */

/**
 * Leaves out runs of `things`, long ones first, as long as what is left still fails; gives up after `tries` looks, with
 * what it has then.
 */
export async function shrink<T>(
  things: readonly T[],
  fails: (some: readonly T[]) => Promise<boolean>,
  tries: number,
): Promise<readonly T[]> {
  let left = things;
  let looks = 0;
  for (let length = Math.ceil(left.length / 2); length >= 1; length = length > 1 ? Math.ceil(length / 2) : 0) {
    for (let at = left.length; at > 0; ) {
      const from = Math.max(0, at - length);
      const without = [...left.slice(0, from), ...left.slice(at)];
      at = from;
      if (without.length === 0) continue;
      if (looks === tries) return left;
      looks += 1;
      if (await fails(without)) left = without;
    }
  }
  return left;
}
