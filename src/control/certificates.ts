import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { reasonOf } from '../errors.js';
import type { Certificate, CertificateSet } from '../plane/plane.js';
import { isAmong, namesIn, withoutFinalDot } from '../protocol/host-name.js';
import type { NodeKey } from '../protocol/key.js';
import { makeParent, readIfThere, writeFileAtomic } from './files.js';
import { metaCertificate, selfSignedCertificate } from './x509.js';

/** A server certificate as it was loaded, without the meta certificate. */
export interface ServerCertificate {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
  /** Server names that it is served for; any name, and none, if empty. */
  readonly names: readonly string[];
  /** What its key is, in words. */
  readonly kind: string;
  /** When the leaf is valid. */
  readonly validFrom: Date;
  readonly validUntil: Date;
  /** The names and addresses that the leaf is valid for. */
  readonly validFor: readonly string[];
  /** Lower-case hex SHA-256 of the leaf: clients can pin it as `sha256-raw:…`. */
  readonly fingerprint: string;
}

/** How long a certificate that a relay makes for an address of its own lasts; derper's figure. */
const ADDRESS_CERTIFICATE_DAYS = 365;
/** One that clients pin by its fingerprint: a new one means new settings for every client. */
const PINNED_CERTIFICATE_DAYS = 3650;

/** What is wrong with a chain or a key in PEM. */
export class PemError extends Error {
  override name = 'PemError';

  constructor(
    readonly part: keyof PemPair,
    message: string,
  ) {
    super(message);
  }
}

/**
 * Loads `<hostname>.crt` and `.key` from the directory, as derper's `-certmode=manual` does. For an address, not a name, a
 * missing pair is made. Throws an Error that says what is missing or wrong.
 */
export async function manualCertificate(directory: string, hostname: string, now: Date): Promise<ServerCertificate> {
  const { chain, key } = await loadFiles(directory, hostname);
  const isAddress = isIP(hostname) !== 0;
  if ((chain === undefined || key === undefined) && !isAddress) {
    const missing = [chain, key].flatMap((text, index) => (text === undefined ? [index === 0 ? '.crt' : '.key'] : []));
    const name = fileName(hostname);
    throw new Error(`there is no ${missing.map((extension) => name + extension).join(' and no ')} in ${directory}`);
  }
  const pair =
    chain !== undefined && key !== undefined
      ? { chain, key }
      : await makePair(directory, hostname, [hostname], ADDRESS_CERTIFICATE_DAYS, now);
  return inFiles(directory, hostname, () => {
    // Clients name a server without the final dot that its name may have.
    const certificate = parsePair(pair, isAddress ? [] : [withoutFinalDot(hostname)]);
    const { validFor } = certificate;
    if (!isAmong(validFor, hostname)) {
      const whatFor = validFor.length === 0 ? 'it has no alternative names' : `it is for ${validFor.join(', ')}`;
      throw new Error(`${join(directory, fileName(hostname))}.crt is not valid for ${hostname}: ${whatFor}`);
    }
    return certificate;
  });
}

/** The files of {@link manualCertificate}. */
export function manualPaths(directory: string, hostname: string): string[] {
  const base = join(directory, fileName(hostname));
  return [`${base}.crt`, `${base}.key`];
}

/**
 * The relay's own certificate for `hosts`, kept in the directory; made anew if it is missing, is not valid yet or any more, or
 * lacks one of the hosts. `replaced` hears why one that was there is not used any more.
 */
export async function keptCertificate(
  directory: string,
  hosts: readonly string[],
  now: Date,
  replaced: (why: string) => void = () => {},
): Promise<ServerCertificate> {
  const name = 'derpkit';
  const loaded = await loadPair(directory, name);
  const kept = inFiles(directory, name, () => loaded && parsePairOfKey(loaded));
  const lacking = kept && hosts.filter((host) => !isAmong(kept.validFor, host));
  const why = kept && (timeProblem(kept, now) ?? (lacking?.length ? `is not for ${lacking.join(', ')}` : undefined));
  if (kept && why === undefined) return kept;
  const made = parsePair(await makePair(directory, name, hosts, PINNED_CERTIFICATE_DAYS, now), []);
  if (why !== undefined) {
    replaced(
      `${join(directory, name)}.crt ${why}; there is a new one, which clients pin as sha256-raw:${made.fingerprint}`,
    );
  }
  return made;
}

/** What is wrong with the time of a certificate, as the end of a sentence about it; `undefined` if nothing is. */
export function timeProblem({ validFrom, validUntil }: ServerCertificate, now: Date): string | undefined {
  if (now < validFrom) return `is not valid before ${validFrom.toISOString()}: one of the clocks is wrong`;
  if (now > validUntil) return `has expired, on ${validUntil.toISOString()}`;
  return undefined;
}

/** `undefined` where key and certificate do not belong together: half of what was kept has been lost. */
function parsePairOfKey(pair: PemPair): ServerCertificate | undefined {
  const [leaf] = parseChain(pair.chain);
  return leaf.checkPrivateKey(parseKey(pair.key)) ? parsePair(pair, []) : undefined;
}

/** Chain and key in PEM; the key in PKCS#8, SEC1 or PKCS#1. Throws {@link PemError} where the two do not fit together. */
export function parsePair(pair: PemPair, names: readonly string[]): ServerCertificate {
  const chain = parseChain(pair.chain);
  const [leaf] = chain;
  const key = parseKey(pair.key);
  if (!leaf.checkPrivateKey(key)) throw new PemError('key', 'the private key does not belong to the certificate');
  return {
    chain: chain.map(({ raw }) => raw),
    privateKey: key.export({ type: 'pkcs8', format: 'der' }),
    names,
    kind: kindOf(leaf.publicKey),
    validFrom: new Date(leaf.validFrom),
    validUntil: new Date(leaf.validTo),
    validFor: namesIn(leaf.subjectAltName),
    fingerprint: createHash('sha256').update(leaf.raw).digest('hex'),
  };
}

/** A certificate, and for which names it is served; for all, and for clients without a name, if there are none. */
export interface ServedCertificate {
  readonly certificate: ServerCertificate;
  readonly names: readonly string[];
}

/** What the plane serves: each chain, and the meta certificate behind it. */
export function servedSet(
  served: readonly ServedCertificate[],
  otherwise: CertificateSet['otherwise'],
  serverKey: NodeKey,
  now: Date,
): CertificateSet {
  const meta = metaCertificate(serverKey, now);
  const certificates = served.map(({ certificate: { chain, privateKey }, names }): Certificate => {
    return { names, chain: [...chain, meta], privateKey };
  });
  return { certificates, otherwise };
}

export interface PemPair {
  readonly chain: string;
  readonly key: string;
}

/** Such as `a key of rsa, 1024 bits` or `a key of secp256k1`. */
function kindOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string {
  const { modulusLength, namedCurve } = asymmetricKeyDetails ?? {};
  if (modulusLength !== undefined) return `a key of ${asymmetricKeyType}, ${modulusLength} bits`;
  return `a key of ${namedCurve ?? asymmetricKeyType ?? 'an unknown kind'}`;
}

/** Where the chain of this name is. */
export function certificateFile(directory: string, name: string): string {
  return `${join(directory, fileName(name))}.crt`;
}

/** derper's rule for file names: an IPv6 address loses its colons. */
function fileName(hostname: string): string {
  return hostname.replace(/[^A-Za-z0-9.-]/g, '');
}

/** By its alternative names, as clients look at it; the common name does not count. */
export function isFor(leaf: X509Certificate, host: string): boolean {
  return isAmong(namesIn(leaf.subjectAltName), host);
}

function parseChain(pem: string): readonly [X509Certificate, ...X509Certificate[]] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    const [leaf, ...rest] = blocks.map((block) => new X509Certificate(block));
    if (leaf) return [leaf, ...rest];
  } catch {
    // What OpenSSL says of it helps nobody.
  }
  throw new PemError('chain', 'there is no certificate in the chain, or none in PEM');
}

/** The first key in the text, whatever stands around it. */
function parseKey(pem: string): KeyObject {
  const [block = '', kind] = /-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----[\s\S]*?-----END \1-----/.exec(pem) ?? [];
  if (kind === 'ENCRYPTED PRIVATE KEY' || /^Proc-Type:.*ENCRYPTED/m.test(block)) {
    throw new PemError('key', 'the private key is encrypted: a relay that starts by itself has no passphrase for it');
  }
  try {
    return createPrivateKey(block);
  } catch {
    throw new PemError('key', 'there is no private key in PEM, or it is broken');
  }
}

async function loadPair(directory: string, name: string): Promise<PemPair | undefined> {
  const { chain, key } = await loadFiles(directory, name);
  return chain !== undefined && key !== undefined ? { chain, key } : undefined;
}

/** Either may be missing. */
async function loadFiles(directory: string, name: string): Promise<{ [Part in keyof PemPair]: string | undefined }> {
  const read = async (extension: string) => {
    const path = `${join(directory, fileName(name))}.${extension}`;
    return readIfThere(path).catch((error) => {
      throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
    });
  };
  const [chain, key] = await Promise.all([read('crt'), read('key')]);
  return { chain, key };
}

/** Says which file it is that is wrong. */
function inFiles<T>(directory: string, name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    const extension = error.part === 'chain' ? 'crt' : 'key';
    throw new Error(`${join(directory, fileName(name))}.${extension}: ${error.message}`, { cause: error });
  }
}

async function makePair(
  directory: string,
  name: string,
  hosts: readonly string[],
  days: number,
  now: Date,
): Promise<PemPair> {
  const { der, privateKey } = selfSignedCertificate(hosts, days, now);
  const chain = new X509Certificate(der).toString();
  const key = privateKey.export({ type: 'sec1', format: 'pem' }).toString();
  const base = join(directory, fileName(name));
  try {
    await makeParent(base);
    // The key first: a certificate without its key would be taken for a pair that lost one half.
    await writeFileAtomic(`${base}.key`, key, 0o600);
    await writeFileAtomic(`${base}.crt`, chain, 0o644);
  } catch (error) {
    throw new Error(`${base}.crt cannot be made: ${reasonOf(error)}`, { cause: error });
  }
  return { chain, key };
}
