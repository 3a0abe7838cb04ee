import { X509Certificate } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { ConnectionOptions } from 'node:tls';
import { expect, onTestFinished } from 'vitest';
import { parseSettings } from '../../src/config.js';
import { parsePair, servedSet } from '../../src/control/certificates.js';
import type {
  Admission,
  CertificateNeed,
  CertificateSet,
  CloseReason,
  DataPlane,
  Failure,
  LinkChange,
  LinkId,
  Login,
  PacketDrop,
  PlaneEvents,
} from '../../src/plane/plane.js';
import { generateKeyPair, type NodeKey } from '../../src/protocol/key.js';
import { planePolicy } from '../../src/relay/policy.js';
import { type ClientOptions, DerpClient } from './client.js';
import { Contract } from './contract.js';
import type { Lane } from './lanes.js';
import { showSeedOnFailure } from './random.js';
import { changed, type PolicyChanges, pemPair } from './relay.js';
import { eventually } from './wait.js';
import { type Target, Wire } from './wire.js';

/** What a test lets in that wants nothing. */
export const NO_RIGHTS = { mesh: false, receiveLimit: null };

/** A plane with one listener, and what it has told. */
export class PlaneHarness implements PlaneEvents {
  readonly keys = generateKeyPair();
  readonly logins: Login[] = [];
  readonly ends = new Map<number, CloseReason>();
  readonly pulls: number[] = [];
  /** What links have said: who is there, who is not, and that it has ended. */
  readonly told: string[] = [];
  /** Why links have ended. */
  readonly linkEnds: string[] = [];
  /** Keys that the plane asked for, and keys that it owes a PeerGone for. */
  readonly lookups: NodeKey[] = [];
  readonly sources: NodeKey[] = [];
  readonly opened: LinkId[] = [];
  readonly watchers: number[] = [];
  readonly needs: CertificateNeed[] = [];
  readonly duplexes = new Map<number, Duplex>();
  /** What clients said about their home. */
  readonly moves: { readonly id: number; readonly home: boolean; readonly changes: number }[] = [];
  readonly dropped: PacketDrop[] = [];
  readonly failed: Failure[] = [];
  readonly plane: DataPlane;
  private target: Target | undefined;
  private readonly contract: Contract;
  private readonly base = planePolicy(parseSettings({}));

  private constructor(lane: Lane, policy: PolicyChanges) {
    this.contract = new Contract(this);
    const options = { privateKey: this.keys.privateKey, policy: this.policy(policy) };
    this.plane = lane.select().create(options, this.contract);
    expect(this.plane.kind).toBe(lane.planeKind);
    showSeedOnFailure(lane.name);
    onTestFinished(async () => {
      await this.plane.shutdown();
      expect(this.contract.violations).toEqual([]);
      expect(this.contract.open).toEqual([]);
    });
  }

  /** With TLS, of a certificate of its own, if there are to be no others. */
  static async open(
    lane: Lane,
    policy: PolicyChanges = {},
    kind: 'tcp' | 'tls' = 'tcp',
    set?: CertificateSet,
  ): Promise<PlaneHarness> {
    const harness = new PlaneHarness(lane, policy);
    if (set) harness.plane.certificates(set);
    else if (kind === 'tls') harness.serve('localhost');
    const { port } = await harness.plane.listen({ kind, derp: true, host: '127.0.0.1', port: 0 });
    harness.target = { host: '127.0.0.1', port, ...(kind === 'tls' && { tls: {} }) };
    return harness;
  }

  policy(changes: PolicyChanges): ReturnType<typeof planePolicy> {
    return changed(this.base, changes);
  }

  /** Replaces the certificate; returns the leaf of the new one. */
  serve(host: string): X509Certificate {
    const pair = pemPair([host]);
    this.plane.certificates(
      servedSet([{ certificate: parsePair(pair, []), names: [] }], 'first', this.keys.publicKey, new Date()),
    );
    return new X509Certificate(pair.chain);
  }

  get port(): number {
    return (this.target as Target).port;
  }

  wire(tls?: ConnectionOptions, from?: string): Promise<Wire> {
    return Wire.open({ ...(this.target as Target), ...(tls && { tls }), from });
  }

  /** A client that has sent its login, and the plane's report of it. */
  async loggingIn(options: ClientOptions = {}): Promise<{ client: DerpClient; login: Login }> {
    const client = new DerpClient(await this.wire(options.tls, options.from), this.keys.publicKey, options);
    client.wire.write(client.head, client.clientInfo);
    client.readFrames();
    await client.expect('ServerKey');
    const login = await eventually(() => this.logins.find(({ key }) => key === client.key), 'a login');
    return { client, login };
  }

  async admitted(
    options: ClientOptions = {},
    admission: Admission = NO_RIGHTS,
  ): Promise<{ client: DerpClient; id: number }> {
    const { client, login } = await this.loggingIn(options);
    this.plane.admit(login.id, admission);
    await client.expect('ServerInfo');
    return { client, id: login.id };
  }

  async endOf(id: number): Promise<CloseReason> {
    return eventually(() => this.ends.get(id), `the end of ${id}`);
  }

  drops(drops: readonly PacketDrop[]): void {
    this.dropped.push(...drops);
  }

  login(login: Login): void {
    this.logins.push(login);
  }
  closed(id: number, reason: CloseReason): void {
    this.ends.set(id, reason);
  }
  pulled(id: number): void {
    this.pulls.push(id);
  }
  duplex(id: number, stream: Duplex): void {
    this.duplexes.set(id, stream);
  }
  active(): void {}
  watch(id: number): void {
    this.watchers.push(id);
  }
  closePeer(): void {}
  prefer(id: number, home: boolean, changes: number): void {
    this.moves.push({ id, home, changes });
  }
  lookup(key: NodeKey): void {
    this.lookups.push(key);
  }
  heard(key: NodeKey): void {
    this.sources.push(key);
  }
  linkOpen(link: LinkId): void {
    this.opened.push(link);
  }
  linkPeers(_link: LinkId, changes: readonly LinkChange[]): void {
    this.told.push(...changes.map(({ key, present }) => (present ? key : `not ${key}`)));
  }
  linkClosed(_link: LinkId, reason: string): void {
    this.told.push('the end');
    this.linkEnds.push(reason);
  }
  certificateNeeded(need: CertificateNeed): void {
    this.needs.push(need);
  }
  failures(failures: readonly Failure[]): void {
    this.failed.push(...failures);
  }
  crowded(): void {}
  fault(): void {}
}
