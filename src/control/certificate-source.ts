/** Certificates from files: which files, and how they are read again while the old certificate stays in service. */
import { readFile } from 'node:fs/promises';
import { isIP } from 'node:net';
import { reasonOf } from '../errors.js';
import { isAmong } from '../protocol/host-name.js';
import {
  certificateFile,
  manualPaths,
  PemError,
  parsePair,
  type ServerCertificate,
  timeProblem,
} from './certificates.js';

/** Where a certificate comes from, in words. */
export type Origin = 'from files' | 'made by this relay' | 'from the settings';

export interface SourceOptions {
  /** Its name in messages: its file, or another description. */
  readonly name: string;
  readonly origin: Origin;
  /** The files that it is made of; a change in one of them makes the relay read all again. */
  readonly paths: readonly string[];
  /** Whether it also serves clients that send no server name, or one that no certificate covers. */
  readonly isDefault: boolean;
  readonly load: () => Promise<ServerCertificate>;
  /** Whether `load` makes a new certificate if the old one is not valid. */
  readonly renews: boolean;
  /** Whether `load` makes a certificate if there is none. */
  readonly makes: boolean;
}

export class CertificateSource {
  /** Why its files could not be used when they were read last; empty after a success. */
  trouble = '';
  /** How often that has failed in a row. */
  failures = 0;

  private constructor(
    /** The setting that it comes from. */
    readonly place: string,
    readonly options: SourceOptions,
    private held: ServerCertificate,
  ) {}

  static async open(place: string, options: SourceOptions): Promise<CertificateSource> {
    return new CertificateSource(place, options, await options.load());
  }

  get certificate(): ServerCertificate {
    return this.held;
  }

  /** Notes whether its files could be used. */
  note(trouble: string): void {
    this.trouble = trouble;
    this.failures = trouble === '' ? 0 : this.failures + 1;
  }

  /** Returns to an earlier certificate. */
  restore(certificate: ServerCertificate): void {
    this.held = certificate;
  }

  /**
   * Reads the files again. Returns whether the certificate changed. If the new one is faulty, rejects and keeps the old
   * one.
   */
  async reload(now: Date): Promise<boolean> {
    const { paths, isDefault, load } = this.options;
    if (paths.length === 0) return false;
    const loaded = await load();
    if (loaded.fingerprint === this.held.fingerprint) return false;
    const wrong = timeProblem(loaded, now);
    if (wrong !== undefined) throw new Error(`${paths[0]} ${wrong}`);
    const { names } = this.held;
    if (!isDefault && names.length > 0 && !names.some((name) => isAmong(loaded.validFor, name))) {
      throw new Error(`${paths[0]}: it is for ${loaded.validFor.join(', ')}, and none of ${names.join(', ')}`);
    }
    this.held = loaded;
    return true;
  }
}

/** The files of a certificate, at any path. Both may be one file. */
export interface CertificateFiles {
  readonly chainFile: string;
  readonly keyFile: string;
  readonly default: boolean;
}

/** A certificate from files of its own, for the names that it covers. */
export function filesSource({ chainFile, keyFile, default: isDefault }: CertificateFiles): SourceOptions {
  const load = async () => {
    const [chain, key] = await Promise.all([textOf(chainFile), textOf(keyFile)]);
    const certificate = inFile(chainFile, keyFile, () => parsePair({ chain, key }, []));
    const { validFor } = certificate;
    if (validFor.length === 0 && !isDefault) {
      throw new Error(`${chainFile}: it has no alternative names, so no client would get it; set "default": true`);
    }
    return { ...certificate, names: validFor };
  };
  const paths = [...new Set([chainFile, keyFile])];
  return { name: chainFile, origin: 'from files', paths, isDefault, load, renews: false, makes: false };
}

/** The certificate of derper's manual mode, whose files are named after the host. */
export function manualSource(directory: string, hostname: string, load: SourceOptions['load']): SourceOptions {
  const paths = manualPaths(directory, hostname);
  const name = certificateFile(directory, hostname);
  const isAddress = isIP(hostname) !== 0;
  return { name, origin: 'from files', paths, isDefault: isAddress, load, renews: false, makes: isAddress };
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (error) {
    throw new Error(`${path}: ${reasonOf(error)}`, { cause: error });
  }
}

function inFile<T>(chainFile: string, keyFile: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (!(error instanceof PemError)) throw error;
    throw new Error(`${error.part === 'chain' ? chainFile : keyFile}: ${error.message}`, { cause: error });
  }
}
