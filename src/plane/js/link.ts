import type { Socket } from 'node:net';
import { FrameDecoder, type FrameSink, ProtocolError } from '../../protocol/decode.js';
import { forwardPacketFrame, pongFrame, WATCH_CONNS_FRAME } from '../../protocol/frame.js';
import { type NodeKey, readNodeKey } from '../../protocol/key.js';
import { openServerInfo, sealClientInfo } from '../../protocol/login.js';
import { endOfSwitching, upgradeRequest } from '../../protocol/upgrade.js';
import {
  FrameType,
  HEADER_LENGTH,
  KEY_LENGTH,
  MAGIC,
  MAX_GREETING_LENGTH,
  MAX_PING_LENGTH,
  MAX_SERVER_INFO_LENGTH,
  PING_LENGTH,
  PROTOCOL_VERSION,
} from '../../protocol/wire.js';
import type { DialTarget, LinkChange, LinkId, PlaneEvents } from '../plane.js';
import type { PlaneContext } from './context.js';
import { connectTo, failureOf } from './dial.js';
import { Egress, type EgressOwner, LINK } from './egress.js';
import { hangUp } from './hang-up.js';
import { type Timed, Wheel } from './wheel.js';

/** More than any PeerPresent or PeerGone frame needs. A longer one belongs to another version, and is skipped. */
const MAX_PEER_FRAME = 1024;
/** The longest frame that clients accept. */
const MAX_FRAME_LENGTH = 1 << 20;

type Phase = 'connecting' | 'upgrading' | 'greeting' | 'login' | 'open' | 'closed';

const NOTHING = Buffer.alloc(0);

/** An outgoing connection to another relay as its mesh peer, from the dial to its end. */
export class Link implements EgressOwner, FrameSink, Timed {
  readonly kind = LINK;
  private readonly stream: Socket;
  private readonly egress: Egress;
  private readonly decoder = new FrameDecoder(this);
  private phase: Phase = 'connecting';
  /** The incomplete answer to the upgrade request. */
  private head = NOTHING;
  private serverKey: NodeKey | undefined;
  /** When the dial fails; once it has succeeded, when the other relay has been silent for too long. */
  private deadline: number;
  /** Changes that the other relay announced and no event has reported yet. */
  private changes: LinkChange[] = [];
  private changesEver = 0;

  constructor(
    private readonly id: LinkId,
    private readonly target: DialTarget,
    private readonly context: PlaneContext,
    private readonly onClosed: () => void,
  ) {
    const { tcp } = context.policy;
    const { barrier } = context;
    this.stream = connectTo(target, () =>
      barrier.run(
        'a mesh link: connect',
        () => this.onConnected(),
        () => this.fail(),
      ),
    );
    this.stream.setNoDelay(true);
    if (tcp.keepAlive > 0) this.stream.setKeepAlive(true, tcp.keepAlive);
    this.egress = new Egress(this.stream, context, this);
    this.deadline = Wheel.now() + target.timeout;
  }

  start(): void {
    this.context.wheel.arm(this, this.deadline);
    this.context.barrier.on(
      this.stream,
      'a mesh link',
      {
        data: (chunk: Buffer) => this.onData(chunk),
        end: () => this.close('the relay closed the connection'),
        close: () => this.close('the connection broke'),
        error: (error: Error) => this.close(failureOf(this.stream, error)),
      },
      () => this.fail(),
    );
  }

  get isOpen(): boolean {
    return this.phase === 'open';
  }

  /** Forwards a packet to the other relay, or drops it: no sender waits for a link. */
  forward(source: NodeKey, destination: NodeKey, packet: Buffer, disco: boolean): void {
    const frame = forwardPacketFrame(source, destination, packet);
    this.egress.packet({ frame, payload: packet.length, source, disco, queuedAt: 0 });
  }

  close(reason: string): void {
    if (this.phase === 'closed') return;
    const { phase } = this;
    this.phase = 'closed';
    this.decoder.end();
    this.egress.close();
    if (phase === 'connecting') this.stream.destroy();
    else hangUp(this.stream);
    this.onClosed();
    const tell = (to: PlaneEvents) => to.linkClosed(this.id, reason);
    const { events } = this.context;
    // A control plane without this event would wait for it forever, so it is raised again.
    events.raise(tell, () => events.raise(tell));
  }

  fail(): void {
    this.close('internal error');
  }

  /** Its row of a snapshot, in the order of {@link LINK_COLUMNS}. */
  figures(): number[] {
    const { stats, queuedPackets } = this.egress;
    return [this.id, stats.packets, stats.bytes, stats.dropped, queuedPackets, this.changesEver];
  }

  onTime(now: number): number {
    if (this.phase === 'closed') return Number.POSITIVE_INFINITY;
    if (now >= this.deadline) {
      this.close(this.isOpen ? 'the relay is silent' : `no login within ${this.target.timeout / 1000} s`);
      return Number.POSITIVE_INFINITY;
    }
    return Math.min(this.deadline, this.egress.onTime(now));
  }

  armAt(when: number): void {
    this.context.wheel.arm(this, when);
  }

  onWriteTimeout(): void {
    this.close('the relay takes nothing');
  }

  onControlOverflow(): void {
    this.close('the relay takes no control frames');
  }

  onOverBudget(): void {
    this.close('the relay takes too little, and nothing more may be queued: see limits.queuedBytes');
  }

  // A link needs no PeerGone for the sources of its packets: the other relay watches.
  onSent(): void {}
  onPulled(): void {}

  onHeader(type: number, length: number): boolean {
    switch (this.phase) {
      case 'greeting':
        this.expect(type === FrameType.ServerKey && length >= MAGIC.length + KEY_LENGTH, 'it does not speak DERP');
        this.expect(length <= MAX_GREETING_LENGTH, `its greeting has ${length} bytes`);
        return true;
      case 'login':
        this.expect(type === FrameType.ServerInfo, `its second frame has type ${type}`);
        this.expect(length <= MAX_SERVER_INFO_LENGTH, `its ServerInfo has ${length} bytes`);
        return true;
    }
    this.expect(length <= MAX_FRAME_LENGTH, `a frame of type ${type} has ${length} bytes`);
    switch (type) {
      case FrameType.PeerPresent:
        // A relay announces clients only to links that watch.
        return this.target.watch && length >= KEY_LENGTH && length <= MAX_PEER_FRAME;
      case FrameType.PeerGone:
        return length >= KEY_LENGTH && length <= MAX_PEER_FRAME;
      case FrameType.Ping:
        return length >= PING_LENGTH && length <= MAX_PING_LENGTH;
      default:
        return false;
    }
  }

  onFrame(type: number, frame: Buffer): void {
    switch (type) {
      case FrameType.ServerKey:
        this.onGreeting(frame);
        break;
      case FrameType.ServerInfo:
        this.onServerInfo(frame);
        break;
      case FrameType.PeerPresent:
      case FrameType.PeerGone:
        this.onChange({ key: readNodeKey(frame, HEADER_LENGTH), present: type === FrameType.PeerPresent });
        break;
      case FrameType.Ping:
        this.egress.sendPong(pongFrame(frame.subarray(HEADER_LENGTH)));
        break;
    }
  }

  private onConnected(): void {
    if (this.phase !== 'connecting') return;
    this.phase = 'upgrading';
    this.stream.write(upgradeRequest(this.target.authority));
  }

  private onData(chunk: Buffer): void {
    if (this.phase === 'closed') return;
    if (this.isOpen) this.deadline = Wheel.now() + this.context.policy.deadlines.linkSilence;
    try {
      if (this.phase === 'upgrading') this.onHead(chunk);
      else this.decoder.push(chunk);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.close(error.message);
    }
  }

  private onHead(chunk: Buffer): void {
    this.head = Buffer.concat([this.head, chunk]);
    const end = endOfSwitching(this.head, this.context.policy.limits.headBytes);
    if (end === undefined) return;
    this.phase = 'greeting';
    const rest = this.head.subarray(end);
    this.head = NOTHING;
    this.decoder.push(rest);
  }

  private onGreeting(frame: Buffer): void {
    const magicEnd = HEADER_LENGTH + MAGIC.length;
    this.expect(frame.subarray(HEADER_LENGTH, magicEnd).equals(MAGIC), 'it does not speak DERP');
    const { keys } = this.context;
    const serverKey = readNodeKey(frame, magicEnd);
    this.serverKey = serverKey;
    this.phase = 'login';
    const info = { meshKey: this.target.meshKey, version: PROTOCOL_VERSION, CanAckPings: true };
    this.egress.frames(sealClientInfo(keys, serverKey, JSON.stringify(info)));
    if (this.target.watch && serverKey !== keys.publicKey) this.egress.frames(WATCH_CONNS_FRAME);
  }

  private onServerInfo(frame: Buffer): void {
    const serverKey = this.serverKey as NodeKey;
    const info = openServerInfo(frame.subarray(HEADER_LENGTH), this.context.keys, serverKey);
    this.expect(info !== undefined, 'its ServerInfo does not open');
    this.phase = 'open';
    this.deadline = Wheel.now() + this.context.policy.deadlines.linkSilence;
    this.context.wheel.arm(this, this.deadline);
    this.raise((to) => to.linkOpen(this.id, serverKey));
  }

  /** One event reports all changes of a read. */
  private onChange(change: LinkChange): void {
    this.changesEver += 1;
    this.changes.push(change);
    if (this.changes.length > 1) return;
    this.raise((to) => {
      const { changes } = this;
      this.changes = [];
      to.linkPeers(this.id, changes);
    });
  }

  private raise(event: (to: PlaneEvents) => void): void {
    this.context.events.raise(event, () => this.fail());
  }

  private expect(condition: boolean, otherwise: string): void {
    if (!condition) throw new ProtocolError(otherwise);
  }
}
