/**
 * The settings of a relay: one schema for flags, environment, config file and `createRelay`. Parsed once into a type that
 * cannot be half right; every problem is reported, not the first.
 */
import { isIP } from 'node:net';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { ConfigError, type Problem } from './errors.js';
import { LOG_LEVELS } from './logger.js';
import { parseMeshKey, parseNodeKeyHex, parsePrivateKey } from './protocol/key.js';

const BOOL = 'must be true or false';
const DURATION = 'must be a duration such as 1m30s, 2s or 500ms, and not negative';
const ADDRESS = 'must be host:port, :port or [address]:port';
const HOME = 'must be empty, "blank", or an http:// or https:// URL';
const HOSTNAME = 'must be a host name or an IP address';

const text = (wrong: string) => z.string(wrong).min(1, wrong);

const path = text('must be a path');

const bool = z.union(
  [z.boolean(), z.string().transform((text, context) => parseBool(text) ?? bad(context, BOOL))],
  BOOL,
);

/** A whole number, or the text of one. */
const whole = (least: number, most: number, wrong: string) =>
  z
    .union(
      [
        z.number(),
        z
          .string()
          .regex(/^-?\d+$/, wrong)
          .transform(Number),
      ],
      wrong,
    )
    .pipe(z.int(wrong).min(least, wrong).max(most, wrong));

/** Milliseconds, from a number of them or from Go's spelling of durations. */
const duration = z.union(
  [
    z.number().nonnegative(DURATION),
    z.string().transform((text, context) => parseDuration(text) ?? bad(context, DURATION)),
  ],
  DURATION,
);

const address = z.string(ADDRESS).transform((text, context) => parseAddress(text) ?? bad(context, ADDRESS));

const home = z.string(HOME).regex(/^(?:blank|https?:\/\/[^\s\p{Cc}]+)?$/u, HOME);

const hostname = z.string(HOSTNAME).refine(isHostname, HOSTNAME);

/** A list, or its entries as text with commas between them, blanks and all. */
const list = (wrong: string) =>
  z.union([z.array(z.string(wrong)), z.string(wrong).transform((text) => (text === '' ? [] : text.split(',')))], wrong);

const NAMES = 'must be names, with commas between them';
const NETWORKS = 'must be networks such as 192.0.2.0/24, with commas between them';
const MESH_WITH = 'must be relays, host or host/dialhost each, with commas between them and no blanks';
const RATE = 'must be a number of connections per second, or Inf';

const BURST = 'must be a number of connections, 0 or more';

/** Not zod's number, which Infinity is none of. */
const rate = z
  .union([z.string(), z.custom<number>((value) => typeof value === 'number')], RATE)
  .transform((given, context) => {
    const value = typeof given === 'number' ? given : parseFloatAsGo(given);
    return value !== undefined && value >= 0 ? value : bad(context, RATE);
  });

/** Go's are larger than what a number holds exactly; nobody will count the difference. */
const burst = z
  .union([z.int(BURST).nonnegative(BURST), z.string().regex(/^\+?\d+$/, BURST)], BURST)
  .transform((given) => Math.min(Number(given), Number.MAX_SAFE_INTEGER));

const meshPeers = list(MESH_WITH).transform((entries, context) =>
  // An empty entry, such as one behind a last comma, names nobody.
  entries.filter((entry) => entry !== '').map((entry) => parseMeshPeer(entry) ?? bad(context, MESH_WITH)),
);

const networks = list(NETWORKS)
  .transform((entries) => entries.map((entry) => entry.trim()).filter((entry) => entry !== ''))
  .refine((entries) => entries.every(isNetwork), NETWORKS);

const NODE_KEYS = 'must be node keys of 64 hex digits, with commas between them';

const nodeKeys = list(NODE_KEYS).transform((entries, context) => {
  const keys = entries.map((entry) => parseNodeKeyHex(entry.trim()));
  return keys.every((key) => key !== undefined) ? keys : bad(context, NODE_KEYS);
});

const oneOf = <const Choices extends readonly string[]>(choices: Choices, shown: readonly string[] = choices) =>
  z.enum(choices, `must be ${shown.slice(0, -1).join(', ')} or ${shown.at(-1)}`);

const PRIVATE_KEY = 'must be privkey: and 64 hex digits, not all of them 0';
const MESH_KEY = 'must be 64 hex digits';
const PEM = 'must be text in PEM';
const certificate = z.object({ chain: z.string(PEM), key: z.string(PEM) }, 'must be an object of chain and key');

export const PLANE_CHOICES = ['auto', 'native', 'js'] as const;

/** Each field's description is its line in `--help`; each default is the relay's. */
const SCHEMA = z.object({
  listen: address.prefault(':443').describe('address of the relay itself, host:port'),
  hostname: hostname.default('localhost').describe('name or address that clients use'),
  certMode: oneOf(['self-signed', 'manual', 'off', 'letsencrypt', 'gcp'], ['self-signed', 'manual', 'off'])
    .default('self-signed')
    .describe('TLS: self-signed, manual (from files), off'),
  certDir: path.optional().describe('where certificates are kept (default: certs in the data directory)'),
  keyFile: path.optional().describe('file of the private key (default: derper.key in the data directory)'),
  dataDir: path.prefault(defaultDataDir).describe('where everything that the relay makes is kept'),
  httpPort: whole(-1, 65535, 'must be a port from 0 to 65535, or -1 for none')
    .default(80)
    .describe('port of plain HTTP beside TLS; -1 for none'),
  stun: bool.default(true).describe('answer STUN'),
  stunPort: whole(0, 65535, 'must be a port from 0 to 65535').default(3478).describe('UDP port of STUN'),
  derp: bool.default(true).describe('relay packets'),
  home: home.default('').describe('what / shows: empty, blank, or a URL to redirect to'),
  bootstrapDnsNames: list(NAMES)
    .default([])
    .describe('names whose addresses /bootstrap-dns tells everyone, separated by commas'),
  unpublishedBootstrapDnsNames: list(NAMES)
    .default([])
    .describe('names it tells only who asks: name, or name/txt-name for a gradual rollout'),
  disallowAppNames: list(NAMES).default([]).describe('app names whose clients are refused, with commas between them'),
  acceptConnectionLimit: rate.default(Number.POSITIVE_INFINITY).describe('TLS connections per second; more are closed'),
  acceptConnectionBurst: burst.default(Number.MAX_SAFE_INTEGER).describe('how many may come at once'),
  rateConfig: path.optional().describe('JSON file with the receive rate limit of clients, read again on SIGHUP'),
  debugAllowIp: text('must be an address').optional().describe('address that may see /debug/'),
  debugTrustedCidrs: networks.default([]).describe('networks that may see /debug/, with commas between them'),
  debugKeyFile: path.optional().describe('file with a key that opens /debug/ as ?debugkey='),
  debugHint: bool.default(false).describe('tell those who may not see /debug/ how they could'),
  meshKeyFile: path.optional().describe('file with the mesh key, 64 hex digits'),
  meshWith: meshPeers.prefault([]).describe('relays to mesh with, with commas between them: host[:port][/dialhost]'),
  tcpKeepaliveTime: duration.prefault('10m').describe('TCP keepalive idle time'),
  tcpUserTimeout: duration.prefault('15s').describe('how long sent data may stay unacknowledged'),
  tcpWriteTimeout: duration.prefault('2s').describe('how long a write may stand still; 0 for ever'),
  queueDepth: whole(1, 65536, 'must be a number from 1 to 65536')
    .default(32)
    .describe('packets queued per client and kind'),
  roundTrips: bool.default(true).describe('count round trips of TCP, where the plane can tell them'),
  verboseDrops: nodeKeys.default([]).describe('node keys, packets dropped on their way to whom are logged'),
  debugLogs: bool.default(false).describe('log what every client does'),
  proberDebugLogs: bool.default(false).describe('the same of clients that are probers'),
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

/** What `createRelay` takes: every field optional, see {@link SETTINGS} for what each is. */
export type RelayConfig = z.input<typeof SCHEMA>;
/** Checked settings. Durations are milliseconds. */
export type Settings = z.output<typeof SCHEMA>;
export type SettingName = keyof Settings;

export interface SettingInfo {
  readonly name: SettingName;
  readonly description: string;
  /** As text, for help; empty if there is none. */
  readonly fallback: string;
  readonly kind: 'boolean' | 'value';
}

/** Every setting that is one value, in the order of help. */
export const SETTINGS: readonly SettingInfo[] = Object.entries(SCHEMA.shape)
  .filter(([name]) => name !== 'certificate')
  .map(([name, field]) => ({
    name: name as SettingName,
    description: field.description ?? '',
    fallback: String(defaultOf(field) ?? ''),
    kind: typeof defaultOf(field) === 'boolean' ? 'boolean' : 'value',
  }));

/** Checks settings. Throws {@link ConfigError} with every problem; its paths are the fields' names. */
export function parseSettings(config: RelayConfig): Settings {
  const given: Record<string, unknown> = { ...config };
  const settings: Record<string, unknown> = {};
  // Field by field, so that what is wrong with one does not hide what two others contradict each other in.
  const problems = Object.entries(SCHEMA.shape).flatMap(([name, field]): Problem[] => {
    const result = field.safeParse(given[name]);
    if (!result.success) return result.error.issues.map((issue) => problemOf(name, issue));
    if (result.data !== undefined) settings[name] = result.data;
    return [];
  });
  problems.push(...contradictions(settings), ...unknownNames(Object.keys(given)));
  if (problems.length > 0) throw new ConfigError(unique(problems));
  return settings as Settings;
}

/** Where the relay's key and certificates are, with the defaults below the data directory. */
export function keyFileOf(settings: Settings): string {
  return settings.keyFile ?? join(settings.dataDir, 'derper.key');
}

export function certDirOf(settings: Settings): string {
  return settings.certDir ?? join(settings.dataDir, 'certs');
}

/** Go's ParseBool, which derper's flags and variables use. */
export function parseBool(text: string): boolean | undefined {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  return undefined;
}

const UNITS: Record<string, number> = { ns: 1e-6, us: 1e-3, µs: 1e-3, μs: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 36e5 };

/** Go's ParseDuration, in milliseconds; negative ones are none of ours. */
export function parseDuration(text: string): number | undefined {
  if (text === '0') return 0;
  if (!/^\+?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/.test(text)) return undefined;
  const parts = [...text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)];
  return parts.reduce((sum, [, amount, unit]) => sum + Number(amount) * (UNITS[unit as string] as number), 0);
}

/** Go's ParseFloat, of numbers that a rate can be. */
export function parseFloatAsGo(text: string): number | undefined {
  if (/^\+?inf(?:inity)?$/i.test(text)) return Number.POSITIVE_INFINITY;
  return /^[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?$/i.test(text) ? Number(text) : undefined;
}

function isNetwork(text: string): boolean {
  const [, address = '', bits = ''] = /^([^/]+)\/(\d{1,3})$/.exec(text) ?? [];
  const family = address.includes('%') ? 0 : isIP(address);
  return family !== 0 && Number(bits) <= (family === 4 ? 32 : 128);
}

export interface Address {
  readonly host: string;
  readonly port: number;
}

/** `host:port` as Go's net package reads it; service names are `http` and `https`. */
export function parseAddress(text: string): Address | undefined {
  const [, bracketed, plain, service] = /^(?:\[([^\]]*)\]|([^:[\]]*)):([^:]*)$/.exec(text) ?? [];
  if (service === undefined) return undefined;
  const host = bracketed ?? plain ?? '';
  if (bracketed !== undefined && bracketed !== '' && isIP(bracketed) === 0) return undefined;
  const number = service === 'https' ? 443 : service === 'http' ? 80 : /^\d{0,5}$/.test(service) ? Number(service) : -1;
  return number >= 0 && number <= 65535 ? { host, port: number } : undefined;
}

/** A relay to mesh with, as `-mesh-with` names it. */
export interface MeshPeer {
  /** A name, or an address without brackets: what its certificate is for. */
  readonly host: string;
  /** As in a URL: with brackets, and with the port unless that is 443. */
  readonly authority: string;
  readonly port: number;
  /** What to resolve and to connect to, at the same port. */
  readonly dialHost: string;
}

/** `host`, `host:port` or either with `/dialhost`. */
function parseMeshPeer(text: string): MeshPeer | undefined {
  const [named = '', dialled, ...more] = text.split('/');
  if (more.length > 0) return undefined;
  const withPort = /^(?:\[[^\]]*\]|[^:[\]]*):\d+$/.test(named);
  const address = parseAddress(withPort ? named : `${named}:443`);
  const host = address && bare(address.host);
  const dialHost = dialled === undefined ? host : bare(dialled);
  if (!host || !dialHost || !address.port || host.includes(':') !== named.startsWith('[')) return undefined;
  const shown = host.includes(':') ? `[${host}]` : host;
  return { host, authority: address.port === 443 ? shown : `${shown}:${address.port}`, port: address.port, dialHost };
}

/** A host without the brackets that an IPv6 address may have; `undefined` if it is none. */
function bare(text: string): string | undefined {
  const host = /^\[(.*)\]$/.exec(text)?.[1] ?? text;
  return isHostname(host) ? host : undefined;
}

function isHostname(text: string): boolean {
  if (isIP(text) !== 0) return !text.includes('%');
  return text.length <= 253 && /^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\.?$/.test(text);
}

/** Fields that are right one by one, and cannot be together. */
function contradictions(settings: Partial<Settings>): Problem[] {
  const problems: Problem[] = [];
  const { certMode, listen, httpPort, privateKey, keyFile, meshKey, meshKeyFile, meshWith = [] } = settings;
  if (certMode === 'letsencrypt' || certMode === 'gcp') {
    problems.push({
      path: 'certMode',
      message: `${certMode} is not there yet; use manual, with files in the certificate directory`,
    });
  }
  if (certMode !== 'off' && httpPort === listen?.port && httpPort) {
    problems.push({
      path: 'httpPort',
      message: `${httpPort} is the port of the relay itself; choose another, or -1 for none`,
    });
  }
  if (privateKey !== undefined && keyFile !== undefined) {
    problems.push({ path: 'privateKey', message: 'cannot be given together with a key file' });
  }
  if (meshKey !== undefined && meshKeyFile !== undefined) {
    problems.push({ path: 'meshKey', message: 'cannot be given together with a mesh key file' });
  }
  if (meshWith.length > 0 && meshKey === undefined && meshKeyFile === undefined) {
    problems.push({ path: 'meshWith', message: 'a mesh key is needed, which all relays of the mesh have' });
  }
  return problems;
}

function unknownNames(names: readonly string[]): Problem[] {
  const known = Object.keys(SCHEMA.shape);
  const bare = (name: string) => name.replaceAll(/[-_]/g, '').toLowerCase();
  return names
    .filter((name) => !known.includes(name))
    .map((name) => {
      const meant = known.find((candidate) => bare(candidate) === bare(name));
      return { path: name, message: `there is no such setting${meant ? `; it is called ${meant}` : ''}` };
    });
}

function problemOf(name: string, issue: z.core.$ZodIssue): Problem {
  return { path: [name, ...issue.path].join('.'), message: issue.message };
}

function unique(problems: readonly Problem[]): Problem[] {
  return [...new Map(problems.map((problem) => [`${problem.path}: ${problem.message}`, problem])).values()];
}

function bad(context: z.RefinementCtx, message: string): never {
  context.addIssue({ code: 'custom', message });
  return z.NEVER;
}

function defaultOf(field: z.ZodType): unknown {
  const { defaultValue } = field.def as { defaultValue?: unknown };
  return defaultValue;
}

function defaultDataDir(): string {
  if (process.getuid?.() === 0) return '/var/lib/derpkit';
  return join(process.env.XDG_DATA_HOME || join(homedir(), '.local', 'share'), 'derpkit');
}
