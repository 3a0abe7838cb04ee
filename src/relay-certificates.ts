/** The certificates that a relay serves: those it has read or made, and those it gets by ACME. Composition, like relay.ts. */
import { isIP, SocketAddress } from 'node:net';
import { acmeDirectory, certDirOf, ipProfile, isAcmeMode, type Settings } from './config.js';
import { Authority } from './control/acme/authority.js';
import { CertificateCache } from './control/acme/cache.js';
import { commandHook, type DnsHook } from './control/acme/dns-hook.js';
import { KEEPER_TIMES, type KeeperTimes } from './control/acme/keeper.js';
import { AcmeManager, type AcmeOptions } from './control/acme/manager.js';
import { type ServedCertificate, servedSet } from './control/certificates.js';
import { loadRoots, pemOf } from './control/roots.js';
import { PlaneRefusal, reasonOf } from './errors.js';
import type { Logger } from './logger.js';
import { certificateName, certificatePlace, type Materials } from './materials.js';
import { OwnCertificate } from './own-certificate.js';
import type { CertificateNeed, CertificateSet, ConnectionId } from './plane/plane.js';
import { VERSION } from './version.js';

/** derper's own relays, whose names all fit this. */
const TAILSCALE_RELAY = /^derp([^.]*)\.tailscale\.com\.?$/;
const TAILSCALE_HOSTNAME = 'derp.tailscale.com';
const TAILSCALE_EMAIL = 'security@tailscale.com';

/** What the certificates are served by. */
export interface CertificatePlane {
  certificates(set: CertificateSet): void;
  close(id: ConnectionId, reason: 'closed'): void;
}

export interface CertificateParts {
  readonly settings: Settings;
  readonly materials: Materials;
  readonly plane: CertificatePlane;
  readonly logger: Logger;
  readonly dnsHook: DnsHook | undefined;
  readonly times?: KeeperTimes | undefined;
}

/** The meta certificate is valid for 30 days to either side; a relay may run for longer. */
const META_RENEWAL = 24 * 60 * 60 * 1000;

export class RelayCertificates {
  private readonly acme: AcmeManager | undefined;
  private readonly own: OwnCertificate | undefined;
  private metaRenewal: NodeJS.Timeout | undefined;
  private isOpen = false;

  constructor(private readonly parts: CertificateParts) {
    const { settings, materials, logger } = parts;
    const { certificate } = materials;
    this.own = certificate && new OwnCertificate(settings, logger, certificate, () => this.serveAgain());
    this.acme = this.openAcme();
  }

  /** Serves what there is, before any listener is open. Rejects with {@link PlaneRefusal} if the plane cannot use it. */
  async open(): Promise<void> {
    this.isOpen = true;
    this.serve();
    this.metaRenewal = setInterval(() => this.serveAgain(), META_RENEWAL).unref();
    await this.own?.watch();
  }

  /** Sees to what is missing, once the listeners are open: a certificate authority comes to them. */
  async start(): Promise<void> {
    await this.acme?.start();
  }

  async reload(): Promise<void> {
    await this.acme?.reload();
  }

  async close(): Promise<void> {
    this.isOpen = false;
    clearInterval(this.metaRenewal);
    this.own?.close();
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

  /** All names and addresses that certificates are valid for. */
  get validFor(): readonly string[] {
    return this.served().flatMap(({ certificate }) => certificate.validFor);
  }

  private served(): ServedCertificate[] {
    const certificate = this.own?.current;
    return [...(certificate ? [{ certificate, names: certificate.names }] : []), ...(this.acme?.served() ?? [])];
  }

  private serve(): void {
    if (!this.isOpen) return;
    const { materials, plane } = this.parts;
    const served = this.served();
    const isForAll = served.some(({ names }) => names.length === 0);
    const otherwise = isForAll ? 'first' : this.acme?.asks ? 'ask' : 'refuse';
    const { certificates } = servedSet(served, otherwise, materials.keys.publicKey, new Date());
    const challenges = this.acme?.challengeCertificates() ?? [];
    try {
      plane.certificates({ certificates: [...challenges, ...certificates], otherwise });
    } catch (cause) {
      throw this.refusal(cause);
    }
  }

  /** While the relay runs: what cannot be served is told of, and what was served before goes on. */
  private serveAgain(): void {
    try {
      this.serve();
    } catch (error) {
      this.parts.logger.error(`${(error as Error).message}; what was served before still is`);
    }
  }

  private refusal(cause: unknown): PlaneRefusal {
    const { settings } = this.parts;
    const kinds = this.served().map(({ certificate }) => certificate.kind);
    const why = `${reasonOf(cause)} (it has ${kinds.join(', ')})`;
    const message = `${certificateName(settings)}: the plane cannot use it: ${why}; another plane, js, may`;
    return new PlaneRefusal({ path: certificatePlace(settings), message }, cause);
  }

  private openAcme(): AcmeManager | undefined {
    const { settings, materials, plane, logger, times } = this.parts;
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
    const events = {
      changed: () => this.serveAgain(),
      giveUp: (ids: readonly ConnectionId[]) => {
        for (const id of ids) plane.close(id, 'closed');
      },
      log: (level: 'info' | 'warn' | 'error', facts: object, text: string) => logger[level](facts, text),
    };
    return new AcmeManager(this.acmeOptions(), authority, cache, events, times ?? KEEPER_TIMES);
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
      names: isAddress ? [] : [hostname.toLowerCase()],
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
