/** One relay of a trace, as far as it can be asked and listened to. */
import type { CounterName } from '../../src/plane/counters.js';
import type { CloseReason, PlaneEvents } from '../../src/plane/plane.js';
import { SNAPSHOT_COLUMNS } from '../../src/plane/plane.js';
import type { SelectedPlane } from '../../src/plane/select.js';
import type { Lane } from '../helpers/lanes.js';
import { TestRelay } from '../helpers/relay.js';
import { Changes, eventually } from '../helpers/wait.js';
import { type Actor, RELAY_KEYS } from './cast.js';
import { Peer, type TlsVersion } from './peer.js';
import type { Visit } from './steps.js';

const QUEUED = SNAPSHOT_COLUMNS.indexOf('queuedPackets');

/** No deadline may fall into a trace, however slow the machine: what happens then would be the clock's to decide. */
const POLICY = {
  deadlines: { handshake: 60_000, head: 60_000, clientInfo: 60_000, admission: 60_000, write: 0, meshWrite: 0 },
  // The burst is all there is.
  notHere: { burst: 3, perSecond: 0 },
  tcp: { userTimeout: 0 },
};

const selections = new Map<Lane, SelectedPlane>();

/** Looking for the addon takes as long as starting a relay, and finds the same every time. */
function selectedOf(lane: Lane): SelectedPlane {
  const selected = selections.get(lane) ?? lane.select();
  selections.set(lane, selected);
  return selected;
}

export class Rig {
  readonly relay: TestRelay;
  readonly reasons = new Map<number, CloseReason>();
  /** Faults of the plane's own that it has reported. */
  readonly faults: string[] = [];
  /** WatchConns and ClosePeer frames that the control plane has acted upon. */
  orders = 0;
  /** All that have ever connected. */
  private readonly peers: Peer[] = [];
  private readonly changes = new Changes();

  private constructor(
    lane: Lane,
    private readonly tls: TlsVersion | undefined,
  ) {
    const select: Lane['select'] = () => {
      const selected = selectedOf(lane);
      return { ...selected, create: (options, events) => selected.create(options, this.listening(events)) };
    };
    this.relay = new TestRelay({ ...lane, select }, { policy: POLICY, keys: RELAY_KEYS, tls: tls !== undefined });
  }

  /** Over TLS of this version, or plain. */
  static async open(lane: Lane, tls?: TlsVersion): Promise<Rig> {
    const rig = new Rig(lane, tls);
    await rig.relay.relay.start();
    return rig;
  }

  /** Connects a client. Returns it with the id that the relay knows it by, once it has been announced to all watchers. */
  async connect(actor: Actor): Promise<{ readonly peer: Peer; readonly id: number }> {
    const known = this.relay.connected.length;
    const peer = await Peer.connect(actor, this.relay.target().port, this.tls);
    this.peers.push(peer);
    const connected = this.relay.connected[known];
    if (!connected || connected.peer.port !== peer.localPort) {
      throw new Error(`${actor.name} has logged in, and another connection was reported, or none`);
    }
    return { peer, id: connected.id };
  }

  /** A client that comes, sends frames, and leaves at once. Returns it when it has left, as far as it can see. */
  async visit(actor: Actor, frames: Buffer, when: Visit): Promise<{ readonly peer: Peer; readonly id: number }> {
    const known = this.relay.connected.length;
    const peer = await Peer.visit(actor, frames, when, this.relay.target().port, this.tls);
    this.peers.push(peer);
    const connected = await eventually(() => this.relay.connected[known], `the visit of ${actor.name} to be reported`);
    return { peer, id: connected.id };
  }

  /** Why a connection has ended, once everybody has been told. */
  async reasonOf(id: number): Promise<CloseReason> {
    return await this.changes.until(
      () => this.reasons.get(id),
      () => `the end of ${id} to be reported`,
    );
  }

  async ordersDone(count: number): Promise<void> {
    await this.changes.until(
      () => this.orders >= count || undefined,
      () => `order ${count} to be reported`,
    );
  }

  /** Packets that wait for one connection to read. */
  async queued(id: number): Promise<number> {
    const { rows } = await this.relay.dataPlane.snapshot(0, 1000);
    const width = SNAPSHOT_COLUMNS.length;
    for (let at = 0; at < rows.length; at += width) if (rows[at] === id) return rows[at + QUEUED] as number;
    return 0;
  }

  /** Pings that clients have sent. */
  get pings(): number {
    return this.peers.reduce((sum, peer) => sum + peer.pings, 0);
  }

  /** Whoever is still there goes. */
  leave(): void {
    for (const peer of this.peers) peer.close('destroy');
  }

  counters(): Record<CounterName, number> {
    return this.relay.dataPlane.counters.readAll();
  }

  private listening(events: PlaneEvents): PlaneEvents {
    const overheard: Partial<PlaneEvents> = {
      closed: (id, reason) => {
        events.closed(id, reason);
        this.reasons.set(id, reason);
        this.changes.notify();
      },
      watch: (id) => {
        events.watch(id);
        this.orders += 1;
        this.changes.notify();
      },
      closePeer: (id, target) => {
        events.closePeer(id, target);
        this.orders += 1;
        this.changes.notify();
      },
      fault: (code, message, fatal) => {
        events.fault(code, message, fatal);
        this.faults.push(`${code}: ${message}${fatal ? ', and that is the end' : ''}`);
        this.changes.notify();
      },
    };
    return new Proxy(events, {
      get: (target, name: keyof PlaneEvents) => {
        const own = overheard[name] ?? target[name].bind(target);
        return own;
      },
    });
  }
}
