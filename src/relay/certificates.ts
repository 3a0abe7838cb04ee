/** The certificates that a relay serves: those it has read or made, and those it gets by ACME. Composition, like relay.ts. */
import { isIP, SocketAddress } from 'node:net';
import { acmeDirectory, certDirOf, ipProfile, isAcmeMode, type Settings } from '../config.js';
import { Authority } from '../control/acme/authority.js';
import { CertificateCache } from '../control/acme/cache.js';
import { commandHook, type DnsHook } from '../control/acme/dns-hook.js';
import { KEEPER_TIMES, type KeeperTimes } from '../control/acme/keeper.js';
import { AcmeManager, type AcmeOptions } from '../control/acme/manager.js';
import type { CertificateSource } from '../control/certificate-source.js';
import { CertificateWatch } from '../control/certificate-watch.js';
import { type ServedCertificate, servedSet } from '../control/certificates.js';
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

/** derper's own relays, whose names all fit this. */
const TAILSCALE_RELAY = /^derp([^.]*)\.tailscale\.com\.?$/;
const TAILSCALE_HOSTNAME = 'derp.tailscale.com';
const TAILSCALE_EMAIL = 'security@tailscale.com';

/** What the certificates are served by. */
export interface CertificatePlane {
  certificates(set: CertificateSet): void;
  close(id: ConnectionId, reason: 'closed'): void;
}

/** How long certificates are waited for; tests have less patience. */
export interface CertificateTimes {
  readonly keeper: KeeperTimes;
  /** How often files are looked at, in milliseconds. */
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

/** The meta certificate is valid for 30 days to either side; a relay may run for longer. */
const META_RENEWAL = 24 * 60 * 60 * 1000;
/** How often it is looked whether certificates are valid, and for how long. */
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

  /** Whether there is anything to be read again. */
  static canReload({ certMode, certificate, certificates }: Settings): boolean {
    return certificates.length > 0 || isAcmeMode(certMode) || (certMode === 'manual' && certificate === undefined);
  }

  /** Serves what there is, before any listener is open. Rejects with {@link PlaneRefusal} if the plane cannot use it. */
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

  /** Sees to what is missing, once the listeners are open: a certificate authority comes to them. */
  async start(): Promise<void> {
    await this.acme?.start();
  }

  /** Reads files again. Rejects with everything that is refused; the certificate from before is served on then. */
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

  /** The answer to a challenge over HTTP; `undefined` where no certificates come by ACME. */
  get challengeAnswer(): ((host: string, path: string) => Promise<{ status: number; text: string }>) | undefined {
    const { acme } = this;
    return acme && ((host, path) => acme.answer(host, path));
  }

  /** Of the first certificate that is served. */
  get fingerprint(): string | undefined {
    return this.served()[0]?.certificate.fingerprint;
  }

  /** How each certificate stands, and each name that has none yet. */
  states(): CertificateState[] {
    const read = this.sources.map(({ certificate, options }): CertificateState => {
      const next = options.paths.length > 0 ? 'read again when its files change' : '';
      return { ...leafState(certificate), origin: options.origin, next, trouble: '', failures: undefined };
    });
    const ordered = (this.acme?.states ?? []).map((keeper): CertificateState => {
      const { name, certificate, trouble, failures } = keeper;
      const leaf = certificate ? leafState(certificate) : { issuer: '', from: 0, until: 0 };
      return { ...leaf, names: [name], origin: 'by ACME', next: keeper.plan, trouble, failures };
    });
    return [...read, ...ordered];
  }

  /** All names and addresses that certificates are valid for. */
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

  /** Sees to certificates that are not valid, and tells of those that run out. */
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
    const message = `${names}: the plane cannot use it: ${reasonOf(cause)} (it has ${kinds}); another plane, js, may`;
    return new PlaneRefusal({ path: certificates[0]?.place ?? 'certMode', message }, cause);
  }

  /** Files of a certificate have changed. */
  private async changed(source: CertificateSource): Promise<void> {
    const { logger } = this.parts;
    try {
      if (!(await this.reread(source))) return;
      const { validFor, fingerprint } = source.certificate;
      logger.info({ names: validFor.join(), fingerprint }, 'a certificate has changed, and the new one is served');
    } catch (error) {
      logger.error(`a certificate is refused, and the relay continues to serve the old one: ${reasonOf(error)}`);
    }
  }

  /** Never throws: what the plane cannot use is told of, and what it had is served on. */
  private serve(): Error | undefined {
    if (!this.isOpen) return undefined;
    try {
      this.parts.plane.certificates(this.set());
      return undefined;
    } catch (error) {
      this.parts.logger.error(
        `the plane cannot use a certificate; what was served before still is: ${reasonOf(error)}`,
      );
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

  /** Reads the files of a certificate again, and serves what is in them. Whether that is another one. */
  private async reread(source: CertificateSource): Promise<boolean> {
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
    // A CA comes to the ports 443 and 80. Where this relay is behind another port, the plain one is the likelier to be led to.
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

/** The one spelling of an address, which is that of connections. */
function canonical(address: string): string {
  return new SocketAddress({ address, family: isIP(address) === 6 ? 'ipv6' : 'ipv4' }).address;
}

/** derper's way: whichever addresses of this machine clients come to. */
function onDemand(addresses: readonly string[]): 'any' | readonly string[] {
  return addresses.length > 0 ? addresses : 'any';
}
