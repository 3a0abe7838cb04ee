/** The contents of the pages below `/debug/`: facts, metrics, and whether registry and plane agree. */
import { hostname } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import type { Settings } from '../config.js';
import type { Gate } from '../control/admission/gate.js';
import type { BootstrapDns } from '../control/bootstrap-dns.js';
import type { Directory, RelayLoad } from '../control/directory/directory.js';
import type { CertificateState } from '../control/expiry.js';
import type { Discovery } from '../control/mesh/discovery.js';
import type { Mesh } from '../control/mesh.js';
import type { StrangerFigures } from '../control/stranger-log.js';
import type { Barrier } from '../faults/barrier.js';
import type { HttpCounters } from '../http/counters.js';
import type { DebugSource } from '../http/debug-pages.js';
import { LiveFeed } from '../http/live-feed.js';
import { relayMetrics } from '../metrics/derper.js';
import { type Entry, expvarJson } from '../metrics/exposition.js';
import { families } from '../metrics/families.js';
import { processFigures, rememberStart } from '../metrics/process.js';
import { prometheusText } from '../metrics/prometheus.js';
import type { DataPlane, PacketTap, ReceiveRate, TapOptions } from '../plane/plane.js';
import type { NodeKey } from '../protocol/key.js';
import type { Registry } from '../registry/registry.js';
import { VERSION } from '../version.js';
import { clientPieces } from './client-list.js';
import { Fleet } from './fleet.js';
import { RelayLiveSource } from './live-source.js';
import { meshFacts } from './mesh-facts.js';
import type { OnDemand } from './on-demand.js';
import { regionFacts, regionFigures } from './region-facts.js';

export interface Shown {
  readonly settings: Settings;
  readonly meshKey: boolean;
  readonly tls: boolean;
  readonly plane: DataPlane;
  readonly registry: Registry;
  readonly bootstrap: BootstrapDns;
  readonly http: HttpCounters;
  readonly strangers: { figures(): StrangerFigures; readonly wrongMeshKeys: number };
  readonly rate: () => ReceiveRate | undefined;
  readonly gate: Gate;
  readonly mesh: Mesh | undefined;
  readonly discovery: Discovery | undefined;
  readonly onDemand: OnDemand | undefined;
  readonly directory: Directory | undefined;
  /** How much this relay has to do, as other relays of the region see it. */
  load(): RelayLoad;
  /** The settings in force, which a reload changes. */
  current(): Settings;
  /** The key of this relay. */
  readonly ownKey: NodeKey;
  /** The port of the relay's own listener. */
  port(): number;
  readonly certificates: { states(): readonly CertificateState[] };
  /** The number of faults that the relay has survived. */
  readonly faults: { readonly count: number; readonly barrier: Barrier };
}

/**
 * How often to compare registry and plane, and the pause between, in milliseconds: they differ for a moment when a
 * client connects or leaves.
 */
const LOOKS = 5;
const BETWEEN_LOOKS = 50;

export class RelayDebugSource implements DebugSource {
  readonly live: LiveFeed;
  private readonly fleetView: Fleet;

  constructor(private readonly parts: Shown) {
    rememberStart();
    const { plane, registry, mesh, onDemand, faults, current } = parts;
    this.fleetView = new Fleet({ ...parts, settings: current });
    this.live = new LiveFeed(new RelayLiveSource(plane, registry, mesh, onDemand), faults.barrier);
  }

  facts(): readonly (readonly [string, string])[] {
    const { settings, meshKey, plane } = this.parts;
    return [
      ['Uptime', `${processFigures().uptime}s`],
      ['Version', VERSION],
      ['Machine', hostname()],
      ['TLS hostname', settings.hostname],
      ['Mesh key', String(meshKey)],
      ['Plane', plane.kind],
      ...this.parts.gate.facts(),
      ...meshFacts(this.parts.mesh?.status() ?? [], this.parts.discovery?.status() ?? [], Date.now()),
      ...regionFacts(this.parts.onDemand, Date.now()),
    ];
  }

  vars(): string {
    return expvarJson(this.metrics());
  }

  varz(): string {
    return prometheusText(families(this.metrics()));
  }

  certificates(): readonly (readonly string[])[] {
    const date = (time: number) => (time > 0 ? new Date(time).toISOString() : '');
    const rows = this.parts.certificates.states().map(({ names, issuer, from, until, origin, next, trouble }) => {
      return [names.join(', '), issuer, date(from), date(until), origin, next, trouble];
    });
    return [['Names', 'Issuer', 'From', 'Until', 'How it was got', 'Next', 'Trouble'], ...rows];
  }

  clients() {
    const { registry, plane, settings } = this.parts;
    return clientPieces({ registry, plane, countsSenders: settings.senderCardinality });
  }

  counts() {
    return this.parts.registry.figures();
  }

  fleet(key: NodeKey | undefined) {
    return this.fleetView.report(key);
  }

  tap(options: TapOptions): PacketTap {
    return this.parts.plane.tap(options);
  }

  async check(): Promise<readonly string[]> {
    const { registry, plane } = this.parts;
    let problem = '';
    for (let look = 0; look < LOOKS; look++) {
      const { total } = await plane.snapshot(0, 0);
      const { connections } = registry.figures();
      if (total === connections) return this.parts.gate.check();
      problem = `the plane has ${total} connections, the registry ${connections}`;
      await delay(BETWEEN_LOOKS);
    }
    return [problem, ...(await this.parts.gate.check())];
  }

  metrics(): Entry[] {
    const { plane, registry, bootstrap, tls, http } = this.parts;
    const counters = plane.counters.readAll();
    const { tlsRequests, tlsActive } = http;
    const requests = {
      '1.2': tlsRequests['1.2'] + counters['tls_upgrades:tls12'],
      '1.3': tlsRequests['1.3'] + counters['tls_upgrades:tls13'],
    };
    // A request that became DERP is in progress until its connection ends.
    const active = {
      '1.2': tlsActive['1.2'] + counters['tls_active:tls12'],
      '1.3': tlsActive['1.3'] + counters['tls_active:tls13'],
    };
    return relayMetrics({
      version: VERSION,
      plane: plane.kind,
      counters,
      clients: registry.figures(),
      webSocketAccepts: http.webSocketAccepts,
      strangers: this.parts.strangers.figures(),
      requestFailures: http.failures,
      wrongMeshKeys: this.parts.strangers.wrongMeshKeys,
      bootstrap: { ...bootstrap.counts, queriedDomains: bootstrap.queriedDomains },
      tls: tls ? { requests, active } : undefined,
      rateLimit: this.parts.rate(),
      mesh: this.parts.mesh?.status() ?? [],
      meshSources: this.parts.discovery?.status() ?? [],
      region: regionFigures(this.parts.onDemand),
      admission: this.parts.gate.figures(),
      certificates: this.parts.certificates.states().flatMap(({ names, until, failures }) => {
        return names.map((name) => ({ name, notAfter: Math.floor(until / 1000), failures }));
      }),
      faults: this.parts.faults.count,
      process: processFigures(),
    });
  }
}
