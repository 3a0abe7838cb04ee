/** Keys on demand on the page `/debug/` and in the metrics. */
import type { RelayLinkStatus } from '../control/on-demand/relay-link.js';
import { counted } from '../words/counted.js';
import { failed, span } from './mesh-facts.js';
import type { OnDemand } from './on-demand.js';

/** What the metrics show; `undefined` if the relay does not find keys on demand. */
export function regionFigures(onDemand: OnDemand | undefined) {
  if (!onDemand) return undefined;
  const { keys, routed, links, counts, directory } = onDemand.status();
  return { keys, routed, links, counts: { ...counts }, directory: { ...directory, counts: { ...directory.counts } } };
}

/** `now` is milliseconds since 1970. */
export function regionFacts(onDemand: OnDemand | undefined, now: number): [name: string, value: string][] {
  if (!onDemand) return [];
  const { keys, routed, links, directory } = onDemand.status();
  const { state, server, failures, trouble, since, twin } = directory;
  const failing = `${failed(failures, since, now)}: ${trouble}`;
  return [
    [
      'Directory',
      failures > 0 ? failing : `${state}${server && `, ${server}`}, ${counted(directory.keys, 'key')} announced`,
    ],
    ...(twin ? [twinFact(twin)] : []),
    ['Keys on demand', `${keys} of other relays, ${routed} of them with a route`],
    ...links.map((link): [string, string] => [`Link on demand to ${link.address}`, linkFact(link, now)]),
  ];
}

function twinFact(at: string): [name: string, value: string] {
  return ['Twin', `another relay with the key of this one, at ${at}: give each relay a key of its own`];
}

function linkFact({ state, since, keys, failures, trouble, relay }: RelayLinkStatus, now: number): string {
  if (state === 'connected') return `connected for ${span(since, now)}, ${counted(keys, 'key')}, ${relay}`;
  return `${state}${failures > 0 ? `, failed ${counted(failures, 'time')}: ${trouble}` : ''}, ${relay}`;
}
