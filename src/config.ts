/**
 * The settings of a relay: one schema for flags, environment, config file and `createRelay`. The result is completely
 * valid; otherwise every problem is reported, not only the first.
 */
import { homedir } from 'node:os';
import { isAbsolute, join } from 'node:path';
import { z } from 'zod';
import { ACME, ACME_MODES, acmeProblems, isAcmeMode } from './config/acme.js';
import { admission } from './config/admission.js';
import { group, parseShape, type SettingInfo, settingsOf } from './config/groups.js';
import { mesh, nats, natsProblems, sourceProblems } from './config/mesh.js';
import type { RelayConfig, SettingName } from './config/relay-config.js';
import {
  address,
  bad,
  bool,
  burst,
  bytes,
  certificate,
  duration,
  home,
  hostname,
  list,
  localAddress,
  MESH_KEY,
  meshPeers,
  NAMES,
  networks,
  nodeKeys,
  objects,
  oneOf,
  PRIVATE_KEY,
  path,
  rate,
  text,
  whole,
} from './config/values.js';
import { ConfigError, type Problem } from './errors.js';
import { LOG_LEVELS } from './logger.js';
import { parseMeshKey, parsePrivateKey } from './protocol/key.js';

export { type AcmeSettings, acmeDirectory, ipProfile, isAcmeMode, parseEabKey } from './config/acme.js';
export type { SettingInfo } from './config/groups.js';
export { isMeshing } from './config/mesh.js';
export type { RelayConfig, SettingName } from './config/relay-config.js';
export { parseBool, parseFloatAsGo } from './config/values.js';
export { type Address, parseAddress } from './protocol/host-port.js';

const FILES = 'must be an object of chainFile, keyFile and default';

const NEEDS_MESH_KEY =
  'needs the mesh key that all relays of the mesh share: the setting meshKeyFile names its file (--mesh-key-file; with derper, -mesh-psk-file)';

export const PLANE_CHOICES = ['auto', 'native', 'js'] as const;

/** The description of a field is its line in `--help`; its default is the relay's. */
const SCHEMA = z.object({
  listen: address.prefault(':443').describe('address of the relay itself, host:port'),
  hostname: hostname.default('localhost').describe('name or address that clients use'),
  certMode: oneOf(['self-signed', 'manual', 'off', ...ACME_MODES])
    .default('self-signed')
    .describe('self-signed, manual, letsencrypt, gcp, acme or off'),
  certificates: objects(
    z.strictObject({ chainFile: path, keyFile: path, default: bool.default(false) }, FILES),
    'must be a list of objects of chainFile, keyFile and default',
  )
    .default([])
    .describe(
      'certificates by server name: chainFile, keyFile, and default, which serves clients with another name or none',
    ),
  certDir: path.optional().describe('directory of certificates (default: certs in the data directory)'),
  acme: ACME,
  keyFile: path.optional().describe('file of the private key (default: derper.key in the data directory)'),
  dataDir: path.optional().describe("directory of the relay's files (root: /var/lib/derpkit, else the user's)"),
  httpPort: whole(-1, 65535, 'must be a port from 0 to 65535, or -1 for none')
    .default(80)
    .describe('port of plain HTTP beside TLS; -1 for none'),
  stun: bool.default(true).describe('answer STUN'),
  stunPort: whole(0, 65535, 'must be a port from 0 to 65535').default(3478).describe('UDP port of STUN'),
  derp: bool.default(true).describe('relay packets'),
  home: home.default('').describe('what / shows: empty, blank, or a URL to redirect to'),
  bootstrapDnsNames: list(NAMES)
    .default([])
    .describe('names whose addresses /bootstrap-dns publishes, separated by commas'),
  unpublishedBootstrapDnsNames: list(NAMES)
    .default([])
    .describe('names that /bootstrap-dns only answers on request: name or name/txt-name'),
  disallowAppNames: list(NAMES).default([]).describe('app names whose clients are refused, separated by commas'),
  acceptConnectionLimit: rate
    .default(Number.POSITIVE_INFINITY)
    .describe('TLS connections per second; the relay closes more'),
  acceptConnectionBurst: burst.default(Number.MAX_SAFE_INTEGER).describe('TLS connections at once, beyond that rate'),
  rateConfig: path.optional().describe('JSON file with the receive rate limit of clients, read again on SIGHUP'),
  debugAllowIp: text('must be an address').optional().describe('address that may see /debug/'),
  debugTrustedCidrs: networks.default([]).describe('networks that may see /debug/, separated by commas'),
  debugKeyFile: path.optional().describe('file with a key that opens /debug/ as ?debugkey='),
  debugHosts: list(NAMES).default([]).describe('more host names under which /debug/ answers, separated by commas'),
  debugHint: bool.default(false).describe('explain to a client that may not see /debug/ how to get access'),
  meshKeyFile: path.optional().describe('file with the mesh key, 64 hex digits'),
  meshWith: meshPeers.prefault([]).describe('relays to mesh with, separated by commas: host[:port][/dialhost]'),
  mesh,
  nats,
  tcpKeepaliveTime: duration.prefault('10m').describe('TCP keepalive idle time'),
  tcpUserTimeout: duration.prefault('15s').describe('how long sent data may stay unacknowledged'),
  tcpWriteTimeout: duration.prefault('2s').describe('how long a write may make no progress; 0 for no limit'),
  queueDepth: whole(1, 65536, 'must be a number from 1 to 65536')
    .default(32)
    .describe('packets queued per client and kind'),
  roundTrips: bool.default(true).describe('count TCP round trips, where the plane can measure them'),
  senderCardinality: bool.default(false).describe('estimate how many peers send packets to each client'),
  verboseDrops: nodeKeys.default([]).describe('log packets dropped on their way to these node keys'),
  debugLogs: bool.default(false).describe('log what every client does'),
  proberDebugLogs: bool.default(false).describe('log what every prober does'),
  metrics: group({
    listen: localAddress.optional().describe('address of /metrics, /healthz and /readyz: port, or host:port'),
    tokenFile: path.optional().describe('file with the token that /metrics asks for, read again when it changes'),
  }),
  limits: group({
    connections: whole(1, 2 ** 31, 'must be a number of connections, 1 or more')
      .optional()
      .describe('connections at once (default: what the limit of file descriptors leaves)'),
    perAddress: whole(1, 2 ** 31, 'must be a number of connections, 1 or more')
      .default(256)
      .describe('unadmitted or HTTP connections per address or IPv6 /64'),
    exempt: networks.prefault('127.0.0.0/8,::1/128').describe('networks without that limit, comma-separated'),
    partialBytes: bytes.prefault('64MiB').describe('memory for partial frames of all clients'),
    queuedBytes: bytes.prefault('256MiB').describe('memory for bytes that wait to be sent to all clients'),
    peerGonePairs: whole(1, 2 ** 31, 'must be a number of pairs, 1 or more')
      .default(1_000_000)
      .describe('pairs of a client and a peer whose departure it is told'),
    meshKeys: whole(1, 2 ** 31, 'must be a number of keys, 1 or more')
      .default(1_000_000)
      .describe('keys that all relays of the mesh may announce'),
  }),
  admission,
  plane: oneOf(PLANE_CHOICES).default('auto').describe('data plane: auto, native or js'),
  workers: whole(0, 256, 'must be a number from 0 to 256')
    .default(0)
    .describe('threads of the native plane; 0 for one per core'),
  logFormat: oneOf(['text', 'json']).default('text').describe('text or json'),
  logLevel: oneOf(LOG_LEVELS).default('info').describe(LOG_LEVELS.join(', ')),
  privateKey: z
    .string(PRIVATE_KEY)
    .refine((text) => parsePrivateKey(text) !== undefined, PRIVATE_KEY)
    .optional()
    .describe('the private key itself, instead of a file'),
  meshKey: z
    .string(MESH_KEY)
    .transform((text, context) => parseMeshKey(text) ?? bad(context, MESH_KEY))
    .optional()
    .describe('the mesh key itself, instead of a file'),
  certificate: certificate.optional().describe('PEM chain and key, instead of a directory'),
});

/** The schema. {@link RelayConfig} documents the fields that it accepts. */
export type Schema = typeof SCHEMA;
/** Checked settings. Durations are milliseconds. */
export type Settings = z.output<typeof SCHEMA>;

/** Every setting, in the order of `derpkit serve --help`. Command lines and config files are read by it. */
export const SETTINGS: readonly SettingInfo<SettingName>[] = settingsOf(SCHEMA.shape).filter(
  (info): info is SettingInfo<SettingName> => info.name !== 'certificate',
);

/** Checks settings. Throws {@link ConfigError} with every problem; the paths are the names of the fields. */
export function parseSettings(config: RelayConfig): Settings {
  const known = settingsOf(SCHEMA.shape).map(({ name }) => name);
  const { settings, problems } = parseShape(SCHEMA.shape, { ...config }, known);
  problems.push(...contradictions(settings));
  if (problems.length > 0) throw new ConfigError(unique(problems));
  return settings as Settings;
}

/** Where the relay makes its files. Throws {@link ConfigError} if that is not set, and the user has no home directory. */
export function dataDirOf({ dataDir }: Pick<Settings, 'dataDir'>): string {
  if (dataDir !== undefined) return dataDir;
  if (process.getuid?.() === 0) return '/var/lib/derpkit';
  return join(process.env.XDG_DATA_HOME || join(homeDirectory(), '.local', 'share'), 'derpkit');
}

/** The file of the relay's key, and the directory of its certificates: by default, in the data directory. */
export function keyFileOf(settings: Settings): string {
  return settings.keyFile ?? join(dataDirOf(settings), 'derper.key');
}

export function certDirOf(settings: Settings): string {
  return settings.certDir ?? join(dataDirOf(settings), 'certs');
}

/** Problems of settings that are valid alone, but not together. */
function contradictions(settings: Partial<Settings>): Problem[] {
  const problems: Problem[] = [];
  const { certMode, listen, httpPort, privateKey, keyFile, meshKey, meshKeyFile, meshWith = [], mesh, nats } = settings;
  const { acme, hostname, certificate, certificates = [] } = settings;
  if (isAcmeMode(certMode) && acme && hostname !== undefined) problems.push(...acmeProblems(certMode, hostname, acme));
  else if (acme?.ipCerts && certMode !== undefined && certMode !== 'off') {
    problems.push({ path: 'acme.ipCerts', message: `the mode ${certMode} gets no certificates from an authority` });
  }
  if (certificate !== undefined && certificates.length > 0) {
    problems.push({ path: 'certificate', message: 'cannot be combined with certificates from files' });
  }
  if (certificates.filter((files) => files.default).length > 1) {
    problems.push({ path: 'certificates', message: 'only one certificate can be the default' });
  }
  if (certMode !== 'off' && httpPort === listen?.port && httpPort) {
    problems.push({
      path: 'httpPort',
      message: `${httpPort} is the port of the relay itself; choose another, or -1 for none`,
    });
  }
  if (privateKey !== undefined && keyFile !== undefined) {
    problems.push({ path: 'privateKey', message: 'cannot be combined with a key file' });
  }
  if (meshKey !== undefined && meshKeyFile !== undefined) {
    problems.push({ path: 'meshKey', message: 'cannot be combined with a mesh key file' });
  }
  if (meshWith.length > 0 && meshKey === undefined && meshKeyFile === undefined) {
    problems.push({ path: 'meshWith', message: NEEDS_MESH_KEY });
  }
  if ((mesh?.discover ?? []).length > 0 && meshKey === undefined && meshKeyFile === undefined) {
    problems.push({ path: 'mesh.discover', message: NEEDS_MESH_KEY });
  }
  if ((nats?.servers ?? []).length > 0 && meshKey === undefined && meshKeyFile === undefined) {
    problems.push({ path: 'nats.servers', message: NEEDS_MESH_KEY });
  }
  if (mesh?.mode === 'on-demand' && (nats?.servers ?? []).length === 0) {
    problems.push({ path: 'mesh.mode', message: 'on-demand needs nats.servers, which find the keys' });
  }
  if (nats) problems.push(...natsProblems(nats));
  if (mesh) problems.push(...sourceProblems(mesh, nats?.servers ?? []));
  return problems;
}

function unique(problems: readonly Problem[]): Problem[] {
  return [...new Map(problems.map((problem) => [`${problem.path}: ${problem.message}`, problem])).values()];
}

function homeDirectory(): string {
  try {
    const home = homedir();
    if (isAbsolute(home)) return home;
  } catch {
    // The system does not know the user.
  }
  const message = 'must name a directory: HOME is not set, and the system knows no home directory of this user';
  throw new ConfigError([{ path: 'dataDir', message }]);
}
