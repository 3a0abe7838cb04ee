/** The authorities that may vouch for other relays. */
import { readdir, readFile } from 'node:fs/promises';
import { delimiter, join } from 'node:path';
import { rootCertificates } from 'node:tls';
import { reasonOf } from '../errors.js';

/** The systems' bundles; Go, and so derper, reads the first that exists. */
const SYSTEM_BUNDLES = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
  '/etc/pki/tls/cacert.pem',
  '/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem',
  '/etc/ssl/cert.pem',
];

export interface Roots {
  /** DER, without duplicates. */
  readonly certificates: readonly Uint8Array[];
  /** One sentence for each file of the environment that cannot be read. */
  readonly problems: readonly string[];
}

/**
 * Node's own authorities, the system's, and those of `NODE_EXTRA_CA_CERTS`. As in Go, `SSL_CERT_FILE` and
 * `SSL_CERT_DIR` replace the system's file and directories. Node's own count as the system's, and are omitted if both
 * are replaced.
 */
export async function loadRoots(env: NodeJS.ProcessEnv, bundles: readonly string[] = SYSTEM_BUNDLES): Promise<Roots> {
  const { SSL_CERT_FILE: file, SSL_CERT_DIR: directories, NODE_EXTRA_CA_CERTS: extra } = env;
  const problems: string[] = [];
  const read = async (variable: string, path: string) => {
    try {
      return [await readFile(path, 'latin1')];
    } catch (error) {
      problems.push(`${variable}: ${path}: ${reasonOf(error)}`);
      return [];
    }
  };
  const texts = [
    ...(file && directories ? [] : rootCertificates),
    ...(file ? await read('SSL_CERT_FILE', file) : await firstOf(bundles)),
    ...(directories ? await inDirectories(directories.split(delimiter), problems) : []),
    ...(extra ? await read('NODE_EXTRA_CA_CERTS', extra) : []),
  ];
  const unique = new Set(texts.flatMap(certificatesIn));
  return { certificates: [...unique].map((base64) => new Uint8Array(Buffer.from(base64, 'base64'))), problems };
}

/** The certificates in PEM. */
export function pemOf(certificates: readonly Uint8Array[]): string[] {
  return certificates.map((der) => {
    const lines = Buffer.from(der)
      .toString('base64')
      .replace(/.{64}(?=.)/g, '$&\n');
    return `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`;
  });
}

async function firstOf(paths: readonly string[]): Promise<string[]> {
  for (const path of paths) {
    const text = await readFile(path, 'latin1').catch(() => undefined);
    if (text !== undefined) return [text];
  }
  return [];
}

/** Reads every readable file: such a directory contains links, and files that are not certificates. */
async function inDirectories(directories: readonly string[], problems: string[]): Promise<string[]> {
  const texts: string[] = [];
  for (const directory of directories) {
    try {
      for (const name of await readdir(directory)) {
        const text = await readFile(join(directory, name), 'latin1').catch(() => undefined);
        if (text !== undefined) texts.push(text);
      }
    } catch (error) {
      problems.push(`SSL_CERT_DIR: ${directory}: ${reasonOf(error)}`);
    }
  }
  return texts;
}

/** The base64 of the certificates in a PEM text. */
function certificatesIn(pem: string): string[] {
  return [...pem.matchAll(/-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----/g)].map(
    ([, base64]) => (base64 as string).replace(/\s/g, ''),
  );
}
