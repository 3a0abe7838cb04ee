import type { Profiler } from 'node:inspector';
import { gunzipSync } from 'node:zlib';
import { Profile } from 'pprof-format';
import { describe, expect, it } from 'vitest';
import { pprofOf } from '../../../src/http/cpu-profile.js';

function node(id: number, functionName: string, children?: number[]): Profiler.ProfileNode {
  const callFrame = { functionName, scriptId: '1', url: `file:///${id}.js`, lineNumber: 10 * id, columnNumber: 0 };
  return { id, callFrame, ...(children && { children }) };
}

const NODES = [node(1, '(root)', [2, 3]), node(2, 'work', [4]), node(3, '(idle)'), node(4, '')];

async function encoded(profile: Partial<Profiler.Profile>) {
  const whole = { nodes: NODES, startTime: 1000, endTime: 2000, ...profile };
  const { stringTable, ...decoded } = Profile.decode(gunzipSync(await pprofOf(whole, 5000)));
  const text = (index: number | bigint) => stringTable.strings[Number(index)];
  const samples = decoded.sample.map(({ locationId, value }) => [locationId.map(Number), value.map(Number)]);
  return { decoded, text, samples };
}

describe('a profile as pprof', () => {
  it('a profile has the name, the file and the line of each function', async () => {
    const { decoded, text } = await encoded({});
    const functions = decoded.function.map(({ id, name, systemName, filename, startLine }) => {
      return [Number(id), text(name), text(systemName), text(filename), Number(startLine)];
    });
    expect(functions).toEqual([
      [1, '(root)', '(root)', 'file:///1.js', 11],
      [2, 'work', 'work', 'file:///2.js', 21],
      [3, '(idle)', '(idle)', 'file:///3.js', 31],
      [4, '(anonymous)', '(anonymous)', 'file:///4.js', 41],
    ]);
    const lines = decoded.location.map(({ id, line }) => [id, line[0]?.functionId, line[0]?.line].map(Number));
    expect(lines).toEqual([1, 2, 3, 4].map((id) => [id, id, 10 * id + 1]));
  });

  it('a profile says what it counts, and how often V8 has looked', async () => {
    const { decoded, text } = await encoded({});
    const { periodType, period, sampleType } = decoded;
    const named = [...sampleType, periodType].map((type) => type && [text(type.type), text(type.unit)]);
    expect(named).toEqual([
      ['samples', 'count'],
      ['cpu', 'nanoseconds'],
      ['cpu', 'nanoseconds'],
    ]);
    expect(Number(period)).toBe(1_000_000);
  });

  it('a profile has nothing about the bottom of all stacks, and about a thread that waits', async () => {
    const { samples } = await encoded({ samples: [1, 2, 3], timeDeltas: [0, 300, 300] });
    expect(samples).toEqual([[[2], [1, 300_000]]]);
  });

  it('a profile whose clock went backwards has no negative time', async () => {
    const { samples } = await encoded({ samples: [2, 4, 2], timeDeltas: [100, -50, 950] });
    expect(samples).toEqual([
      [[2], [2, 0]],
      [
        [4, 2],
        [1, 950_000],
      ],
    ]);
  });

  it('a profile without samples is empty, and without their times they last until the end', async () => {
    expect((await encoded({})).samples).toEqual([]);
    expect((await encoded({ samples: [2] })).samples).toEqual([[[2], [1, 1_000_000]]]);
  });
});
