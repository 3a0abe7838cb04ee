/** Stands between a plane and what is above it, and notes where the events break what `plane.ts` promises. */
import type { CloseReason, ConnectionId, LinkId, Login, PacketDrop, PlaneEvents } from '../../src/plane/plane.js';
import type { NodeKey } from '../../src/protocol/key.js';

export class Contract implements PlaneEvents {
  readonly violations: string[] = [];
  readonly logins = new Map<ConnectionId, Login>();
  readonly ends = new Map<ConnectionId, CloseReason>();
  activeEvents = 0;
  readonly toldDrops: PacketDrop[] = [];
  /** Links of which something was told. */
  readonly links = new Map<LinkId, 'open' | 'closed'>();
  private readonly sequences = new Set<number>();

  constructor(private readonly to: PlaneEvents) {}

  /** Logins that no `closed` has followed. */
  get open(): ConnectionId[] {
    return [...this.logins.keys()].filter((id) => !this.ends.has(id));
  }

  login(login: Login): void {
    const { id } = login;
    if (!Number.isSafeInteger(id) || id < 0) this.violate(`login with id ${id}`);
    if (this.logins.has(id)) this.violate(`a second login of ${id}`);
    this.logins.set(id, login);
    this.to.login(login);
  }

  closed(id: ConnectionId, reason: CloseReason): void {
    this.alive(id, 'closed');
    this.ends.set(id, reason);
    this.to.closed(id, reason);
  }

  active(...args: Parameters<PlaneEvents['active']>): void {
    const [key, id, sequence] = args;
    this.alive(id, 'active');
    if (this.sequences.has(sequence)) this.violate(`a second active with sequence ${sequence}`);
    if (this.logins.get(id)?.key !== key) this.violate(`active of ${id}, for a key that is not its own`);
    this.sequences.add(sequence);
    this.activeEvents += 1;
    this.to.active(...args);
  }

  watch(id: ConnectionId): void {
    this.alive(id, 'watch');
    this.to.watch(id);
  }

  closePeer(...args: Parameters<PlaneEvents['closePeer']>): void {
    this.alive(args[0], 'closePeer');
    this.to.closePeer(...args);
  }

  prefer(...args: Parameters<PlaneEvents['prefer']>): void {
    this.alive(args[0], 'prefer');
    this.to.prefer(...args);
  }

  pulled(id: ConnectionId): void {
    this.alive(id, 'pulled');
    this.to.pulled(id);
  }

  lookup(key: NodeKey): void {
    this.to.lookup(key);
  }

  heard(key: NodeKey): void {
    this.to.heard(key);
  }

  duplex(...args: Parameters<PlaneEvents['duplex']>): void {
    if (this.logins.has(args[0])) this.violate(`duplex of ${args[0]}, which has logged in`);
    this.to.duplex(...args);
  }

  linkOpen(...args: Parameters<PlaneEvents['linkOpen']>): void {
    const [link] = args;
    if (this.links.has(link)) this.violate(`linkOpen of ${link}, which is ${this.links.get(link)}`);
    this.links.set(link, 'open');
    this.to.linkOpen(...args);
  }

  linkPeers(...args: Parameters<PlaneEvents['linkPeers']>): void {
    const [link] = args;
    if (this.links.get(link) !== 'open') this.violate(`linkPeers of ${link}, which is not open`);
    this.to.linkPeers(...args);
  }

  linkClosed(...args: Parameters<PlaneEvents['linkClosed']>): void {
    const [link] = args;
    if (this.links.get(link) === 'closed') this.violate(`a second linkClosed of ${link}`);
    this.links.set(link, 'closed');
    this.to.linkClosed(...args);
  }

  certificateNeeded(...args: Parameters<PlaneEvents['certificateNeeded']>): void {
    this.to.certificateNeeded(...args);
  }

  drops(...args: Parameters<PlaneEvents['drops']>): void {
    const [drops] = args;
    if (drops.length === 0) this.violate('no drops');
    this.toldDrops.push(...drops);
    this.to.drops(...args);
  }

  failures(...args: Parameters<PlaneEvents['failures']>): void {
    if (args[0].length === 0) this.violate('no failures');
    this.to.failures(...args);
  }

  crowded(address: string): void {
    this.to.crowded(address);
  }

  fault(...args: Parameters<PlaneEvents['fault']>): void {
    this.violate(`fault ${args[0]}: ${args[1]}`);
    this.to.fault(...args);
  }

  private alive(id: ConnectionId, event: string): void {
    if (!this.logins.has(id)) this.violate(`${event} of ${id}, which has not logged in`);
    if (this.ends.has(id)) this.violate(`${event} of ${id}, which has ended`);
  }

  private violate(what: string): void {
    this.violations.push(what);
  }
}
