/**
 * The directory of `-certdir` in the ACME modes. Its files equal those of Go's autocert and of derper to the byte, so
 * that derper and this relay can take over each other's directory.
 */
import { createPrivateKey, generateKeyPairSync, type KeyObject, X509Certificate } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { makeParent, readIfThere, writeFileAtomic } from '../files.js';
import { takeLock } from './lock.js';

export interface PemTexts {
  readonly chain: string;
  readonly key: string;
}

/** The account key of certificates for names, and derper's second one for IP addresses. */
export const ACCOUNT_FILES = {
  dns: ['acme_account+key', 'acme_account.key'],
  ip: ['acme-account.key'],
} as const;

export class CertificateCache {
  constructor(readonly directory: string) {}

  /** Reads an account key, or makes one. Writes a new key under the first of `names`. */
  async accountKey(names: readonly string[]): Promise<KeyObject> {
    for (const name of names) {
      const text = await this.read(name);
      if (text === undefined) continue;
      try {
        return createPrivateKey(text);
      } catch {
        throw new Error(`${this.path(name)}: there is no private key in PEM`);
      }
    }
    const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'prime256v1' });
    await this.write(names[0] as string, sec1(privateKey), 0o600);
    return privateKey;
  }

  /**
   * Reads the certificate of a name: autocert's single file, key first. `rsa` selects the one for clients without
   * ECDSA.
   */
  async readName(name: string, rsa = false): Promise<PemTexts | undefined> {
    const text = await this.read(rsa ? `${name}+rsa` : name);
    return text === undefined ? undefined : { chain: text, key: text };
  }

  async writeName(name: string, key: KeyObject, chain: string): Promise<void> {
    await this.write(name, sec1(key) + normal(chain), 0o600);
  }

  /** Reads the certificate of an address: derper's pair of files. */
  async readAddress(address: string): Promise<PemTexts | undefined> {
    const base = addressFile(address);
    const [chain, key] = await Promise.all([this.read(`${base}.crt`), this.read(`${base}.key`)]);
    return chain === undefined || key === undefined ? undefined : { chain, key };
  }

  async writeAddress(address: string, key: KeyObject, chain: string): Promise<void> {
    const base = addressFile(address);
    // The key goes first: a pair with the wrong key is refused and ordered again.
    await this.write(`${base}.key`, sec1(key), 0o600);
    await this.write(`${base}.crt`, normal(chain), 0o644);
  }

  /** Stores the answer to HTTP-01 for relays that share the directory. */
  async putToken(token: string, value: string): Promise<void> {
    await this.write(`${token}+http-01`, value, 0o600);
  }

  async token(token: string): Promise<string | undefined> {
    return this.read(`${token}+http-01`);
  }

  async removeToken(token: string): Promise<void> {
    await rm(this.path(`${token}+http-01`), { force: true });
  }

  /** Stores the answer to TLS-ALPN-01. */
  async putChallenge(name: string, der: Uint8Array, key: KeyObject): Promise<void> {
    await this.write(`${name}+token`, sec1(key) + new X509Certificate(der).toString(), 0o600);
  }

  async challenge(name: string): Promise<PemTexts | undefined> {
    const text = await this.read(`${name}+token`);
    return text === undefined ? undefined : { chain: text, key: text };
  }

  async removeChallenge(name: string): Promise<void> {
    await rm(this.path(`${name}+token`), { force: true });
  }

  /** What the last order of a certificate has come to, as text; see `attempts.ts`. */
  attempt(name: string): Promise<string | undefined> {
    return this.read(attemptFile(name));
  }

  attemptPath(name: string): string {
    return this.path(attemptFile(name));
  }

  async putAttempt(name: string, text: string): Promise<void> {
    await this.write(attemptFile(name), text, 0o600);
  }

  async removeAttempt(name: string): Promise<void> {
    await rm(this.path(attemptFile(name)), { force: true });
  }

  /**
   * Locks a name against other relays that share the directory. Resolves with a function that unlocks it, or with
   * `undefined` while another relay holds the lock.
   */
  lock(name: string): Promise<(() => Promise<void>) | undefined> {
    return takeLock(this.path(`${addressFile(name)}+lock`));
  }

  private read(name: string): Promise<string | undefined> {
    return readIfThere(this.path(name));
  }

  private async write(name: string, text: string, mode: number): Promise<void> {
    const path = this.path(name);
    await makeParent(path);
    await writeFileAtomic(path, text, mode);
  }

  private path(name: string): string {
    return join(this.directory, name);
  }
}

/** The name of a file that no other kind of file has. */
function attemptFile(name: string): string {
  return `${addressFile(name)}+order`;
}

function addressFile(address: string): string {
  return address.replaceAll(':', '.');
}

function sec1(key: KeyObject): string {
  return key.export({ type: 'sec1', format: 'pem' }).toString();
}

/** The certificates alone: autocert treats a file with any other text in it as broken. */
function normal(chain: string): string {
  const blocks = chain.matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g);
  return Array.from(blocks, ([block]) => new X509Certificate(block).toString()).join('');
}
