/** A CPU profile of JavaScript's thread, and what it is as pprof. */
import type { Profiler } from 'node:inspector';
import { setTimeout } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';

/** Microseconds between two looks at the stack, V8's own. */
const INTERVAL = 1000;
/** What V8 calls the bottom of every stack, and a thread that waits. */
const [ROOT, IDLE] = ['(root)', '(idle)'];

/** Records until so many milliseconds have passed, or the signal ends it. Rejects where this Node has no inspector. */
export async function recordCpu(milliseconds: number, signal: AbortSignal): Promise<Profiler.Profile> {
  const { Session } = await import('node:inspector/promises');
  const session = new Session();
  session.connect();
  try {
    await session.post('Profiler.enable');
    await session.post('Profiler.setSamplingInterval', { interval: INTERVAL });
    await session.post('Profiler.start');
    await setTimeout(milliseconds, undefined, { signal }).catch(() => undefined);
    return (await session.post('Profiler.stop')).profile;
  } finally {
    session.disconnect();
  }
}

/** The profile as `go tool pprof` reads it: gzipped, and without the time in which the thread waited. `start` in milliseconds since 1970. */
export async function pprofOf(profile: Profiler.Profile, start: number): Promise<Buffer> {
  const { Function: Named, Line, Location, Profile, Sample, StringTable, ValueType } = await import('pprof-format');
  const strings = new StringTable();
  const text = (value: string) => strings.dedup(value);
  const valueType = (type: string, unit: string) => new ValueType({ type: text(type), unit: text(unit) });
  const parents = new Map(
    profile.nodes.flatMap(({ id, children }) => children?.map((child) => [child, id] as const) ?? []),
  );
  const named = profile.nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
    const name = text(functionName || '(anonymous)');
    return new Named({ id, name, systemName: name, filename: text(url), startLine: lineNumber + 1 });
  });
  const locations = named.map(({ id, startLine }) => {
    return new Location({ id, line: [new Line({ functionId: id, line: startLine })] });
  });
  const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, callFrame.functionName]));
  const stackOf = (leaf: number) => {
    const stack: number[] = [];
    for (let at: number | undefined = leaf; at !== undefined && names.get(at) !== ROOT; at = parents.get(at))
      stack.push(at);
    return stack;
  };
  const samples = [...timesOf(profile)].flatMap(([leaf, { count, microseconds }]) => {
    if (names.get(leaf) === IDLE || names.get(leaf) === ROOT) return [];
    return new Sample({ locationId: stackOf(leaf), value: [count, Math.round(microseconds * 1000)] });
  });
  const encoded = new Profile({
    sampleType: [valueType('samples', 'count'), valueType('cpu', 'nanoseconds')],
    sample: samples,
    location: locations,
    function: named,
    stringTable: strings,
    timeNanos: BigInt(start) * 1_000_000n,
    durationNanos: Math.round((profile.endTime - profile.startTime) * 1000),
    periodType: valueType('cpu', 'nanoseconds'),
    period: INTERVAL * 1000,
  }).encode();
  return gzipSync(encoded);
}

/** For each node on top of a stack: how often it was seen there, and for how long. A sample lasts until the next one. */
function timesOf({ samples = [], timeDeltas = [], startTime, endTime }: Profiler.Profile) {
  const times = new Map<number, { count: number; microseconds: number }>();
  let at = startTime;
  samples.forEach((leaf, index) => {
    at += timeDeltas[index] ?? 0;
    const lasts = timeDeltas[index + 1] ?? endTime - at;
    const { count, microseconds } = times.get(leaf) ?? { count: 0, microseconds: 0 };
    times.set(leaf, { count: count + 1, microseconds: microseconds + Math.max(0, lasts) });
  });
  return times;
}
