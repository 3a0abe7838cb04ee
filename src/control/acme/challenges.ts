/** The answers to open challenges: over HTTP, in TLS handshakes, and in the DNS. */
import { createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import type { Solver } from '../../acme/issue.js';
import { keyAuthorization } from '../../acme/jws.js';
import { alpnCertificate, challengeName, dnsRecord } from '../../acme/request.js';
import type { Certificate } from '../../plane/plane.js';
import type { CertificateCache } from './cache.js';
import type { DnsHook } from './dns-hook.js';

export const ACME_PROTOCOL = 'acme-tls/1';

/** How long an answer of another relay is served, in milliseconds: long enough for the handshake that waits for it. */
const SHARED = 5000;

export class Challenges {
  private readonly tokens = new Map<string, string>();
  private readonly served = new Map<string, Certificate>();

  /** `onChange` is called when the certificates that answer challenges change. */
  constructor(
    private readonly cache: CertificateCache,
    private readonly onChange: () => void,
  ) {}

  /** The certificates that answer handshakes for `acme-tls/1`. */
  get certificates(): readonly Certificate[] {
    return [...this.served.values()];
  }

  /** The answer for a token; `undefined` if it belongs neither to this relay nor to one that shares the directory. */
  async answer(token: string): Promise<string | undefined> {
    if (!/^[A-Za-z0-9_-]{1,256}$/.test(token)) return undefined;
    return this.tokens.get(token) ?? (await this.cache.token(token).catch(() => undefined));
  }

  /** Serves the TLS-ALPN-01 answer of a relay that shares the directory, if there is one for this name. */
  async shared(name: string): Promise<boolean> {
    const text = await this.cache.challenge(name).catch(() => undefined);
    if (!text || this.served.has(name)) return this.served.has(name);
    try {
      const { raw } = new X509Certificate(text.chain);
      const answer = this.serve(name, raw, createPrivateKey(text.key));
      // The next handshake looks again: another order has another token.
      setTimeout(() => this.forget(name, answer), SHARED).unref();
      return true;
    } catch {
      return false;
    }
  }

  http(key: KeyObject): Solver {
    return {
      type: 'http-01',
      present: async (_name, token) => {
        const value = keyAuthorization(token, key);
        this.tokens.set(token, value);
        // For the other relays. If the write fails, this relay still answers.
        await this.cache.putToken(token, value).catch(() => undefined);
        return async () => {
          this.tokens.delete(token);
          await this.cache.removeToken(token).catch(() => undefined);
        };
      },
    };
  }

  tlsAlpn(key: KeyObject): Solver {
    return {
      type: 'tls-alpn-01',
      present: async (name, token) => {
        const { der, privateKey } = alpnCertificate(name, keyAuthorization(token, key));
        await this.cache.putChallenge(challengeName(name), der, privateKey).catch(() => undefined);
        const answer = this.serve(challengeName(name), der, privateKey);
        return async () => {
          this.forget(challengeName(name), answer);
          await this.cache.removeChallenge(challengeName(name)).catch(() => undefined);
        };
      },
    };
  }

  dns(key: KeyObject, hook: DnsHook): Solver {
    return {
      type: 'dns-01',
      present: async (name, token) => {
        const record = dnsRecord(name, keyAuthorization(token, key));
        await hook('present', record.name, record.value);
        // A record that stays does no harm: the next one is added beside it.
        return () => hook('cleanup', record.name, record.value).catch(() => undefined);
      },
    };
  }

  private serve(name: string, der: Uint8Array, key: KeyObject): Certificate {
    const privateKey = key.export({ type: 'pkcs8', format: 'der' });
    const answer = { names: [name], alpn: ACME_PROTOCOL, chain: [der], privateKey };
    this.served.set(name, answer);
    this.onChange();
    return answer;
  }

  /** Another order may have replaced the answer. */
  private forget(name: string, answer: Certificate): void {
    if (this.served.get(name) !== answer) return;
    this.served.delete(name);
    this.onChange();
  }
}
