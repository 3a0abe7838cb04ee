/** Reads a config file. */
import { readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { type ParseError, parse as parseJsonc, printParseErrorCode } from 'jsonc-parser';
import { parseDocument, visit } from 'yaml';
import { ConfigError, reasonOf } from '../errors.js';

const FORMATS = 'YAML, or in JSON if its name ends with .json or .jsonc';

/**
 * Reads a config file: JSON with comments (`.json`, `.jsonc`), otherwise YAML. Rejects with a {@link ConfigError}.
 */
export async function readConfigFile(path: string, source: string): Promise<Record<string, unknown>> {
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
      message: wordsOf(printParseErrorCode(error)),
    })),
  };
}

function readYaml(text: string): Read {
  const document = parseDocument(text, { prettyErrors: false });
  // A fault at the end of the file is reported for its last line with text.
  const written = text.trimEnd();
  // An unknown tag alone is a warning: its value would be taken as text.
  const tags = document.warnings.filter(({ code }) => code === 'TAG_RESOLVE_FAILED');
  const unknown = tags.map(({ pos }) => ({ line: lineAt(written, pos[0]), message: 'there is no such tag in YAML' }));
  const errors = document.errors.map(({ message, pos }) => ({ line: lineAt(written, pos[0]), message }));
  errors.push(...unknown);
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
  try {
    return { value: document.toJS(), errors };
  } catch (error) {
    // The limit of the parser.
    if (!(error instanceof ReferenceError)) throw error;
    return { value: undefined, errors: [{ line: 1, message: 'the aliases of the file stand for too many values' }] };
  }
}

function lineAt(text: string, offset: number): number {
  return text.slice(0, offset).split('\n').length;
}

function wordsOf(code: string): string {
  const words = code.split(/(?=[A-Z])/);
  return words.join(' ').toLowerCase().trim();
}
