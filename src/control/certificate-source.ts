/** Certificates that are read from files: which files, and how they are read again without a moment without one. */
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

/** How a relay came by a certificate, in words. */
export type Origin = 'from files' | 'made by this relay' | 'from the settings';

export interface SourceOptions {
  /** For messages: its file, or what else it is. */
  readonly name: string;
  readonly origin: Origin;
  /** Files that it is made of; read again when one of them has changed. */
  readonly paths: readonly string[];
  /** Whether clients get it that name nobody, or a name that no certificate is for. */
  readonly isDefault: boolean;
  readonly load: () => Promise<ServerCertificate>;
  /** Whether loading makes another one, if this one is not valid. */
  readonly renews: boolean;
}

export class CertificateSource {
  private constructor(
    /** The setting that says where it comes from. */
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

  /** Goes back to a certificate from before. */
  restore(certificate: ServerCertificate): void {
    this.held = certificate;
  }

  /** Reads the files again. Whether there is another certificate now; rejects with what is wrong, and keeps the old one then. */
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

/** Files of a certificate, wherever they lie. The two may be one. */
export interface CertificateFiles {
  readonly chainFile: string;
  readonly keyFile: string;
  readonly default: boolean;
}

/** A certificate from files of its own, for the names that it is valid for. */
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
  return { name: chainFile, origin: 'from files', paths, isDefault, load, renews: false };
}

/** derper's manual mode, whose files are named like the host. */
export function manualSource(directory: string, hostname: string, load: SourceOptions['load']): SourceOptions {
  const paths = manualPaths(directory, hostname);
  const name = certificateFile(directory, hostname);
  return { name, origin: 'from files', paths, isDefault: isIP(hostname) !== 0, load, renews: false };
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
