/**
 * The gate decides which clients may use the relay: it asks all that have a say at each login, and again for connected
 * clients.
 */
import type { Admission, ConnectionId, Login, ReceiveRate } from '../../plane/plane.js';
import { formatEndpoint } from '../../protocol/endpoint.js';
import { formatNodeKey, type NodeKey } from '../../protocol/key.js';
import { MAX_BODY_LENGTH } from '../../protocol/wire.js';
import type { Admit } from '../admit.js';
import { rereadEach } from '../reread.js';
import type { Desk, Outcome } from './desk.js';
import { type AdmissionFigures, figuresOf } from './figures.js';
import { type AdmitClient, askHook, type OnAdmit } from './hook.js';
import type { KeyFile } from './key-file.js';
import { missingFrom } from './key-list.js';
import { consult, type Policy } from './policy.js';
import { Recheck, type Standing } from './recheck.js';
import { RefusalLog } from './refusal-log.js';

export interface GateOptions {
  /** Decides what the login alone tells: mesh peers, which no verifier is asked about, and unwanted apps. */
  readonly rights: Admit;
  /** The apps that `rights` refuses, for clients that are connected already. */
  readonly deniedApps: readonly string[];
  readonly policy: Policy;
  readonly desks: readonly Desk[];
  /** The files of verifiers that are key lists. */
  readonly lists: readonly KeyFile[];
  /** Keys that are refused, whatever a verifier says. */
  readonly deny: KeyFile | undefined;
  /** Milliseconds between two rechecks of a connected client; 0 for none. */
  readonly recheck: number;
  /** Milliseconds for which a connected client stays while the verifiers that admitted it fail. */
  readonly grace: number;
  readonly onAdmit: OnAdmit | undefined;
  /** Milliseconds that the hook may take. */
  readonly hookTimeout: number;
}

export interface GateEvents {
  /** Closes a connected client that is no longer admitted. */
  kick(id: ConnectionId): void;
  /** A connected client has another receive limit; `null` is that of all clients. */
  limit(id: ConnectionId, receiveLimit: ReceiveRate | null): void;
  log(level: 'info' | 'warn', facts: object, text: string): void;
}

/** What is known of a connected client that no rule was about so far. */
export interface ConnectedClient {
  readonly id: ConnectionId;
  readonly key: NodeKey;
  readonly address: string;
  readonly port: number;
  readonly appName: string;
}

/** An admitted client, and the verifiers that admitted it. */
interface Passed {
  readonly kind: 'passed';
  readonly admission: Admission;
  readonly by: readonly Desk[];
  readonly failing: boolean;
}

interface Refused {
  readonly kind: 'refused';
  readonly by: string;
  readonly desk?: Desk;
  readonly reason: string;
}

type Decision = Passed | Refused;

/** Names of the deciders that are not verifiers, in logs and metrics. */
const DENY = 'deny';
const HOOK = 'onAdmit';
const BAD_APP = 'an app that is not allowed';

export class Gate {
  private readonly waiting = new Map<ConnectionId, AbortController>();
  private recheck: Recheck<AdmitClient>;
  private readonly refusals = new RefusalLog();
  private readonly others = new Map<string, Partial<Record<Outcome, number>>>();
  /** Counts changes of the lists. */
  private generation = 0;

  constructor(
    private options: GateOptions,
    private readonly events: GateEvents,
  ) {
    const { deny, onAdmit } = options;
    if (deny) this.others.set(DENY, {});
    if (onAdmit) this.others.set(HOOK, {});
    this.recheck = this.newRecheck();
  }

  private newRecheck(): Recheck<AdmitClient> {
    const { recheck: interval } = this.options;
    return new Recheck({ interval, ask: (client, signal) => this.askAgain(client, signal) });
  }

  /** Whether every client is admitted: there is no verifier, no deny list and no hook. */
  get isOpen(): boolean {
    const { desks, deny, onAdmit } = this.options;
    return desks.length === 0 && !deny && !onAdmit;
  }

  start(): void {
    this.recheck.start();
    for (const file of this.options.lists) {
      this.watch(file, (before, after) => missingFrom(before, after));
    }
    if (this.options.deny) this.watch(this.options.deny, (before, after) => missingFrom(after, before));
  }

  /**
   * Decides by other rules from here on. Logins that wait are decided anew, and each of the connected clients is asked about
   * again. A verifier that was there before keeps its figures, and its clients, for whom its grace holds.
   */
  replace(options: GateOptions, connected: Iterable<ConnectedClient>): void {
    const { recheck: before, options: old } = this;
    const oldFiles = this.files();
    this.options = options;
    before.close();
    for (const file of oldFiles) file.close();
    for (const desk of old.desks) desk.close();
    if (options.deny && !this.others.has(DENY)) this.others.set(DENY, {});
    for (const desk of options.desks) desk.continue(old.desks.find(({ name }) => name === desk.name));
    this.recheck = this.newRecheck();
    if (this.isOpen && options.deniedApps.length === 0) return;
    const keys = new Set<NodeKey>();
    for (const client of connected) {
      this.recheck.add(before.get(client.id) ?? unasked(client));
      keys.add(client.key);
    }
    this.start();
    this.recheck.now(keys);
  }

  /**
   * Decides about a login, at once if no verifier has to be asked. `null` refuses the client; `undefined` means that it
   * left meanwhile.
   */
  login(login: Login): Admission | null | Promise<Admission | null | undefined> {
    const admission = this.options.rights(login);
    if (admission?.mesh || (admission && this.isOpen)) return admission;
    if (!admission) return this.refuse(login, { kind: 'refused', by: DENY, reason: BAD_APP });
    return this.decideFor(login, admission);
  }

  /** A connection has ended, at any stage. */
  gone(id: ConnectionId): void {
    this.waiting.get(id)?.abort();
    this.waiting.delete(id);
    this.recheck.remove(id);
  }

  /** Reads the lists again, without waiting for the next look. Rejects with what is wrong with each faulty one. */
  async reload(): Promise<void> {
    await rereadEach(this.files(), (file) => file.reload());
  }

  /** Faults of the verifiers, for `/debug/check`. */
  async check(): Promise<readonly string[]> {
    const found = await Promise.all(this.options.desks.map((desk) => desk.check()));
    return found.filter((problem) => problem !== '');
  }

  facts(): readonly (readonly [string, string])[] {
    const { desks, policy, deny, onAdmit } = this.options;
    const what = desks.length > 1 ? `${policy} of ${desks.length} verifiers` : `${desks.length} verifier`;
    const asked = this.isOpen ? 'every client' : [desks.length > 0 && what, deny && DENY, onAdmit && HOOK];
    return [
      ['Admission', typeof asked === 'string' ? asked : asked.filter(Boolean).join(', ')],
      ...desks.map((desk) => [`Admission by ${desk.name}`, desk.state] as const),
      ...this.files().flatMap((file) => [[`List ${file.path}`, file.state] as const]),
    ];
  }

  figures(): AdmissionFigures | undefined {
    return this.isOpen ? undefined : figuresOf(this.options.desks, this.others);
  }

  close(): void {
    for (const abort of this.waiting.values()) abort.abort();
    this.waiting.clear();
    this.recheck.close();
    for (const file of this.files()) file.close();
    for (const desk of this.options.desks) desk.close();
  }

  private files(): readonly KeyFile[] {
    const { lists, deny } = this.options;
    return deny ? [...lists, deny] : lists;
  }

  private watch(file: KeyFile, affected: (before: ReadonlySet<NodeKey>, after: ReadonlySet<NodeKey>) => NodeKey[]) {
    file.watch({
      changed: (before, after) => {
        this.generation += 1;
        for (const desk of this.options.desks) desk.outdate();
        this.events.log('info', { file: file.path, keys: after.size }, 'a list of keys has changed');
        this.recheck.now(affected(before, after));
      },
      trouble: (problem) =>
        this.events.log(
          'warn',
          { file: file.path, reason: problem },
          'a list of keys cannot be used, and its last contents stay in force',
        ),
    });
  }

  private async decideFor(login: Login, admission: Admission): Promise<Admission | null | undefined> {
    const { id, key } = login;
    const abort = new AbortController();
    this.waiting.set(id, abort);
    const who = clientOf(login);
    let rules: GateOptions;
    let generation: number;
    let decision: Decision | undefined;
    do {
      rules = this.options;
      generation = this.generation;
      decision = await this.decide(key, who, admission, abort.signal).catch(() => undefined);
    } while (rules !== this.options && this.waiting.get(id) === abort);
    // A client that has left is not admitted.
    if (!decision || this.waiting.get(id) !== abort) return undefined;
    this.waiting.delete(id);
    // The questions that are still open are no longer needed.
    abort.abort();
    if (decision.kind === 'refused') return this.refuse(login, decision);
    const failingSince = decision.failing ? performance.now() : 0;
    const { receiveLimit } = decision.admission;
    this.recheck.add({ id, key, who, letInBy: decision.by, failingSince, receiveLimit });
    // Behind the answer to this question, so that the plane has let the client in by then.
    if (generation !== this.generation) setImmediate(() => this.recheck.now([key]));
    return decision.admission;
  }

  /** Decides about a key. Rejects when the signal aborts. */
  private async decide(
    key: NodeKey,
    who: AdmitClient,
    admission: Admission,
    signal: AbortSignal,
    standing?: Standing<AdmitClient>,
  ): Promise<Decision> {
    const { deny, deniedApps, policy, desks, onAdmit, hookTimeout, grace } = this.options;
    if (deniedApps.includes(who.appName)) return { kind: 'refused', by: DENY, reason: BAD_APP };
    if (deny?.keys.has(key)) return { kind: 'refused', by: DENY, reason: 'in the list of keys that are refused' };
    const failedFor = standing?.failingSince ? performance.now() - standing.failingSince : 0;
    const ask = (desk: Desk) => {
      const stands = standing?.letInBy.some(({ name }) => name === desk.name);
      const how = { signal, anew: standing !== undefined, ...(stands && { standing: { failedFor } }) };
      return desk.ask({ key, address: who.address }, how);
    };
    const outcome = desks.length > 0 ? await consult(policy, desks, ask) : undefined;
    if (outcome?.kind === 'refused') return outcome;
    const passed: Passed = {
      kind: 'passed',
      admission,
      by: outcome?.by ?? [],
      failing: (outcome?.failures.length ?? 0) > 0,
    };
    if (!onAdmit) return passed;
    const answer = await askHook(onAdmit, who, hookTimeout, MAX_BODY_LENGTH, signal);
    if (answer.kind === 'allowed') {
      if (!standing) this.count(HOOK, 'allowed');
      return { ...passed, admission: { ...admission, receiveLimit: answer.receiveLimit } };
    }
    if (answer.kind === 'failed') {
      this.count(HOOK, 'error');
      if (standing && failedFor < grace) return { ...passed, failing: true };
    }
    if (answer.kind === 'denied' && !standing) this.count(HOOK, 'denied');
    return { kind: 'refused', by: HOOK, reason: answer.reason };
  }

  private async askAgain(client: Standing<AdmitClient>, signal: AbortSignal): Promise<void> {
    const who = { ...client.who, again: true };
    const { receiveLimit } = client;
    const decision = await this.decide(client.key, who, { mesh: false, receiveLimit }, signal, client);
    if (decision.kind === 'refused') {
      this.count(decision.desk ?? decision.by, 'kicked');
      this.say(who, decision, 'client is not allowed any more');
      this.recheck.remove(client.id);
      this.events.kick(client.id);
      return;
    }
    client.letInBy = decision.by;
    this.limit(client, decision.admission.receiveLimit);
    if (!decision.failing) client.failingSince = 0;
    else if (client.failingSince === 0) client.failingSince = performance.now();
  }

  private limit(client: Standing<AdmitClient>, receiveLimit: ReceiveRate | null): void {
    const before = client.receiveLimit;
    const isSame = before?.bytesPerSecond === receiveLimit?.bytesPerSecond && before?.burst === receiveLimit?.burst;
    // A new limit starts with a full burst, so an old one is not set again.
    if (isSame) return;
    client.receiveLimit = receiveLimit;
    this.events.limit(client.id, receiveLimit);
  }

  private refuse(login: Login, refused: Refused): null {
    if (refused.by === DENY) this.count(DENY, 'denied');
    this.say(clientOf(login), refused, 'client refused');
    return null;
  }

  private say({ key, address, port, appName }: AdmitClient, { by: verifier, reason }: Refused, text: string): void {
    // The end of an admitted client and its next refused login are two stories.
    const count = this.refusals.take(key, `${text} ${verifier} ${reason}`);
    if (!count) return;
    const app = appName === '' ? {} : { app: appName };
    const addr = formatEndpoint(address, port);
    this.events.log('info', { key, addr, ...app, verifier, reason, ...count }, text);
  }

  private count(by: Desk | string, outcome: Outcome): void {
    const counts = typeof by === 'string' ? (this.others.get(by) ?? {}) : by.counts;
    counts[outcome] = (counts[outcome] ?? 0) + 1;
    if (typeof by === 'string') this.others.set(by, counts);
  }
}

/** A client of a time when no verifier was asked about clients: what only the hook needs was not kept, and there was no hook. */
function unasked({ id, key, address, port, appName }: ConnectedClient): Standing<AdmitClient> {
  const who = { key: formatNodeKey(key), appName, version: 0, address, port, tlsVersion: null, again: false };
  return { id, key, who, letInBy: [], failingSince: 0, receiveLimit: null };
}

function clientOf({ key, info, peer, tlsVersion }: Login): AdmitClient {
  const { appName, version } = info;
  const { address, port } = peer;
  return { key: formatNodeKey(key), appName, version, address, port, tlsVersion, again: false };
}
