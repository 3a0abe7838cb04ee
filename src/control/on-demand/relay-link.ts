/** A link to one relay of the region, which is dialled when a key needs it, and closed when no packet does. */
import { reasonOf } from '../../errors.js';
import type { DialTarget, LinkChange, LinkId } from '../../plane/plane.js';
import { formatEndpoint } from '../../protocol/endpoint.js';
import { formatNodeKey, type NodeKey } from '../../protocol/key.js';
import { meshPeer } from '../../protocol/mesh-peer.js';
import type { AnnouncedRelay } from '../directory/directory.js';
import type { LinkUser } from '../mesh/link-user.js';
import { type Dialled, shortened, targetsOf } from '../mesh/targets.js';
import type { OnDemandParts } from './parts.js';
import type { OnDemandTimes } from './times.js';

/** The state of a link to a relay that announces itself. */
export interface RelayLinkStatus {
  /** The relay's key, as text. */
  readonly relay: string;
  /** Where it is dialled: `address:port`. */
  readonly address: string;
  /** `idle`: no key needs it. `waiting`: the last dial has failed, and the next one is not due. */
  readonly state: 'idle' | 'dialling' | 'connected' | 'waiting';
  /** Since when it has been in this state: milliseconds since 1970. */
  readonly since: number;
  /** Gauge: keys whose packets take this link. */
  readonly keys: number;
  /** Gauge: dials in a row that have failed. */
  readonly failures: number;
  /** Why the last dial failed, or the last link ended; empty if neither happened. */
  readonly trouble: string;
}

/** What becomes of a link. */
export interface RelayLinkSink {
  /** The link is open. */
  opened(relay: NodeKey, link: LinkId): void;
  /** It has ended, or could not be made: then `link` is `undefined`. */
  ended(relay: NodeKey, link: LinkId | undefined): void;
  /** The relay says that a key is not there. */
  denied(relay: NodeKey, key: NodeKey): void;
}

export class RelayLink {
  private state: RelayLinkStatus['state'] = 'idle';
  private since = Date.now();
  private failures = 0;
  private trouble = '';
  /** When the next dial is due after a failed one, on a monotonic clock. */
  private dueAt = Number.NEGATIVE_INFINITY;
  private link: LinkId | undefined;
  private stopped = false;
  /** The packets that the link had carried when it was last looked at, and when that changed. */
  private packets = 0;
  private busyAt = 0;
  /** The plane was told to end the open link, and has not said yet that it has ended. */
  private isEnding = false;
  /** Keys whose packets take this link. */
  readonly keys = new Set<NodeKey>();

  constructor(
    public relay: AnnouncedRelay,
    private readonly parts: OnDemandParts,
    private readonly times: OnDemandTimes,
    private readonly sink: RelayLinkSink,
  ) {}

  /** The link, if it is open. */
  get open(): LinkId | undefined {
    return this.state === 'connected' ? this.link : undefined;
  }

  /** Whether a dial is in progress after this call. Begins one, unless the last one has failed a moment ago. */
  dial(): boolean {
    if (this.state === 'dialling') return true;
    if (this.stopped || this.state === 'connected' || performance.now() < this.dueAt) return false;
    this.enter('dialling');
    void this.parts.barrier.settle('a link on demand', this.attempt(), () => this.failed('internal error'));
    return true;
  }

  /** The figures of the open link have been read. Returns whether it has carried nothing for too long. */
  isIdle(packets: number): boolean {
    const now = performance.now();
    if (packets !== this.packets) {
      this.packets = packets;
      this.busyAt = now;
    }
    return !this.isEnding && now - this.busyAt >= this.times.idle;
  }

  /** Ends the link, and the dial in progress. */
  stop(): void {
    this.stopped = true;
    this.hangUp();
  }

  hangUp(): void {
    if (this.link === undefined) return;
    this.isEnding = true;
    this.parts.hangUp(this.link);
  }

  status(): RelayLinkStatus {
    const { relay, place: address, state, since, failures, trouble } = this;
    const { size: keys } = this.keys;
    return { relay: formatNodeKey(relay.id), address, state, since, keys, failures, trouble };
  }

  /** Dials the addresses of the relay in turn until one of them admits us. */
  private async attempt(): Promise<void> {
    const { address, port, tlsName } = this.relay;
    const peer = meshPeer(tlsName, port, address);
    let targets: Iterable<Dialled>;
    try {
      targets = await targetsOf(peer, { ...this.parts, watch: false }, this.times.connect);
    } catch (error) {
      this.failed(`${reasonOf(error)} (mesh.advertise.address of that relay)`);
      return;
    }
    const reasons: string[] = [];
    for (const { target, told } of targets) {
      // Its keys are looked for elsewhere already.
      if (this.stopped) return;
      const reason = await this.connect(target);
      if (reason === undefined) return;
      reasons.push(told(reason));
    }
    if (reasons.length > 0 && !this.stopped) this.failed(reasons.join('; '));
  }

  /** Dials once. Resolves with why that failed, or with `undefined` when the link is open. */
  private connect(target: DialTarget): Promise<string | undefined> {
    return new Promise((resolve) => {
      let isOpen = false;
      let wrong = '';
      const user: LinkUser = {
        onOpen: (serverKey) => {
          // The plane was told to hang up before it has said this.
          if (this.stopped) return;
          if (serverKey !== this.relay.id) {
            wrong = `it is another relay, ${formatNodeKey(serverKey)}`;
            this.hangUp();
            return;
          }
          isOpen = true;
          this.connected();
          resolve(undefined);
        },
        onPeers: (changes) => this.told(changes),
        onClosed: (reason) => {
          if (isOpen) this.lost(reason);
          else this.link = undefined;
          resolve(wrong || reason);
        },
      };
      this.link = this.parts.begin(user);
      this.parts.dial(this.link, target);
    });
  }

  private connected(): void {
    const { relay, failures, parts, sink } = this;
    this.failures = 0;
    this.isEnding = false;
    this.packets = 0;
    this.busyAt = performance.now();
    this.enter('connected');
    const text = failures > 0 ? 'a relay on demand is connected again' : 'a relay on demand is connected';
    parts.log(failures > 0 ? 'info' : 'debug', { relay: formatNodeKey(relay.id), addr: this.place }, text);
    sink.opened(relay.id, this.link as LinkId);
  }

  private told(changes: readonly LinkChange[]): void {
    for (const { key, present } of changes) if (!present) this.sink.denied(this.relay.id, key);
  }

  private lost(reason: string): void {
    const { relay, link, parts, sink } = this;
    this.link = undefined;
    this.trouble = shortened(reason);
    this.enter('idle');
    parts.log('debug', { relay: formatNodeKey(relay.id), addr: this.place, reason }, 'a link on demand has ended');
    sink.ended(relay.id, link);
    this.keys.clear();
  }

  private failed(reason: string): void {
    const { relay, times, parts, sink } = this;
    this.trouble = shortened(reason);
    this.dueAt = performance.now() + Math.min(times.longest, times.retry * 2 ** Math.min(this.failures, 10));
    this.failures += 1;
    this.link = undefined;
    this.enter('waiting');
    const facts = { relay: formatNodeKey(relay.id), addr: this.place, reason: this.trouble };
    parts.warn(this.failures === 1, facts, 'a relay that has keys cannot be dialled');
    sink.ended(relay.id, undefined);
  }

  private get place(): string {
    return formatEndpoint(this.relay.address, this.relay.port);
  }

  private enter(state: RelayLinkStatus['state']): void {
    if (state !== this.state) this.since = Date.now();
    this.state = state;
  }
}
