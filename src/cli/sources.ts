/** Gathers settings: flags over environment over a config file. Remembers where each came from. */
import { readFileSync } from 'node:fs';
import { basename, extname } from 'node:path';
import { type ParseError, parse as parseJsonc, printParseErrorCode } from 'jsonc-parser';
import { parseDocument } from 'yaml';
import { type RelayConfig, SETTINGS } from '../config.js';
import { ConfigError } from '../errors.js';
import type { Spelling } from './terminal.js';

export interface Gathered {
  /** Unchecked: `createRelay` does that. */
  readonly config: RelayConfig;
  /** Where a setting came from, in the user's words; its flag, if it was not given. */
  readonly spelling: Spelling;
}

export function gather(
  flags: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv,
  configFile: string | undefined,
): Gathered {
  const file = configFile ? readConfigFile(configFile) : {};
  const given = SETTINGS.flatMap(({ name }) => {
    const value = env[variableOf(name)];
    return value === undefined || value === '' ? [] : [[name, value] as const];
  });
  const fromEnv = Object.fromEntries(given);
  const spelling: Spelling = (setting) => {
    if (setting in flags) return flagOf(setting, flags[setting] === false);
    if (setting in fromEnv) return variableOf(setting);
    if (setting in file && configFile) return `${basename(configFile)}: ${setting}`;
    return flagOf(setting);
  };
  return { config: { ...file, ...fromEnv, ...flags } as RelayConfig, spelling };
}

/** `httpPort` is `--http-port`. */
export function flagOf(setting: string, negated = false): string {
  return `--${negated ? 'no-' : ''}${words(setting).join('-')}`;
}

/** `httpPort` is `DERPKIT_HTTP_PORT`. */
export function variableOf(setting: string): string {
  return `DERPKIT_${words(setting).join('_').toUpperCase()}`;
}

function words(setting: string): string[] {
  return setting.split(/(?=[A-Z])/).map((word) => word.toLowerCase());
}

/** JSON with comments (`.json`, `.jsonc`) or YAML (anything else). Throws {@link ConfigError}. */
function readConfigFile(path: string): Record<string, unknown> {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new ConfigError([{ path: '--config', message: (error as Error).message }]);
  }
  const { value, errors } = /^\.jsonc?$/.test(extname(path)) ? readJsonc(text) : readYaml(text);
  if (errors.length > 0) {
    throw new ConfigError(errors.map(({ line, message }) => ({ path: `${basename(path)}:${line}`, message })));
  }
  if (value === null || value === undefined) return {};
  if (typeof value !== 'object' || Array.isArray(value)) {
    throw new ConfigError([
      { path: basename(path), message: 'settings are needed, as one object of names and values' },
    ]);
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
      line: text.slice(0, offset).split('\n').length,
      message: printParseErrorCode(error),
    })),
  };
}

function readYaml(text: string): Read {
  const document = parseDocument(text, { prettyErrors: false });
  const errors = document.errors.map(({ message, pos }) => ({
    line: text.slice(0, pos[0]).split('\n').length,
    message,
  }));
  return { value: errors.length > 0 ? undefined : document.toJS(), errors };
}
