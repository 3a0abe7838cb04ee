/**
 * The certificates that a relay serves: loaded, self-made, or from a CA by ACME. This file only connects parts, like
 * relay.ts.
 */
import { isIP, SocketAddress } from 'node:net';
import { acmeDirectory, certDirOf, ipProfile, isAcmeMode, type Settings } from '../config.js';
import { Authority } from '../control/acme/authority.js';
import { CertificateCache } from '../control/acme/cache.js';
import { commandHook, type DnsHook } from '../control/acme/dns-hook.js';
import { KEEPER_TIMES, type KeeperTimes } from '../control/acme/keeper.js';
import { AcmeManager, type AcmeOptions } from '../control/acme/manager.js';
import type { CertificateSource } from '../control/certificate-source.js';
import { CertificateWatch } from '../control/certificate-watch.js';
import { type ServedCertificate, type ServerCertificate, servedSet } from '../control/certificates.js';
import { type CertificateState, ExpiryWarnings, leafState } from '../control/expiry.js';
import { FileWatch, LOOK_AT_FILES } from '../control/file-watch.js';
import { loadRoots, pemOf } from '../control/roots.js';
import { PlaneRefusal, reasonOf } from '../errors.js';
import type { Barrier } from '../faults/barrier.js';
import type { Logger } from '../logger.js';
import type { CertificateNeed, CertificateSet, ConnectionId } from '../plane/plane.js';
import { withoutFinalDot } from '../protocol/host-name.js';
import { VERSION } from '../version.js';
import type { Materials } from './materials.js';

/** The names of Tailscale's own relays. */
const TAILSCALE_RELAY = /^derp([^.]*)\.tailscale\.com\.?$/;
const TAILSCALE_HOSTNAME = 'derp.tailscale.com';
const TAILSCALE_EMAIL = 'security@tailscale.com';

/** The plane's part in serving certificates. */
export interface CertificatePlane {
  certificates(set: CertificateSet): void;
  close(id: ConnectionId, reason: 'closed'): void;
}

/** Intervals and deadlines of certificates; tests use shorter ones. */
export interface CertificateTimes {
  readonly keeper: KeeperTimes;
  /** Milliseconds between looks at the certificate files. */
  readonly look: number;
}

const TIMES: CertificateTimes = { keeper: KEEPER_TIMES, look: LOOK_AT_FILES };

export interface CertificateParts {
  readonly settings: Settings;
  readonly materials: Materials;
  readonly plane: CertificatePlane;
  readonly logger: Logger;
  readonly dnsHook: DnsHook | undefined;
  readonly barrier: Barrier;
  readonly times?: CertificateTimes | undefined;
}

/**
 * Milliseconds between renewals of the meta certificate, which is valid from 30 days before its making to 30 days after
 * it.
 */
const META_RENEWAL = 24 * 60 * 60 * 1000;
/** Milliseconds between checks of the certificates' validity. */
const LOOKS = 60 * 60 * 1000;

export class RelayCertificates {
  private readonly acme: AcmeManager | undefined;
  private readonly times: CertificateTimes;
  /** The certificates that are not got by ACME, the default one first. */
  private sources: readonly CertificateSource[];
  private validity: readonly CertificateWatch[];
  private watches: readonly FileWatch[] = [];
  private readonly warnings = new ExpiryWarnings();
  private timers: readonly NodeJS.Timeout[] = [];
  private isOpen = false;

  constructor(private readonly parts: CertificateParts) {
    this.times = parts.times ?? TIMES;
    this.sources = parts.materials.certificates;
    this.validity = this.sources.map((source) => this.validityOf(source));
    this.acme = this.openAcme();
  }

  /** Whether `reload` has certificates to read. */
  static canReload({ certMode, certificate, certificates }: Settings): boolean {
    return certificates.length > 0 || isAcmeMode(certMode) || (certMode === 'manual' && certificate === undefined);
  }

  /**
   * Serves the certificates that exist, before any listener opens. Rejects with {@link PlaneRefusal} if the plane
   * cannot use one.
   */
  async open(): Promise<void> {
    try {
      this.parts.plane.certificates(this.set());
    } catch (cause) {
      throw this.refusal(cause);
    }
    this.isOpen = true;
    this.watchFiles();
    this.timers = [
      setInterval(() => this.later(async () => void this.serve()), META_RENEWAL).unref(),
      setInterval(() => this.later(() => this.look()), LOOKS).unref(),
    ];
    await this.look();
  }

  private watchFiles(): void {
    const watched = this.sources.filter(({ options }) => options.paths.length > 0);
    this.watches = watched.map(
      (source) => new FileWatch(source.options.paths, () => this.later(() => this.changed(source)), this.times.look),
    );
  }

  private later(act: () => Promise<unknown>): void {
    void this.parts.barrier.settle('the certificates', act());
  }

  /** Orders missing certificates. The listeners must be open, because the CA connects to them. */
  async start(): Promise<void> {
    await this.acme?.start();
  }

  /** Reads the files again. Rejects with every fault; a faulty certificate is not replaced. */
  async reload(): Promise<void> {
    const outcomes = await Promise.allSettled(this.sources.map((source) => this.reread(source)));
    await this.acme?.reload();
    const refused = outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [reasonOf(outcome.reason)] : []));
    if (refused.length > 0) throw new Error(refused.join('; '));
  }

  /** Serves these certificates instead. Throws what the plane has against them, and serves those from before then. */
  replace(sources: readonly CertificateSource[]): void {
    const { sources: before } = this;
    this.sources = sources;
    this.validity = sources.map((source) => this.validityOf(source));
    if (!this.isOpen) return;
    try {
      this.parts.plane.certificates(this.set());
    } catch (cause) {
      const refusal = this.refusal(cause);
      this.sources = before;
      this.validity = before.map((source) => this.validityOf(source));
      throw refusal;
    }
    for (const watch of this.watches) watch.stop();
    this.watchFiles();
    const known = before.map(({ certificate }) => certificate.fingerprint);
    for (const { certificate } of sources) if (!known.includes(certificate.fingerprint)) this.tellOfNew(certificate);
    this.later(() => this.look());
  }

  async close(): Promise<void> {
    this.isOpen = false;
    for (const timer of this.timers) clearInterval(timer);
    for (const watch of this.watches) watch.stop();
    await this.acme?.stop();
  }

  needed(need: CertificateNeed): void {
    if (this.acme) this.acme.needed(need);
    else this.parts.plane.close(need.id, 'closed');
  }

  /** Answers challenges over HTTP; `undefined` if no certificate comes by ACME. */
  get challengeAnswer(): ((host: string, path: string) => Promise<{ status: number; text: string }>) | undefined {
    const { acme } = this;
    return acme && ((host, path) => acme.answer(host, path));
  }

  /** The fingerprint of the first certificate that is served. */
  get fingerprint(): string | undefined {
    return this.served()[0]?.certificate.fingerprint;
  }

  /** The state of each certificate, and of each name that has none yet. */
  states(): CertificateState[] {
    const read = this.sources.map(({ certificate, options, trouble, failures }): CertificateState => {
      const watched = options.paths.length > 0;
      const next = watched ? 'read again when its files change' : '';
      const outcome = { renewed: false, trouble, failures: watched ? failures : undefined };
      return { ...leafState(certificate), origin: options.origin, next, ...outcome };
    });
    const ordered = (this.acme?.states ?? []).map((keeper): CertificateState => {
      const { name, certificate, trouble, failures } = keeper;
      const leaf = certificate ? leafState(certificate) : { issuer: '', from: 0, until: 0 };
      return { ...leaf, names: [name], origin: 'by ACME', next: keeper.plan, renewed: true, trouble, failures };
    });
    return [...read, ...ordered];
  }

  /** All names and addresses that the certificates cover. */
  get validFor(): readonly string[] {
    return this.served().flatMap(({ certificate }) => certificate.validFor);
  }

  private served(): ServedCertificate[] {
    const read = this.sources.map(({ certificate }) => ({
      certificate,
      names: certificate.names,
    }));
    return [...read, ...(this.acme?.served() ?? [])];
  }

  /** Renews certificates that are not valid, and logs those that expire soon. */
  private async look(): Promise<void> {
    const now = new Date();
    for (const watch of this.validity) await watch.look(now);
    for (const line of this.warnings.lines(this.states(), Date.now())) this.parts.logger.warn(line);
  }

  private validityOf(source: CertificateSource): CertificateWatch {
    const { load, renews } = source.options;
    return new CertificateWatch({
      current: () => source.certificate,
      renew: renews ? load : undefined,
      replaced: (certificate) => {
        source.restore(certificate);
        this.serve();
      },
      warn: (text) => this.parts.logger.warn(text),
    });
  }

  private refusal(cause: unknown): PlaneRefusal {
    const { sources: certificates } = this;
    const names = certificates.map(({ options }) => options.name).join(', ');
    const kinds = certificates.map(({ certificate }) => certificate.kind).join(', ');
    const message = `${names}: the plane cannot use it: ${reasonOf(cause)} (it has ${kinds}); plane js may be able to`;
    return new PlaneRefusal({ path: certificates[0]?.place ?? 'certMode', message }, cause);
  }

  /** Serves a certificate whose files have changed. */
  private async changed(source: CertificateSource): Promise<void> {
    try {
      await this.reread(source);
    } catch (error) {
      const text = 'a certificate is refused, and the relay continues to serve the old one';
      this.parts.logger.error({ reason: reasonOf(error) }, text);
    }
  }

  private tellOfNew({ validFor, fingerprint }: ServerCertificate): void {
    const facts = { names: validFor.join(), fingerprint };
    this.parts.logger.info(facts, 'a certificate has changed, and the new one is served');
  }

  /**
   * Gives the plane all certificates. Never throws: it logs a certificate that the plane cannot use, and the plane
   * keeps the old set.
   */
  private serve(): Error | undefined {
    if (!this.isOpen) return undefined;
    try {
      this.parts.plane.certificates(this.set());
      return undefined;
    } catch (error) {
      const text = 'the plane cannot use a certificate, and keeps the ones before';
      this.parts.logger.error({ reason: reasonOf(error) }, text);
      return error as Error;
    }
  }

  private set(): CertificateSet {
    const { materials } = this.parts;
    const isForAll = this.sources.some(({ options }) => options.isDefault);
    const otherwise = isForAll ? 'first' : (this.acme?.otherwise ?? 'refuse');
    const { certificates } = servedSet(this.served(), otherwise, materials.keys.publicKey, new Date());
    return { certificates: [...(this.acme?.challengeCertificates() ?? []), ...certificates], otherwise };
  }

  /** Reads the files of a certificate again, and serves the new one, if there is one. */
  private async reread(source: CertificateSource): Promise<void> {
    try {
      if (await this.reloaded(source)) this.tellOfNew(source.certificate);
      source.note('');
    } catch (error) {
      source.note(reasonOf(error));
      throw error;
    }
  }

  private async reloaded(source: CertificateSource): Promise<boolean> {
    const before = source.certificate;
    if (!(await source.reload(new Date()))) return false;
    const error = this.serve();
    if (!error) return true;
    source.restore(before);
    this.serve();
    throw error;
  }

  private openAcme(): AcmeManager | undefined {
    const { settings, materials, plane, logger } = this.parts;
    const { certMode, hostname, acme } = settings;
    if (!isAcmeMode(certMode)) return undefined;
    const cache = new CertificateCache(certDirOf(settings));
    const isTailscale = hostname === TAILSCALE_HOSTNAME;
    const { eabKey } = materials;
    const authority = new Authority(
      {
        directory: acmeDirectory(certMode, acme),
        email: acme.email ?? (isTailscale ? TAILSCALE_EMAIL : undefined),
        externalAccount: eabKey && { kid: acme.eabKid ?? '', key: eabKey },
        profile: acme.profile,
        ipProfile: ipProfile(certMode, acme),
        roots: async () => pemOf((await loadRoots(process.env)).certificates),
        userAgent: `derpkit/${VERSION}`,
      },
      cache,
    );
    const { barrier } = this.parts;
    const events = {
      barrier,
      changed: () => void this.serve(),
      giveUp: (ids: readonly ConnectionId[]) => {
        for (const id of ids) plane.close(id, 'closed');
      },
      log: (level: 'info' | 'warn' | 'error', facts: object, text: string) => logger[level](facts, text),
    };
    return new AcmeManager(this.acmeOptions(), authority, cache, events, this.times.keeper);
  }

  private acmeOptions(): AcmeOptions {
    const { settings, dnsHook } = this.parts;
    const { hostname, acme, listen, httpPort } = settings;
    const { exec } = acme.dns;
    const hook = dnsHook ?? (exec === undefined ? undefined : commandHook(exec));
    const http = httpPort >= 0 ? (['http-01'] as const) : [];
    // A CA connects to the ports 443 and 80. If this relay listens on another port than 443, port 80 is likelier to be
    // mapped to it.
    const direct = listen.port === 443 ? (['tls-alpn-01', ...http] as const) : ([...http, 'tls-alpn-01'] as const);
    const isAddress = isIP(hostname) !== 0;
    const { ipCerts } = acme;
    const ipAddresses = acme.ipAddresses.map(canonical);
    const addresses = ipAddresses.length > 0 ? ipAddresses : isAddress ? [canonical(hostname)] : 'any';
    return {
      names: isAddress ? [] : [withoutFinalDot(hostname).toLowerCase()],
      allows: (name) => hostname === TAILSCALE_HOSTNAME && TAILSCALE_RELAY.test(name),
      addresses: ipCerts ? (acme.atStart ? addresses : onDemand(ipAddresses)) : [],
      eager: acme.atStart,
      challenges: hook ? ['dns-01', ...direct] : direct,
      dnsHook: hook,
    };
  }
}

/** The canonical text of an address, as connections report it. */
function canonical(address: string): string {
  return new SocketAddress({ address, family: isIP(address) === 6 ? 'ipv6' : 'ipv4' }).address;
}

/**
 * As in derper, without configured addresses any address of this machine gets a certificate when a client connects to
 * it.
 */
function onDemand(addresses: readonly string[]): 'any' | readonly string[] {
  return addresses.length > 0 ? addresses : 'any';
}
