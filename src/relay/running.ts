import type { EventEmitter } from 'node:events';
import { getSystemErrorMap } from 'node:util';
import { keyFileOf, type Settings } from '../config.js';
import { Gate, type GateEvents, type GateOptions } from '../control/admission/gate.js';
import { BootstrapDns } from '../control/bootstrap-dns.js';
import type { DataPathTimes } from '../control/data-path.js';
import type { Directory, RelayLoad } from '../control/directory/directory.js';
import { Discovery, type DiscoveryParts } from '../control/mesh/discovery.js';
import { NatsSource } from '../control/mesh/nats-source.js';
import { SelfCheck } from '../control/mesh/self-check.js';
import { listed } from '../control/mesh/wanted.js';
import { MESH_TIMES, Mesh, type MeshTimes } from '../control/mesh.js';
import type { OnDemandTimes } from '../control/on-demand/times.js';
import { rereadEach } from '../control/reread.js';
import { PlaneRefusal, type Problem, reasonOf } from '../errors.js';
import type { FaultLog } from '../faults/fault-log.js';
import { HttpCounters } from '../http/counters.js';
import { DebugAccess, type DebugRules } from '../http/debug-access.js';
import { HttpServer } from '../http/server.js';
import { Site } from '../http/site.js';
import { Visitors } from '../http/visitors.js';
import { type Logger, setLogLevel } from '../logger.js';
import { openFiles } from '../metrics/process.js';
import type { DataPlane, PlaneFactory, PlanePolicy, ReceiveRate } from '../plane/plane.js';
import { type Client, isMeshPeer } from '../registry/client.js';
import { Registry } from '../registry/registry.js';
import { type AdmissionMaterials, gateOptions } from './admission.js';
import type { RelayAddress, RelayEvents, RelayOptions } from './api.js';
import { type CertificateTimes, RelayCertificates } from './certificates.js';
import { runCommands } from './commands.js';
import { RelayDebugSource } from './debug-source.js';
import { boundConnections, type ConnectionBound } from './descriptors.js';
import { natsDirectory, natsWarnings } from './directory.js';
import { Drain } from './drain.js';
import { Listeners } from './listeners.js';
import type { Materials, Reread } from './materials.js';
import { meshSources } from './mesh-sources.js';
import { METRICS_DESCRIPTORS, MetricsService, metricsWarnings } from './metrics-service.js';
import { OnDemand } from './on-demand.js';
import { PlaneHandlers } from './plane-handlers.js';
import { planePolicy } from './policy.js';
import { throwAll } from './reload.js';
import { StrangersLog } from './strangers.js';

/** Deadlines and plane limits of a relay; tests use tighter ones. */
export interface RelayTimes {
  readonly mesh?: Partial<MeshTimes> | undefined;
  readonly onDemand?: Partial<OnDemandTimes> | undefined;
  readonly certificates?: CertificateTimes | undefined;
  readonly dataPath?: DataPathTimes | undefined;
  readonly policy?: ((usual: PlanePolicy) => PlanePolicy) | undefined;
}

/** The parts and settings for one start of a relay. */
export interface RunningOptions {
  readonly settings: Settings;
  readonly create: PlaneFactory;
  readonly materials: Materials;
  readonly times: RelayTimes;
  readonly faults: FaultLog;
  readonly logger: Logger;
  /** Emits the events for the embedding program. */
  readonly emitter: EventEmitter<RelayEvents>;
  readonly hooks: Pick<RelayOptions, 'dnsHook' | 'onAdmit' | 'sockets'>;
}

/** The parts of a relay from its start to its close; each one is made from those before it. */
export class RunningRelay {
  readonly plane: DataPlane;
  readonly registry: Registry;
  readonly gate: Gate;
  readonly mesh: Mesh | undefined;
  readonly discovery: Discovery | undefined;
  readonly onDemand: OnDemand | undefined;
  /** The directory, of a source of relays or of keys on demand. */
  private directory: Directory | undefined;
  readonly certificates: RelayCertificates;
  private readonly selfCheck: SelfCheck;
  private readonly drainer = new Drain();
  private readonly http: HttpServer;
  private readonly metrics: MetricsService | undefined;
  private readonly pages: RelayDebugSource;
  private readonly bootstrap: BootstrapDns;
  private readonly listeners: Listeners;
  private readonly strangers: StrangersLog;
  private readonly bound: ConnectionBound;
  private readonly handlers: PlaneHandlers;
  private readonly debugAccess: DebugAccess;
  private settings: Settings;
  private admission: AdmissionMaterials;
  private policy: PlanePolicy;
  private rate: ReceiveRate | undefined;

  /** Throws a `PlaneRefusal` if the plane cannot run here. */
  constructor(private readonly options: RunningOptions) {
    const { settings, create, materials, times, faults, logger, emitter, hooks } = options;
    const { keys, meshKey, roots } = materials;
    const { barrier } = faults;
    const log = (level: 'debug' | 'info' | 'warn' | 'error', facts: object, text: string) => logger[level](facts, text);

    this.settings = settings;
    this.admission = materials.admission;
    this.rate = materials.rate;
    const used = openFiles() + (settings.metrics.listen ? METRICS_DESCRIPTORS : 0);
    this.bound = boundConnections(settings, used);
    this.policy = this.policyNow();
    const { policy } = this;
    this.handlers = new PlaneHandlers(settings, logger, faults, emitter);
    const { handlers } = this;
    const { privateKey, publicKey } = keys;
    const plane = makePlane(() => create({ privateKey, policy, workers: settings.workers }, handlers));
    this.plane = plane;
    this.listeners = new Listeners(settings, hooks.sockets ?? {}, plane);
    this.selfCheck = new SelfCheck(publicKey);
    const registry = new Registry(publicKey);
    this.registry = registry;

    const kick = (id: Parameters<DataPlane['close']>[0]) => plane.close(id, 'refused');
    const limit: GateEvents['limit'] = (id, receiveLimit) => plane.limit(id, receiveLimit);
    this.gate = new Gate(this.rules(), { kick, limit, log });
    const certificateTimes = times.certificates;
    const { dnsHook } = hooks;
    this.certificates = new RelayCertificates({
      ...{ settings, materials, plane, logger, dnsHook, barrier, times: certificateTimes },
    });
    if (meshKey !== undefined && roots) {
      for (const problem of roots.problems) logger.warn(problem);
      this.mesh = new Mesh(
        settings.meshWith.map(listed),
        {
          ownKey: publicKey,
          ownKeyFrom: settings.privateKey === undefined ? keyFileOf(settings) : 'privateKey',
          meshKey,
          roots: roots.certificates,
          mostKeys: settings.limits.meshKeys,
          dial: (link, target) => plane.dial(link, target),
          hangUp: (link) => plane.hangUp(link),
          isSelf: (target) => this.selfCheck.ask(target),
          onChange: (link, key, present) =>
            runCommands(plane, present ? registry.linkPresent(link, key) : registry.linkGone(link, key)),
          log,
          barrier,
        },
        { ...MESH_TIMES, ...times.mesh },
      );
      const { mesh } = this;
      const common = { ownKey: publicKey, meshKey, logger, barrier };
      const inNats = () => {
        this.directory = natsDirectory({
          ...{ ...common, settings, current: () => this.settings },
          ...{ port: () => this.listeners.ports.tls, load: () => this.load() },
        });
        return this.directory;
      };
      if (settings.mesh.mode === 'on-demand') {
        this.onDemand = new OnDemand({
          ...{ ...common, plane, registry, mesh, directory: inNats(), roots: roots.certificates },
          ...{ mostKeys: settings.limits.meshKeys, idle: settings.mesh.idle, times: times.onDemand },
        });
      }
      const follow: DiscoveryParts['follow'] = (found) => mesh.follow(found);
      const natsSource = () => new NatsSource(inNats(), publicKey, barrier);
      const sources = meshSources(settings.mesh.discover, barrier, natsSource);
      this.discovery = new Discovery(sources, { follow, log, barrier });
    }

    const { bootstrapDnsNames: published, unpublishedBootstrapDnsNames: unpublished } = settings;
    const unresolved = (name: string, error: Error) => {
      logger.warn({ name, reason: error.message }, 'a bootstrap name cannot be resolved');
    };
    this.bootstrap = new BootstrapDns({ published, unpublished }, unresolved, barrier);

    const hosts = () => [settings.hostname, ...this.settings.debugHosts, ...this.certificates.validFor];
    this.debugAccess = new DebugAccess({ ...debugRules(settings), hosts });
    const { debugAccess } = this;
    const visitors = new Visitors(
      () => this.policy.limits,
      (address) => debugAccess.isNear(address),
    );
    const counters = new HttpCounters();
    const strangers = new StrangersLog({
      logger,
      plane,
      visitors,
      policy: () => this.policy,
      onTell: () => this.renew(),
    });
    this.strangers = strangers;
    this.pages = new RelayDebugSource({
      settings,
      meshKey: meshKey !== undefined,
      tls: settings.certMode !== 'off',
      plane,
      registry,
      bootstrap: this.bootstrap,
      http: counters,
      strangers,
      rate: () => this.rate,
      gate: this.gate,
      mesh: this.mesh,
      discovery: this.discovery,
      onDemand: this.onDemand,
      directory: this.directory,
      ownKey: publicKey,
      current: () => this.settings,
      port: () => this.listeners.ownPort,
      load: () => this.load(),
      certificates: this.certificates,
      faults,
    });
    const site = new Site({
      barrier,
      hostname: settings.hostname,
      bootstrapDns: (query, address) => this.bootstrap.answer(query, address),
      probed: (query) => this.selfCheck.saw(query),
      draining: () => this.drainer.isDraining,
      debugAccess,
      debug: this.pages,
      challengeAnswer: this.certificates.challengeAnswer,
      debugHint: () => this.settings.debugHint,
      home: settings.home,
      derp: settings.derp,
      ports: () => this.listeners.ports,
    });
    const serving = { barrier, counters, visitors, serverKey: publicKey };
    this.http = new HttpServer(
      {
        ...serving,
        derp: settings.derp,
        adopt: (id, how) => plane.adopt(id, how),
        onFailure: (reason, peer) => strangers.request(reason, peer),
      },
      site,
    );
    const { metrics: fd } = hooks.sockets ?? {};
    if (settings.metrics.listen || fd !== undefined) {
      this.metrics = new MetricsService({
        ...{ settings, fd, token: materials.token, publicKey, plane, certificates: this.certificates },
        ...{ debugAccess, visitors, counters, barrier, logger, times: times.dataPath },
        metrics: () => this.pages.metrics(),
        isDraining: () => this.drainer.isDraining,
        onFailure: (reason, peer) => strangers.request(reason, peer),
      });
    }
    handlers.connect(this.parts);
  }

  private get parts() {
    const { plane, registry, gate, mesh, discovery, onDemand, certificates, http, listeners, strangers, metrics } =
      this;
    return { plane, registry, gate, mesh, discovery, onDemand, certificates, http, listeners, strangers, metrics };
  }

  /** How much this relay has to do, as other relays of the region see it. */
  private load(): RelayLoad {
    const { mesh, onDemand, plane, registry } = this;
    const counters = plane.counters.readAll();
    const links = [...(mesh?.status() ?? []), ...(onDemand?.status().links ?? [])];
    return {
      clients: registry.clientCount,
      links: links.filter(({ state }) => state === 'connected').length,
      packets: counters['packets_received:disco'] + counters['packets_received:other'],
    };
  }

  /**
   * Opens the listeners, and starts what works by itself. Rejects with a `ListenError` for one that cannot be had, and with a
   * `ConfigError` for a socket that was handed over and cannot be used.
   */
  async listen(): Promise<RelayAddress> {
    const { settings, materials, logger } = this.options;
    const { listeners, certificates } = this;
    const tls = settings.certMode !== 'off';
    if (tls) await certificates.open();
    const ofMetrics = metricsWarnings(settings, this.metrics !== undefined);
    for (const warning of [...materials.warnings, ...natsWarnings(settings), ...ofMetrics]) logger.warn(warning);
    this.bootstrap.start();
    this.strangers.start();
    const address = await listeners.open();
    const metrics = await this.metrics?.open();
    this.mesh?.start();
    this.discovery?.start();
    this.onDemand?.start();
    await certificates.start();
    this.gate.start();
    this.metrics?.started();
    const { connections, descriptors } = this.bound;
    logger.info({ connections, ...(descriptors !== undefined && { files: descriptors }) }, 'connections are bounded');
    return { ...address, ...(metrics && { metrics }) };
  }

  private rules(): GateOptions {
    const { materials, hooks, logger } = this.options;
    return gateOptions(this.settings, this.admission, {
      meshKey: materials.meshKey,
      onAdmit: hooks.onAdmit,
      hookTimeout: this.policy.deadlines.admission,
      log: (level, facts, text) => logger[level](facts, text),
    });
  }

  /** Takes other settings over, with what was read for them. Throws, and changes nothing, if the plane refuses a certificate. */
  apply(settings: Settings, { rate, admission, certificates, warnings }: Reread): void {
    const { logger } = this.options;
    if (certificates) this.certificates.replace(certificates);
    for (const warning of warnings) logger.warn(warning);
    const { logLevel } = this.settings;
    this.settings = settings;
    if (settings.logLevel !== logLevel) setLogLevel(logger, settings.logLevel);
    this.handlers.follow(settings);
    this.debugAccess.change(debugRules(settings));
    this.limit(rate);
    if (!admission) return;
    this.admission = admission;
    this.gate.replace(this.rules(), this.ordinaryClients());
  }

  private *ordinaryClients(): Generator<Client> {
    for (const client of this.registry.clients()) if (!isMeshPeer(client)) yield client;
  }

  /** Whether the plane counts the peers that send packets to each client. */
  get countsSenders(): boolean {
    return this.policy.countSenders;
  }

  /** Sets a new receive limit, for connected clients, too. */
  limit(rate: ReceiveRate | undefined): void {
    this.rate = rate;
    this.renew();
  }

  private renew(): void {
    this.policy = this.policyNow();
    this.plane.policy(this.policy);
  }

  private policyNow(): PlanePolicy {
    const { times, logger } = this.options;
    const tells = StrangersLog.tells(logger);
    const usual = planePolicy(this.settings, this.rate, this.bound.connections, tells);
    return times.policy?.(usual) ?? usual;
  }

  /** Reads the header and key files of admission again. Rejects with what is wrong with each faulty one. */
  async reloadAdmission(): Promise<void> {
    // First the headers: a list that has changed makes the relay ask anew.
    const headers = await Promise.allSettled([rereadEach(this.admission.headers, (file) => file.load())]);
    const lists = await Promise.allSettled([this.gate.reload()]);
    throwAll([...headers, ...lists]);
  }

  /** `Relay.drain` documents it. */
  async drain(): Promise<void> {
    const { settings, logger } = this.options;
    const { discover, drainDelay, mode } = settings.mesh;
    const isFound = discover.length > 0 || mode === 'on-demand';
    if (!this.discovery || !isFound || this.drainer.isDraining) return;
    logger.info(
      { milliseconds: drainDelay },
      'draining: probes fail, so that clients go elsewhere, and the relay serves on',
    );
    await Promise.all([this.discovery.withdraw(), this.drainer.begin(drainDelay)]);
  }

  /** Reads the token of the metrics again. */
  async reloadToken(): Promise<void> {
    await this.metrics?.reload();
  }

  async close(): Promise<void> {
    this.drainer.close();
    this.metrics?.closing();
    await this.certificates.close();
    this.strangers.stop();
    this.bootstrap.stop();
    this.pages.live.stop();
    this.http.close();
    this.discovery?.stop();
    await this.onDemand?.close();
    this.mesh?.stop();
    this.gate.close();
    await this.plane.shutdown();
    this.metrics?.close();
  }
}

function debugRules({ debugAllowIp, debugTrustedCidrs, debugKeyFile }: Settings): DebugRules {
  return { allowIp: debugAllowIp, trustedCidrs: debugTrustedCidrs, keyFile: debugKeyFile };
}

/** Makes the plane. The system may refuse what it needs. */
function makePlane(make: () => DataPlane): DataPlane {
  try {
    return make();
  } catch (cause) {
    throw new PlaneRefusal(planeProblem(cause), cause);
  }
}

function planeProblem(cause: unknown): Problem {
  const why = reasonOf(cause);
  switch (codeOf(cause)) {
    case 'EAGAIN': {
      const advice =
        'allow more of them (ulimit -u, TasksMax= of a unit, the process limit of a container), set fewer workers, or ' +
        'use plane js, which needs none';
      return { path: 'workers', message: `the native plane cannot start its threads: ${why}; ${advice}` };
    }
    case 'EMFILE':
    case 'ENFILE': {
      const advice = 'allow more of them (ulimit -n, LimitNOFILE= of a unit), set fewer workers, or use plane js';
      return { path: 'workers', message: `the native plane has too few file descriptors: ${why}; ${advice}` };
    }
    default:
      return { path: 'plane', message: `the plane cannot be made: ${why}; plane js may be able to` };
  }
}

/** The system's name of an error. */
function codeOf(error: unknown): string | undefined {
  const { errno } = (error ?? {}) as NodeJS.ErrnoException;
  return errno === undefined ? undefined : getSystemErrorMap().get(errno)?.[0];
}
