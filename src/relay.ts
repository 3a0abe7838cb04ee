/** The composition root: one relay, made of a data plane, a registry, an HTTP server, and what decides between them. */
import { EventEmitter } from 'node:events';
import { parseSettings, type RelayConfig, type Settings } from './config.js';
import type { AdmissionFigures } from './control/admission/figures.js';
import type { Gate } from './control/admission/gate.js';
import { BootstrapDns } from './control/bootstrap-dns.js';
import { DropLog } from './control/drop-log.js';
import { LineLimit } from './control/line-limit.js';
import { MESH_TIMES, Mesh, type MeshStatus, type MeshTimes } from './control/mesh.js';
import type { RateLimit } from './control/rate-config.js';
import { StrangerLog, strangerFigures } from './control/stranger-log.js';
import { DerpkitError, ListenError, type ListenSetting, PlaneRefusal, reasonOf } from './errors.js';
import { FaultLog } from './faults/fault-log.js';
import { DebugAccess } from './http/debug-access.js';
import { type Face, HttpServer } from './http/server.js';
import { createLogger, type Logger } from './logger.js';
import { openFiles } from './metrics/process.js';
import type { Counters } from './plane/counter-figures.js';
import type {
  Admission,
  CloseReason,
  ConnectionId,
  DataPlane,
  ListenerId,
  Listening,
  ListenSpec,
  Login,
  PacketDrop,
  PlaneEvents,
  PlaneFactory,
  PlanePolicy,
} from './plane/plane.js';
import { type SelectedPlane, selectPlane } from './plane/select.js';
import { formatNodeKey, shortKey } from './protocol/key.js';
import type { RelayFigures } from './registry/figures.js';
import { type Command, Registry } from './registry/registry.js';
import { openGate } from './relay/admission.js';
import type { Endpoint, Relay, RelayAddress, RelayEvents, RelayOptions } from './relay/api.js';
import { type CertificateTimes, RelayCertificates } from './relay/certificates.js';
import { ClientLog } from './relay/client-log.js';
import { runCommands } from './relay/commands.js';
import { RelayPages } from './relay/debug-source.js';
import { boundConnections, type ConnectionBound } from './relay/descriptors.js';
import { loadMaterials, type Materials } from './relay/materials.js';
import { planePolicy } from './relay/policy.js';
import { reloadFiles } from './relay/reload.js';

export type { Relay, RelayAddress, RelayEvents, RelayOptions } from './relay/api.js';

/**
 * Makes a relay; `start` opens it. Throws a `ConfigError` with every setting that cannot be used, and a `DerpkitError` with
 * the code `ERR_NATIVE_UNAVAILABLE` where the native plane was asked for and cannot be loaded.
 */
export function createRelay(config: RelayConfig = {}, options: RelayOptions = {}): Relay {
  const settings = parseSettings(config);
  return composeRelay(settings, selectPlane(settings.plane), options);
}

/** How long a relay waits for others, and what bounds its plane: tests have less patience, and narrower bounds. */
export interface RelayTimes {
  readonly mesh?: MeshTimes | undefined;
  readonly certificates?: CertificateTimes | undefined;
  readonly policy?: ((usual: PlanePolicy) => PlanePolicy) | undefined;
}

/** The same with a plane of the caller's, and its own patience and bounds. For tests. */
export function composeRelay(
  settings: Settings,
  plane: SelectedPlane,
  options: RelayOptions = {},
  times: RelayTimes = {},
): Relay {
  const logger = options.logger ?? createLogger({ format: settings.logFormat, level: settings.logLevel });
  return new ComposedRelay(settings, plane, logger, times, options);
}

/** Lines of one kind that others cause: this many at once, then one in this time. */
const LINES = [5, 30_000] as const;

class ComposedRelay extends EventEmitter<RelayEvents> implements Relay {
  plane: SelectedPlane;
  readonly dataDir: string;
  readonly reloads: boolean;
  readonly admitsEverybody: boolean;
  address: RelayAddress | undefined;
  publicKey: string | undefined;
  private starting: Promise<void> | undefined;
  private started: Started | undefined;
  private reloaded: Promise<void> = Promise.resolve();
  private state: 'new' | 'starting' | 'open' | 'closed' = 'new';
  private readonly faults: FaultLog;

  constructor(
    private readonly settings: Settings,
    plane: SelectedPlane,
    readonly logger: Logger,
    private readonly times: RelayTimes,
    private readonly hooks: Pick<RelayOptions, 'dnsHook' | 'onAdmit'>,
  ) {
    super();
    this.plane = plane;
    this.dataDir = settings.dataDir;
    this.reloads =
      settings.rateConfig !== undefined || readsAdmissionFiles(settings) || RelayCertificates.canReload(settings);
    this.admitsEverybody = !hooks.onAdmit && settings.admission.verifiers.length === 0;
    this.faults = new FaultLog(logger);
  }

  get fingerprint(): string | undefined {
    return this.state === 'open' ? this.started?.certificates.fingerprint : undefined;
  }

  async start(): Promise<void> {
    if (this.state !== 'new') throw new DerpkitError('ERR_STATE', `the relay is ${this.state}, not new`);
    this.state = 'starting';
    this.starting = this.open();
    await this.starting;
  }

  async close(): Promise<void> {
    this.state = 'closed';
    // A start under way sees the state, and ends; closing half of what it opens would leave the other half.
    await this.starting?.catch(() => undefined);
    await this.started?.close();
    // Not before: handlers of `disconnected` may ask.
    this.started = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  reload(): Promise<void> {
    // One after the other: of two, the one that was asked for last has the last word.
    const reloaded = this.reloaded.then(async () => {
      await reloadFiles(this.settings, this.running());
    });
    this.reloaded = reloaded.catch(() => {});
    return reloaded;
  }

  counters(): Counters {
    return this.running().dataPlane.counters.readAll();
  }

  figures(): RelayFigures {
    return this.running().registry.figures();
  }

  admission(): AdmissionFigures | undefined {
    return this.running().gate.figures();
  }

  mesh(): MeshStatus[] {
    return this.running().mesh?.status() ?? [];
  }

  private async open(): Promise<void> {
    try {
      const materials = await loadMaterials(this.settings);
      this.unlessClosed();
      this.address = await this.serve(materials).catch(async (error) => {
        const { instead } = this.plane;
        if (!(error instanceof PlaneRefusal) || !instead) throw error;
        await this.started?.close();
        this.unlessClosed();
        this.plane = { ...instead, reason: error.message, fallback: true };
        return this.serve(materials);
      });
      this.unlessClosed();
      this.publicKey = formatNodeKey(materials.keys.publicKey);
      this.state = 'open';
    } catch (error) {
      this.state = 'closed';
      await this.started?.close();
      this.started = undefined;
      throw error;
    }
  }

  private async serve(materials: Materials): Promise<RelayAddress> {
    const { settings, plane, times, faults, logger, hooks } = this;
    this.started = new Started(settings, plane.create, materials, times, faults, logger, this, hooks);
    return this.started.listen();
  }

  private unlessClosed(): void {
    if (this.state === 'closed') throw new DerpkitError('ERR_STATE', 'the relay was closed while it started');
  }

  private running(): Started {
    if (this.started) return this.started;
    throw new DerpkitError('ERR_STATE', `the relay ${this.state === 'closed' ? 'is closed' : 'has not started'}`);
  }
}

/** The parts of a relay that runs, and how what one of them reports becomes work for the others. */
class Started implements PlaneEvents {
  readonly dataPlane: DataPlane;
  readonly registry: Registry;
  readonly gate: Gate;
  private readonly http: HttpServer;
  private readonly bootstrap: BootstrapDns;
  readonly mesh: Mesh | undefined;
  private policy: PlanePolicy;
  private rate: RateLimit | undefined;
  private readonly clientLog: ClientLog;
  private readonly dropLog = new DropLog(performance.now());
  private readonly closings = new LineLimit(...LINES, performance.now());
  private readonly strangerLog: StrangerLog;
  private readonly faces = new Map<ListenerId, Face>();
  private readonly ports = { plain: 80, tls: 443 };
  readonly certificates: RelayCertificates;
  private readonly bound: ConnectionBound;

  constructor(
    private readonly settings: Settings,
    create: PlaneFactory,
    private readonly materials: Materials,
    private readonly times: RelayTimes,
    private readonly faults: FaultLog,
    private readonly logger: Logger,
    private readonly emitter: EventEmitter<RelayEvents>,
    { dnsHook, onAdmit }: Pick<RelayOptions, 'dnsHook' | 'onAdmit'>,
  ) {
    const { barrier } = faults;
    const { keys, meshKey, roots } = materials;
    this.registry = new Registry(keys.publicKey);
    this.rate = materials.rate;
    this.clientLog = new ClientLog(logger, settings);
    this.bound = boundConnections(settings, openFiles());
    const policy = this.policyNow();
    this.policy = policy;
    this.gate = openGate(settings, materials.admission, meshKey, onAdmit, policy.deadlines.admission, {
      kick: (id) => this.dataPlane.close(id, 'refused'),
      log: (level, facts, text) => logger[level](facts, text),
    });
    this.dataPlane = makePlane(() => create({ privateKey: keys.privateKey, policy, workers: settings.workers }, this));
    const own = { settings, materials, plane: this.dataPlane, logger, dnsHook, barrier, times: times.certificates };
    this.certificates = new RelayCertificates(own);
    if (meshKey !== undefined && roots) {
      for (const problem of roots.problems) logger.warn(problem);
      this.mesh = new Mesh(
        settings.meshWith,
        {
          ownKey: keys.publicKey,
          meshKey,
          roots: roots.certificates,
          mostKeys: settings.limits.meshKeys,
          dial: (link, target) => this.dataPlane.dial(link, target),
          hangUp: (link) => this.dataPlane.hangUp(link),
          onChange: (link, key, present) =>
            this.run(present ? this.registry.linkPresent(link, key) : this.registry.linkGone(link, key)),
          log: (level, facts, text) => logger[level](facts, text),
          barrier,
        },
        times.mesh ?? MESH_TIMES,
      );
    }
    const figures = () => strangerFigures(this.dataPlane.counters.readAll(), this.http.visitors);
    this.strangerLog = new StrangerLog(figures, (news, text) => logger.warn(news, text));
    const { bootstrapDnsNames: published, unpublishedBootstrapDnsNames: unpublished } = settings;
    const unresolved = (name: string, error: Error) => {
      logger.warn({ name, error: error.message }, 'a bootstrap name cannot be resolved');
    };
    this.bootstrap = new BootstrapDns({ published, unpublished }, unresolved, barrier);
    const { debugAllowIp: allowIp, debugTrustedCidrs: trustedCidrs, debugKeyFile: keyFile, debugHosts } = settings;
    const hosts = () => [settings.hostname, ...debugHosts, ...this.certificates.validFor];
    this.http = new HttpServer({
      barrier,
      limits: () => this.policy.limits,
      hostname: settings.hostname,
      bootstrapDns: (query, address) => this.bootstrap.answer(query, address),
      debugAccess: new DebugAccess({ allowIp, trustedCidrs, keyFile, hosts }),
      debug: new RelayPages({
        settings,
        meshKey: meshKey !== undefined,
        tls: settings.certMode !== 'off',
        plane: this.dataPlane,
        registry: this.registry,
        bootstrap: this.bootstrap,
        http: () => this.http,
        rate: () => this.rate,
        gate: this.gate,
        mesh: () => this.mesh?.status() ?? [],
        certificates: () => this.certificates.states(),
        faults: () => faults.count,
      }),
      challengeAnswer: this.certificates.challengeAnswer,
      debugHint: settings.debugHint,
      serverKey: keys.publicKey,
      home: settings.home,
      derp: settings.derp,
      ports: () => this.ports,
      adopt: (id, how) => this.dataPlane.adopt(id, how),
    });
  }

  async listen(): Promise<RelayAddress> {
    const { listen, derp, stun, stunPort, httpPort } = this.settings;
    const { host } = listen;
    const tls = this.settings.certMode !== 'off';
    if (tls) await this.certificates.open();
    for (const warning of this.materials.warnings) this.logger.warn(warning);
    this.bootstrap.start();
    this.strangerLog.start();
    const main = await this.open({ kind: tls ? 'tls' : 'tcp', derp, host, port: listen.port }, 'main', 'listen');
    if (tls) this.ports.tls = main.port;
    const withHttp = tls && httpPort >= 0;
    const http =
      withHttp && (await this.open({ kind: 'tcp', derp: false, host, port: httpPort }, 'redirect', 'httpPort'));
    if (http) this.ports.plain = http.port;
    const stunListener =
      stun && (await this.open({ kind: 'stun', derp: false, host, port: stunPort }, 'main', 'stunPort'));
    this.mesh?.start();
    await this.certificates.start();
    this.gate.start();
    this.logger.info(this.bound, 'connections are bounded');
    return {
      derp: { ...endpoint(main), tls },
      ...(http && { http: endpoint(http) }),
      ...(stunListener && { stun: endpoint(stunListener) }),
    };
  }

  /** Another receive limit holds, for everyone who is connected too. */
  limit(rate: RateLimit): void {
    this.rate = rate;
    this.policy = this.policyNow();
    this.dataPlane.policy(this.policy);
  }

  private policyNow(): PlanePolicy {
    const usual = planePolicy(this.settings, this.rate, this.bound.connections);
    return this.times.policy?.(usual) ?? usual;
  }

  async close(): Promise<void> {
    await this.certificates.close();
    this.strangerLog.stop();
    this.bootstrap.stop();
    this.http.close();
    this.mesh?.stop();
    this.gate.close();
    await this.dataPlane.shutdown();
  }

  /** Reads the files of admission again. Rejects with what is wrong with the first that cannot be used. */
  async reloadAdmission(): Promise<void> {
    for (const file of this.materials.admission.headers) await file.load();
    await this.gate.reload();
  }

  login(login: Login): void {
    this.clientLog.login(login);
    const decision = this.gate.login(login);
    if (decision instanceof Promise) void decision.then((later) => this.decided(login, later));
    else this.decided(login, decision);
  }

  /** `undefined` is about a client that has gone meanwhile. */
  private decided({ id, key, info, peer, notIdeal }: Login, admission: Admission | null | undefined): void {
    if (admission === undefined) return;
    if (admission === null) {
      this.dataPlane.refuse(id);
      return;
    }
    const { mesh } = admission;
    const { address, port } = peer;
    const arrival = { id, key, address, port, appName: info.appName, mesh, prober: info.isProber, notIdeal };
    const commands = this.registry.connected(arrival, performance.now());
    this.dataPlane.admit(id, admission);
    this.run(commands);
    this.logger.debug({ client: shortKey(key), id, ...(mesh && { mesh }) }, 'client connected');
    this.tell('connected', { id, key: formatNodeKey(key), peer, mesh });
  }

  closed(id: ConnectionId, reason: CloseReason): void {
    const client = this.registry.get(id);
    this.clientLog.ends(id, reason);
    this.gate.gone(id);
    // It was refused.
    if (!client) return;
    this.run(this.registry.disconnected(id));
    this.logger.debug({ client: shortKey(client.key), id, reason }, 'client disconnected');
    this.tell('disconnected', { id, key: formatNodeKey(client.key), reason });
  }

  active(...report: Parameters<PlaneEvents['active']>): void {
    this.registry.active(...report);
    this.clientLog.say(report[1], 'is the active connection of its key');
  }

  watch(id: ConnectionId): void {
    this.clientLog.say(id, 'watches connects and disconnects');
    this.run(this.registry.watch(id));
  }

  pulled(id: ConnectionId): void {
    this.run(this.registry.pulled(id));
  }

  closePeer(id: ConnectionId, target: Parameters<PlaneEvents['closePeer']>[1]): void {
    const commands = this.registry.closePeer(target);
    const facts = { by: id, target: shortKey(target), connections: commands.length };
    this.sometimes(this.closings, facts, 'mesh peer closes a client');
    this.run(commands);
  }

  prefer(id: ConnectionId, home: boolean): void {
    this.clientLog.say(id, 'changes its home relay', { home });
    this.registry.prefer(id, home, performance.now());
  }

  duplex(...[id, stream, info]: Parameters<PlaneEvents['duplex']>): void {
    this.http.accept(id, stream, this.faces.get(info.listener) ?? 'main', info);
  }

  linkOpen(...report: Parameters<PlaneEvents['linkOpen']>): void {
    this.mesh?.linkOpen(...report);
  }

  linkPeers(...report: Parameters<PlaneEvents['linkPeers']>): void {
    this.mesh?.linkPeers(...report);
  }

  linkClosed(...report: Parameters<PlaneEvents['linkClosed']>): void {
    this.mesh?.linkClosed(...report);
  }

  certificateNeeded(need: Parameters<PlaneEvents['certificateNeeded']>[0]): void {
    this.certificates.needed(need);
  }

  drops(drops: readonly PacketDrop[]): void {
    for (const { source, destination, packets } of this.dropLog.lines(drops, performance.now())) {
      this.logger.info({ from: shortKey(source), to: shortKey(destination), ...packets }, 'packets dropped');
    }
  }

  /** Tells the listeners of the embedding program. What they throw is theirs, and no reason to end anything. */
  private tell<Name extends keyof RelayEvents>(event: Name, ...args: RelayEvents[Name]): void {
    this.faults.barrier.emit(this.emitter, event, args);
  }

  fault(code: DerpkitError['code'], message: string, fatal: boolean): void {
    if (fatal) {
      this.logger.error({ code, fatal }, message);
      this.tell('fault', new DerpkitError(code, message));
    } else {
      this.faults.tellOfPlane(message);
    }
  }

  /** Says what others can cause as often as they like; what is held back is counted in the next line. */
  private sometimes(limit: LineLimit, facts: object, text: string): void {
    const heldBack = limit.take(performance.now());
    if (heldBack === undefined) this.logger.debug(facts, text);
    else this.logger.info({ ...facts, ...(heldBack > 0 && { heldBack }) }, text);
  }

  private async open(spec: ListenSpec, face: Face, setting: ListenSetting): Promise<Listening> {
    try {
      const listening = await this.dataPlane.listen(spec);
      this.faces.set(listening.id, face);
      return listening;
    } catch (error) {
      const { message, cause } = error as Error;
      throw new ListenError(setting, message, { cause });
    }
  }

  private run(commands: readonly Command[]): void {
    runCommands(this.dataPlane, commands);
  }
}

function readsAdmissionFiles({ admission: { verifiers, deny } }: Settings): boolean {
  return deny.keys !== undefined || verifiers.some(({ keys, headersFile }) => (keys ?? headersFile) !== undefined);
}

/** What of the system a plane needs, it may not get: threads, mostly. */
function makePlane(make: () => DataPlane): DataPlane {
  try {
    return make();
  } catch (cause) {
    const message =
      `the native plane cannot start its threads: ${reasonOf(cause)}; allow more of them (ulimit -u, TasksMax= of a unit, ` +
      'the limit of processes of a container), ask for fewer, or take the plane js, which has none';
    throw new PlaneRefusal({ path: 'workers', message }, cause);
  }
}

function endpoint({ address, port }: Listening): Endpoint {
  return { address, port };
}
