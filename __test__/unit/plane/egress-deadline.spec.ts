import { afterEach, describe, expect, it, vi } from 'vitest';
import { CLIENT, type Egress, type EgressKind, MESH_PEER } from '../../../src/plane/js/egress.js';
import { Wheel } from '../../../src/plane/js/wheel.js';
import { type PolicyChanges, settled } from './context.js';
import { type Owner, packet, type Rig, rig } from './egress-rig.js';

afterEach(() => {
  vi.restoreAllMocks();
});

describe('the write deadline', () => {
  it('the write deadline ends a connection with a stalled transport, not early and not much late', async () => {
    const { egress, owner, context, clock } = await stalled();
    const ended = visit(egress, owner, clock);
    expect(ended).toBeGreaterThanOrEqual(2000);
    expect(ended).toBeLessThanOrEqual(3000);
    expect(owner.calls).toEqual(['timeout']);
    expect(context.counters.read('write_timeouts')).toBe(1);
  });

  it('progress restarts the write deadline', async () => {
    const { egress, owner, clock, stream } = await stalled();
    for (let step = 0; step < 7; step++) {
      clock.now += 1900;
      egress.onTime(clock.now);
      expect(owner.calls).toEqual([]);
      stream.take(1);
      await settled();
      egress.onTime(clock.now);
    }
    const ended = visit(egress, owner, clock);
    expect(ended - 7 * 1900).toBeGreaterThanOrEqual(2000);
    expect(ended - 7 * 1900).toBeLessThanOrEqual(3000);
  });

  it('the write deadline does not run while there is nothing to write', async () => {
    const { egress, owner, clock, stream } = await stalled();
    stream.open();
    await settled();
    clock.now += 10_000;
    expect(egress.onTime(clock.now)).toBe(Number.POSITIVE_INFINITY);
    // A later packet has the whole deadline.
    clock.now += 10_000;
    egress.packet(packet(9));
    await settled();
    expect(owner.armed.at(-1)).toBeGreaterThan(clock.now);
    expect(egress.onTime(clock.now + 1999)).toBe(Number.POSITIVE_INFINITY);
    expect(owner.calls).toEqual([]);
  });

  it('the write deadline begins with the write, not with an earlier write of equal size', async () => {
    const { egress, owner, clock, stream } = await stalled();
    egress.onTime(clock.now);
    stream.take(Number.POSITIVE_INFINITY);
    await settled();
    clock.now += 60_000;
    offer(egress);
    await settled();
    egress.onTime(clock.now + 1000);
    egress.onTime(clock.now + 1999);
    expect(owner.calls).toEqual([]);
  });

  it.each<[string, EgressKind, PolicyChanges, number]>([
    ['an ordinary client', CLIENT, {}, 2000],
    ['a mesh peer, which has longer, up to the TCP user timeout', MESH_PEER, {}, 15_000],
    ['a mesh peer without a TCP user timeout', MESH_PEER, { tcp: { userTimeout: 0 } }, 30_000],
    ['a client without a write deadline, up to the TCP user timeout', CLIENT, { deadlines: { write: 0 } }, 15_000],
    ['a client with a shorter TCP user timeout', CLIENT, { tcp: { userTimeout: 500 } }, 500],
  ])('the write deadline applies to %s', async (_name, kind, changes, limit) => {
    const { egress, owner, clock } = await stalled(changes, kind);
    const ended = visit(egress, owner, clock);
    expect(ended).toBeGreaterThanOrEqual(limit);
    expect(ended).toBeLessThanOrEqual(1.5 * limit);
  });

  it('without a write deadline and a TCP user timeout, no deadline is armed', async () => {
    const { egress, owner, clock } = await stalled({ deadlines: { write: 0 }, tcp: { userTimeout: 0 } });
    expect(owner.armed).toEqual([]);
    expect(egress.onTime(clock.now + 1e9)).toBe(Number.POSITIVE_INFINITY);
  });
});

/** A transport from which eight packets do not leave, and a clock of the test's. */
async function stalled(
  changes: PolicyChanges = {},
  kind?: EgressKind,
): Promise<Rig & { readonly clock: { now: number } }> {
  const clock = { now: 0 };
  vi.spyOn(Wheel, 'now').mockImplementation(() => clock.now);
  const made = rig(changes, kind);
  offer(made.egress);
  await settled();
  return { ...made, clock };
}

function offer(egress: Egress): void {
  for (let number = 0; number < 8; number++) egress.packet(packet(number, 8000));
}

/** Visits as the wheel would, until no deadline is left. Returns the time of the last visit. */
function visit(egress: Egress, owner: Owner, clock: { now: number }): number {
  let next = owner.armed.at(-1) as number;
  while (next !== Number.POSITIVE_INFINITY) {
    clock.now = Math.max(clock.now, next);
    next = egress.onTime(clock.now);
  }
  return clock.now;
}
