import type { Entry } from './exposition.js';

/** A relay of the mesh. */
export interface MeshFigures {
  readonly relay: string;
  readonly state: (typeof STATES)[number];
  /** Keys that the relay has announced. */
  readonly peers: number;
  /** Keys that the relay announced and this relay ignored or forgot. */
  readonly passedOver: number;
  /** Dials in a row that have failed. */
  readonly failures: number;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** A source of relays of the mesh. */
export interface MeshSourceFigures {
  readonly source: string;
  readonly state: 'waiting' | 'good' | 'failing';
  readonly relays: number;
  /** Failures in a row. */
  readonly failures: number;
  /** Milliseconds since 1970. */
  readonly since: number;
}

/** What the mesh says of a relay; each has a row, also where there are none. */
const STATES = ['connected', 'connecting', 'duplicate', 'leaving', 'self', 'twin', 'waiting'] as const;

/** The metrics of the mesh; none for a relay without one. */
export function meshMetrics(links: readonly MeshFigures[], sources: readonly MeshSourceFigures[]): Entry[] {
  if (links.length + sources.length === 0) return [];
  const ofLinks = (name: string, help: string, of: (link: MeshFigures) => number) =>
    gauge(`derpkit_mesh_link_${name}`, help, 'relay', new Map(links.map((link) => [link.relay, of(link)])));
  const ofSources = (name: string, help: string, of: (source: MeshSourceFigures) => number) =>
    gauge(`derpkit_mesh_source_${name}`, help, 'source', new Map(sources.map((each) => [each.source, of(each)])));
  const states = new Map(STATES.map((state) => [state, links.filter((link) => link.state === state).length]));
  const isUp = ({ state }: MeshFigures) => state === 'connected' || state === 'leaving';
  // There is to be no link to this relay itself, nor to a second name of another: a link that is down is an alert.
  const wanted = links.filter(({ state }) => state !== 'self' && state !== 'duplicate');
  return [
    gauge('derpkit_mesh_links', 'Relays of the mesh, by the state of the link.', 'state', states),
    gauge(
      'derpkit_mesh_link_up',
      'Whether the relay is connected; without this relay itself and further names of another one.',
      'relay',
      new Map(wanted.map((link) => [link.relay, isUp(link) ? 1 : 0])),
    ),
    ofLinks('peers', 'Node keys that the relay has announced.', ({ peers }) => peers),
    ofLinks('failures', 'Dials in a row that have failed.', ({ failures }) => failures),
    ofLinks('changed_timestamp_seconds', 'Since when the link is in its state.', ({ since }) => since / 1000),
    ...(sources.length === 0
      ? []
      : [
          ofSources('up', 'Whether the last answer of the source was one.', ({ state }) => (state === 'good' ? 1 : 0)),
          ofSources('relays', 'Relays that the source names, or has named last.', ({ relays }) => relays),
          ofSources('failures', 'Answers in a row that have failed.', ({ failures }) => failures),
          ofSources('changed_timestamp_seconds', 'Since when the source is in its state.', ({ since }) => since / 1000),
        ]),
  ];
}

function gauge(name: string, help: string, label: string, rows: ReadonlyMap<string, number>): Entry {
  const table = [...rows].map(([row, value]) => ({ of: [row], value }));
  return [name, { kind: 'table', type: 'gauge', labels: [label], rows: table }, help];
}
