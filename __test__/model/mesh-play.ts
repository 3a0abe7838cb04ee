/** Plays a trace on two relays that mesh, and holds them to the model. */

import { createHash } from 'node:crypto';
import { freePorts } from '../../src/bench/ports.js';
import { DROP_REASONS, PACKET_KINDS } from '../../src/plane/counters.js';
import type { DataPlane } from '../../src/plane/plane.js';
import { type KeyPair, keyPairOf, type NodeKey } from '../../src/protocol/key.js';
import { DerpClient, describeFrame, type Frame } from '../helpers/client.js';
import type { Lane } from '../helpers/lanes.js';
import { TestRelay } from '../helpers/relay.js';
import { eventually } from '../helpers/wait.js';
import { type MeshStep, NAMES, type Name, NODES, type Node } from './mesh-steps.js';
import { type Due, MeshWorld, other } from './mesh-world.js';
import { type Kind, type Label, labelled, labelOf } from './packet.js';

/** As in the model of one relay: no deadline may fall into a trace, and everybody is told who is not here. */
const POLICY = {
  deadlines: { write: 0, meshWrite: 0, linkWrite: 0 },
  notHere: { burst: 1e6, perSecond: 0 },
  tcp: { userTimeout: 0 },
};
/** Packets that one connection may be owed before it is asked for them: fewer than a queue holds. */
const MOST_DUE = 24;
const MOST_BYTES = 192 << 10;

const KEYS = new Map(NAMES.map((name) => [name, keysOf(name)]));
const NAME_OF = new Map([...KEYS].map(([name, { publicKey }]) => [publicKey, name]));

interface Connection {
  readonly client: DerpClient;
  readonly number: number;
  /** What has to come, by row. */
  readonly due: Map<string, string[]>;
  dueBytes: number;
}

/** Stands between a relay and its plane. */
export type Meddle = (plane: DataPlane) => Partial<DataPlane>;

/** Plays it; throws where the relays do not do what the model says. Returns how often steps of each kind did something. */
export async function playMesh(
  lane: Lane,
  steps: readonly MeshStep[],
  patience: number,
  meddle?: Meddle,
): Promise<Map<string, number>> {
  const play = await MeshPlay.open(lane, patience, meddle);
  try {
    for (const step of steps) await play.step(step);
    await play.settle();
    play.balance();
    return play.tally;
  } finally {
    await play.close();
  }
}

class MeshPlay {
  readonly tally = new Map<string, number>();
  private readonly world = new MeshWorld();
  private readonly connections: readonly [Map<Name, Connection>, Map<Name, Connection>] = [new Map(), new Map()];
  private readonly gates: readonly [Gate, Gate] = [new Gate(), new Gate()];
  private readonly sequences = new Map<number, number>();
  private relays: readonly [TestRelay, TestRelay] | undefined;
  private number = 0;

  private constructor(private readonly patience: number) {}

  static async open(lane: Lane, patience: number, meddle?: Meddle): Promise<MeshPlay> {
    const play = new MeshPlay(patience);
    const ports = (await freePorts(2)) as [number, number];
    const relays = NODES.map((node) => {
      const select: Lane['select'] = () => {
        const selected = lane.select();
        return {
          ...selected,
          create: (options, events) => play.gates[node].around(selected.create(options, events), meddle),
        };
      };
      return new TestRelay(
        { ...lane, select },
        {
          policy: POLICY,
          meshTimes: { connect: 10_000, retry: 5, jitter: 0 },
          config: { listen: `127.0.0.1:${ports[node]}`, meshWith: [`127.0.0.1:${ports[other(node)]}`] },
        },
      );
    });
    play.relays = relays as [TestRelay, TestRelay];
    await Promise.all(relays.map(({ relay }) => relay.start()));
    await play.known();
    return play;
  }

  async step(step: MeshStep): Promise<void> {
    const { node } = step;
    switch (step.do) {
      case 'connect':
        if (step.name === 'N' || this.world.isAt(node, step.name)) return;
        await this.settle();
        await this.connect(node, step.name);
        break;
      case 'close': {
        const connection = this.connections[node].get(step.name);
        if (!connection) return;
        await this.settle();
        this.connections[node].delete(step.name);
        await connection.client.close();
        this.owe(this.world.close(node, step.name));
        break;
      }
      case 'send':
        if (!this.connections[node].has(step.name)) return;
        for (let count = 0; count < step.count; count++)
          await this.send(node, step.name, step.to, step.kind, step.length);
        this.did(this.world.isAt(node, step.to) ? 'send here' : 'send elsewhere');
        return;
      case 'cut': {
        if (!this.world.hearsOfOther(node)) return;
        await this.settle();
        this.gates[node].hold();
        const { dataPlane } = this.relay(node);
        dataPlane.hangUp((await dataPlane.snapshot(0, 0)).links[0] as number);
        this.owe(this.world.cut(node));
        break;
      }
      case 'restore':
        if (this.world.hearsOfOther(node)) return;
        await this.settle();
        this.gates[node].release();
        this.world.restore(node);
        break;
    }
    this.did(step.do);
    await this.known();
    await this.settle();
  }

  /** Everything that is due comes, and nothing else does. */
  async settle(): Promise<void> {
    const all = NODES.flatMap((node) =>
      [...this.connections[node]].map(([name, connection]) => ({ name, connection })),
    );
    await Promise.all(all.map(({ connection }) => this.receive(connection)));
    // A packet that nobody is to get may be dropped late, but then it is counted.
    for (const { name, connection } of all) {
      const more = await connection.client.fence(this.patience);
      if (more.length > 0) throw new Error(`${name} was sent ${more.map(describeFrame).join(', ')} as well`);
    }
  }

  /** Sent is delivered and dropped, and what left one relay has arrived at the other. */
  balance(): void {
    const counters = NODES.map((node) => this.relay(node).dataPlane.counters.readAll());
    const sum = (of: (page: (typeof counters)[number]) => number) => counters.reduce((all, page) => all + of(page), 0);
    const received = sum((page) => page['packets_received:disco'] + page['packets_received:other']);
    const dropped = sum((page) =>
      DROP_REASONS.flatMap((reason) => PACKET_KINDS.map((kind) => page[`packets_dropped:${reason}:${kind}`])).reduce(
        (all, count) => all + count,
        0,
      ),
    );
    const delivered = sum((page) => page.packets_sent);
    const [out, into] = [sum((page) => page.packets_forwarded_out), sum((page) => page.packets_forwarded_in)];
    if (received !== delivered + dropped || out !== into) {
      throw new Error(`${received} received, ${delivered} delivered, ${dropped} dropped; ${out} out, ${into} in`);
    }
    this.did('forwarded', out);
    this.did('dropped', dropped);
  }

  async close(): Promise<void> {
    for (const node of NODES) for (const { client } of this.connections[node].values()) await client.close();
    for (const node of NODES) await this.relay(node).close();
  }

  private relay(node: Node): TestRelay {
    return (this.relays as readonly [TestRelay, TestRelay])[node];
  }

  private async connect(node: Node, name: Name): Promise<void> {
    const client = await DerpClient.connect(this.relay(node), { keys: KEYS.get(name) as KeyPair });
    this.number += 1;
    this.connections[node].set(name, { client, number: this.number, due: new Map(), dueBytes: 0 });
    this.world.connect(node, name);
  }

  private async send(node: Node, from: Name, to: Name, kind: Kind, length: number): Promise<void> {
    const { client, number } = this.connections[node].get(from) as Connection;
    const sequence = this.sequences.get(number) ?? 0;
    this.sequences.set(number, sequence + 1);
    const packet = labelled({ sender: number, sequence, kind }, length);
    const row = rowOf(from, { sender: number, kind });
    const due = this.world.send(node, from, to, row, `${sequence}:${packet.length}`, kind === 'disco');
    for (const { at, name } of due) await this.room(at, name, packet.length);
    client.sendPacket((KEYS.get(to) as KeyPair).publicKey, packet);
    this.owe(due);
  }

  private async room(node: Node, name: Name, bytes: number): Promise<void> {
    const connection = this.connections[node].get(name) as Connection;
    const packets = [...connection.due.values()].reduce((sum, row) => sum + row.length, 0);
    if (packets >= MOST_DUE || connection.dueBytes + bytes > MOST_BYTES) await this.receive(connection);
    connection.dueBytes += bytes;
  }

  private owe(dues: readonly Due[]): void {
    for (const { at, name, row, what } of dues) {
      const { due } = this.connections[at].get(name) as Connection;
      const rows = due.get(row) ?? [];
      rows.push(what);
      due.set(row, rows);
    }
  }

  private async receive(connection: Connection): Promise<void> {
    const { due, client } = connection;
    while (due.size > 0) {
      const frame = await client.next(this.patience).catch((error: Error) => {
        throw new Error(`${JSON.stringify([...due])} is due: ${error.message}`, { cause: error });
      });
      const { row, what } = receipt(frame);
      const expected = due.get(row);
      if (expected?.[0] !== what) throw new Error(`${row} ${what} came; due is ${JSON.stringify([...due])}`);
      expected.shift();
      if (expected.length === 0) due.delete(row);
    }
    connection.dueBytes = 0;
  }

  /** Both relays know who is where. */
  private async known(): Promise<void> {
    for (const node of NODES) {
      const { relay } = this.relay(node);
      const links = this.world.hearsOfOther(other(node)) ? 1 : 0;
      const here = this.connections[node].size + links;
      // The other relay's announcement of our own connection, if we have one.
      const there = this.world.hearsOfOther(node) ? this.world.remote(node) + 1 : 0;
      await eventually(
        () => relay.figures().connections === here && relay.mesh()[0]?.peers === there,
        () =>
          `relay ${node} to have ${here} connections, and to know ${there}: ${JSON.stringify([relay.figures(), relay.mesh()])}`,
        this.patience,
      );
    }
    for (const node of NODES) await this.relay(node).commandsDone();
  }

  private did(what: string, times = 1): void {
    this.tally.set(what, (this.tally.get(what) ?? 0) + times);
  }
}

/** Lets a relay dial, or has it wait. Links are plain here: what TLS does to them is tested elsewhere. */
class Gate {
  private held: (() => void)[] | undefined;

  around(plane: DataPlane, meddle?: Meddle): DataPlane {
    const meddled = meddle?.(plane) ?? {};
    const dial: DataPlane['dial'] = (link, target) => {
      const go = () => plane.dial(link, { ...target, roots: null });
      if (this.held) this.held.push(go);
      else go();
    };
    return new Proxy(plane, {
      get: (inner, name: keyof DataPlane) => {
        const member = meddled[name] ?? inner[name];
        if (name === 'dial') return dial;
        return typeof member === 'function' ? member.bind(inner) : member;
      },
    });
  }

  hold(): void {
    this.held ??= [];
  }

  release(): void {
    const held = this.held ?? [];
    this.held = undefined;
    for (const go of held) go();
  }
}

function receipt(frame: Frame): { readonly row: string; readonly what: string } {
  if (frame.type === 'RecvPacket') {
    const label = labelOf(frame.packet) as Label;
    return { row: rowOf(nameOf(frame.source), label), what: `${label.sequence}:${frame.packet.length}` };
  }
  if (frame.type !== 'PeerGone') return { row: describeFrame(frame), what: '' };
  return { row: `${nameOf(frame.key)} ${frame.reason === 1 ? 'is not here' : 'gone'}`, what: '' };
}

/** A key may be at both relays, and nobody promises an order between its two connections. */
function rowOf(source: string, { sender, kind }: Pick<Label, 'sender' | 'kind'>): string {
  return `${kind} of ${source}, connection ${sender}`;
}

function nameOf(key: NodeKey): string {
  return NAME_OF.get(key) ?? '?';
}

function keysOf(name: string): KeyPair {
  return keyPairOf(createHash('sha256').update(`derpkit mesh model ${name}`).digest());
}
