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
import { parseMeshKey, parsePrivateKey } from './protocol/key.js';

const bool = z.union([
  z.boolean(),
  z.string().transform((text, context) => parseBool(text) ?? bad(context, 'true or false')),
]);

const port = (least: number) =>
  z
    .union([
      z.number(),
      z
        .string()
        .regex(/^-?\d+$/, 'a number is needed')
        .transform(Number),
    ])
    .pipe(z.int().min(least).max(65535));

/** Milliseconds, from a number of them or from Go's spelling of durations. */
const duration = z.union([
  z.number().nonnegative(),
  z.string().transform((text, context) => parseDuration(text) ?? bad(context, 'a duration such as 1m30s, 2s or 500ms')),
]);

const address = z
  .string()
  .transform((text, context) => parseAddress(text) ?? bad(context, 'host:port, :port or [address]:port'));

const home = z.string().regex(/^(?:blank|https?:\/\/\S+)?$/, 'must be empty, "blank", or an http:// or https:// URL');

const hostname = z.string().min(1).regex(/^\S+$/, 'must not contain blanks');

const certificate = z.object({ chain: z.string(), key: z.string() });

export const PLANE_CHOICES = ['auto', 'native', 'js'] as const;

/** Each field's description is its line in `--help`; each default is the relay's. */
const SCHEMA = z.strictObject({
  listen: address.prefault(':443').describe('address of the relay itself, host:port'),
  hostname: hostname.default('localhost').describe('name or address that clients use'),
  certMode: z
    .enum(['self-signed', 'manual', 'off', 'letsencrypt', 'gcp'])
    .default('self-signed')
    .describe('TLS: self-signed, manual (files in certDir), off'),
  certDir: z.string().min(1).optional().describe('where certificates are kept (default <dataDir>/certs)'),
  keyFile: z.string().min(1).optional().describe('file of the private key (default <dataDir>/derper.key)'),
  dataDir: z.string().min(1).prefault(defaultDataDir).describe('where everything that the relay makes is kept'),
  httpPort: port(-1).default(80).describe('plain HTTP beside TLS; -1 for none'),
  stun: bool.default(true).describe('answer STUN'),
  stunPort: port(0).default(3478).describe('UDP port of STUN'),
  derp: bool.default(true).describe('relay packets; false leaves STUN and HTTP'),
  home: home.default('').describe('what / shows: empty, blank, or a URL to redirect to'),
  meshKeyFile: z.string().min(1).optional().describe('file with the mesh key, 64 hex digits'),
  tcpKeepaliveTime: duration.prefault('10m').describe('TCP keepalive idle time'),
  tcpUserTimeout: duration.prefault('15s').describe('how long sent data may stay unacknowledged'),
  tcpWriteTimeout: duration.prefault('2s').describe('how long a write may stand still; 0 for ever'),
  queueDepth: z
    .union([z.number(), z.string().regex(/^\d+$/, 'a number is needed').transform(Number)])
    .pipe(z.int().min(1).max(65536))
    .default(32)
    .describe('packets queued per client and kind'),
  plane: z.enum(PLANE_CHOICES).default('auto').describe('data plane: auto, native or js'),
  logFormat: z.enum(['text', 'json']).default('text').describe('text or json'),
  logLevel: z.enum(LOG_LEVELS).default('info').describe(LOG_LEVELS.join(', ')),
  privateKey: z
    .string()
    .refine((text) => parsePrivateKey(text) !== undefined, { message: 'must be privkey: and 64 hex digits' })
    .optional()
    .describe('the private key itself, instead of keyFile'),
  meshKey: z
    .string()
    .transform((text, context) => parseMeshKey(text) ?? bad(context, '64 hex digits'))
    .optional()
    .describe('the mesh key itself, instead of meshKeyFile'),
  certificate: certificate.optional().describe('PEM chain and key, instead of certDir'),
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
  const result = SCHEMA.safeParse(config);
  const problems = result.success ? contradictions(result.data) : result.error.issues.flatMap(problemsOf);
  if (problems.length > 0) throw new ConfigError(problems);
  return result.data as Settings;
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

/** Fields that are right one by one, and cannot be together. */
function contradictions(settings: Settings): Problem[] {
  const problems: Problem[] = [];
  const { certMode, listen, httpPort, privateKey, keyFile, meshKey, meshKeyFile } = settings;
  if (certMode === 'letsencrypt' || certMode === 'gcp') {
    problems.push({ path: 'certMode', message: `${certMode} is not there yet; use manual, with files in certDir` });
  }
  if (certMode !== 'off' && httpPort === listen.port && httpPort !== 0) {
    problems.push({
      path: 'httpPort',
      message: `${httpPort} is the port of the relay itself; choose another, or -1 for none`,
    });
  }
  if (privateKey !== undefined && keyFile !== undefined) {
    problems.push({ path: 'privateKey', message: 'cannot be given together with keyFile' });
  }
  if (meshKey !== undefined && meshKeyFile !== undefined) {
    problems.push({ path: 'meshKey', message: 'cannot be given together with meshKeyFile' });
  }
  return problems;
}

function problemsOf(issue: z.core.$ZodIssue): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => ({ path: key, message: 'there is no such setting' }));
  }
  // Of a union, what its last branch (the textual one) says is what a user can act on.
  if (issue.code === 'invalid_union') {
    const branch =
      issue.errors.find((errors) => errors.some(({ code }) => code !== 'invalid_type')) ?? issue.errors.at(-1);
    return (branch ?? []).map(({ message }) => ({ path: issue.path.join('.'), message }));
  }
  return [{ path: issue.path.join('.'), message: issue.message }];
}

function bad(context: z.RefinementCtx, needed: string): never {
  context.addIssue({ code: 'custom', message: `must be ${needed}` });
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
