/** The mesh on the page `/debug/`: each source and each link, with its state, since when, and how often it has failed. */
import type { MeshSourceStatus } from '../control/mesh/discovery.js';
import type { MeshStatus } from '../control/mesh/status.js';
import { counted } from '../words/counted.js';

/** `now` is milliseconds since 1970. */
export function meshFacts(
  links: readonly MeshStatus[],
  sources: readonly MeshSourceStatus[],
  now: number,
): [name: string, value: string][] {
  return [
    ...sources.map((source): [string, string] => [`Mesh source ${source.source}`, sourceFact(source, now)]),
    ...links.map((link): [string, string] => [`Mesh with ${link.relay}`, linkFact(link, now)]),
  ];
}

function sourceFact({ state, since, failures, relays, trouble }: MeshSourceStatus, now: number): string {
  const named = counted(relays, 'relay');
  if (state === 'waiting') return 'has not answered yet';
  return state === 'good' ? named : `${failed(failures, since, now)}: ${trouble}; the last answer holds: ${named}`;
}

function linkFact({ state, since, failures, peers, passedOver, trouble }: MeshStatus, now: number): string {
  const holds = `${counted(peers, 'peer')}${passedOver > 0 ? `, ${passedOver} passed over` : ''}`;
  switch (state) {
    case 'connected':
      return `connected, ${holds}`;
    case 'leaving':
      return `connected, ${holds}; no source names it any more`;
    case 'self':
      return 'this relay itself';
    case 'twin':
      return `another relay with the key of this one, for ${span(since, now)}: give each relay a key of its own`;
    case 'duplicate':
      return trouble;
    default:
      return `${state}${failures > 0 ? `, ${failed(failures, since, now)}` : ''}${trouble && `: ${trouble}`}`;
  }
}

/** How often something has failed in a row, and since when. Times are milliseconds since 1970. */
export function failed(failures: number, since: number, now: number): string {
  return `failed ${failures === 1 ? 'once' : `${failures} times`} in ${span(since, now)}`;
}

export function span(since: number, now: number): string {
  return `${Math.max(0, Math.round((now - since) / 1000))} s`;
}
