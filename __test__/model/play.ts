/** Plays a trace on one relay, and says what could be seen from outside. */
import { DROP_REASONS, PACKET_KINDS } from '../../src/plane/counters.js';
import {
  closePeerFrame,
  encodeFrame,
  newFrame,
  notePreferredFrame,
  WATCH_CONNS_FRAME,
} from '../../src/protocol/frame.js';
import {
  FrameType,
  KEY_LENGTH,
  MAX_PACKET_LENGTH,
  MAX_PING_LENGTH,
  MIN_DISCO_LENGTH,
} from '../../src/protocol/wire.js';
import type { Lane } from '../helpers/lanes.js';
import { QUEUE_DEPTH } from '../helpers/traffic.js';
import { eventually, turn } from '../helpers/wait.js';
import { named, SLOTS } from './cast.js';
import { Pace } from './pace.js';
import { forwardFrame, type Kind, type Label, sendFrame } from './packet.js';
import type { TlsVersion } from './peer.js';
import { told, wrongAfterStall } from './receipts.js';
import { Rig } from './rig.js';
import type { Offence, Step } from './steps.js';
import { type Link, newLink, World } from './world.js';

type StepOf<Name extends Step['do']> = Extract<Step, { do: Name }>;

/** Steps after which everything is looked at. */
const LOOK = 20;
/** Packets that leave at once. */
const SHORT = 1400;
/** A few packets of which there is always room for all. */
const MOST_AT_ONCE = 30_000;
/** Enough packets of the longest for what a socket and its queue take. */
const FLOOD = 100;

export interface Play {
  /** What another relay has to have done as well, in order. */
  readonly log: readonly string[];
  /** What no relay may do. */
  readonly findings: readonly string[];
  /** How often steps of each kind have done something, and packets went the way of each reason. */
  readonly tally: ReadonlyMap<string, number>;
}

export async function play(
  lane: Lane,
  steps: readonly Step[],
  before?: (rig: Rig) => void,
  tls?: TlsVersion,
): Promise<Play> {
  const rig = await Rig.open(lane, tls);
  before?.(rig);
  const player = new Player(rig);
  await player.play(steps);
  return player;
}

class Player implements Play {
  readonly log: string[] = [];
  readonly findings: string[] = [];
  readonly tally = new Map<string, number>();
  private readonly world = new World();
  private readonly pace: Pace;
  private number = 0;
  private orders = 0;
  private stalledEver = false;
  /** Pings that ended their connection. */
  private longPings = 0;
  /** Packets that were dropped for connections that did not read, and that may have been, because they never read again. */
  private lost = 0;
  private maybeLost = 0;

  constructor(private readonly rig: Rig) {
    this.pace = new Pace(rig, this.world, (finding) => this.findings.push(finding));
  }

  async play(steps: readonly Step[]): Promise<void> {
    let at = 0;
    try {
      for (; at < steps.length && this.findings.length === 0; at++) {
        await this.step(steps[at] as Step);
        if (at % LOOK === LOOK - 1) await this.look();
      }
      await this.look();
      if (this.findings.length === 0) await this.figures();
    } catch (error) {
      this.findings.push(`at step ${at}, ${JSON.stringify(steps[at] ?? 'the last look')}: ${(error as Error).message}`);
    }
    await this.end();
  }

  private async step(step: Step): Promise<void> {
    const link = this.world.at(step.slot);
    if (step.do === 'connect') {
      if (!link) await this.connect(step.slot);
      return;
    }
    if (step.do === 'visit') {
      if (!link) await this.visit(step);
      return;
    }
    if (!link) return;
    if (step.do === 'resume') return await this.resume(link);
    if (step.do === 'close') return await this.close(link, step.how);
    if (step.do === 'leave') return await this.leave(link, step);
    // Of who does not read, no answer would come.
    if (link.stall) return;
    const alike = ['send', 'split', 'stall', 'prefer', 'ping', 'strange'];
    if (alike.includes(step.do) || (link.actor.mesh && ['forward', 'watch', 'closePeer'].includes(step.do)))
      this.did(step.do);
    switch (step.do) {
      case 'send':
        for (let count = 0; count < step.count; count++) await this.send(link, step.to, step.kind, step.length);
        return;
      case 'forward':
        return await this.send(link, step.to, step.kind, step.length, step.from);
      case 'flood':
        return await this.flood(link, step.to);
      case 'split':
        return await this.pace.split(link, step.share);
      case 'stall':
        return await this.stall(link);
      case 'watch':
        return await this.watch(link);
      case 'closePeer':
        return await this.closePeer(link, step.to);
      case 'prefer':
        link.home = step.home;
        return await this.pace.say(link, notePreferredFrame(step.home));
      case 'ping':
        return await this.pace.say(link);
      case 'strange':
        return await this.pace.say(link, encodeFrame(0x7f as FrameType, Buffer.alloc(step.length)));
      case 'offend':
        return await this.offend(link, step.to, step.what);
    }
  }

  private async connect(slot: number): Promise<void> {
    this.did('connect');
    await this.pace.settle();
    const actor = SLOTS[slot] as (typeof SLOTS)[number];
    this.number += 1;
    const { number } = this;
    const link = newLink({ number, slot, actor, ...(await this.rig.connect(actor)) });
    this.world.add(link);
    for (const watcher of this.world.links) if (watcher.watches) watcher.dirty = true;
  }

  private async close(link: Link, how: 'end' | 'destroy' | 'reset' | 'control'): Promise<void> {
    this.did(`close: ${how}`);
    await this.pace.quiet();
    if (how === 'control') this.rig.relay.dataPlane.close(link.id, 'closed');
    else link.peer.close(how);
    await this.ended([link]);
  }

  /** What has been sent before an end arrives. */
  private async leave(link: Link, { to, kind, length, count, how }: StepOf<'leave'>): Promise<void> {
    const { name } = link.actor;
    // Who does not read on does not see what it sends to itself.
    const reads = !link.stall && how === 'end';
    if (to === name && !reads) return;
    // Whether its socket still takes word of a peer that is not here is the clock's to decide.
    const sort = reads || this.world.active(to) ? kind : 'data';
    this.did(`leave: ${how}`);
    if (link.stall) this.did('leave: unread');
    await this.pace.quiet();
    if (!link.stall && !this.world.isActive(link)) await this.pace.say(link);
    // A reset takes back what has not left.
    const bytes = Math.min(length, how === 'end' ? MOST_AT_ONCE : SHORT);
    const frames: Buffer[] = [];
    for (let sent = 0; sent < count; sent++) {
      const packet = await this.labelled(link, to, sort, bytes, name);
      frames.push(sendFrame(named(to).key, packet.label, packet.bytes));
    }
    await this.pace.settle();
    this.world.activity(link);
    if (how === 'end') link.peer.write(Buffer.concat(frames));
    else await link.peer.flush(Buffer.concat(frames));
    link.peer.close(how);
    if (reads) await link.peer.ended();
    await this.ended([link]);
  }

  private async visit({ slot, to, kind, length, count, when }: StepOf<'visit'>): Promise<void> {
    const actor = SLOTS[slot] as (typeof SLOTS)[number];
    if (to === actor.name) return;
    this.did(`visit: ${when}`);
    await this.pace.quiet();
    this.number += 1;
    const sender = { number: this.number, sequence: 0 };
    const frames: Buffer[] = [];
    for (let sent = 0; sent < count; sent++) {
      const packet = await this.labelled(sender, to, kind, Math.min(length, MOST_AT_ONCE), actor.name);
      frames.push(sendFrame(named(to).key, packet.label, packet.bytes));
    }
    await this.pace.settle();
    const link = newLink({
      number: sender.number,
      slot,
      actor,
      ...(await this.rig.visit(actor, Buffer.concat(frames), when)),
    });
    this.world.add(link);
    this.world.activity(link);
    await this.ended([link]);
  }

  private async send(link: Link, to: string, kind: Kind, length: number, from?: string): Promise<void> {
    if (from !== undefined && !link.actor.mesh) return;
    const { label, bytes } = await this.packet(link, to, kind, length, from ?? link.actor.name);
    const { key } = named(to);
    const frame = from === undefined ? sendFrame(key, label, bytes) : forwardFrame(named(from).key, key, label, bytes);
    await this.pace.say(link, frame);
  }

  /** Makes everything ready for a packet: where it goes is known, and has room. */
  private async packet(link: Link, to: string, kind: Kind, length: number, source: string) {
    // The sender may be one of the receiver's clones, and takes over by sending.
    if (!this.world.isActive(link)) await this.pace.say(link);
    // It may be told that its peer is not here.
    link.dirty = true;
    return await this.labelled(link, to, kind, length, source);
  }

  private async labelled(
    link: Pick<Link, 'number' | 'sequence'>,
    to: string,
    kind: Kind,
    length: number,
    source: string,
  ) {
    const destination = this.world.active(to);
    // Packets that say nothing cannot be told apart, as they have to be where some may be missing.
    const shortest = destination?.stall ? 8 : 0;
    const bytes = Math.max(length, kind === 'disco' ? MIN_DISCO_LENGTH : shortest);
    const label: Label = { sender: link.number, sequence: link.sequence, kind };
    link.sequence += 1;
    if (destination?.stall) {
      destination.stall.sent.push({ ...label, source });
      destination.uncertain.add(source);
      destination.loose.add(source);
    } else if (destination) {
      await this.pace.room(destination, bytes);
      destination.uncertain.delete(source);
    }
    return { label, bytes };
  }

  private async flood(link: Link, to: string): Promise<void> {
    if (!this.world.active(to)?.stall) return;
    this.did('flood');
    for (let count = 0; count < FLOOD; count++) await this.send(link, to, 'data', MAX_PACKET_LENGTH);
    await this.pace.settle();
  }

  private async stall(link: Link): Promise<void> {
    await this.pace.settle();
    await this.pace.drain([link]);
    this.tell(link);
    link.peer.stopReading();
    link.stall = { sent: [] };
    this.stalledEver = true;
  }

  private async resume(link: Link): Promise<void> {
    if (!link.stall) return;
    this.did('resume');
    await this.pace.settle();
    link.peer.goOnReading();
    this.world.activity(link);
    for (let empty = 0; empty < 2; ) {
      if ((await this.rig.queued(link.id)) > 0) await turn(1);
      else empty += 1;
      await link.peer.fence();
    }
    const receipts = link.peer.take();
    this.findings.push(...wrongAfterStall(link, receipts, QUEUE_DEPTH));
    const came = receipts.filter(({ type }) => type === 'packet').length;
    this.lost += link.stall.sent.length - came;
    link.expected += came;
    link.stall = undefined;
    link.dirty = false;
    this.say(
      `${link.number} reads again`,
      told(
        link,
        receipts.filter(({ type }) => type !== 'packet'),
        this.world,
      ),
    );
  }

  private async watch(link: Link): Promise<void> {
    if (!link.actor.mesh) return;
    await this.pace.say(link, WATCH_CONNS_FRAME);
    await this.pace.settle();
    this.orders += 1;
    await this.rig.ordersDone(this.orders);
    link.watches = true;
    link.dirty = true;
  }

  private async closePeer(link: Link, to: string): Promise<void> {
    if (!link.actor.mesh) return;
    await this.pace.quiet();
    this.world.activity(link);
    link.peer.write(closePeerFrame(named(to).key));
    this.orders += 1;
    await this.rig.ordersDone(this.orders);
    await this.ended([...this.world.of(to)]);
  }

  private async offend(link: Link, to: string, what: Offence): Promise<void> {
    const frame = offence(what, link.actor.mesh);
    if (!frame || link.actor.name === to) return;
    this.did(`offend: ${what}`);
    await this.pace.quiet();
    if (what === 'long Ping') this.longPings += 1;
    const { label, bytes } = await this.packet(link, to, 'data', 100, link.actor.name);
    link.peer.write(Buffer.concat([sendFrame(named(to).key, label, bytes), frame]));
    await this.ended([link]);
  }

  /** Waits for the relay to report these ends, and goes on without them. */
  private async ended(links: readonly Link[]): Promise<void> {
    for (const link of links) {
      const reason = await this.rig.reasonOf(link.id);
      if (link.stall) this.maybeLost += link.stall.sent.length;
      else this.tell(link);
      this.say(`${link.number} ends`, reason);
      this.world.remove(link);
      if (!link.stall && !link.peer.over && reason !== 'disconnected') await link.peer.ended();
      link.peer.close('destroy');
    }
    this.tellAll();
  }

  /** Whoever watches, or has heard of somebody, may be sent something about it. */
  private tellAll(): void {
    for (const link of this.world.links) link.dirty = true;
  }

  /** Looks at everything. */
  private async look(): Promise<void> {
    await this.pace.quiet();
    for (const link of this.world.links) if (!link.stall) this.tell(link);
    if (!this.stalledEver) await this.pongsCounted();
    await this.packetsCounted();
    this.count();
  }

  /** What a connection has received since it was looked at last. */
  private tell(link: Link): void {
    this.say(`${link.number} of ${link.actor.name}`, told(link, link.peer.take(), this.world));
    link.loose.clear();
    for (const source of link.uncertain) link.loose.add(source);
  }

  private did(what: string, times = 1): void {
    if (times > 0) this.tally.set(what, (this.tally.get(what) ?? 0) + times);
  }

  private say(subject: string, what: string): void {
    if (what !== '') this.log.push(`${subject}: ${what}`);
  }

  /** A client may have its pong before the relay has counted it. */
  private async pongsCounted(): Promise<void> {
    for (let times = 0; times < 1000 && this.rig.counters().sent_pong < this.rig.pings; times++) await turn(1);
  }

  /** What waits for a client that sends no more is counted once that has gone, too. */
  private async packetsCounted(): Promise<void> {
    const left = () =>
      !this.world.links.every((link) => !link.stall) || this.conservation(this.rig.counters()).conserved;
    for (let times = 0; times < 1000 && !left(); times++) await turn(1);
  }

  private count(): void {
    const counters = this.rig.counters();
    const { conserved, dropped } = this.conservation(counters);
    const reading = this.world.links.every((link) => !link.stall);
    if (reading && !conserved) this.findings.push(`packets are missing from the counters: ${JSON.stringify(counters)}`);
    if (reading && (dropped < this.lost || dropped > this.lost + this.maybeLost)) {
      this.findings.push(
        `${dropped} packets were dropped for receivers, ${this.lost} to ${this.lost + this.maybeLost} are missing`,
      );
    }
    // How often has to be asked is open too; each is counted.
    const { got_ping: got, sent_pong: answered } = counters;
    const { pings } = this.rig;
    if (got !== pings + this.longPings) this.findings.push(`${got} of ${pings} pings are counted`);
    if (!this.stalledEver && answered !== pings) this.findings.push(`${answered} pongs for ${pings} pings are counted`);
    // So is how many frames, pongs among them, go with a write, how long they wait, and what memory they hold meanwhile; and
    // the face may be another one.
    const open =
      /^crossings|^stun|^got_ping|^sent_pong|^tls_|^write_frames|^frames_written|^queue_time|^tcp_rtt|^egress_contended|^held:/;
    // What depends on how much a socket takes of what nobody reads.
    const stalled = /^(packets|bytes)_sent|^peer_gone_disconnected|_dropped:(?!unknown_dest)/;
    const comparable = Object.entries(counters).filter(
      ([name, count]) => count > 0 && !open.test(name) && !(this.stalledEver && stalled.test(name)),
    );
    this.log.push(`counters: ${comparable.map(([name, count]) => `${name} ${count}`).join(', ')}`);
  }

  private conservation(counters: ReturnType<Rig['counters']>): { conserved: boolean; dropped: number } {
    const drops = (reasons: readonly (typeof DROP_REASONS)[number][]) =>
      reasons
        .flatMap((reason) => PACKET_KINDS.map((kind) => counters[`packets_dropped:${reason}:${kind}`]))
        .reduce((sum, count) => sum + count, 0);
    const received = counters['packets_received:disco'] + counters['packets_received:other'];
    const all = counters.packets_sent + drops(DROP_REASONS);
    const dropped = drops(DROP_REASONS.filter((reason) => !reason.startsWith('unknown_dest')));
    return { conserved: received + counters.packets_forwarded_in === all, dropped };
  }

  /** What the control plane is told a little later. */
  private async figures(): Promise<void> {
    const home = this.world.links.filter((link) => link.home).length;
    const { relay } = this.rig.relay;
    await eventually(
      () => relay.figures().home === home,
      () => `${home} clients to be at home here, not ${relay.figures().home}`,
    );
  }

  /** Ends the relay, and looks once more: everything that was taken in has to be accounted for. */
  private async end(): Promise<void> {
    const { links } = this.world;
    for (const link of links) if (link.stall) this.maybeLost += link.stall.sent.length;
    try {
      await this.rig.relay.close();
    } catch (error) {
      this.findings.push(`at its end: ${(error as Error).message}`);
    }
    const counters = this.rig.counters();
    this.did('delivered', counters.packets_sent);
    for (const reason of DROP_REASONS) {
      for (const kind of PACKET_KINDS) this.did(`dropped: ${reason}`, counters[`packets_dropped:${reason}:${kind}`]);
    }
    if (this.findings.length === 0) {
      const { conserved, dropped } = this.conservation(counters);
      if (!conserved || dropped < this.lost || dropped > this.lost + this.maybeLost) {
        this.findings.push(`packets are missing in the end: ${JSON.stringify(counters)}`);
      }
    }
    for (const link of links) {
      this.say(`${link.number} ends`, this.rig.reasons.get(link.id) ?? 'without a reason');
    }
    this.rig.leave();
  }
}

/** A frame that ends the connection; `undefined` where it would be permitted. */
function offence(what: Offence, mesh: boolean): Buffer | undefined {
  switch (what) {
    case 'not mesh':
      return mesh ? undefined : WATCH_CONNS_FRAME;
    case 'short SendPacket':
      return newFrame(FrameType.SendPacket, KEY_LENGTH - 1);
    case 'long Ping':
      return newFrame(FrameType.Ping, MAX_PING_LENGTH + 1);
    case 'huge':
      return Buffer.from([FrameType.SendPacket, 0xff, 0xff, 0xff, 0xff]);
    case 'ClosePeer of 31':
      return newFrame(FrameType.ClosePeer, KEY_LENGTH - 1);
  }
}
