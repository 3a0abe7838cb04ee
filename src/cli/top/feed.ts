/** The feed of the live page, as `derpkit top` reads it. */
import type { DebugClient } from '../debug-client.js';
import { fits, ListOf, MapOf, orAbsent, type Shape } from '../shapes.js';
import { LONGEST_LINE, linesOf, parsed } from '../stream-parts.js';

/** Figures of a relay at one moment. Counters begin with the relay. */
export interface Sample {
  /** Seconds since 1970. */
  readonly time: number;
  /** Connections of clients, and their keys. */
  readonly connections: number;
  readonly keys: number;
  readonly home: number;
  /** Links of other relays to this one; absent in relays of earlier versions, which count them as clients. */
  readonly links?: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
  /** Packets by the reason why they were dropped; reasons without one are absent. */
  readonly drops: Readonly<Record<string, number>>;
  /** Milliseconds. */
  readonly queueDelay: number;
  readonly admitted: number;
  readonly failed: number;
  readonly refused: number;
  /** Handshakes and logins by the cause for which they failed; causes without one are absent. */
  readonly failures: Readonly<Record<string, number>>;
  /** Seconds of all threads. */
  readonly cpu: number;
  /** Bytes. */
  readonly memory: number;
  /** Relays that it meshes with, and those that a link on demand leads to. */
  readonly mesh: readonly { readonly relay: string; readonly state: string; readonly peers: number }[];
}

/** A client in the list. Rates are in bits a second. */
export interface Busy {
  readonly key: string;
  readonly app: string;
  readonly address: string;
  readonly rxRate: number;
  readonly txRate: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly dropped: number;
  readonly queued: number;
}

const SAMPLE: Shape = {
  ...{ time: 'number', connections: 'number', keys: 'number', home: 'number', links: orAbsent('number') },
  ...{ packetsIn: 'number', packetsOut: 'number', bytesIn: 'number', bytesOut: 'number' },
  ...{ drops: new MapOf('number'), failures: new MapOf('number') },
  ...{ queueDelay: 'number', admitted: 'number', failed: 'number', refused: 'number', cpu: 'number', memory: 'number' },
  mesh: new ListOf({ relay: 'string', state: 'string', peers: 'number' }),
};
const CLIENTS = new ListOf({
  ...{ key: 'string', app: 'string', address: 'string' },
  ...{ rxRate: 'number', txRate: 'number', rxBytes: 'number', txBytes: 'number', dropped: 'number', queued: 'number' },
});

/** What happened between two samples, with the busiest clients meanwhile. */
export interface Span {
  readonly before: Sample;
  readonly now: Sample;
  readonly busiest: readonly Busy[];
}

/**
 * Reads the feed until it ends. Yields a span after each `interval` samples, with the list of clients that belongs to its end;
 * where a relay has so many clients that the list takes longer than a second, with the list before. Rejects where the relay
 * does not answer, or answers something else.
 */
export async function* spansOf(
  client: DebugClient,
  interval: number,
  onOpen: () => void,
): AsyncGenerator<Span, void, void> {
  const answer = await client.get('live/events', {}, 'text/event-stream');
  onOpen();
  let [before, now, busiest, samples, isDue]: State = [undefined, undefined, [], 0, false];
  for await (const { event, data } of eventsOf(linesOf(answer))) {
    if (event === 'busiest') busiest = clientsOf(data);
    if (before && now && isDue && (event === 'busiest' || event === 'figures')) {
      yield { before, now, busiest };
      [before, samples, isDue] = [now, 0, false];
    }
    if (event === 'figures') {
      now = sampleOf(data);
      samples += 1;
      if (before === undefined) [before, samples] = [now, 0];
      isDue = samples >= interval;
    }
  }
}

function sampleOf(data: unknown): Sample {
  const sample = data as Sample;
  if (fits(data, SAMPLE) && !Number.isNaN(new Date(sample.time * 1000).getTime())) return sample;
  throw new Error('the answer has no figures of a relay');
}

function clientsOf(data: unknown): readonly Busy[] {
  if (fits(data, CLIENTS)) return data as Busy[];
  throw new Error('the answer has no list of clients');
}

type State = [Sample | undefined, Sample | undefined, readonly Busy[], number, boolean];

/** Server-sent events whose data is JSON. */
async function* eventsOf(lines: AsyncIterable<string>): AsyncGenerator<{ event: string; data: unknown }, void, void> {
  let [event, data] = ['', ''];
  for await (const line of lines) {
    if (line.startsWith('event: ')) event = line.slice('event: '.length);
    else if (line.startsWith('data: ')) data += line.slice('data: '.length);
    if (data.length > LONGEST_LINE) throw new Error('an event of the answer is too long for a relay');
    if (line !== '') continue;
    if (event !== '') yield { event, data: parsed(data) };
    [event, data] = ['', ''];
  }
}
