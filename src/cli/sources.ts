/** Gathers settings: flags override variables, variables override the config file. Remembers the source of each. */
import { readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { type ParseError, parse as parseJsonc, printParseErrorCode } from 'jsonc-parser';
import { parseDocument, visit } from 'yaml';
import { isPlainObject, putSetting } from '../config/groups.js';
import { nearest } from '../config/typos.js';
import { type RelayConfig, SETTINGS, type SettingName } from '../config.js';
import { ConfigError, reasonOf } from '../errors.js';
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
  const file = configFile === undefined ? {} : await readConfigFile(configFile, source);
  const fromEnv = new Map(
    SETTINGS.flatMap(({ name }) => {
      const value = env[variableOf(name)];
      return value === undefined || value === '' ? [] : [[name, value] as const];
    }),
  );
  const fromFlags = new Map(Object.entries(flags).map(([attribute, value]) => [nameOf(attribute), value]));
  const spelling: Spelling = (setting) => {
    if (fromFlags.has(setting)) return flagOf(setting, fromFlags.get(setting) === false);
    if (fromEnv.has(setting as SettingName)) return variableOf(setting);
    if (isIn(file, setting) && configFile) return `${basename(configFile)}: ${setting}`;
    const hasFlag = SETTINGS.find(({ name }) => name === setting)?.kind !== 'objects';
    return hasFlag ? flagOf(setting) : variableOf(setting);
  };
  const merged = { ...file };
  for (const [name, value] of [...fromEnv, ...fromFlags]) putSetting(merged, name, value);
  return { config: merged as RelayConfig, file: configFile, strayVariables: strays(env), spelling };
}

const PREFIX = 'DERPKIT_';
/** What else of derpkit reads a variable: the benchmark, the image and the tests. */
const OTHER_VARIABLES =
  /^DERPKIT_(?:CACHE|COMMAND|CONFIG|IMAGE|LANES|LONG|NODE|SEED|TARGET|TRACES|BENCH_\w+|MUTATION_\w+)$/;

function strays(env: NodeJS.ProcessEnv): Map<string, string | undefined> {
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

const FORMATS = 'YAML, or in JSON if its name ends with .json or .jsonc';

/**
 * Reads a config file: JSON with comments (`.json`, `.jsonc`), otherwise YAML. Rejects with a {@link ConfigError}.
 */
async function readConfigFile(path: string, source: string): Promise<Record<string, unknown>> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const isDirectory = (error as NodeJS.ErrnoException).code === 'EISDIR';
    const reason = isDirectory ? 'must be a file of settings, and this is a directory' : reasonOf(error);
    throw new ConfigError([{ path: source, message: path === '' ? 'must be a path' : `${reason}: ${path}` }]);
  }
  const extension = extname(path);
  const { value, errors } = /^\.jsonc?$/.test(extension) ? readJsonc(text) : readYaml(text);
  const isObject = typeof (value ?? {}) === 'object' && !Array.isArray(value);
  if (extension === '.toml' && (errors.length > 0 || !isObject)) {
    throw new ConfigError([{ path: basename(path), message: `must be in ${FORMATS}; TOML is not read` }]);
  }
  if (errors.length > 0) {
    throw new ConfigError(errors.map(({ line, message }) => ({ path: `${basename(path)}:${line}`, message })));
  }
  if (value === null || value === undefined) return {};
  if (!isObject) {
    const message = `must be one object of settings and their values, in ${FORMATS}`;
    throw new ConfigError([{ path: basename(path), message }]);
  }
  return value as Record<string, unknown>;
}

interface Read {
  readonly value: unknown;
  readonly errors: readonly { readonly line: number; readonly message: string }[];
}

function readJsonc(text: string): Read {
  const errors: ParseError[] = [];
  const value: unknown = parseJsonc(text, errors, { allowTrailingComma: true });
  return {
    value,
    errors: errors.map(({ error, offset }) => ({
      line: lineAt(text, offset),
      // Turns a code such as `CommaExpected` into words.
      message: words(printParseErrorCode(error)).join(' ').trim(),
    })),
  };
}

function readYaml(text: string): Read {
  const document = parseDocument(text, { prettyErrors: false });
  // A fault at the end of the file is reported for its last line with text.
  const written = text.trimEnd();
  const errors = document.errors.map(({ message, pos }) => ({ line: lineAt(written, pos[0]), message }));
  // In YAML, a star begins an alias: `listen: *:443` is an alias without an anchor.
  visit(document, {
    Alias: (_key, alias) => {
      if (alias.resolve(document)) return;
      // Not its name: where text begins with a star, that is the value, which may be a secret.
      const message = 'there is no anchor of this name; text that begins with a star needs quotes';
      errors.push({ line: lineAt(text, alias.range?.[0] ?? 0), message });
    },
  });
  if (errors.length > 0) return { value: undefined, errors };
  return { value: document.toJS(), errors };
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}
