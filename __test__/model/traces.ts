/** The traces of every run, in two files: each has a thread of its own. */
import { expect, it } from 'vitest';
import { laneNamed } from '../helpers/lanes.js';
import { findFailure, report, STEPS, shortest, TRACES } from './check.js';
import { CLOSINGS, LEAVINGS, OFFENCES, VISITS } from './steps.js';

/** `DERPKIT_TRACES` asks for a number of traces, all of them in the first half. */
const ASKED = process.env.DERPKIT_TRACES ? Number(process.env.DERPKIT_TRACES) : undefined;
const LONG = process.env.DERPKIT_LONG ? 10 : 1;

/** The events that must happen in a row of traces. */
const EVENTS = [
  ...[
    'connect',
    'send',
    'forward',
    'flood',
    'split',
    'stall',
    'resume',
    'watch',
    'closePeer',
    'prefer',
    'ping',
    'strange',
  ],
  ...['TCP', 'TLSv1.2', 'TLSv1.3'].map((face) => `over ${face}`),
  ...CLOSINGS.map((how) => `close: ${how}`),
  ...LEAVINGS.map((how) => `leave: ${how}`),
  'leave: unread',
  ...VISITS.map((when) => `visit: ${when}`),
  ...OFFENCES.map((what) => `offend: ${what}`),
  ...['queue_head', 'gone_disconnected', 'unknown_dest', 'unknown_dest_on_fwd'].map((reason) => `dropped: ${reason}`),
];

export function traces(half: 0 | 1): void {
  const count = ASKED ?? (TRACES / 2) * LONG;
  const first = half * count;
  const title = `both planes agree in ${count} traces of ${STEPS} steps`;
  it.skipIf(ASKED !== undefined && half === 1)(title, { timeout: 600_000 * LONG }, async () => {
    const lane = laneNamed('native');
    const indices = Array.from({ length: count }, (_, index) => first + index);
    const { played, tally, failure } = await findFailure(lane, indices);
    if (failure) throw new Error(report(failure, await shortest(lane, failure)));
    expect(played).toBe(count);
    // An event that never happened was not compared.
    if (count >= 100) expect(EVENTS.filter((what) => !tally.has(what))).toEqual([]);
    console.log(
      [...tally]
        .sort()
        .map(([what, times]) => `${what} ${times}`)
        .join(', '),
    );
  });
}
