/** The listener for metrics and health checks, and what it tells of. A relay without `metrics.listen` has none of this. */
import type { Settings } from '../config.js';
import { DATA_PATH_TIMES, DataPath, type DataPathTimes } from '../control/data-path.js';
import type { CertificateState } from '../control/expiry.js';
import { FileWatch } from '../control/file-watch.js';
import type { TokenFile } from '../control/token-file.js';
import { reasonOf } from '../errors.js';
import type { Barrier } from '../faults/barrier.js';
import type { HttpCounters, RequestFailure } from '../http/counters.js';
import type { DebugAccess } from '../http/debug-access.js';
import { MetricsListener } from '../http/metrics-listener.js';
import { MetricsSite } from '../http/metrics-site.js';
import { HttpServer } from '../http/server.js';
import { SCRAPERS, type Visitors } from '../http/visitors.js';
import type { Logger } from '../logger.js';
import { bare, type Entry } from '../metrics/exposition.js';
import { families } from '../metrics/families.js';
import { withHelp } from '../metrics/help.js';
import { OPEN_METRICS, openMetricsText, PROMETHEUS_TEXT, prometheusText } from '../metrics/prometheus.js';
import type { DataPlane, Login, PeerAddress } from '../plane/plane.js';
import type { NodeKey } from '../protocol/key.js';
import type { Endpoint } from './api.js';
import { listenFault } from './listeners.js';
import { Readiness } from './readiness.js';

export interface MetricsParts {
  readonly settings: Settings;
  /** A listening socket in place of `metrics.listen`. */
  readonly fd: number | undefined;
  readonly token: TokenFile | undefined;
  readonly publicKey: NodeKey;
  readonly plane: DataPlane;
  readonly metrics: () => readonly Entry[];
  readonly isDraining: () => boolean;
  readonly certificates: { states(): readonly CertificateState[] };
  readonly debugAccess: DebugAccess;
  readonly visitors: Visitors;
  readonly counters: HttpCounters;
  readonly onFailure: (reason: RequestFailure, peer: PeerAddress) => void;
  readonly barrier: Barrier;
  readonly logger: Logger;
  readonly times: DataPathTimes | undefined;
}

/** Descriptors of it all: the listener, its connections, and both ends of the connections to the native plane. */
export const METRICS_DESCRIPTORS = 1 + SCRAPERS + 4;
/** No address: the relay's own connections come from nowhere. */
const NOWHERE: PeerAddress = { address: '', port: 0 };
/** A limit for them that they never reach: with that of the relay, a packet could wait for long. */
const UNLIMITED = { bytesPerSecond: 1 << 30, burst: 1 << 30 };

export class MetricsService {
  readonly readiness: Readiness;
  private readonly dataPath: DataPath | undefined;
  private readonly http: HttpServer;
  private readonly listener: MetricsListener;
  private watch: FileWatch | undefined;

  constructor(private readonly parts: MetricsParts) {
    const { settings, certificates, plane, publicKey: serverKey, barrier, counters, visitors, onFailure } = parts;
    const { token, debugAccess, isDraining, times = DATA_PATH_TIMES } = parts;
    const attach: ConstructorParameters<typeof DataPath>[0]['attach'] = (stream) =>
      plane.attach(stream, NOWHERE, { uncounted: true });
    this.dataPath = settings.derp ? new DataPath({ serverKey, attach, barrier, times }) : undefined;
    this.readiness = new Readiness({ settings, certificates, isDraining, dataPath: this.dataPath });
    const site = new MetricsSite({
      metrics: (asOpenMetrics) => this.text(asOpenMetrics),
      unready: () => this.readiness.reasons(),
      isToken: token && ((header) => token.isShownBy(header)),
      isOurs: (host) => debugAccess.isOurs(host),
    });
    const serving = { barrier, counters, visitors, onFailure, serverKey };
    // Nothing here becomes DERP.
    this.http = new HttpServer({ ...serving, derp: false, adopt: () => {} }, site);
    this.listener = new MetricsListener(this.http, barrier);
  }

  async open(): Promise<Endpoint> {
    const { settings, fd, token } = this.parts;
    const { host = '', port = 0 } = settings.metrics.listen ?? {};
    const { address, port: bound } = await this.listener.open({ host, port, fd }).catch((error) => {
      const where = host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
      throw listenFault('metrics.listen', fd, `cannot listen on ${where} (metrics)`, error);
    });
    if (token) this.watch = new FileWatch([token.path], () => void this.changed(token));
    return { address, port: bound };
  }

  /** All listeners are open. */
  started(): void {
    this.readiness.phase = 'open';
    this.dataPath?.start();
  }

  /** Admits the relay's own connections, which no other part is told of. False for any other client. */
  admits({ id, key }: Login): boolean {
    if (!this.dataPath?.owns(key)) return false;
    this.parts.plane.admit(id, { mesh: false, receiveLimit: UNLIMITED });
    return true;
  }

  async reload(): Promise<void> {
    const { token } = this.parts;
    await token?.load().catch((error) => {
      throw new Error(`metrics.tokenFile: ${token.path}: ${reasonOf(error)}`);
    });
  }

  /** The relay begins to close. Health checks are answered until {@link close}. */
  closing(): void {
    this.readiness.phase = 'closing';
    this.dataPath?.stop();
  }

  close(): void {
    this.watch?.stop();
    this.listener.close();
    this.http.close();
  }

  private text(asOpenMetrics: boolean) {
    const all = withHelp(families([...this.parts.metrics(), this.ready()]));
    if (asOpenMetrics) return { contentType: OPEN_METRICS, text: openMetricsText(all) };
    return { contentType: PROMETHEUS_TEXT, text: prometheusText(all) };
  }

  private ready(): Entry {
    const isReady = this.readiness.reasons().length === 0;
    return ['gauge_derpkit_ready', bare(isReady ? 1 : 0), 'Whether the relay serves, as /readyz says.'];
  }

  private async changed(token: TokenFile): Promise<void> {
    const { logger } = this.parts;
    try {
      await token.load();
      logger.info({ file: token.path }, 'the token of the metrics has been read again');
    } catch (error) {
      const facts = { file: token.path, reason: reasonOf(error) };
      logger.error(facts, 'the token of the metrics cannot be read, and the last one stays in force');
    }
  }
}

/** What an operator may not have meant by the settings of the metrics. `isOpen`: there is a listener. */
export function metricsWarnings({ metrics: { listen, tokenFile } }: Settings, isOpen: boolean): string[] {
  if (!isOpen) return tokenFile ? ['metrics.tokenFile has no effect without metrics.listen'] : [];
  if (!listen || tokenFile || /^(?:127\.|::1$|localhost$)/.test(listen.host)) return [];
  return ['metrics.listen: every program that can connect reads the metrics; metrics.tokenFile restricts that'];
}
