/** Makes the object that an embedding program holds: a relay that it can start, query, reload and close. */
import { EventEmitter } from 'node:events';
import { dataDirOf, parseSettings, type RelayConfig, type Settings } from './config.js';
import type { AdmissionFigures } from './control/admission/figures.js';
import type { MeshSourceStatus } from './control/mesh/discovery.js';
import type { MeshStatus } from './control/mesh.js';
import { DerpkitError, PlaneRefusal } from './errors.js';
import { FaultLog } from './faults/fault-log.js';
import { createLogger, type Logger } from './logger.js';
import type { Counters } from './plane/counter-figures.js';
import { type SelectedPlane, selectPlane } from './plane/select.js';
import { formatNodeKey } from './protocol/key.js';
import type { ClientStatus } from './registry/client-status.js';
import type { RelayFigures } from './registry/figures.js';
import type { Relay, RelayAddress, RelayEvents, RelayOptions, ReloadReport } from './relay/api.js';
import { eachClient } from './relay/client-list.js';
import { loadMaterials, type Materials } from './relay/materials.js';
import type { RegionStatus } from './relay/on-demand.js';
import { changesOf, hasFiles, reload, reloadFiles } from './relay/reload.js';
import { type RelayTimes, type RunningOptions, RunningRelay } from './relay/running.js';

export type { InheritedSockets, Relay, RelayAddress, RelayEvents, RelayOptions } from './relay/api.js';

/**
 * Makes a relay; `start` opens it. Throws a `ConfigError` that lists every unusable setting, and a `DerpkitError` with
 * the code `ERR_NATIVE_UNAVAILABLE` if the native plane was demanded and cannot be loaded.
 */
export function createRelay(config: RelayConfig = {}, options: RelayOptions = {}): Relay {
  const settings = parseSettings(config);
  return composeRelay(settings, selectPlane(settings.plane), options);
}

/** Makes a relay with the given plane, deadlines and limits. For tests. */
export function composeRelay(
  settings: Settings,
  plane: SelectedPlane,
  options: RelayOptions = {},
  times: RelayTimes = {},
): Relay {
  const logger = options.logger ?? createLogger({ format: settings.logFormat, level: settings.logLevel });
  return new ComposedRelay(settings, plane, logger, times, options);
}

class ComposedRelay extends EventEmitter<RelayEvents> implements Relay {
  plane: SelectedPlane;
  address: RelayAddress | undefined;
  publicKey: string | undefined;
  private starting: Promise<void> | undefined;
  private started: RunningRelay | undefined;
  private reloaded: Promise<unknown> = Promise.resolve();
  private state: 'new' | 'starting' | 'open' | 'closed' = 'new';
  private readonly faults: FaultLog;

  constructor(
    private settings: Settings,
    plane: SelectedPlane,
    readonly logger: Logger,
    private readonly times: RelayTimes,
    private readonly hooks: RunningOptions['hooks'],
  ) {
    super();
    this.plane = plane;
    this.faults = new FaultLog(logger);
  }

  get dataDir(): string {
    return dataDirOf(this.settings);
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

  async drain(): Promise<void> {
    await this.running().drain();
  }

  async close(): Promise<void> {
    this.state = 'closed';
    // A start in progress sees the new state and ends itself; closing only what it has opened so far would leave the
    // rest.
    await this.starting?.catch(() => undefined);
    await this.started?.close();
    // Only now, because handlers of `disconnected` may query the relay.
    this.started = undefined;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  get reloads(): boolean {
    return hasFiles(this.settings);
  }

  get admitsEverybody(): boolean {
    return !this.hooks.onAdmit && this.settings.admission.verifiers.length === 0;
  }

  reload(config?: RelayConfig): Promise<ReloadReport> {
    // One reload after the other: the last call must decide.
    const reloaded = this.reloaded.then(() => this.takeOver(config));
    this.reloaded = reloaded.catch(() => {});
    return reloaded;
  }

  private async takeOver(config: RelayConfig | undefined): Promise<ReloadReport> {
    const relay = this.running();
    if (config === undefined) {
      await reloadFiles(this.settings, relay);
      return { applied: [], needRestart: [] };
    }
    const changes = changesOf(this.settings, parseSettings(config));
    const { applied, needRestart } = changes;
    await reload(changes, relay, () => {
      this.settings = changes.settings;
      if (needRestart.length === 0) return;
      this.logger.warn({ settings: needRestart.join() }, 'settings have changed that need a restart');
    });
    return { applied, needRestart };
  }

  counters(): Counters {
    return this.running().plane.counters.readAll();
  }

  figures(): RelayFigures {
    return this.running().registry.figures();
  }

  admission(): AdmissionFigures | undefined {
    return this.running().gate.figures();
  }

  clients(): AsyncIterable<ClientStatus> {
    return eachClient(this.running());
  }

  mesh(): MeshStatus[] {
    return this.running().mesh?.status() ?? [];
  }

  meshSources(): MeshSourceStatus[] {
    return this.running().discovery?.status() ?? [];
  }

  region(): RegionStatus | undefined {
    return this.running().onDemand?.status();
  }

  async pulse(): Promise<void> {
    return this.running().plane.pulse();
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
    this.started = new RunningRelay({
      settings,
      create: plane.create,
      materials,
      times,
      faults,
      logger,
      emitter: this,
      hooks,
    });
    return this.started.listen();
  }

  private unlessClosed(): void {
    if (this.state === 'closed') throw new DerpkitError('ERR_STATE', 'the relay was closed while it started');
  }

  private running(): RunningRelay {
    if (this.started) return this.started;
    throw new DerpkitError('ERR_STATE', `the relay ${this.state === 'closed' ? 'is closed' : 'has not started'}`);
  }
}
