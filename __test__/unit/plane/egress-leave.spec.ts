/** The last data of a connection that ends, and packets that become too old. */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Wheel } from '../../../src/plane/js/wheel.js';
import { pongFrame } from '../../../src/protocol/frame.js';
import { settled } from './context.js';
import { control, packet, rig, stuck, WINDOW } from './egress-rig.js';

afterEach(() => {
  vi.restoreAllMocks();
});

describe('an egress that is left', () => {
  it('what is queued leaves, and nothing new is taken', async () => {
    const { egress, stream, context, owner } = await stuck();
    egress.packet(packet(1, 10));
    egress.frames(control(2), true);
    const left = vi.fn();
    egress.leave(left);
    egress.packet(packet(3, 10));
    egress.frames(control(4));
    egress.sendPong(pongFrame(Buffer.alloc(8)));
    expect(context.counters.read('packets_dropped:gone_disconnected:other')).toBe(1);
    expect(left).not.toHaveBeenCalled();
    stream.take(1);
    await settled();
    expect(left).not.toHaveBeenCalled();
    const before = packet(0, WINDOW).frame.length;
    stream.open();
    await settled();
    expect(left).toHaveBeenCalledTimes(1);
    expect(stream.bytes.subarray(before)).toEqual(Buffer.concat([control(2), packet(1, 10).frame]));
    // Nobody fills what is left.
    expect(owner.calls).toEqual([]);
  });

  it('an egress waits while anything of it waits', async () => {
    const { egress, stream } = rig();
    expect(egress.waits).toBe(false);
    egress.sendPong(pongFrame(Buffer.alloc(8)));
    expect(egress.waits).toBe(true);
    await settled();
    expect(egress.waits).toBe(true);
    stream.open();
    await settled();
    expect(egress.waits).toBe(false);
    egress.frames(control(1));
    expect(egress.waits).toBe(true);
    await settled();
    expect(egress.waits).toBe(false);
    egress.packet(packet(1));
    expect(egress.waits).toBe(true);
    egress.close();
    expect(egress.waits).toBe(false);
  });

  it('an egress waits while packets wait behind its window', async () => {
    const { egress, stream } = await stuck({ limits: { queuedBytes: 1 << 20 } });
    egress.packet(packet(1, WINDOW));
    expect(egress.waits).toBe(true);
    stream.open();
    await settled();
    expect(egress.waits).toBe(false);
  });
});

describe('the window of an egress', () => {
  it.each([
    ['takes what is in the stream', 0, [WINDOW / 2, 2 * WINDOW]],
    ['does not take it', 1, [0, WINDOW / 4]],
  ] as const)(
    'the window over a narrow link is as wide as the system lets it be, which %s: %d bytes are pending',
    async (_what, pending, bounds) => {
      const clock = { now: 1000 };
      vi.spyOn(Wheel, 'now').mockImplementation(() => clock.now);
      const { egress, stream, context } = rig({ queueDepth: 1000 });
      Object.assign(stream, { _handle: { writeQueueSize: pending } });
      let most = 0;
      for (let step = 0; step < 200; step++) {
        clock.now += 10;
        context.wheel.time = clock.now;
        for (let number = 0; number < (step === 0 ? 60 : 1); number++) egress.packet(packet(number, 1400));
        stream.take(1);
        await settled();
        if (step > 100) most = Math.max(most, stream.writableLength);
      }
      expect(most).toBeGreaterThan(bounds[0]);
      expect(most).toBeLessThan(bounds[1]);
    },
  );
});

describe('the age of packets', () => {
  it('packets that stand for too long are dropped for their age, and the snapshot says so', async () => {
    const clock = { now: 1000 };
    vi.spyOn(Wheel, 'now').mockImplementation(() => clock.now);
    const { egress, stream, context } = rig({ queueDepth: 1000 });
    let offered = 0;
    const offer = (count: number) => {
      for (let number = 0; number < count; number++) egress.packet(packet(offered++, 1400));
    };
    offer(60);
    await settled();
    // A link that takes a little less than what comes.
    for (let step = 0; step < 200; step++) {
      clock.now += 10;
      context.wheel.time = clock.now;
      offer(step % 5 === 0 ? 2 : 1);
      stream.take(1);
      await settled();
    }
    const late = () => context.counters.read('packets_dropped:queue_age:other');
    expect(late()).toBeGreaterThan(0);
    const [full, none, age, crowded, mean, longest] = egress.queueFigures();
    expect([full, none, age, crowded]).toEqual([0, 0, late(), 0]);
    expect(longest).toBeGreaterThanOrEqual(60);
    expect(mean).toBeGreaterThan(0);
    expect(mean).toBeLessThanOrEqual(longest as number);
    expect(context.counters.read('queue_time')).toBeGreaterThan(0);
    // After a minute without packets that wait, nothing is known any more.
    stream.open();
    await settled();
    expect(context.counters.read('packets_sent') + late()).toBe(offered);
    clock.now += 60_000;
    expect(egress.queueFigures()[2]).toBe(late());
    clock.now += 1;
    expect(egress.queueFigures()).toEqual([0, 0, 0, 0, 0, 0]);
  });
});
