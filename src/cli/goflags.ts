/** Command-line flags as Go's `flag` package parses and describes them: `-x`, `--x`, `=value`, or the next argument. */

export interface GoFlag {
  readonly name: string;
  readonly type: 'bool' | 'string' | 'int' | 'float' | 'duration';
  /** The default in the usage text; empty if Go shows none (empty string, false). */
  readonly fallback: string;
  readonly usage: string;
}

/** The command line is malformed: exit status 2. */
export class FlagError extends Error {
  override name = 'FlagError';
}

/** `-h` or `-help` was given, and is not one of the flags. */
export class HelpRequested extends Error {
  override name = 'HelpRequested';
}

/** The given values as text; of a repeated flag, the last. */
export type FlagValues = ReadonlyMap<string, string>;

/**
 * Parses flags. Throws {@link FlagError} or {@link HelpRequested}. `ignored` gets the arguments behind the last flag,
 * if any.
 */
export function parseGoFlags(
  args: readonly string[],
  flags: readonly GoFlag[],
  ignored: (words: readonly string[]) => void = () => {},
): FlagValues {
  const known = new Map(flags.map((flag) => [flag.name, flag]));
  const values = new Map<string, string>();
  for (let index = 0; index < args.length; index++) {
    const word = args[index] as string;
    // The first argument that is not a flag ends the flags; derper accepts no other arguments.
    if (word === '--' || word === '-' || !word.startsWith('-')) {
      const rest = args.slice(word === '--' ? index + 1 : index);
      if (rest.length > 0) ignored(rest);
      break;
    }
    const body = word.slice(word.startsWith('--') ? 2 : 1);
    if (body.startsWith('-') || body.startsWith('=')) throw new FlagError(`bad flag syntax: ${beforeValue(word)}`);
    const equals = body.indexOf('=');
    const name = equals < 0 ? body : body.slice(0, equals);
    const flag = known.get(name);
    if (!flag) {
      if (name === 'h' || name === 'help') throw new HelpRequested();
      throw new FlagError(`flag provided but not defined: -${name}`);
    }
    let value = equals < 0 ? undefined : body.slice(equals + 1);
    if (value === undefined && flag.type === 'bool') value = 'true';
    if (value === undefined) {
      index += 1;
      value = args[index];
    }
    if (value === undefined) throw new FlagError(`flag needs an argument: -${name}`);
    check(flag, value);
    values.set(name, value);
  }
  return values;
}

/** Go's usage text: the flags sorted by name, each with type and default. */
export function goUsage(program: string, flags: readonly GoFlag[]): string {
  const sorted = flags.toSorted((a, b) => (a.name < b.name ? -1 : 1));
  const lines = sorted.map(({ name, type, fallback, usage }) => {
    const shown = type === 'string' ? JSON.stringify(fallback) : fallback;
    const suffix = fallback === '' ? '' : ` (default ${shown})`;
    // Go puts the text of one-letter booleans on the same line, but derper has none.
    return `  -${name}${type === 'bool' ? '' : ` ${type}`}\n    \t${usage}${suffix}`;
  });
  return `Usage of ${program}:\n${lines.join('\n')}\n`;
}

/** Characters of a value that an error shows. */
const LONGEST_SHOWN = 12;

const PATTERNS: Record<GoFlag['type'], RegExp> = {
  bool: /^(?:1|0|t|f|T|F|true|false|TRUE|FALSE|True|False)$/,
  string: /^/,
  int: /^[+-]?(?:0|[1-9][0-9]*)$/,
  float: /^[+-]?(?:inf(?:inity)?|nan|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)$/i,
  duration: /^(?:[+-]?0|[+-]?(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)$/,
};

function check({ name, type }: GoFlag, value: string): void {
  if (PATTERNS[type].test(value)) return;
  const kind = type === 'bool' ? 'boolean value' : 'value';
  const flag = type === 'bool' ? `-${name}` : `flag -${name}`;
  throw new FlagError(`invalid ${kind} ${quoted(value)} for ${flag}: parse error`);
}

/** Go shows any value. One that is longer than a number or a duration may be a secret behind the wrong flag. */
function quoted(value: string): string {
  return value.length > LONGEST_SHOWN ? `of ${value.length} characters` : JSON.stringify(value);
}

function beforeValue(word: string): string {
  const equals = word.indexOf('=');
  return equals < 0 ? word : `${word.slice(0, equals + 1)}…`;
}
