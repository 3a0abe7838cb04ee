/** Certificates by ACME: for which names, for which waiting handshakes, and the answers to the CA's challenges. */

import { type KeyObject, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import type { ChallengeType, Solver } from '../../acme/issue.js';
import { challengeName } from '../../acme/request.js';
import type { Barrier } from '../../faults/barrier.js';
import type { Certificate, CertificateNeed, ConnectionId } from '../../plane/plane.js';
import { isFor, type PemPair, parsePair, type ServerCertificate } from '../certificates.js';
import { formatAttempt, parseAttempt } from './attempts.js';
import type { Authority } from './authority.js';
import type { CertificateCache } from './cache.js';
import { ACME_PROTOCOL, Challenges } from './challenges.js';
import type { DnsHook } from './dns-hook.js';
import { Keeper, type KeeperTimes, type KeptCertificate } from './keeper.js';

export interface AcmeOptions {
  /** The names that are configured. */
  readonly names: readonly string[];
  /** Whether a further name may have a certificate, such as the names of Tailscale's own relays. */
  readonly allows: (name: string) => boolean;
  /** Addresses to get certificates for; `any` is every address of this machine that clients connect to. */
  readonly addresses: 'any' | readonly string[];
  /** Whether to order at once, and not when a client first asks. */
  readonly eager: boolean;
  /** The challenges for names, the preferred one first. Addresses use all of them but `dns-01`. */
  readonly challenges: readonly ChallengeType[];
  readonly dnsHook: DnsHook | undefined;
}

export interface AcmeEvents {
  /** The set of certificates has changed. */
  changed(): void;
  /** Ends handshakes that wait for a certificate in vain. */
  giveUp(ids: readonly ConnectionId[]): void;
  log(level: 'info' | 'warn' | 'error', facts: object, text: string): void;
  readonly barrier: Barrier;
}

/** Most keepers: addresses of one machine, and names of one pattern. Any further name gets no certificate. */
const MOST_KEEPERS = 32;
/** Handshakes that are remembered as waiting for one name: the last ones, as many as may be parked. */
const MOST_WAITING = 1024;

/** What the tokens of HTTP-01 stand behind. */
const CHALLENGE_PATH = '/.well-known/acme-challenge/';
/** Milliseconds that orders in progress have when the relay closes. */
const PATIENCE = 1000;

export class AcmeManager {
  private readonly keepers = new Map<string, Keeper>();
  private readonly waiting = new Map<string, Set<ConnectionId>>();
  /** For each configured address, the local addresses at which its clients arrive. */
  private readonly behind = new Map<string, Set<string>>();
  private readonly rsa = new Map<string, ServerCertificate>();
  private readonly challenges: Challenges;
  private stopped = false;

  constructor(
    private readonly options: AcmeOptions,
    private readonly authority: Authority,
    private readonly cache: CertificateCache,
    private readonly events: AcmeEvents,
    private readonly times: KeeperTimes,
    private readonly random: () => number = Math.random,
  ) {
    this.challenges = new Challenges(cache, () => this.events.changed());
  }

  /**
   * Loads the stored certificates, and orders the missing ones. The listeners must be open, because the CA connects to
   * them.
   */
  async start(): Promise<void> {
    const { names, addresses } = this.options;
    const known = [...names, ...(addresses === 'any' ? [] : addresses)];
    await Promise.all(known.map((name) => this.keeperOf(name)?.look()));
    await this.readRsa();
    this.events.changed();
  }

  /** Reads the files again, and does what is due. */
  async reload(): Promise<void> {
    await Promise.all([...this.keepers.values()].map((keeper) => keeper.look()));
    await this.readRsa();
    this.events.changed();
  }

  /** Aborts everything in progress; resolves when it has ended. */
  async stop(): Promise<void> {
    this.stopped = true;
    this.authority.stop();
    for (const keeper of this.keepers.values()) keeper.stop();
    const settled = Promise.all([...this.keepers.values()].map((keeper) => keeper.settled()));
    // A command for DNS-01 may take longer; the relay does not wait for it.
    await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, PATIENCE).unref())]);
  }

  /** A handshake waits for a certificate. */
  needed({ id, serverName, localAddress, alpn }: CertificateNeed): void {
    if (alpn.length === 1 && alpn[0] === ACME_PROTOCOL) {
      const { barrier } = this.events;
      void barrier.settle('acme: a challenge', this.answerAuthority(id, serverName), () => this.events.giveUp([id]));
      return;
    }
    const name = serverName === '' ? this.addressFor(localAddress) : serverName.replace(/\.$/, '');
    const keeper = name !== undefined && this.permits(name) ? this.keeperOf(name) : undefined;
    if (keeper?.certificate && serverName === '') this.comeTo(keeper.name, localAddress);
    else if (keeper?.want()) this.wait(keeper, id, serverName === '' ? localAddress : '');
    else this.events.giveUp([id]);
  }

  /** The certificates to serve, without the answers to challenges. */
  served(): { readonly certificate: ServerCertificate; readonly names: readonly string[] }[] {
    return [...this.keepers.values()].flatMap(({ name, certificate }) => {
      if (!certificate) return [];
      const rsa = this.rsa.get(name);
      const names = [name, ...(this.behind.get(name) ?? [])];
      return [{ certificate, names }, ...(rsa ? [{ certificate: rsa, names }] : [])];
    });
  }

  challengeCertificates(): readonly Certificate[] {
    return this.challenges.certificates;
  }

  /**
   * Whether a name without a certificate may get one. If not, it is refused without a word to us, but for a CA, which may
   * look for the answer of a relay that shares the directory.
   */
  get otherwise(): 'ask' | 'challenge' | 'refuse' {
    const { names, addresses, challenges } = this.options;
    const missing = (name: string) => !this.keepers.get(name)?.certificate;
    const asks = addresses === 'any' || addresses.length > 0 || names.length === 0 || names.some(missing);
    return asks ? 'ask' : challenges.includes('tls-alpn-01') ? 'challenge' : 'refuse';
  }

  get states(): readonly Keeper[] {
    return [...this.keepers.values()];
  }

  /** Answers a challenge over HTTP as autocert does. `host` is the Host header. */
  async answer(host: string, path: string): Promise<{ status: number; text: string }> {
    const name = host
      .replace(/:\d+$/, '')
      .replace(/^\[(.*)\]$/, '$1')
      .toLowerCase();
    if (!this.permits(name)) {
      return { status: 403, text: `acme/autocert: host ${JSON.stringify(host)} not configured in HostWhitelist` };
    }
    const text = await this.challenges.answer(path.slice(CHALLENGE_PATH.length));
    return text === undefined ? { status: 404, text: 'acme/autocert: certificate cache miss' } : { status: 200, text };
  }

  private permits(name: string): boolean {
    const { names, allows, addresses } = this.options;
    if (isIP(name) !== 0) return addresses === 'any' || addresses.includes(name);
    return names.includes(name) || allows(name);
  }

  /** The address whose certificate a client gets that connected to `local` and sent no name. */
  private addressFor(local: string): string | undefined {
    const { addresses } = this.options;
    if (addresses === 'any' || addresses.includes(local)) return local;
    // Behind a NAT, the address that the client dialled is not a local one.
    return addresses.find((address) => isIP(address) === isIP(local)) ?? addresses[0];
  }

  private comeTo(name: string, local: string): void {
    if (local === '' || local === name) return;
    const behind = this.behind.get(name) ?? new Set();
    this.behind.set(name, behind);
    if (behind.has(local) || behind.size >= MOST_KEEPERS) return;
    behind.add(local);
    this.events.changed();
  }

  private wait(keeper: Keeper, id: ConnectionId, local: string): void {
    const { name } = keeper;
    const before = this.waiting.get(name);
    const waiting = before ?? new Set();
    this.waiting.set(name, waiting);
    waiting.add(id);
    // The plane has let go of the oldest ones.
    const [oldest] = waiting;
    if (waiting.size > MOST_WAITING && oldest !== undefined) waiting.delete(oldest);
    if (before) return;
    const served = keeper.settled().then(() => {
      this.waiting.delete(name);
      if (keeper.certificate) this.comeTo(name, local);
      else if (!this.stopped) this.events.giveUp([...waiting]);
    });
    void this.events.barrier.settle('acme: waiting handshakes', served);
  }

  private async answerAuthority(id: ConnectionId, serverName: string): Promise<void> {
    const known = this.states.some(({ name }) => challengeName(name) === serverName);
    const isThere = known && (await this.challenges.shared(serverName));
    if (!isThere && !this.stopped) this.events.giveUp([id]);
  }

  private keeperOf(name: string): Keeper | undefined {
    const there = this.keepers.get(name);
    if (there || this.stopped || this.keepers.size >= MOST_KEEPERS) return there;
    const keeper = new Keeper(name, this.sourceOf(name), this.events, this.times, this.options.eager);
    this.keepers.set(name, keeper);
    return keeper;
  }

  private sourceOf(name: string): ConstructorParameters<typeof Keeper>[1] {
    const { cache, authority, random } = this;
    const isAddress = isIP(name) !== 0;
    return {
      random,
      load: async () => {
        const pair = await (isAddress ? cache.readAddress(name) : cache.readName(name));
        return pair && usable(name, pair);
      },
      order: (key, replaced) => authority.issue(name, key, replaced, (account) => this.solvers(account, isAddress)),
      accept: (key, chain) => {
        const certificate = usable(name, { chain, key: key.export({ type: 'pkcs8', format: 'pem' }).toString() });
        if (!certificate)
          throw new Error(`the certificate authority has issued a certificate that is not valid for ${name} now`);
        return certificate;
      },
      store: (key, chain) => (isAddress ? cache.writeAddress(name, key, chain) : cache.writeName(name, key, chain)),
      record: cache.attemptPath(name),
      recall: async () => {
        const text = await cache.attempt(name);
        const latest = Date.now() + this.times.backOff.mostAsked;
        return text === undefined ? undefined : parseAttempt(text, authority.directory, latest);
      },
      remember: (attempt) =>
        attempt ? cache.putAttempt(name, formatAttempt(authority.directory, attempt)) : cache.removeAttempt(name),
      lock: () => cache.lock(name),
      suggestion: (certificate, moment) => authority.suggestion(certificate, moment),
    };
  }

  private solvers(account: KeyObject, isAddress: boolean): readonly Solver[] {
    const { challenges, dnsHook } = this.options;
    return challenges.flatMap((type): Solver[] => {
      if (type === 'http-01') return [this.challenges.http(account)];
      if (type === 'tls-alpn-01') return [this.challenges.tlsAlpn(account)];
      return isAddress || !dnsHook ? [] : [this.challenges.dns(account, dnsHook)];
    });
  }

  /**
   * Loads autocert's second certificate, for clients without ECDSA. It is served while it is valid, and never ordered.
   */
  private async readRsa(): Promise<void> {
    for (const name of this.options.names) {
      const pair = await this.cache.readName(name, true).catch(() => undefined);
      const certificate = pair && tryUsable(name, pair);
      if (certificate) this.rsa.set(name, certificate);
      else this.rsa.delete(name);
    }
  }
}

/** Whether autocert would accept the stored pair; it ignores any other. Throws if the two are not a pair. */
function usable(name: string, pair: PemPair): KeptCertificate | undefined {
  const certificate = parsePair(pair, [name]);
  const leaf = new X509Certificate(certificate.chain[0] as Uint8Array);
  const [now, from, until] = [Date.now(), Date.parse(leaf.validFrom), Date.parse(leaf.validTo)];
  if (now < from || now > until || !isFor(leaf, name)) return undefined;
  return { ...certificate, leaf };
}

function tryUsable(name: string, pair: PemPair): KeptCertificate | undefined {
  try {
    return usable(name, pair);
  } catch {
    return undefined;
  }
}
