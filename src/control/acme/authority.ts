/** A certificate authority, and the relay's account there. */
import { generateKeyPairSync, type KeyObject, type X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { AcmeClient } from '../../acme/client.js';
import { withDeadline } from '../../acme/deadline.js';
import { issue, type Solver } from '../../acme/issue.js';
import type { ExternalAccount } from '../../acme/jws.js';
import { certificateId, type Suggestion, suggestionOf } from '../../acme/renewal.js';
import { Transport } from '../../acme/transport.js';
import { ACCOUNT_FILES, type CertificateCache } from './cache.js';

/** Milliseconds for a whole order: derper's five minutes. */
export const ORDER_TIMEOUT = 5 * 60 * 1000;
const ASK_TIMEOUT = 60 * 1000;

export interface AuthorityOptions {
  /** The URL of the CA's ACME directory. */
  readonly directory: string;
  readonly email?: string | undefined;
  readonly externalAccount?: ExternalAccount | undefined;
  /** The profile for certificates of names; without one, the CA's default. */
  readonly profile?: string | undefined;
  /** The profile for certificates of IP addresses. */
  readonly ipProfile?: string | undefined;
  /**
   * Returns the authorities that may vouch for the CA's server, in PEM. Called for each order, so that a changed bundle
   * takes effect.
   */
  readonly roots: () => Promise<readonly string[]>;
  readonly userAgent: string;
}

export class Authority {
  private readonly stopped = new AbortController();

  constructor(
    private readonly options: AuthorityOptions,
    private readonly cache: CertificateCache,
  ) {}

  get directory(): string {
    return this.options.directory;
  }

  /**
   * Orders a certificate for a name or an address; resolves with it and its chain in PEM. `solvers` answer the CA's
   * challenges.
   */
  async issue(
    name: string,
    key: KeyObject,
    replaced: X509Certificate | undefined,
    solvers: (accountKey: KeyObject) => readonly Solver[],
  ): Promise<string> {
    const { profile, ipProfile } = this.options;
    const type = isIP(name) === 0 ? 'dns' : 'ip';
    const accountKey = await this.cache.accountKey(ACCOUNT_FILES[type]);
    return this.withClient(accountKey, ORDER_TIMEOUT, async (client) => {
      await client.register();
      const suggested = replaced && (await client.renewalInfo(certificateId(replaced) ?? '').catch(() => undefined));
      // The order names the replaced certificate only if the CA has issued that.
      const replaces = suggested && replaced ? certificateId(replaced) : undefined;
      const request = { identifier: { type, value: name } as const, profile: type === 'ip' ? ipProfile : profile };
      return issue(client, { ...request, replaces }, key, solvers(accountKey));
    });
  }

  /** When the CA suggests a renewal, at `moment` (0 to 1) of its window; `undefined` if it makes no suggestion. */
  async suggestion(certificate: X509Certificate, moment: number): Promise<Suggestion | undefined> {
    const id = certificateId(certificate);
    if (id === undefined) return undefined;
    // No request here is signed, so any key will do.
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    return this.withClient(privateKey, ASK_TIMEOUT, async (client) => {
      const answer = await client.renewalInfo(id);
      return answer && suggestionOf(answer, Date.now(), moment);
    });
  }

  /** Aborts the requests in progress. */
  stop(): void {
    this.stopped.abort();
  }

  private async withClient<T>(key: KeyObject, timeout: number, use: (client: AcmeClient) => Promise<T>): Promise<T> {
    const { directory, email, externalAccount, roots, userAgent } = this.options;
    const transport = new Transport(await roots(), userAgent);
    const { signal, release } = withDeadline(timeout, this.stopped.signal);
    try {
      return await use(new AcmeClient({ directory, key, email, externalAccount }, transport, signal));
    } catch (error) {
      if (!signal.aborted) throw error;
      throw new Error(`the certificate authority took longer than ${timeout / 60_000} minutes`, { cause: error });
    } finally {
      release();
      transport.close();
    }
  }
}
