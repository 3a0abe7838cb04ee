/** Plays a trace on a plane that asks for keys, answers as the trace says, and holds the plane to the model. */
import { createHash } from 'node:crypto';
import { pingFrame } from '../../src/protocol/frame.js';
import { type KeyPair, keyPairOf, type NodeKey, readNodeKey } from '../../src/protocol/key.js';
import { FrameType, KEY_LENGTH } from '../../src/protocol/wire.js';
import { type DerpClient, describeFrame } from '../helpers/client.js';
import type { Lane } from '../helpers/lanes.js';
import { commandsDone, linkedTo, lookupPolicy } from '../helpers/lookups.js';
import type { OtherEnd } from '../helpers/other-relay.js';
import { PlaneHarness } from '../helpers/plane-harness.js';
import { eventually } from '../helpers/wait.js';
import { CLIENTS, type Link, type LookupStep, NAMES, type Name } from './lookup-steps.js';
import { BOUNDS, type Due, LookupWorld, type Receiver, rowOf } from './lookup-world.js';
import { type Kind, type Label, labelled, labelOf } from './packet.js';

const POLICY = lookupPolicy(
  { burst: BOUNDS.burst, keys: BOUNDS.keys, keysPerAddress: BOUNDS.share, misses: BOUNDS.misses },
  { queueDepth: BOUNDS.depth, deadlines: { write: 0, meshWrite: 0, linkWrite: 0 }, tcp: { userTimeout: 0 } },
);
const LENGTH = 100;

const KEYS = new Map(
  NAMES.map((name) => [name, keyPairOf(createHash('sha256').update(`derpkit lookup model ${name}`).digest())]),
);
const NAME_OF = new Map([...KEYS].map(([name, { publicKey }]) => [publicKey, name]));

/** What came: in order within each row. */
interface Receipt {
  readonly row: string;
  readonly what: string;
}

/** Plays it; throws where the plane does not do what the model says. Returns how often things happened. */
export async function playLookups(
  lane: Lane,
  steps: readonly LookupStep[],
  patience: number,
): Promise<ReadonlyMap<string, number>> {
  const harness = await PlaneHarness.open(lane, POLICY);
  try {
    const play = await LookupPlay.open(harness, patience);
    for (const step of steps) await play.step(step);
    await play.end();
    return play.tally;
  } finally {
    await harness.plane.shutdown();
  }
}

class LookupPlay {
  readonly tally = new Map<string, number>();
  private readonly world = new LookupWorld();
  private readonly clients = new Map<Name | 'M', DerpClient>();
  private readonly numbers = new Map<Name, number>();
  private readonly links = new Map<Link, OtherEnd>();
  private number = 0;
  private sequence = 0;

  private constructor(
    private readonly harness: PlaneHarness,
    private readonly patience: number,
  ) {}

  static async open(harness: PlaneHarness, patience: number): Promise<LookupPlay> {
    const play = new LookupPlay(harness, patience);
    for (const link of [1, 2] as const) play.links.set(link, await linkedTo(harness, link));
    const { client } = await harness.admitted({}, { mesh: true, receiveLimit: null });
    play.clients.set('M', client);
    return play;
  }

  async step(step: LookupStep): Promise<void> {
    const dues = await this.act(step);
    if (!dues) return;
    this.tally.set(step.do, (this.tally.get(step.do) ?? 0) + 1);
    await commandsDone(this.harness);
    await this.settle(dues);
    // A source that is gone before it was reported need not be.
    await this.reported('sources', this.harness.sources, this.world.heard);
  }

  /** The plane ends; all counters and events are what the model says. */
  async end(): Promise<void> {
    const { plane, lookups, sources } = this.harness;
    await this.reported('lookups', lookups, this.world.lookups);
    same('lookups', names(lookups), [...this.world.lookups].sort());
    same('sources', names(sources), [...this.world.heard].sort());
    await plane.shutdown();
    this.world.end();
    const counters = Object.entries(plane.counters.readAll()).filter(
      ([name, count]) => /^(lookups|packets_dropped|packets_forwarded_out)/.test(name) && count > 0,
    );
    const counted = [...this.world.counts].filter(([name]) => name !== 'lookups:inherited');
    same('counters', counters.sort(), counted.sort());
    for (const [name, count] of this.world.counts) this.tally.set(name, count);
    this.tally.set('heard', this.world.heard.length);
  }

  private async reported(what: string, keys: readonly NodeKey[], wanted: readonly Name[]): Promise<void> {
    const enough = () => keys.length >= wanted.length;
    await eventually(enough, () => `${wanted.length} ${what}, not ${keys.length}`, this.patience);
  }

  /** Does a step. Returns what is due then, or undefined if the step makes no sense here. */
  private async act(step: LookupStep): Promise<Due[] | undefined> {
    const { world } = this;
    const { plane } = this.harness;
    switch (step.do) {
      case 'connect':
        return this.connect(step.name);
      case 'close':
        return this.close(step.name);
      case 'send': {
        const client = this.clients.get(step.name);
        if (!client) return undefined;
        return this.packets(step).flatMap(({ sent, packet }) => {
          client.sendPacket(keyOf(step.to), packet);
          return world.send(sent);
        });
      }
      case 'arrive': {
        const mesh = this.clients.get('M') as DerpClient;
        return this.packets({ ...step, sender: 0 }).flatMap(({ sent, packet }) => {
          mesh.forwardPacket(keyOf(step.name), keyOf(step.to), packet);
          return world.arrive(sent);
        });
      }
      case 'route':
        plane.route(keyOf(step.name), step.link);
        return world.route(step.name, step.link);
      case 'rush':
        return this.rush(step.to, step.link);
      case 'missing':
        plane.missing(keyOf(step.name));
        return world.missing(step.name);
      case 'unroute':
        plane.route(keyOf(step.name), null);
        world.unroute(step.name);
        return [];
      case 'gone':
        plane.gone(keyOf(step.name), 0);
        return world.gone(step.name);
      case 'cut':
        return this.cut(step.link);
      case 'policy':
        plane.policy(this.harness.policy(step.on ? POLICY : { ...POLICY, lookups: null }));
        return world.policy(step.on);
    }
  }

  private async connect(name: Name): Promise<Due[] | undefined> {
    if (!CLIENTS.some((client) => client === name) || this.world.isHere(name)) return undefined;
    this.harness.logins.length = 0;
    const { client } = await this.harness.admitted({ keys: KEYS.get(name) as KeyPair });
    this.number += 1;
    this.numbers.set(name, this.number);
    this.clients.set(name, client);
    this.world.connect(name, this.number);
    return [];
  }

  private async close(name: Name): Promise<Due[] | undefined> {
    const client = this.clients.get(name);
    if (!client) return undefined;
    const [login] = this.harness.logins.filter(({ key }) => key === client.key);
    const ends = this.harness.ends.size;
    this.clients.delete(name);
    await client.close();
    await eventually(
      () => (login ? this.harness.ends.has(login.id) : this.harness.ends.size > ends),
      `the end of ${name}`,
      this.patience,
    );
    this.world.close(name);
    return [];
  }

  private async cut(link: Link): Promise<Due[] | undefined> {
    if (!this.world.isOpen(link)) return undefined;
    const ends = this.harness.told.length;
    this.links.delete(link);
    this.harness.plane.hangUp(link);
    await eventually(() => this.harness.told.length > ends, 'the end of a link', this.patience);
    this.world.cut(link);
    return [];
  }

  /** What a client sends before, while and after the answer arrives: all of it takes the link, in order. */
  private async rush(to: Name, link: Link): Promise<Due[] | undefined> {
    const { world } = this;
    const [name, client] = [...this.clients].find(([other]) => other !== 'M') ?? [];
    const waiting = world.waiting(to, 'data');
    if (!client || waiting === undefined || waiting + 2 > BOUNDS.depth) return undefined;
    if (world.isHere(to) || !world.isOpen(link)) return undefined;
    const dues = world.route(to, link);
    this.packets({ name: name as Name, to, kind: 'data', count: 4 }).forEach(({ sent, packet }, index) => {
      if (index === 2) this.harness.plane.route(keyOf(to), link);
      client.sendPacket(keyOf(to), packet);
      dues.push(...world.send(sent));
    });
    return dues;
  }

  private packets(step: {
    readonly name: Name;
    readonly to: Name;
    readonly kind: Kind;
    readonly count: number;
    readonly sender?: number;
  }) {
    const { name, to, kind, count } = step;
    const sender = step.sender ?? (this.numbers.get(name) as number);
    return Array.from({ length: count }, () => {
      this.sequence += 1;
      const packet = labelled({ sender, sequence: this.sequence, kind }, LENGTH);
      return { sent: { source: name, sender, to, kind, what: String(this.sequence) }, packet };
    });
  }

  /** Everything that is due comes, and nothing else does. */
  private async settle(dues: readonly Due[]): Promise<void> {
    const of = (at: Receiver) => dues.filter((due) => due.at === at);
    const clients = [...this.clients].map(([name, client]) => this.settleClient(name, client, of(name)));
    const links = [...this.links].map(([link, end]) => this.settleLink(link, end, of(link)));
    await Promise.all([...clients, ...links]);
  }

  private async settleClient(name: Name | 'M', client: DerpClient, due: readonly Due[]): Promise<void> {
    const came: Receipt[] = [];
    while (came.length < due.length) came.push(receipt(name, await this.nextOf(name, client, due, came)));
    for (const frame of await client.fence(this.patience)) came.push(receipt(name, frame));
    same(`what ${name} was sent`, byRow(came), byRow(due));
  }

  private nextOf(name: string, client: DerpClient, due: readonly Receipt[], came: readonly Receipt[]) {
    return client.next(this.patience).catch((cause: Error) => {
      const missing = `${JSON.stringify(byRow(due))} is due to ${name}, and ${JSON.stringify(byRow(came))} came`;
      throw new Error(`${missing}: ${cause.message}`, { cause });
    });
  }

  private async settleLink(link: Link, end: OtherEnd, due: readonly Due[]): Promise<void> {
    const came: Receipt[] = [];
    end.send(pingFrame(Buffer.alloc(8)));
    // The pong may overtake packets.
    for (let isBack = false; !isBack || came.length < due.length; ) {
      const { type, body } = await end.frame(this.patience);
      if (type === FrameType.Pong) isBack = true;
      else if (type === FrameType.ForwardPacket) came.push(forwarded(body));
      else throw new Error(`link ${link} has brought a frame of type ${type}`);
    }
    same(`what link ${link} has brought`, byRow(came), byRow(due));
  }
}

function receipt(name: string, frame: Awaited<ReturnType<DerpClient['next']>>): Receipt {
  if (frame.type === 'RecvPacket') return packetFrom(frame.source, name, frame.packet);
  if (frame.type !== 'PeerGone') return { row: describeFrame(frame), what: '' };
  return { row: `${nameOf(frame.key)} ${frame.reason === 1 ? 'is not here' : 'gone'}`, what: '' };
}

function forwarded(body: Buffer): Receipt {
  return packetFrom(readNodeKey(body), nameOf(readNodeKey(body, KEY_LENGTH)), body.subarray(2 * KEY_LENGTH));
}

function packetFrom(source: NodeKey, to: string, packet: Buffer): Receipt {
  const { sender, sequence, kind } = labelOf(packet) as Label;
  return { row: rowOf(nameOf(source), sender, to, kind), what: String(sequence) };
}

/** Rows in any order, each with what it holds in order. */
function byRow(receipts: readonly Receipt[]): [string, string[]][] {
  const rows = new Map<string, string[]>();
  for (const { row, what } of receipts) rows.set(row, [...(rows.get(row) ?? []), what]);
  return [...rows].sort();
}

function same(what: string, found: unknown, wanted: unknown): void {
  const [one, two] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (one !== two) throw new Error(`${what}: ${one}, not ${two}`);
}

function keyOf(name: Name): NodeKey {
  return (KEYS.get(name) as { publicKey: NodeKey }).publicKey;
}

function nameOf(key: NodeKey): string {
  return NAME_OF.get(key) ?? '?';
}

function names(keys: readonly NodeKey[]): string[] {
  return keys.map(nameOf).sort();
}
