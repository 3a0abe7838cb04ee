import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { isIP } from 'node:net';
import { join } from 'node:path';
import { reasonOf } from '../errors.js';
import type { Certificate, CertificateSet } from '../plane/plane.js';
import { isAmong, namesIn, withoutFinalDot } from '../protocol/host-name.js';
import type { NodeKey } from '../protocol/key.js';
import { makeParent, readIfThere, writeFileAtomic } from './files.js';
import { metaCertificate, selfSignedCertificate } from './x509.js';

/** A loaded server certificate, without the meta certificate. */
export interface ServerCertificate {
  /** DER, leaf first. */
  readonly chain: readonly Uint8Array[];
  /** PKCS#8 DER. */
  readonly privateKey: Uint8Array;
  /** The server names that get it; if empty, any name and none. */
  readonly names: readonly string[];
  /** The kind of its key, in words. */
  readonly kind: string;
  /** The validity of the leaf. */
  readonly validFrom: Date;
  readonly validUntil: Date;
  /** The names and addresses that the leaf covers. */
  readonly validFor: readonly string[];
  /** SHA-256 of the leaf in lower-case hex; clients can pin it as `sha256-raw:…`. */
  readonly fingerprint: string;
}

/** Lifetime in days of a certificate that the relay makes for its own address: derper's figure. */
const ADDRESS_CERTIFICATE_DAYS = 365;
/** Lifetime in days of a pinned certificate. It is long, because each new one needs new settings in every client. */
const PINNED_CERTIFICATE_DAYS = 3650;

/** A chain or key in PEM is faulty. */
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
 * Loads `<hostname>.crt` and `<hostname>.key` from the directory, like derper's `-certmode=manual`. For an IP address,
 * makes a missing pair. Throws an Error that says what is missing or faulty.
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
    // The server name of a client has no final dot, even if the host name does.
    const certificate = parsePair(pair, isAddress ? [] : [withoutFinalDot(hostname)]);
    const { validFor } = certificate;
    if (!isAmong(validFor, hostname)) {
      const whatFor = validFor.length === 0 ? 'it has no alternative names' : `it is for ${validFor.join(', ')}`;
      throw new Error(`${join(directory, fileName(hostname))}.crt is not valid for ${hostname}: ${whatFor}`);
    }
    return certificate;
  });
}

/** The files that {@link manualCertificate} reads. */
export function manualPaths(directory: string, hostname: string): string[] {
  const base = join(directory, fileName(hostname));
  return [`${base}.crt`, `${base}.key`];
}

/**
 * The relay's own certificate for `hosts`, stored in the directory. Makes a new one if it is missing, not valid now, or
 * lacks a host. `replaced` is told why an existing one was replaced.
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
  const why = kept && (timeProblem(kept, now) ?? lackOf(kept, hosts));
  if (kept && why === undefined) return kept;
  const made = parsePair(await makePair(directory, name, hosts, PINNED_CERTIFICATE_DAYS, now), []);
  if (why !== undefined) {
    replaced(
      `${join(directory, name)}.crt ${why}; there is a new one, which clients pin as sha256-raw:${made.fingerprint}`,
    );
  }
  return made;
}

/** How a certificate is out of its validity, as the end of a sentence about it; `undefined` if it is valid. */
export function timeProblem({ validFrom, validUntil }: ServerCertificate, now: Date): string | undefined {
  if (now < validFrom) return `is not valid before ${validFrom.toISOString()}: one of the clocks is wrong`;
  if (now > validUntil) return `has expired, on ${validUntil.toISOString()}`;
  return undefined;
}

/** Which of the hosts a certificate lacks, as the end of a sentence about it; `undefined` if it covers all. */
function lackOf({ validFor }: ServerCertificate, hosts: readonly string[]): string | undefined {
  const lacking = hosts.filter((host) => !isAmong(validFor, host));
  return lacking.length > 0 ? `is not for ${lacking.join(', ')}` : undefined;
}

/** `undefined` if key and certificate do not match: one half of the pair was lost. */
function parsePairOfKey(pair: PemPair): ServerCertificate | undefined {
  const [leaf] = parseChain(pair.chain);
  return leaf.checkPrivateKey(parseKey(pair.key)) ? parsePair(pair, []) : undefined;
}

/**
 * Parses chain and key in PEM; the key may be PKCS#8, SEC1 or PKCS#1. Throws {@link PemError} if the two do not match.
 */
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

/** A certificate and the names that get it. Without names, it serves any name, and clients that send none. */
export interface ServedCertificate {
  readonly certificate: ServerCertificate;
  readonly names: readonly string[];
}

/** The set for the plane: each chain, with the meta certificate behind it. */
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

/** The kind of a key, such as `a key of rsa, 1024 bits` or `a key of secp256k1`. */
function kindOf({ asymmetricKeyType, asymmetricKeyDetails }: KeyObject): string {
  const { modulusLength, namedCurve } = asymmetricKeyDetails ?? {};
  if (modulusLength !== undefined) return `a key of ${asymmetricKeyType}, ${modulusLength} bits`;
  return `a key of ${namedCurve ?? asymmetricKeyType ?? 'an unknown kind'}`;
}

/** The path of the chain of a name. */
export function certificateFile(directory: string, name: string): string {
  return `${join(directory, fileName(name))}.crt`;
}

/** derper's rule for file names: an IPv6 address loses its colons. */
function fileName(hostname: string): string {
  return hostname.replace(/[^A-Za-z0-9.-]/g, '');
}

/** Whether the leaf covers a host. Only its alternative names count, as for clients, not the common name. */
export function isFor(leaf: X509Certificate, host: string): boolean {
  return isAmong(namesIn(leaf.subjectAltName), host);
}

function parseChain(pem: string): readonly [X509Certificate, ...X509Certificate[]] {
  const blocks = pem.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  try {
    const [leaf, ...rest] = blocks.map((block) => new X509Certificate(block));
    if (leaf) return [leaf, ...rest];
  } catch {
    // OpenSSL's message would not help.
  }
  throw new PemError('chain', 'there is no certificate in the chain, or none in PEM');
}

/** Parses the first key in the text, whatever surrounds it. */
function parseKey(pem: string): KeyObject {
  const [block = '', kind] = /-----BEGIN ((?:[A-Z]+ )?PRIVATE KEY)-----[\s\S]*?-----END \1-----/.exec(pem) ?? [];
  if (kind === 'ENCRYPTED PRIVATE KEY' || /Proc-Type:.*ENCRYPTED/.test(block)) {
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

/** Reads both files; either may be missing. */
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

/** Adds the path of the faulty file to an error. */
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
    // The key goes first: a certificate without its key would look like a pair of which one half was lost.
    await writeFileAtomic(`${base}.key`, key, 0o600);
    await writeFileAtomic(`${base}.crt`, chain, 0o644);
  } catch (error) {
    throw new Error(`${base}.crt cannot be made: ${reasonOf(error)}`, { cause: error });
  }
  return { chain, key };
}
