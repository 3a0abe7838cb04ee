/** A relay over a lane's plane, as a test needs it: ephemeral ports, short deadlines, and books that must balance. */
import { expect, onTestFinished } from 'vitest';
import { parseSettings, type RelayConfig } from '../../src/config.js';
import type { DnsHook } from '../../src/control/acme/dns-hook.js';
import type { OnAdmit } from '../../src/control/admission/hook.js';
import type { DataPathTimes } from '../../src/control/data-path.js';
import type { MeshTimes } from '../../src/control/mesh.js';
import type { OnDemandTimes } from '../../src/control/on-demand/times.js';
import { createLogger, type Logger } from '../../src/logger.js';
import type { CounterName } from '../../src/plane/counters.js';
import { DROP_REASONS, PACKET_KINDS } from '../../src/plane/counters.js';
import type { CloseReason, DataPlane, Login, PacketDrop, PlanePolicy } from '../../src/plane/plane.js';
import type { SelectedPlane } from '../../src/plane/select.js';
import {
  formatNodeKey,
  formatPrivateKey,
  generateKeyPair,
  type KeyPair,
  type NodeKey,
} from '../../src/protocol/key.js';
import type { RelayFigures } from '../../src/registry/figures.js';
import type { Endpoint } from '../../src/relay/api.js';
import type { CertificateTimes } from '../../src/relay/certificates.js';
import { composeRelay, type Relay, type RelayEvents } from '../../src/relay.js';
import type { DerpClient } from './client.js';
import { Contract } from './contract.js';
import type { Lane } from './lanes.js';
import { pemPair } from './pem-pair.js';
import { showSeedOnFailure } from './random.js';
import { eventually } from './wait.js';
import type { Target } from './wire.js';

export { pemPair };

export const MESH_KEY = '5e'.repeat(32);

/** What of the policy is to be different, section by section. */
export type PolicyChanges = {
  readonly [Section in keyof PlanePolicy]?: PlanePolicy[Section] extends readonly unknown[]
    ? PlanePolicy[Section]
    : PlanePolicy[Section] extends object
      ? Partial<PlanePolicy[Section]>
      : PlanePolicy[Section];
};

export interface TestRelayOptions {
  readonly config?: RelayConfig;
  /** TLS with a certificate of its own; plain otherwise. As the lane has it, if it does not matter. */
  readonly tls?: boolean;
  readonly policy?: PolicyChanges;
  readonly keys?: KeyPair;
  readonly meshTimes?: Partial<MeshTimes>;
  readonly onDemandTimes?: Partial<OnDemandTimes>;
  readonly onAdmit?: OnAdmit;
  readonly certificateTimes?: CertificateTimes;
  readonly dataPathTimes?: DataPathTimes;
  readonly dnsHook?: DnsHook;
  readonly logger?: Logger;
}

/** Starts a relay that ends with the test. */
export async function startRelay(lane: Lane, options: TestRelayOptions = {}): Promise<TestRelay> {
  const relay = newRelay(lane, options);
  await relay.relay.start();
  return relay;
}

/** The same, not started yet. */
export function newRelay(lane: Lane, options: TestRelayOptions = {}): TestRelay {
  const test = new TestRelay(lane, options);
  onTestFinished(() => test.close());
  showSeedOnFailure(lane.name);
  return test;
}

export class TestRelay {
  readonly relay: Relay;
  readonly keys: KeyPair;
  /** All settings that the relay was made with. */
  readonly config: RelayConfig;
  readonly connected: RelayEvents['connected'][0][] = [];
  readonly disconnected: RelayEvents['disconnected'][0][] = [];
  /** What the relay said of who is connected when the last client had gone. */
  private atTheEnd: RelayFigures | undefined;
  private plane: DataPlane | undefined;
  private contract: Contract | undefined;

  constructor(
    private readonly lane: Lane,
    {
      config,
      tls = lane.tls !== undefined,
      policy = {},
      keys = generateKeyPair(),
      meshTimes,
      onDemandTimes,
      onAdmit,
      certificateTimes,
      dataPathTimes,
      dnsHook,
      logger: given,
    }: TestRelayOptions,
  ) {
    this.keys = keys;
    this.config = {
      listen: '127.0.0.1:0',
      httpPort: -1,
      stun: false,
      plane: lane.planeKind,
      logLevel: 'silent',
      privateKey: formatPrivateKey(keys.privateKey),
      meshKey: MESH_KEY,
      ...(tls ? { certificate: ownCertificate() } : { certMode: 'off' }),
      ...config,
    };
    const settings = parseSettings(this.config);
    const selected = lane.select();
    expect(selected.kind).toBe(lane.planeKind);
    const create: SelectedPlane['create'] = (options, events) => {
      this.contract = new Contract(events);
      this.plane = selected.create(options, this.contract);
      expect(this.plane.kind).toBe(lane.planeKind);
      return this.plane;
    };
    const logger = given ?? createLogger({ format: 'json', level: settings.logLevel });
    this.relay = composeRelay(
      settings,
      { ...selected, create },
      { logger, ...(dnsHook && { dnsHook }), ...(onAdmit && { onAdmit }) },
      // Tests shorten what no setting does.
      {
        mesh: meshTimes,
        onDemand: onDemandTimes,
        certificates: certificateTimes,
        dataPath: dataPathTimes,
        policy: (usual) => changed(usual, policy),
      },
    );
    expect(this.relay.plane.kind).toBe(lane.planeKind);
    this.relay.on('connected', (event) => this.connected.push(event));
    this.relay.on('disconnected', (event) => {
      this.disconnected.push(event);
      if (this.disconnected.length === this.connected.length) this.atTheEnd = this.relay.figures();
    });
  }

  get dataPlane(): DataPlane {
    if (!this.plane) throw new Error('the relay has not started');
    return this.plane;
  }

  /** Where the relay's own listener is. */
  target(tls: Target['tls'] = {}): Target {
    const { derp } = this.addresses();
    const version = this.lane.tls && { minVersion: this.lane.tls, maxVersion: this.lane.tls };
    return { host: reachable(derp), port: derp.port, ...(derp.tls && { tls: { ...version, ...tls } }) };
  }

  /** Where the plain HTTP listener beside TLS is. */
  httpTarget(): Target {
    const { http } = this.addresses();
    if (!http) throw new Error('there is no HTTP listener');
    return { host: reachable(http), port: http.port };
  }

  /** Where the metrics listener is. */
  metricsTarget(): Target {
    const { metrics } = this.addresses();
    if (!metrics) throw new Error('there is no metrics listener');
    return { host: reachable(metrics), port: metrics.port };
  }

  /** Every login that the plane has told of, and whether its connection has ended since. */
  get logins(): { readonly login: Login; readonly hasEnded: boolean }[] {
    const { logins = new Map<number, Login>(), ends = new Map() } = this.contract ?? {};
    return [...logins.values()].map((login) => ({ login, hasEnded: ends.has(login.id) }));
  }

  count(name: CounterName): number {
    return this.dataPlane.counters.read(name);
  }

  /** Packets that were dropped, by reason; those of which there are none left out. */
  drops(): Record<string, number> {
    const counters = this.dataPlane.counters.readAll();
    const rows = DROP_REASONS.map((reason): [string, number] => [
      reason,
      PACKET_KINDS.reduce((sum, kind) => sum + counters[`packets_dropped:${reason}:${kind}`], 0),
    ]);
    return Object.fromEntries(rows.filter(([, count]) => count > 0));
  }

  async untilCount(name: CounterName, count: number): Promise<void> {
    await eventually(
      () => this.count(name) >= count,
      () => `${name} to be ${count}, not ${this.count(name)}`,
    );
    expect(this.count(name)).toBe(count);
  }

  /** Waits for figures to be as they should. */
  async untilFigures(wanted: Partial<ReturnType<Relay['figures']>>): Promise<void> {
    const matches = () => {
      const figures = this.relay.figures();
      return Object.entries(wanted).every(([name, value]) => figures[name as keyof typeof figures] === value);
    };
    await eventually(
      matches,
      () => `${JSON.stringify(wanted)}; the figures are ${JSON.stringify(this.relay.figures())}`,
    );
  }

  /** Why the only, or the first, connection of a key that has ended did so; waits for it. */
  async endOf(key: NodeKey): Promise<CloseReason> {
    const name = formatNodeKey(key);
    const end = await eventually(
      () => this.disconnected.find((event) => event.key === name),
      'a client to be reported as disconnected',
    );
    return end.reason;
  }

  /** How often the plane has said that another connection of a key is the active one. */
  get activeEvents(): number {
    return this.contract?.activeEvents ?? 0;
  }

  /** What the plane has told of packets that were dropped on their way to keys that are watched. */
  get toldDrops(): readonly PacketDrop[] {
    return this.contract?.toldDrops ?? [];
  }

  /** Everything the control plane has asked for until now has happened. */
  async commandsDone(): Promise<void> {
    await this.dataPlane.snapshot(0, 0);
  }

  /** Closes the relay, and checks that nothing is left and everything was said once. */
  async close(): Promise<void> {
    await this.relay.close();
    if (!this.plane) return;
    const gauges = (
      ['home', 'notIdeal', 'dupKeys', 'dupConnections', 'connections', 'localKeys', 'watchers'] as const
    ).map((name) => [name, this.atTheEnd?.[name] ?? 0]);
    expect(gauges.filter(([, count]) => count !== 0)).toEqual([]);
    expect(this.contract?.violations).toEqual([]);
    expect(this.contract?.open).toEqual([]);
    expect([...(this.contract?.links ?? [])].filter(([, state]) => state !== 'closed')).toEqual([]);
    expect(ids(this.disconnected)).toEqual(ids(this.connected));
    expect(new Set(ids(this.connected)).size).toBe(this.connected.length);
  }

  private addresses(): NonNullable<Relay['address']> {
    if (!this.relay.address) throw new Error('the relay has not started');
    return this.relay.address;
  }
}

/** Ends a connection, and waits until the relay as a whole knows. */
export async function leave(relay: TestRelay, client: DerpClient): Promise<void> {
  const { connections } = relay.relay.figures();
  await client.close();
  await relay.untilFigures({ connections: connections - 1 });
}

let certificate: { chain: string; key: string } | undefined;

/** One for all relays of a file: making it costs more than a relay does. */
export function ownCertificate(): { chain: string; key: string } {
  certificate ??= pemPair(['localhost', '127.0.0.1', '::1']);
  return certificate;
}

export function changed(base: PlanePolicy, changes: PolicyChanges): PlanePolicy {
  const sections = Object.entries(changes).map(([name, change]) => {
    const section = base[name as keyof PlanePolicy];
    const isSection = typeof section === 'object' && change !== null && !Array.isArray(section);
    return [name, isSection ? { ...section, ...(change as object) } : change];
  });
  return { ...base, ...Object.fromEntries(sections) };
}

function reachable({ address }: Endpoint): string {
  if (address === '::') return '::1';
  return address === '0.0.0.0' ? '127.0.0.1' : address;
}

function ids(events: readonly { readonly id: number }[]): number[] {
  return events.map(({ id }) => id).sort((a, b) => a - b);
}
