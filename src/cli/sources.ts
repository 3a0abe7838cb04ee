/** Gathers settings: flags override variables, variables override the config file. Remembers the source of each. */
import { basename } from 'node:path';
import { isPlainObject, putSetting } from '../config/groups.js';
import { nearest } from '../config/typos.js';
import { type RelayConfig, SETTINGS, type SettingName } from '../config.js';
import { ConfigError } from '../errors.js';
import type { Spelling } from './messages.js';

export interface Gathered {
  /** Not checked; `createRelay` checks it. */
  readonly config: RelayConfig;
  /** The settings file, if there is one. */
  readonly file: string | undefined;
  /** Variables that are spelt like settings and name none, each with the one that was meant, if any is similar. */
  readonly strayVariables: ReadonlyMap<string, string | undefined>;
  /** How the user spelt a setting; its flag if it was not given. */
  readonly spelling: Spelling;
}

/**
 * `flags` has settings by name, and the path of the config file as `config`. Rejects with a {@link ConfigError}, whose
 * paths are in the user's spelling.
 */
export async function gather(
  { config, ...flags }: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv,
): Promise<Gathered> {
  const source = config === undefined ? variableOf('config') : flagOf('config');
  const configFile = config === undefined ? env[source] || undefined : String(config);
  const file = configFile === undefined ? {} : await settingsIn(configFile, source);
  const fromEnv = new Map(
    SETTINGS.flatMap(({ name }) => {
      const value = env[variableOf(name)];
      return value === undefined || value === '' ? [] : [[name, value] as const];
    }),
  );
  const fromFlags = new Map(Object.entries(flags).map(([attribute, value]) => [nameOf(attribute), value]));
  const links = [...fromEnv].filter(([name, value]) => !fromFlags.has(name) && isServiceLink(variableOf(name), value));
  if (links.length > 0)
    throw new ConfigError(links.map(([name]) => ({ path: variableOf(name), message: SERVICE_LINK })));
  const spelling: Spelling = (setting) => {
    if (fromFlags.has(setting)) return flagOf(setting, fromFlags.get(setting) === false);
    if (fromEnv.has(setting as SettingName)) return variableOf(setting);
    if (isIn(file, setting) && configFile) return `${basename(configFile)}: ${setting}`;
    const hasFlag = SETTINGS.find(({ name }) => name === setting)?.kind !== 'objects';
    return hasFlag ? flagOf(setting) : variableOf(setting);
  };
  const merged = { ...file };
  for (const [name, value] of [...fromEnv, ...fromFlags]) putSetting(merged, name, value);
  return { config: merged as RelayConfig, file: configFile, strayVariables: strayVariables(env), spelling };
}

const SERVICE_LINK =
  'this is a service link of Kubernetes, and no port: set enableServiceLinks: false for the pod, or give the service another name';

/** Kubernetes gives pods such a variable for each service: for `derpkit-stun`, `DERPKIT_STUN_PORT`. */
function isServiceLink(variable: string, value: string): boolean {
  return variable.endsWith('_PORT') && /^(?:tcp|udp|sctp):\/\//.test(value);
}

const PREFIX = 'DERPKIT_';
/** What else of derpkit reads a variable: the benchmark, the image and the tests. */
const OTHER_VARIABLES =
  /^DERPKIT_(?:CACHE|COMMAND|CONFIG|IMAGE|LANES|LONG|NODE|SEED|TARGET|TRACES|BENCH_\w+|MUTATION_\w+)$/;

/** The variables of settings that `env` sets, that of the settings file among them. An empty variable gives nothing. */
export function settingVariables(env: NodeJS.ProcessEnv): string[] {
  return ['config', ...SETTINGS.map(({ name }) => name)].map(variableOf).filter((name) => env[name]);
}

/** Variables that are spelt like settings and name none, each with the one that was meant, if any is similar. */
export function strayVariables(env: NodeJS.ProcessEnv): Map<string, string | undefined> {
  const known = SETTINGS.map(({ name }) => variableOf(name));
  const ours = Object.keys(env).filter((name) => name.startsWith(PREFIX));
  const stray = ours.filter((name) => !known.includes(name) && !OTHER_VARIABLES.test(name)).sort();
  const bare = (name: string) => name.slice(PREFIX.length);
  return new Map(stray.map((name) => [name, nearest(bare(name), known, bare)]));
}

/** The setting of a commander attribute: `limitsConnections` is `limits.connections`. */
function nameOf(attribute: string): string {
  return (
    SETTINGS.find(({ name }) => name.replaceAll(/\.(.)/g, (_, first) => first.toUpperCase()) === attribute)?.name ??
    attribute
  );
}

function isIn(config: Readonly<Record<string, unknown>>, setting: string): boolean {
  let at: unknown = config;
  for (const name of setting.split('.')) {
    if (!isPlainObject(at) || !Object.hasOwn(at, name)) return false;
    at = at[name];
  }
  return true;
}

/** The flag of a setting: `httpPort` is `--http-port`, `limits.connections` is `--limits-connections`. */
export function flagOf(setting: string, negated = false): string {
  return `--${negated ? 'no-' : ''}${words(setting).join('-')}`;
}

/**
 * The variable of a setting: `httpPort` is `DERPKIT_HTTP_PORT`, `limits.connections` is `DERPKIT_LIMITS_CONNECTIONS`.
 */
export function variableOf(setting: string): string {
  return `${PREFIX}${words(setting).join('_').toUpperCase()}`;
}

function words(setting: string): string[] {
  return setting.split(/(?=[A-Z])|\./).map((word) => word.toLowerCase());
}

/** The parsers have half a megabyte, so only a relay with such a file loads them. */
async function settingsIn(path: string, source: string): Promise<Record<string, unknown>> {
  const { readConfigFile } = await import('./config-file.js');
  return readConfigFile(path, source);
}
