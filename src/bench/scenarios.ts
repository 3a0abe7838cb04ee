/** The scenarios, one for each row of the table, and the profiles that select them. */

import { counted } from '../words/counted.js';
import type { FigureKey } from './figures.js';

export type Transport = 'plain' | 'tls';

export type Family =
  | 'relay'
  | 'fan-in'
  | 'fan-out'
  | 'overload'
  | 'slow'
  | 'narrow'
  | 'idle'
  | 'storm'
  | 'logins'
  | 'restart'
  | 'stun'
  | 'mesh'
  | 'workers';

/** One row of the table: a command of the load generator, and its environment. */
export interface Scenario {
  /** Unique; includes the transport: `relay-10x1400-20k/tls`. */
  readonly id: string;
  readonly family: Family;
  readonly transport: Transport;
  readonly title: string;
  /** The generator's command and flags, without the target. */
  readonly args: readonly string[];
  /** The figure that the picture compares. */
  readonly headline: FigureKey;
  /** Threads that compete for the relay's core, so that the load exceeds what the relay can carry. */
  readonly burners?: number;
  /** The link to the receiver, in network namespaces of their own. */
  readonly link?: NarrowLink;
  /** Numbers of workers that are compared with each other, on all cores. */
  readonly workers?: readonly number[];
}

/** A link that takes less than is sent over it. */
export interface NarrowLink {
  /** In Mbit/s. */
  readonly rate: number;
  /** In KiB: what the link's own queue holds. */
  readonly queue: number;
  /** The congestion control of the relay's sockets. */
  readonly congestion: 'cubic' | 'bbr';
}

/** Which scenarios are measured, for how long, and how often. */
export interface Profile {
  readonly name: 'tiny' | 'quick' | 'default' | 'full' | 'narrow';
  readonly rounds: number;
  /** Seconds of the measured window, and of the load before it. */
  readonly seconds: number;
  readonly warmUp: number;
  /** How often a disturbed run is repeated, at most. */
  readonly retries: number;
  /** Seconds after the first run in which the last run may begin. */
  readonly limit?: number;
  readonly scenarios: readonly Scenario[];
}

type Bare = Omit<Scenario, 'id' | 'transport'> & { readonly name: string };

const PACES = [
  { name: '5k', title: '5,000 pps', args: ['--rate', '5000'] },
  { name: '20k', title: '20,000 pps', args: ['--rate', '20000'] },
  { name: '100k', title: '100,000 pps in batches of 8', args: ['--rate', '100000', '--batch', '8'] },
  { name: 'flood', title: 'flood', args: ['--flood'] },
] as const;
type Pace = (typeof PACES)[number]['name'];

/** In a flood most packets are dropped, so the number delivered says more than the cost of each. */
const headlineOf = (pace: Pace): FigureKey => (pace === 'flood' ? 'delivered' : 'cpuDelivered');

const paceOf = (name: Pace) => PACES.find((pace) => pace.name === name) as (typeof PACES)[number];

function relay(pairs: number, size: number, pace: Pace): Bare {
  const { title, args } = paceOf(pace);
  return {
    name: `relay-${pairs}x${size}-${pace}`,
    family: 'relay',
    title: `${counted(pairs, 'pair')}, ${size} B, ${title}`,
    args: ['pairs', '--pairs', String(pairs), '--size', String(size), ...args],
    headline: headlineOf(pace),
  };
}

function fanIn(pace: Pace, senders = 50): Bare {
  const { title, args } = paceOf(pace);
  return {
    name: `fan-in-${senders}-${pace}`,
    family: 'fan-in',
    title: `${senders} senders to 1, 1400 B, ${title}`,
    args: ['fan-in', '--senders', String(senders), ...args],
    headline: headlineOf(pace),
  };
}

function fanOut(receivers: number, pace: Pace): Bare {
  const { title, args } = paceOf(pace);
  return {
    name: `fan-out-${receivers}-${pace}`,
    family: 'fan-out',
    title: `1 sender to ${receivers.toLocaleString('en')}, 1400 B, ${title}`,
    args: ['fan-out', '--receivers', String(receivers), ...args],
    headline: headlineOf(pace),
  };
}

/** Beside three burners, the relay has a quarter of its core; the generator has its core alone. */
function overload(step: number): Bare {
  return {
    name: 'overload-3x',
    family: 'overload',
    title: '3 times the peak, relay on a quarter of a core',
    args: ['overload', '--step', String(step)],
    headline: 'goodput',
    burners: 3,
  };
}

const slow: Bare = {
  name: 'slow',
  family: 'slow',
  title: '1 sender to 10, one of which reads slowly',
  args: ['slow'],
  headline: 'cpuDelivered',
};

/** A bulk sender at twice the link's rate, and a sparse sender beside it, to one receiver. */
function narrow(link: NarrowLink): Bare {
  const { rate, queue, congestion } = link;
  return {
    name: `narrow-${rate}m-${queue}k-${congestion}`,
    family: 'narrow',
    title: `${rate} Mbit/s link, ${queue} KiB queue, ${congestion}; 2× offered`,
    args: ['narrow', '--link', String(rate * 1e6)],
    headline: 'ageP50',
    link,
  };
}

/** Every link of {@link narrow}. */
function narrowLinks(): Bare[] {
  const congestions = ['cubic', 'bbr'] as const;
  return [10, 1, 100].flatMap((rate) =>
    congestions.flatMap((congestion) => [32, 256].map((queue) => narrow({ rate, queue, congestion }))),
  );
}

function idle(clients: number, settle: number): Bare {
  const more = ['--touch', '10', '--storm', String(clients)];
  return {
    name: `idle-${clients}`,
    family: 'idle',
    title: `${clients.toLocaleString('en')} idle clients`,
    args: ['idle', '--clients', String(clients), '--primer', '50', '--settle', String(settle), ...more],
    headline: 'bytesSettled',
  };
}

const storm: Bare = {
  name: 'storm',
  family: 'storm',
  title: 'clients that log in and leave',
  args: ['storm'],
  headline: 'cpuLogin',
};

/** Logins at the rate of an ordinary day, of a busy one, and of a fleet that changes relays. */
function logins(rate: number): Bare {
  return {
    ...storm,
    name: `logins-${rate}`,
    family: 'logins',
    title: `${rate.toLocaleString('en')} clients a second log in and leave`,
    args: ['storm', '--rate', String(rate)],
  };
}

function restart(clients: number): Bare {
  return {
    name: `restart-${clients}`,
    family: 'restart',
    title: `${clients.toLocaleString('en')} clients that return at once`,
    args: ['restart', '--clients', String(clients)],
    headline: 'back',
  };
}

const stun: Bare = {
  name: 'stun',
  family: 'stun',
  title: '5,000 STUN requests a second',
  args: ['stun'],
  headline: 'cpuAnswer',
};

/** Two relays of one kind that mesh over TLS; both run on the relay's core. */
function mesh(pace: Exclude<Pace, 'flood'>, pairs = 10): Bare {
  const { title, args } = paceOf(pace);
  return {
    name: `mesh-${pairs}x1400-${pace}`,
    family: 'mesh',
    title: `across two relays, ${pairs} pairs, 1400 B, ${title}`,
    args: ['mesh', '--pairs', String(pairs), ...args],
    headline: 'cpuDelivered',
  };
}

/** Only the native plane has a setting for this. */
function workers(pairs: number, pace: Pace): Bare {
  const { title, args } = paceOf(pace);
  return {
    name: 'workers',
    family: 'workers',
    title: `one worker and two, ${pairs} pairs, 1400 B, ${title}`,
    args: ['pairs', '--pairs', String(pairs), ...args],
    headline: 'cpuDelivered',
    workers: [1, 2],
  };
}

/** Families with a measured window. */
const WINDOWED = new Set<Family>([
  ...([
    'relay',
    'fan-in',
    'fan-out',
    'overload',
    'slow',
    'narrow',
    'storm',
    'logins',
    'stun',
    'mesh',
    'workers',
  ] as const),
]);

function on(transport: Transport, bare: readonly Bare[], seconds: number, warmUp: number): Scenario[] {
  return bare.map(({ name, args, ...rest }) => ({
    ...rest,
    id: `${name}/${transport}`,
    transport,
    args: WINDOWED.has(rest.family) ? [...args, '--seconds', String(seconds), '--warm-up', String(warmUp)] : args,
  }));
}

/** Seconds until the second look. After two seconds only Node's garbage collection still moves the figure. */
const SETTLE = 2;
const SIZES = [100, 1400, 16384];
const PAIRS = [1, 10, 100];

/** A profile, with individual values replaced. */
export function profileOf(
  name: Profile['name'],
  given: { readonly rounds?: number | undefined; readonly seconds?: number | undefined } = {},
): Profile {
  const { plain, tls, tlsFirst = false, ...base } = PROFILES[name];
  const { rounds = base.rounds, seconds = base.seconds } = given;
  const scenarios = [on('plain', plain, seconds, base.warmUp), on('tls', tls, seconds, base.warmUp)];
  return { name, ...base, rounds, seconds, scenarios: (tlsFirst ? scenarios.toReversed() : scenarios).flat() };
}

const LOGINS = [50, 500, 2000].map(logins);
const core = [relay(10, 1400, '20k'), relay(10, 1400, '100k'), relay(10, 1400, 'flood')];

const PROFILES: Readonly<
  Record<
    Profile['name'],
    Omit<Profile, 'name' | 'scenarios'> & {
      readonly plain: readonly Bare[];
      readonly tls: readonly Bare[];
      /** Relays speak TLS, and a slow machine may not get to the last rows in time. */
      readonly tlsFirst?: true;
    }
  >
> = {
  /** Checks that everything works; its figures mean nothing. */
  tiny: {
    rounds: 1,
    seconds: 0.2,
    warmUp: 0.05,
    retries: 0,
    plain: [
      ...[relay(2, 100, '5k'), fanIn('5k', 5), fanOut(10, '5k'), overload(0.05), slow, idle(50, 0.1), storm],
      ...[restart(50), stun, workers(2, '5k')],
    ],
    tls: [relay(2, 16384, '5k'), storm, idle(50, 0.1), mesh('5k', 2)],
  },
  quick: {
    rounds: 1,
    seconds: 0.8,
    warmUp: 0.3,
    retries: 0,
    limit: 105,
    tlsFirst: true,
    plain: [...core, fanIn('20k'), fanOut(1000, '20k'), overload(0.1), slow, idle(500, 0.5), storm, restart(500), stun],
    tls: [relay(10, 1400, '20k'), relay(10, 1400, '100k'), storm, idle(500, 0.5)],
  },
  default: {
    rounds: 5,
    seconds: 1.6,
    warmUp: 0.5,
    retries: 2,
    limit: 1700,
    plain: [
      ...[...core, relay(1, 100, '5k'), relay(100, 100, '100k'), relay(10, 16384, '5k')],
      ...[fanIn('20k'), fanOut(50, '20k'), fanOut(1000, '20k'), overload(0.2), slow, idle(1000, SETTLE)],
      ...[storm, ...LOGINS, restart(2000), stun, workers(100, '100k')],
    ],
    tls: [
      ...[...core, relay(100, 100, '100k'), fanIn('20k'), fanOut(50, '20k'), overload(0.2), idle(1000, SETTLE)],
      ...[storm, ...LOGINS, restart(2000), mesh('5k'), mesh('20k')],
    ],
  },
  /** Needs root on Linux: it makes network namespaces. */
  narrow: {
    rounds: 3,
    seconds: 10,
    warmUp: 5,
    retries: 1,
    plain: narrowLinks(),
    tls: [narrow({ rate: 10, queue: 32, congestion: 'cubic' }), narrow({ rate: 10, queue: 256, congestion: 'bbr' })],
  },
  full: {
    rounds: 5,
    seconds: 5,
    warmUp: 1,
    retries: 2,
    plain: [...everything(), stun, workers(100, '100k')],
    tls: [...everything(), mesh('5k'), mesh('20k'), mesh('100k')],
  },
};

function everything(): Bare[] {
  const paces = PACES.map(({ name }) => name);
  return [
    ...PAIRS.flatMap((pairs) => SIZES.flatMap((size) => paces.map((pace) => relay(pairs, size, pace)))),
    ...paces.map((pace) => fanIn(pace)),
    ...[50, 1000].flatMap((receivers) => paces.map((pace) => fanOut(receivers, pace))),
    ...[overload(1), slow, idle(1000, 5), idle(8000, 5), storm, ...LOGINS, restart(2000)],
  ];
}

/** The scenarios whose id, family or transport is one of the words, or whose id begins with one. */
export function matching(scenarios: readonly Scenario[], words: readonly string[]): Scenario[] {
  const fits = ({ id, family, transport }: Scenario, word: string) =>
    word === family || word === transport || id === word || id.startsWith(word);
  return scenarios.filter((scenario) => words.length === 0 || words.some((word) => fits(scenario, word)));
}
