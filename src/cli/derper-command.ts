/** `derper`: the flags, exit statuses and log of the original, on top of derpkit. */

import { isIP } from 'node:net';
import type { AcmeMode } from '../config/acme.js';
import { putSetting } from '../config/groups.js';
import { parseAddress, parseBool, parseSettings, type RelayConfig, SETTINGS, type SettingName } from '../config.js';
import { ConfigError, type Problem } from '../errors.js';
import { parseDuration } from '../protocol/duration.js';
import { formatPrivateKey, generateKeyPair } from '../protocol/key.js';
import { createRelay } from '../relay.js';
import { VERSION } from '../version.js';
import { type DerperFlag, derperFlags } from './derper-flags.js';
import { FlagError, type FlagValues, goUsage, HelpRequested, parseGoFlags } from './goflags.js';
import { takeSockets, withSockets } from './inherited-sockets.js';
import { announce, explain, pinnedNode } from './messages.js';
import { runRelay } from './run-relay.js';
import { variableOf } from './sources.js';

const DEV_ADDRESS = ':3340';
const ROOT_KEY_FILE = '/var/lib/derper/derper.key';
const FLAGS = derperFlags(process.env);

process.exitCode = await main(process.argv.slice(2), process.env);

async function main(args: readonly string[], env: NodeJS.ProcessEnv): Promise<number> {
  let values: FlagValues;
  let ignored: readonly string[] = [];
  try {
    values = parseGoFlags(args, FLAGS, (words) => {
      ignored = words;
    });
  } catch (error) {
    return badSyntax(error);
  }
  if (values.has('version') && isTrue(values.get('version'))) {
    process.stdout.write(`${VERSION}\n`);
    return 0;
  }
  try {
    const config = configOf(values, env);
    const relay = createRelay(config, { sockets: takeSockets(env) });
    const onStarted = () => {
      const { hostname = '', certMode } = config;
      const node =
        relay.fingerprint && certMode === 'manual' && isIP(hostname)
          ? pinnedNode(hostname, relay.fingerprint)
          : undefined;
      announce(relay, `derper ${VERSION}`, spelling, node);
      if (plainAnyway(values, config)) {
        const text = `-certmode=${values.get('certmode')} has no effect: as derper, the relay serves TLS on port 443 alone`;
        relay.logger.warn(`${text}, or with -certmode=manual`);
      }
      // The likely cause is `-stun false`, which Go reads as `-stun` and an argument.
      if (ignored.length > 0)
        relay.logger.warn(`ignored, because it is not a flag: ${shown(ignored)} (booleans are written -name=false)`);
    };
    return await runRelay(relay, onStarted, relay.reloads ? () => relay.reload().then(() => {}) : undefined);
  } catch (error) {
    process.stderr.write(explain('derper', error, withSockets(spelling)));
    return 1;
  }
}

/** What stands behind the flags. It is not shown unless it is a boolean: any other word may be a secret, or its flag lost. */
function shown([first, ...others]: readonly string[]): string {
  const word = /^(?:true|false|[01tf])$/i.test(first ?? '') ? `${first}` : 'a word behind the flags';
  return others.length === 0 ? word : `${word}, and ${others.length} behind it`;
}

function badSyntax(error: unknown): number {
  const usage = goUsage('derper', FLAGS);
  if (error instanceof HelpRequested) {
    process.stderr.write(usage);
    return 0;
  }
  if (!(error instanceof FlagError)) throw error;
  process.stderr.write(`${error.message}\n${usage}`);
  return 2;
}

/** The settings from the flags and from the variables that derper reads. Throws {@link ConfigError}. */
function configOf(values: FlagValues, env: NodeJS.ProcessEnv): RelayConfig {
  const value = (name: string) => values.get(name) ?? FLAGS.find((flag) => flag.name === name)?.fallback ?? '';
  const dev = isTrue(value('dev'));
  const problems = refusals(values);
  const listen = dev ? DEV_ADDRESS : value('a');
  const certMode = certModeOf(value('certmode'), parseAddress(listen)?.port, problems);
  const config: Record<string, unknown> = { listen, certMode, admission: admissionOf(value, problems) };
  for (const { name, setting } of FLAGS) {
    if (setting && setting !== 'special' && setting !== 'listen' && value(name) !== '')
      putSetting(config, setting, value(name));
  }
  if (dev) {
    delete config.keyFile;
    delete config.meshKeyFile;
    config.debugHint = true;
    config.privateKey = formatPrivateKey(generateKeyPair().privateKey);
    if (env.TAILSCALE_DERPER_MESH_KEY) config.meshKey = env.TAILSCALE_DERPER_MESH_KEY;
  } else if (value('c') === '') {
    if (process.getuid?.() === 0) config.keyFile = ROOT_KEY_FILE;
    else problems.push({ path: 'keyFile', message: 'must name a key file; the relay makes it if it is missing' });
  }
  if (certMode !== 'off' && value('hostname') === '') {
    problems.push({ path: 'hostname', message: 'must be the name or address of the certificate' });
  }
  if (certMode !== 'off' && value('certdir') === '') {
    problems.push({
      path: 'certDir',
      message: 'must name a directory: neither $XDG_CACHE_HOME nor $HOME is set',
    });
  }
  for (const [setting, given] of Object.entries(environment(env, problems))) putSetting(config, setting, given);
  if (problems.length > 0) throw new ConfigError([...problems, ...problemsOf(config)]);
  return config;
}

/** As in derper, every verifier is asked at every login, and no answer is cached. */
function admissionOf(value: (name: string) => string, problems: Problem[]): RelayConfig['admission'] {
  const given = value('verify-client-url');
  const isUrl = URL.canParse(given) && /^https?:$/.test(new URL(given).protocol);
  if (given !== '' && !isUrl) {
    problems.push({ path: '-verify-client-url', message: 'must be an http:// or https:// URL' });
  }
  const url = isUrl ? given : '';
  const verifiers = [
    ...(isTrue(value('verify-clients')) ? [{ tailscaled: value('socket') || (true as const), timeout: 0 }] : []),
    ...(url === '' ? [] : [{ url, failOpen: isTrue(value('verify-client-url-fail-open')) }]),
  ];
  return { policy: 'all', verifiers, cache: { allow: 0, deny: 0, grace: 0 }, recheck: 0 };
}

function problemsOf(config: RelayConfig): readonly Problem[] {
  try {
    parseSettings(config);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
}

/** Settings from variables, for what derper's flags do not cover. */
function environment(env: NodeJS.ProcessEnv, problems: Problem[]): Partial<Record<SettingName, unknown>> {
  const settings: Partial<Record<SettingName, unknown>> = {};
  if (env.DERPKIT_PLANE) settings.plane = env.DERPKIT_PLANE;
  if (env.DERPKIT_WORKERS) settings.workers = env.DERPKIT_WORKERS;
  if (env.DERPKIT_DEBUG_HOSTS) settings.debugHosts = env.DERPKIT_DEBUG_HOSTS;
  if (env.DERPKIT_LOG_FORMAT) settings.logFormat = env.DERPKIT_LOG_FORMAT;
  if (env.DERPKIT_LOG_LEVEL) settings.logLevel = env.DERPKIT_LOG_LEVEL;
  for (const { name } of SETTINGS) {
    const given = name.startsWith('limits.') && env[variableOf(name)];
    if (given) settings[name] = given;
  }
  // As in derper, an order starts when a client asks for the certificate; an own directory needs agreed terms.
  settings['acme.atStart'] = false;
  if (env.DERPKIT_ACME_DIRECTORY) {
    settings['acme.directory'] = env.DERPKIT_ACME_DIRECTORY;
    settings['acme.agreeTerms'] = true;
  }
  if (env.TS_ALLOW_DEBUG_IP) settings.debugAllowIp = env.TS_ALLOW_DEBUG_IP;
  if (env.TS_DEBUG_TRUSTED_CIDRS) settings.debugTrustedCidrs = env.TS_DEBUG_TRUSTED_CIDRS;
  if (env.TS_DEBUG_KEY_PATH) settings.debugKeyFile = env.TS_DEBUG_KEY_PATH;
  if (env.TS_DEBUG_VERBOSE_DROPS) settings.verboseDrops = env.TS_DEBUG_VERBOSE_DROPS;
  if (env.DERP_DEBUG_LOGS) settings.debugLogs = env.DERP_DEBUG_LOGS;
  if (env.DERP_PROBER_DEBUG_LOGS) settings.proberDebugLogs = env.DERP_PROBER_DEBUG_LOGS;
  const noRoundTrips = truth('TS_DERP_DISABLE_RTT_STATS', env, problems);
  if (noRoundTrips !== undefined) settings.roundTrips = !noRoundTrips;
  settings.senderCardinality = truth('TS_DERP_SENDER_CARDINALITY', env, problems);
  const depth = env.TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH;
  if (depth && !/^[+-]?\d+$/.test(depth)) {
    problems.push({ path: 'queueDepth', message: 'must be a number from 1 to 65536' });
  } else if (Number(depth) > 0) {
    settings.queueDepth = Number(depth);
  }
  return settings;
}

/** A boolean variable, as Go reads it; `undefined` if it is not set. */
function truth(name: string, env: NodeJS.ProcessEnv, problems: Problem[]): boolean | undefined {
  const text = env[name];
  if (!text) return undefined;
  const value = parseBool(text);
  if (value === undefined) problems.push({ path: name, message: 'must be true or false' });
  return value;
}

/** The mode matters only with TLS: on port 443, or in manual mode. */
function certModeOf(mode: string, port: number | undefined, problems: Problem[]): 'manual' | 'off' | AcmeMode {
  if (mode === 'manual') return mode;
  if (mode === 'letsencrypt' || mode === 'gcp') return port === 443 ? mode : 'off';
  problems.push({
    path: 'certMode',
    message: `unknown mode ${JSON.stringify(mode)}; must be manual, letsencrypt or gcp`,
  });
  return 'off';
}

/** Whether a mode was asked for that gets certificates for nothing: derper says nothing of it, and serves plain HTTP. */
function plainAnyway(values: FlagValues, { certMode }: RelayConfig): boolean {
  return certMode === 'off' && values.has('certmode') && !isTrue(values.get('dev'));
}

/** A flag that derpkit does not have ends the start, unless it asks for the default. */
function refusals(values: FlagValues): Problem[] {
  return FLAGS.flatMap((flag) => {
    const { name, refused } = flag;
    if (refused === undefined || !values.has(name) || asksForDefault(flag, values)) return [];
    return [{ path: `-${name}`, message: refused }];
  });
}

function asksForDefault({ name, type, fallback }: DerperFlag, values: FlagValues): boolean {
  const value = values.get(name) as string;
  if (type === 'bool') return isTrue(value) === isTrue(fallback);
  if (type === 'duration') return parseDuration(value) === parseDuration(fallback);
  if (type === 'float') return value.replace(/^\+/, '').toLowerCase().startsWith('inf');
  return value === fallback;
}

/** Names a setting as derper's users know it: by its flag or variable. */
function spelling(setting: string): string {
  // Problems without a setting name their flag or variable themselves.
  if (/^-|^TS_/.test(setting)) return setting;
  const VARIABLES: Record<string, string> = {
    plane: 'DERPKIT_PLANE',
    workers: 'DERPKIT_WORKERS',
    debugHosts: 'DERPKIT_DEBUG_HOSTS',
    logFormat: 'DERPKIT_LOG_FORMAT',
    logLevel: 'DERPKIT_LOG_LEVEL',
    debugAllowIp: 'TS_ALLOW_DEBUG_IP',
    debugTrustedCidrs: 'TS_DEBUG_TRUSTED_CIDRS',
    debugKeyFile: 'TS_DEBUG_KEY_PATH',
    queueDepth: 'TS_DEBUG_DERP_PER_CLIENT_SEND_QUEUE_DEPTH',
    verboseDrops: 'TS_DEBUG_VERBOSE_DROPS',
    debugLogs: 'DERP_DEBUG_LOGS',
    proberDebugLogs: 'DERP_PROBER_DEBUG_LOGS',
    roundTrips: 'TS_DERP_DISABLE_RTT_STATS',
    senderCardinality: 'TS_DERP_SENDER_CARDINALITY',
    meshKey: 'TAILSCALE_DERPER_MESH_KEY',
    certMode: '-certmode',
    'acme.directory': 'DERPKIT_ACME_DIRECTORY',
    'acme.eabKeyFile': '-acme-eab-key',
    privateKey: '-dev',
    'admission.verifiers': '-verify-clients or -verify-client-url',
  };
  const flag = FLAGS.find((candidate) => candidate.setting === setting);
  return VARIABLES[setting] ?? (flag ? `-${flag.name}` : setting);
}

function isTrue(value: string | undefined): boolean {
  return value !== undefined && /^(?:1|t|true)$/i.test(value);
}
