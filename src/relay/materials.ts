/** The keys, certificates and lists of a relay: everything that is read from files. */
import { access, constants, readFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { certDirOf, dataDirOf, isAcmeMode, isMeshing, keyFileOf, parseEabKey, type Settings } from '../config.js';
import { CertificateSource, filesSource, manualSource, type SourceOptions } from '../control/certificate-source.js';
import { certificateFile, keptCertificate, manualCertificate, PemError, parsePair } from '../control/certificates.js';
import { writableByOthers } from '../control/files.js';
import { loadKey, loadMeshKey, makeKey } from '../control/key-file.js';
import { loadRateConfig } from '../control/rate-config.js';
import { loadRoots, type Roots } from '../control/roots.js';
import { TokenFile } from '../control/token-file.js';
import { ConfigError, type Problem, reasonOf } from '../errors.js';
import type { ReceiveRate } from '../plane/plane.js';
import { isAmong } from '../protocol/host-name.js';
import { type KeyPair, keyPairOf, parsePrivateKey } from '../protocol/key.js';
import { type AdmissionMaterials, loadAdmission } from './admission.js';

export interface Materials {
  readonly keys: KeyPair;
  readonly meshKey: string | undefined;
  /** Authorities that may vouch for other relays; only if the relay has a mesh. */
  readonly roots: Roots | undefined;
  /** Certificates that do not come by ACME; the default certificate is first. */
  readonly certificates: readonly CertificateSource[];
  /** Sentences for the operator about what needs no immediate action. */
  readonly warnings: readonly string[];
  /** The key of the external account at the CA. */
  readonly eabKey: Uint8Array | undefined;
  /** `undefined` if there is no rate file. */
  readonly rate: ReceiveRate | undefined;
  readonly admission: AdmissionMaterials;
  /** What `/metrics` asks for; `undefined` if it asks for nothing. */
  readonly token: TokenFile | undefined;
}

/**
 * Reads every file that the settings name, and makes those that the relay may make. Throws {@link ConfigError} with
 * every problem.
 */
export async function loadMaterials(settings: Settings): Promise<Materials> {
  const problems: Problem[] = [];
  const load = loader(problems);
  const { privateKey, meshKeyFile } = settings;
  const keyFile = privateKey ? '' : keyFileOf(settings);
  const keySetting = settings.keyFile ? 'keyFile' : 'dataDir';
  const known = privateKey
    ? keyPairOf(parsePrivateKey(privateKey) as Uint8Array)
    : await load(keySetting, keyFile, () => loadKey(keyFile));
  const meshKey = meshKeyFile
    ? await load('meshKeyFile', meshKeyFile, () => loadMeshKey(meshKeyFile))
    : settings.meshKey;
  const { eabKeyFile, eabKey: givenEabKey } = settings.acme;
  const eabKey = await load('acme.eabKeyFile', eabKeyFile ?? '', () =>
    isAcmeMode(settings.certMode) ? loadEabKey(eabKeyFile, givenEabKey) : undefined,
  );
  const rate = await load('rateConfig', settings.rateConfig ?? '', () => loadRate(settings));
  const admission = await loadAdmission(settings, problems);
  const { tokenFile } = settings.metrics;
  const token = await load('metrics.tokenFile', tokenFile ?? '', () => loadToken(tokenFile));
  // The relay reads them again at each connection; that they are there is said now.
  const { credsFile, tls } = settings.nats;
  if (credsFile) await load('nats.credsFile', credsFile, () => readFile(credsFile));
  if (tls.caFile) await load('nats.tls.caFile', tls.caFile, () => readFile(tls.caFile as string));
  const meshing = isMeshing(settings);
  if (meshing && meshKey !== undefined && /^0*$/.test(meshKey)) {
    const onDemand = settings.mesh.discover.length > 0 ? 'mesh.discover' : 'mesh.mode';
    const path = settings.meshWith.length > 0 ? 'meshWith' : onDemand;
    problems.push({ path, message: 'needs a mesh key that is not all zeros' });
  }
  const warnings: string[] = [];
  const certificates = await loadCertificates(settings, load, problems, (text) => void warnings.push(text));
  if (problems.length > 0) throw new ConfigError(problems);
  // Last: a start that fails for another reason leaves no new key behind.
  const keys = known ?? (await load(keySetting, keyFile, () => makeKey(keyFile)));
  if (!keys) throw new ConfigError(problems);
  const roots = meshing ? await loadRoots(process.env) : undefined;
  warnings.push(...(await missingDebugKey(settings)), ...(await wideDirectories(settings)));
  return { keys, meshKey, roots, certificates, eabKey, rate, admission, token, warnings };
}

/** What a reload has read anew; parts that have not changed are absent. */
export interface Reread {
  readonly rate: ReceiveRate | undefined;
  readonly admission: AdmissionMaterials | undefined;
  readonly certificates: readonly CertificateSource[] | undefined;
  readonly warnings: readonly string[];
}

/** Reads the files of changed settings. Throws {@link ConfigError} with every problem. */
export async function rereadMaterials(
  settings: Settings,
  changed: { readonly admission: boolean; readonly certificates: boolean },
): Promise<Reread> {
  const problems: Problem[] = [];
  const warnings: string[] = [];
  const load = loader(problems);
  const rate = await load('rateConfig', settings.rateConfig ?? '', () => loadRate(settings));
  const admission = changed.admission ? await loadAdmission(settings, problems) : undefined;
  const certificates = changed.certificates
    ? await loadCertificates(settings, load, problems, (text) => void warnings.push(text))
    : undefined;
  if (problems.length > 0) throw new ConfigError(problems);
  warnings.push(...(await missingDebugKey(settings)));
  return { rate, admission, certificates, warnings };
}

type Load = <T>(
  setting: keyof Settings | 'acme.eabKeyFile' | 'metrics.tokenFile' | 'nats.credsFile' | 'nats.tls.caFile',
  file: string,
  value: () => Promise<T> | T,
) => Promise<T | undefined>;

/** Loads values one by one, and adds to the problems why one cannot be had. */
function loader(problems: Problem[]): Load {
  return async (setting, file, value) => {
    try {
      return await value();
    } catch (error) {
      const part = error instanceof PemError ? `.${error.part}` : '';
      problems.push({ path: `${setting}${part}`, message: `${file && `${file}: `}${reasonOf(error)}` });
      return undefined;
    }
  };
}

/** Makes no certificate once there is a problem: the start fails, and is to leave nothing behind. */
async function loadCertificates(
  settings: Settings,
  load: Load,
  problems: readonly Problem[],
  warn: (text: string) => void,
): Promise<CertificateSource[]> {
  const certificates: CertificateSource[] = [];
  for (const [place, options] of certificateSources(settings, warn)) {
    if (options.makes && problems.length > 0) continue;
    const source = await load(place, '', () => CertificateSource.open(place, options));
    if (source) certificates.push(source);
  }
  const uncovered = uncoveredHost(settings, certificates);
  if (uncovered) warn(uncovered);
  return certificates;
}

/** What clients see that connect to the host name, if certificates were given and none is for it. */
function uncoveredHost({ certificates: given, certMode, hostname }: Settings, all: readonly CertificateSource[]) {
  const covered = all.flatMap(({ certificate }) => certificate.validFor);
  if (given.length === 0 || isAcmeMode(certMode) || all.length < given.length || isAmong(covered, hostname))
    return undefined;
  return (
    `no certificate is for ${hostname}, which the setting hostname names: those of the setting certificates are for ` +
    `${covered.join(', ')}; set hostname to one of these names, or add a certificate for it`
  );
}

/** derper asks for the file with each request, so that it may come later; until then the key opens nothing. */
async function missingDebugKey({ debugKeyFile }: Settings): Promise<string[]> {
  if (!debugKeyFile) return [];
  try {
    await access(debugKeyFile, constants.R_OK);
    return [];
  } catch (error) {
    return [`debugKeyFile: ${debugKeyFile} cannot be read (${reasonOf(error)}); no key opens /debug/ until it can`];
  }
}

/** Warns about directories of keys that other users may write to. */
async function wideDirectories(settings: Settings): Promise<string[]> {
  const { privateKey, certificate, certificates, certMode, certDir } = settings;
  const keepsCertificates = !certificate && certificates.length === 0 && certMode !== 'off';
  const kept = [
    ...(privateKey ? [] : [dirname(keyFileOf(settings))]),
    ...(keepsCertificates ? [certDirOf(settings)] : []),
  ];
  // The data directory counts if one of them lies in it.
  const dataDir = keepsCertificates && certDir === undefined ? dataDirOf(settings) : settings.dataDir;
  const above = dataDir !== undefined && kept.some((path) => dirname(path) === dataDir) ? [dataDir] : [];
  const wide = await writableByOthers([...above, ...kept]);
  return wide.map(
    ({ path, mode }) => `${path} has the mode ${mode}: other users may replace the keys in it; chmod 700 prevents that`,
  );
}

/** Reads the receive limit from the rate file. */
export async function loadRate({ rateConfig }: Settings): Promise<ReceiveRate | undefined> {
  return rateConfig === undefined ? undefined : loadRateConfig(rateConfig);
}

async function loadToken(path: string | undefined): Promise<TokenFile | undefined> {
  if (path === undefined) return undefined;
  const file = new TokenFile(path);
  await file.load();
  return file;
}

async function loadEabKey(file: string | undefined, given: string | undefined): Promise<Uint8Array | undefined> {
  const text = file === undefined ? given : (await readFile(file, 'utf8')).trim();
  if (text === undefined) return undefined;
  const key = parseEabKey(text);
  if (!key) throw new Error('the file has no key in base64');
  return key;
}

/**
 * The sources of certificates, each with the setting that names it; the default certificate is first. `warn` is told
 * why a self-made certificate was replaced.
 */
function certificateSources(settings: Settings, warn: (text: string) => void): [keyof Settings, SourceOptions][] {
  const { certMode, certificate, certificates, certDir, hostname } = settings;
  if (certMode === 'off') return [];
  const files = certificates.map(filesSource).sort((a, b) => Number(b.isDefault) - Number(a.isDefault));
  const own = files.map((options): [keyof Settings, SourceOptions] => ['certificates', options]);
  if (own.length > 0 || isAcmeMode(certMode)) return own;
  if (certificate) {
    const load = async () => parsePair(certificate, []);
    const name = 'the certificate';
    return [
      [
        'certificate',
        { name, origin: 'from the settings', paths: [], isDefault: true, load, renews: false, makes: false },
      ],
    ];
  }
  const directory = certDirOf(settings);
  if (certMode === 'manual') {
    return [['certDir', manualSource(directory, hostname, () => manualCertificate(directory, hostname, new Date()))]];
  }
  const local = ['localhost', '127.0.0.1', '::1'];
  const hosts = local.includes(hostname) ? local : [hostname, ...local];
  const load = () => keptCertificate(directory, hosts, new Date(), warn);
  const name = certificateFile(directory, 'derpkit');
  const options = {
    name,
    origin: 'made by this relay',
    paths: [],
    isDefault: true,
    load,
    renews: true,
    makes: true,
  } as const;
  return [[certDir ? 'certDir' : 'dataDir', options]];
}
