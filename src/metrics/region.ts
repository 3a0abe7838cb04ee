/** Metrics of a relay that finds keys on demand: its connection to the directory, the keys it holds, and its links. Pure. */
import { bare, type Entry, int, labels } from './exposition.js';

export interface RegionFigures {
  /** Keys of other relays that are held, and those of them that have a route. */
  readonly keys: number;
  readonly routed: number;
  readonly links: readonly { readonly state: (typeof STATES)[number] }[];
  readonly counts: Readonly<Record<string, number>>;
  readonly directory: {
    readonly state: string;
    readonly failures: number;
    readonly keys: number;
    readonly watched: number;
    /** Milliseconds; absent while there is no connection. */
    readonly roundTrip: number | undefined;
    readonly counts: Readonly<Record<string, number>>;
  };
}

const STATES = ['connected', 'dialling', 'idle', 'waiting'] as const;
/** What becomes of questions to the directory. */
const OUTCOMES = ['crowded', 'down', 'found', 'late', 'nowhere'] as const;

export function regionMetrics({ keys, routed, links, counts, directory }: RegionFigures): Entry[] {
  const states = STATES.map((state) => [state, links.filter((link) => link.state === state).length] as const);
  const outcomes = OUTCOMES.map((outcome) => [outcome, directory.counts[outcome] ?? 0] as const);
  const isUp = directory.state === 'up' || directory.state === 'syncing';
  const { roundTrip } = directory;
  return [
    [
      'gauge_derpkit_directory_up',
      bare(isUp ? 1 : 0),
      'Whether the relay is connected to the directory of its region.',
    ],
    ['gauge_derpkit_directory_failures', bare(directory.failures), 'Attempts in a row to connect that have failed.'],
    ['gauge_derpkit_directory_keys', bare(directory.keys), 'Keys of this relay that it announces.'],
    ['gauge_derpkit_directory_watched_keys', bare(directory.watched), 'Keys of other relays that it is told of.'],
    ...(roundTrip === undefined
      ? []
      : [
          [
            'gauge_derpkit_directory_round_trip_seconds',
            bare(roundTrip / 1000),
            'The last round trip to the directory.',
          ] as const,
        ]),
    [
      'counter_derpkit_directory_finds_total',
      labels('outcome', Object.fromEntries(outcomes)),
      'Questions about where a key is, by outcome.',
    ],
    [
      'counter_derpkit_directory_refused_total',
      int(directory.counts.refused ?? 0),
      'Messages of the directory that no relay with this mesh key has sealed.',
    ],
    ['gauge_derpkit_remote_keys', bare(keys), 'Keys of other relays that clients here talk with.'],
    ['gauge_derpkit_remote_keys_routed', bare(routed), 'Keys of other relays that have a route.'],
    [
      'gauge_derpkit_on_demand_links',
      labels('state', Object.fromEntries(states)),
      'Relays that announce themselves, by the state of the link.',
    ],
    [
      'counter_derpkit_on_demand_total',
      labels('what', Object.fromEntries(Object.entries(counts).sort())),
      'What has become of lookups, remote keys and links on demand.',
    ],
  ];
}
