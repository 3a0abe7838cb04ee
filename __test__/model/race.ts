/**
 * The same steps without a pause between them: clients come and go while packets for them are under way. What happens is
 * not the same twice, and no other relay can say what should have; but some things must not happen however it went.
 */
import { DROP_REASONS, PACKET_KINDS } from '../../src/plane/counters.js';
import { closePeerFrame, notePreferredFrame, WATCH_CONNS_FRAME } from '../../src/protocol/frame.js';
import { MIN_DISCO_LENGTH, PeerGoneReason } from '../../src/protocol/wire.js';
import type { Lane } from '../helpers/lanes.js';
import { type Actor, named, SLOTS } from './cast.js';
import { forwardFrame, type Kind, sendFrame } from './packet.js';
import type { Peer } from './peer.js';
import { Rig } from './rig.js';
import type { Step } from './steps.js';

/** One connection, also after its end. */
interface Runner {
  readonly number: number;
  readonly actor: Actor;
  readonly peer: Peer;
  readonly id: number;
  sequence: number;
}

/** Plays the steps, and says what must not have happened. */
export async function race(lane: Lane, steps: readonly Step[], before?: (rig: Rig) => void): Promise<string[]> {
  const rig = await Rig.open(lane);
  before?.(rig);
  const race = new Race(rig);
  try {
    for (const step of steps) await race.step(step);
    await race.end();
  } catch (error) {
    race.findings.push((error as Error).message);
  } finally {
    await rig.relay.close().catch((error: Error) => race.findings.push(error.message));
    race.check();
    rig.leave();
  }
  return race.findings;
}

class Race {
  readonly findings: string[] = [];
  private readonly open = new Map<number, Runner>();
  private readonly all: Runner[] = [];
  /** What was sent, by its sender and number: from which key, to which. */
  private readonly sent = new Map<string, { readonly from: string; readonly to: string }>();

  constructor(private readonly rig: Rig) {}

  async step(step: Step): Promise<void> {
    const runner = this.open.get(step.slot);
    if (step.do === 'connect' && (!runner || runner.peer.over)) return await this.connect(step.slot);
    if (!runner || runner.peer.over) return;
    const { peer, actor } = runner;
    switch (step.do) {
      case 'close':
        this.open.delete(step.slot);
        if (step.how === 'control') this.rig.relay.dataPlane.close(runner.id, 'closed');
        else peer.close(step.how);
        return;
      case 'leave':
        this.open.delete(step.slot);
        for (let count = 0; count < step.count; count++) this.send(runner, step.to, step.kind, step.length);
        return peer.close(step.how);
      case 'send':
        for (let count = 0; count < step.count; count++) this.send(runner, step.to, step.kind, step.length);
        return;
      case 'forward':
        if (actor.mesh) this.send(runner, step.to, step.kind, step.length, step.from);
        return;
      case 'stall':
        return peer.stopReading();
      case 'resume':
        return peer.goOnReading();
      case 'watch':
        if (actor.mesh) peer.write(WATCH_CONNS_FRAME);
        return;
      case 'closePeer':
        if (actor.mesh) peer.write(closePeerFrame(named(step.to).key));
        return;
      case 'prefer':
        return peer.write(notePreferredFrame(step.home));
    }
  }

  /** Whoever is still there reads what there is. */
  async end(): Promise<void> {
    const left = this.all.filter(({ peer }) => !peer.over);
    for (const { peer } of left) peer.goOnReading();
    // Somebody may be closed meanwhile, or have been before.
    await Promise.allSettled(left.map(({ peer }) => peer.fence()));
  }

  /** After the relay's end. */
  check(): void {
    const counters = this.rig.counters();
    const drops = DROP_REASONS.flatMap((reason) =>
      PACKET_KINDS.map((kind) => counters[`packets_dropped:${reason}:${kind}`]),
    );
    const taken =
      counters['packets_received:disco'] + counters['packets_received:other'] + counters.packets_forwarded_in;
    if (taken !== counters.packets_sent + drops.reduce((sum, count) => sum + count, 0)) {
      this.findings.push(`packets are missing in the end: ${JSON.stringify(counters)}`);
    }
    for (const runner of this.all) this.received(runner);
  }

  private async connect(slot: number): Promise<void> {
    const actor = SLOTS[slot] as Actor;
    const { peer, id } = await this.rig.connect(actor);
    const runner = { number: this.all.length + 1, actor, peer, id, sequence: 0 };
    this.all.push(runner);
    this.open.set(slot, runner);
  }

  private send(runner: Runner, to: string, kind: Kind, length: number, from?: string): void {
    const label = { sender: runner.number, sequence: runner.sequence, kind };
    runner.sequence += 1;
    this.sent.set(`${label.sender} ${label.sequence}`, { from: from ?? runner.actor.name, to });
    const bytes = Math.max(length, kind === 'disco' ? MIN_DISCO_LENGTH : 8);
    const { key } = named(to);
    const frame = from === undefined ? sendFrame(key, label, bytes) : forwardFrame(named(from).key, key, label, bytes);
    runner.peer.write(frame);
  }

  /** Everything came from whom it says, was for this client, and in order; nobody was said to leave who was not heard of. */
  private received({ number, actor, peer }: Runner): void {
    const latest = new Map<string, number>();
    const heard = new Set<string>();
    const wrong = (what: string) => this.findings.push(`connection ${number} of ${actor.name}: ${what}`);
    for (const receipt of peer.take()) {
      if (receipt.type === 'odd') wrong(receipt.what);
      // Who watches is told of everybody.
      if (receipt.type === 'gone' && receipt.reason !== PeerGoneReason.NotHere && !actor.mesh) {
        if (!heard.delete(receipt.key)) wrong(`${receipt.key} has left, of whom nothing came`);
      }
      if (receipt.type !== 'packet') continue;
      const { label, source } = receipt;
      heard.add(source);
      if (!label) {
        wrong('a packet without a label');
        continue;
      }
      const { sender, sequence, kind } = label;
      const known = this.sent.get(`${sender} ${sequence}`);
      if (known?.to !== actor.name || known.from !== source) {
        wrong(`packet ${sequence} of ${sender}, from ${known?.from} to ${known?.to}, came as one from ${source}`);
      }
      // Sources take turns, those that one mesh peer sends for among them.
      const row = `${sender} ${source} ${kind}`;
      const before = latest.get(row) ?? -1;
      if (sequence <= before) wrong(`${kind} packet ${sequence} of ${sender} came after ${before}`);
      latest.set(row, sequence);
    }
  }
}
