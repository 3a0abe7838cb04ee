import type { EventEmitter } from 'node:events';
import type { Settings } from '../config.js';
import type { Gate } from '../control/admission/gate.js';
import { DropLog } from '../control/drop-log.js';
import { LineLimit } from '../control/line-limit.js';
import type { Discovery } from '../control/mesh/discovery.js';
import type { Mesh } from '../control/mesh.js';
import { DerpkitError } from '../errors.js';
import type { FaultLog } from '../faults/fault-log.js';
import type { HttpServer } from '../http/server.js';
import type { Logger } from '../logger.js';
import type {
  Admission,
  CloseReason,
  ConnectionId,
  DataPlane,
  Login,
  PacketDrop,
  PlaneEvents,
} from '../plane/plane.js';
import { formatEndpoint } from '../protocol/endpoint.js';
import { formatNodeKey, type NodeKey } from '../protocol/key.js';
import type { Registry } from '../registry/registry.js';
import type { RelayEvents } from './api.js';
import type { RelayCertificates } from './certificates.js';
import { ClientLog } from './client-log.js';
import { runCommands } from './commands.js';
import type { Listeners } from './listeners.js';
import type { MetricsService } from './metrics-service.js';
import type { OnDemand } from './on-demand.js';
import { StrangersLog } from './strangers.js';

/** The parts of a relay that handle the reports of its plane. */
export interface Reported {
  readonly plane: DataPlane;
  readonly registry: Registry;
  readonly gate: Gate;
  readonly mesh: Mesh | undefined;
  readonly discovery: Discovery | undefined;
  readonly certificates: RelayCertificates;
  readonly http: HttpServer;
  readonly listeners: Listeners;
  readonly strangers: StrangersLog;
  readonly metrics: MetricsService | undefined;
  readonly onDemand: OnDemand | undefined;
}

/** Log lines of one kind that clients can cause at will: this many at once, then one in this many milliseconds. */
const LINES = [5, 30_000] as const;
/** The same for lines at level debug about clients that come and go. */
const COMINGS = [500, 10] as const;

/** Handles the reports of the data plane: it calls other parts, logs, and emits events for the embedding program. */
export class PlaneHandlers implements PlaneEvents {
  private to!: Reported;
  private readonly clientLog: ClientLog;
  private readonly dropLog = new DropLog(performance.now());
  private readonly closings = new LineLimit(...LINES, performance.now());
  private readonly comings = new LineLimit(...COMINGS, performance.now());

  constructor(
    settings: Settings,
    private readonly logger: Logger,
    private readonly faults: FaultLog,
    private readonly emitter: EventEmitter<RelayEvents>,
  ) {
    this.clientLog = new ClientLog(logger, settings);
  }

  /** Connects the parts, before the plane listens or reports: they need the plane, and the plane needs its handlers. */
  connect(parts: Reported): void {
    this.to = parts;
  }

  /** Logs what clients do as these settings say, from their logins on. */
  follow(settings: Settings): void {
    this.clientLog.settings = settings;
  }

  login(login: Login): void {
    if (this.to.metrics?.admits(login)) return;
    this.clientLog.login(login);
    const decision = this.to.gate.login(login);
    if (decision instanceof Promise) void decision.then((later) => this.decided(login, later));
    else this.decided(login, decision);
  }

  /** The decision is `undefined` for a client that has gone meanwhile. */
  private decided(login: Login, admission: Admission | null | undefined): void {
    if (admission === undefined) return;
    const { id, key, info, peer, tlsVersion, notIdeal } = login;
    const { plane, registry, strangers } = this.to;
    if (!admission?.mesh && /[^0]/.test(info.meshKey ?? '')) strangers.wrongMeshKey(login);
    if (admission === null) {
      plane.refuse(id);
      return;
    }
    const { mesh } = admission;
    const { address, port } = peer;
    const { appName, version, isProber: prober } = info;
    const arrival = { id, key, address, port, appName, version, tlsVersion, mesh, prober, notIdeal };
    const commands = registry.connected(arrival, performance.now());
    plane.admit(id, admission);
    runCommands(plane, commands);
    this.to.onDemand?.connected(key, mesh);
    this.cameOrWent(
      () => ({ client: id, key: formatNodeKey(key), addr: formatEndpoint(address, port), ...(mesh && { mesh }) }),
      'client connected',
    );
    if (this.isHeard('connected')) this.tell('connected', { id, key: formatNodeKey(key), peer, mesh });
    if (mesh && this.to.mesh?.arrived(key, address) === false) this.to.discovery?.look();
  }

  closed(id: ConnectionId, reason: CloseReason): void {
    const { plane, registry, gate } = this.to;
    const client = registry.get(id);
    this.clientLog.ends(id, reason);
    gate.gone(id);
    // The registry does not know a refused client.
    if (!client) return;
    runCommands(plane, registry.disconnected(id));
    const { key, address, port } = client;
    this.to.onDemand?.disconnected(key);
    this.cameOrWent(
      () => ({ client: id, key: formatNodeKey(key), addr: formatEndpoint(address, port), reason }),
      'client disconnected',
    );
    if (this.isHeard('disconnected')) this.tell('disconnected', { id, key: formatNodeKey(key), reason });
  }

  active(...report: Parameters<PlaneEvents['active']>): void {
    this.to.registry.active(...report);
    this.clientLog.say(report[1], 'is the active connection of its key');
  }

  watch(id: ConnectionId): void {
    this.clientLog.say(id, 'watches connects and disconnects');
    runCommands(this.to.plane, this.to.registry.watch(id));
  }

  pulled(id: ConnectionId): void {
    runCommands(this.to.plane, this.to.registry.pulled(id));
  }

  lookup(key: NodeKey): void {
    const { onDemand, plane } = this.to;
    if (onDemand) onDemand.lookup(key);
    else plane.missing(key);
  }

  heard(key: NodeKey): void {
    this.to.onDemand?.heard(key);
  }

  closePeer(id: ConnectionId, target: NodeKey): void {
    const commands = this.to.registry.closePeer(target);
    const facts = { client: id, key: formatNodeKey(target), connections: commands.length };
    this.sometimes(this.closings, facts, 'mesh peer closes a client');
    runCommands(this.to.plane, commands);
  }

  prefer(id: ConnectionId, home: boolean, changes: number): void {
    this.clientLog.say(id, 'changes its home relay', { home });
    this.to.registry.prefer(id, home, changes, performance.now());
  }

  duplex(...[id, stream, info]: Parameters<PlaneEvents['duplex']>): void {
    this.to.http.accept(id, stream, this.to.listeners.face(info.listener), info);
  }

  linkOpen(...report: Parameters<PlaneEvents['linkOpen']>): void {
    this.to.mesh?.linkOpen(...report);
  }

  linkPeers(...report: Parameters<PlaneEvents['linkPeers']>): void {
    this.to.mesh?.linkPeers(...report);
  }

  linkClosed(...report: Parameters<PlaneEvents['linkClosed']>): void {
    this.to.mesh?.linkClosed(...report);
  }

  certificateNeeded(need: Parameters<PlaneEvents['certificateNeeded']>[0]): void {
    this.to.certificates.needed(need);
  }

  drops(drops: readonly PacketDrop[]): void {
    for (const { source, destination, packets } of this.dropLog.lines(drops, performance.now())) {
      const facts = { from: formatNodeKey(source), key: formatNodeKey(destination), packets };
      this.logger.info(facts, 'packets dropped');
    }
  }

  failures(...report: Parameters<PlaneEvents['failures']>): void {
    this.to.strangers.failures(...report);
  }

  crowded(address: string): void {
    this.to.strangers.crowded(address);
  }

  fault(code: DerpkitError['code'], message: string, fatal: boolean): void {
    if (fatal) {
      if (this.to.metrics) this.to.metrics.readiness.failure = message;
      this.logger.error({ code, fatal }, message);
      this.tell('fault', new DerpkitError(code, message));
    } else {
      this.faults.tellOfPlane(message);
    }
  }

  /** Whether the embedding program listens to an event. */
  private isHeard(event: keyof RelayEvents): boolean {
    return this.emitter.listenerCount(event) > 0;
  }

  /** Emits an event for the embedding program. An exception in one of its handlers is counted and ends nothing. */
  private tell<Name extends keyof RelayEvents>(event: Name, ...args: RelayEvents[Name]): void {
    this.faults.barrier.emit(this.emitter, event, args);
  }

  /**
   * Logs at level debug that a client has come or gone, unless clients do so faster than a log can bear. The facts of a line
   * cost more than the registration of its client, so they are made only for a line.
   */
  private cameOrWent(facts: () => object, text: string): void {
    if (!StrangersLog.tells(this.logger)) return;
    const heldBack = this.comings.take(performance.now());
    if (heldBack !== undefined) this.logger.debug({ ...facts(), ...(heldBack > 0 && { heldBack }) }, text);
  }

  /** Logs an event that clients can cause at will. A line reports how many lines were held back before it. */
  private sometimes(limit: LineLimit, facts: object, text: string): void {
    const heldBack = limit.take(performance.now());
    if (heldBack === undefined) this.logger.debug(facts, text);
    else this.logger.info({ ...facts, ...(heldBack > 0 && { heldBack }) }, text);
  }
}
