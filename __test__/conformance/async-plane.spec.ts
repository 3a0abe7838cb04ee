/** The lane with delays is only worth something if it delays, reorders what it may, and refuses what cannot cross. */
import { PassThrough } from 'node:stream';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parseSettings } from '../../src/config.js';
import { DerpkitError } from '../../src/errors.js';
import { WritableCounters } from '../../src/plane/counters.js';
import type { DataPlane, PlaneEvents } from '../../src/plane/plane.js';
import { planePolicy } from '../../src/relay/policy.js';
import { asyncPlane } from '../helpers/async-plane.js';
import { SEED, seeded } from '../helpers/random.js';

type Call = [name: string, ...args: unknown[]];

/** Everything called on it, in order; what answers, answers. */
function recorder(calls: Call[], answers: Record<string, () => unknown> = {}): never {
  const get =
    (_target: object, name: string) =>
    (...args: unknown[]) => {
      calls.push([name, ...args]);
      return answers[name]?.();
    };
  return new Proxy({}, { get }) as never;
}

/** A plane behind delays, all calls that arrive at it, and the way up from it. */
function setUp(answers: Record<string, () => unknown> = {}) {
  const [down, up]: [Call[], Call[]] = [[], []];
  let raise: PlaneEvents | undefined;
  const create = (_options: unknown, events: PlaneEvents): DataPlane => {
    raise = events;
    const plane = recorder(down, answers) as DataPlane;
    return new Proxy(plane, {
      get: (target, name) =>
        name === 'kind' ? 'js' : name === 'counters' ? new WritableCounters() : Reflect.get(target, name),
    });
  };
  const options = { privateKey: new Uint8Array(32), policy: planePolicy(parseSettings({})) };
  const plane = asyncPlane({ kind: 'js', reason: '', create }, SEED).create(options, recorder(up));
  onTestFinished(() => plane.shutdown());
  return { plane, down, up, raise: raise as unknown as PlaneEvents };
}

const ANSWERS = { shutdown: async () => undefined, snapshot: async () => ({ total: 7, rows: new Float64Array(2) }) };

describe('a plane behind delays', () => {
  it('a delayed plane lets no call cross at once, and keeps their order', async () => {
    const { plane, down } = setUp(ANSWERS);
    for (let id = 0; id < 50; id++) plane.close(id, 'closed');
    expect(down).toEqual([]);
    expect(await plane.snapshot(0, 1)).toEqual({ total: 7, rows: new Float64Array(2) });
    expect(down.slice(0, 50)).toEqual(Array.from({ length: 50 }, (_, id) => ['close', id, 'closed']));
    expect(down[50]).toEqual(['snapshot', 0, 1]);
  });

  it('a delayed plane keeps the events of each connection in order, and mixes those of several', async () => {
    const { plane, up, raise } = setUp(ANSWERS);
    for (let round = 0; round < 20; round++) {
      for (let id = 0; id < 5; id++) raise.prefer(id, round % 2 === 0, 1);
    }
    expect(up).toEqual([]);
    await plane.shutdown();
    expect(up).toHaveLength(100);
    for (let id = 0; id < 5; id++) {
      expect(up.filter(([, from]) => from === id).map(([, , home]) => home)).toEqual(
        Array.from({ length: 20 }, (_, round) => round % 2 === 0),
      );
    }
    expect(up.map(([, id]) => id)).not.toEqual(Array.from({ length: 100 }, (_, index) => index % 5));
  });

  it('a delayed plane copies data in both directions', async () => {
    const { plane, down, up, raise } = setUp(ANSWERS);
    const frames = Buffer.from('frames');
    const ids = [1, 2];
    plane.send(ids, frames);
    frames.fill(0);
    ids.push(3);
    raise.duplex(1, new PassThrough(), { listener: 1, peer: { address: '', port: 0 }, tlsVersion: null });
    await plane.shutdown();
    expect(down[0]).toEqual(['send', [1, 2], new Uint8Array(Buffer.from('frames'))]);
    // A Buffer does not survive, nor does whoever relies on it.
    expect(Buffer.isBuffer(down[0]?.[2])).toBe(false);
    expect(up[0]?.[2]).toBeInstanceOf(PassThrough);
  });

  it('a delayed plane refuses functions and class instances', () => {
    const { plane, raise } = setUp(ANSWERS);
    class Admission {
      mesh = false;
      receiveLimit = null;
    }
    expect(() => plane.admit(1, new Admission())).toThrow(/\[1\] is an instance of Admission/);
    expect(() => plane.admit(1, { mesh: false, receiveLimit: null, ask: () => 1 } as never)).toThrow('is a function');
    expect(() => plane.policy(new Map() as never)).toThrow('instance of Map');
    expect(() => raise.prefer(1, Promise.resolve(true) as never, 1)).toThrow('instance of Promise');
  });

  it('a delayed plane passes errors with code and cause, but without their class', async () => {
    const cause = Object.assign(new Error('in use'), { code: 'EADDRINUSE' });
    const { plane } = setUp({
      ...ANSWERS,
      listen: async () => {
        throw new DerpkitError('ERR_LISTEN', 'cannot listen', { cause });
      },
    });
    const error = await plane
      .listen({ kind: 'tcp', derp: true, host: '', port: 0 })
      .catch((reason: unknown) => reason as Error);
    expect(error).toMatchObject({ code: 'ERR_LISTEN', message: 'cannot listen', cause: { code: 'EADDRINUSE' } });
    expect(error).not.toBeInstanceOf(DerpkitError);
  });

  it('a delayed plane shuts down behind every earlier call and delivers every event first', async () => {
    let raise: PlaneEvents | undefined;
    const {
      plane,
      down,
      up,
      raise: events,
    } = setUp({
      ...ANSWERS,
      shutdown: async () => {
        for (let id = 0; id < 10; id++) raise?.closed(id, 'shutdown');
      },
    });
    raise = events;
    for (let id = 0; id < 10; id++) plane.refuse(id);
    await Promise.all([plane.shutdown(), plane.shutdown()]);
    expect(down.map(([name]) => name)).toEqual([...Array(10).fill('refuse'), 'shutdown']);
    expect(up.map(([name]) => name)).toEqual(Array(10).fill('closed'));
  });

  it('a delayed plane repeats its delays for a given seed', () => {
    const row = (seed: number) => {
      const random = seeded(seed);
      return Array.from({ length: 1000 }, random);
    };
    expect(row(1)).toEqual(row(1));
    expect(row(1)).not.toEqual(row(2));
    expect(Math.min(...row(3))).toBeLessThan(0.02);
    expect(Math.max(...row(3))).toBeGreaterThan(0.98);
    expect(row(3).every((value) => value >= 0 && value < 1)).toBe(true);
  });
});
