import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

/** A logger of the package pino, or one with its methods. */
export type { Logger };

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogSettings {
  /** `text`: one readable line for each message, like derper's. `json`: pino's format. */
  readonly format: 'text' | 'json';
  readonly level: LogLevel;
}

/** The levels of the loggers that are made here; those of embedding programs are their own. */
const LEVELS = new WeakMap<Logger, AdjustableLevel>();

/** Makes a logger that writes to standard error by default: standard output is for results. */
export function createLogger(settings: LogSettings, out: NodeJS.WritableStream = process.stderr): Logger {
  // A full disk or a closed pipe loses lines, but must not end the relay.
  if (out.listenerCount('error') === 0) out.on('error', () => {});
  const level = new AdjustableLevel(settings.level);
  const onChild = (child: Logger) => level.follow(child);
  const options: LoggerOptions = { level: settings.level, base: null, onChild };
  const destination: DestinationStream =
    settings.format === 'json' ? { write: (line) => void out.write(line) } : textLines(out);
  const logger = pino(options, destination);
  level.follow(logger);
  LEVELS.set(logger, level);
  return logger;
}

/** Sets the level of a logger that {@link createLogger} has made, and of its children. Any other logger stays as it is. */
export function setLogLevel(logger: Logger, level: LogLevel): void {
  LEVELS.get(logger)?.set(level);
}

/** Turns debug logging on, or back to the level that is set, and logs that. Any logger that was not made here stays as it is. */
export function toggleDebug(logger: Logger): void {
  const level = LEVELS.get(logger)?.toggleDebug();
  if (level === undefined || level === 'silent') return;
  logger[level](`debug logging is ${isDebug(level) ? 'on' : `off: the level is ${level}`}`);
}

function isDebug(level: LogLevel): boolean {
  return level === 'debug' || level === 'trace';
}

/** One level of a logger and all its children, each of which has its own to pino. */
class AdjustableLevel {
  private current: LogLevel;
  private readonly followers = new Set<WeakRef<Logger>>();
  private readonly forgotten = new FinalizationRegistry<WeakRef<Logger>>((reference) => {
    this.followers.delete(reference);
  });

  constructor(private chosen: LogLevel) {
    this.current = chosen;
  }

  follow(logger: Logger): void {
    const reference = new WeakRef(logger);
    this.followers.add(reference);
    this.forgotten.register(logger, reference);
  }

  set(level: LogLevel): void {
    this.chosen = level;
    this.apply(level);
  }

  /** The level that there is now. */
  toggleDebug(): LogLevel {
    const { chosen } = this;
    if (isDebug(this.current)) this.apply(isDebug(chosen) ? 'info' : chosen);
    else this.apply(isDebug(chosen) ? chosen : 'debug');
    return this.current;
  }

  private apply(level: LogLevel): void {
    this.current = level;
    for (const reference of this.followers) {
      const logger = reference.deref();
      if (logger) logger.level = level;
    }
  }
}

/** Lines such as `2026/11/23 06:15:52 warn: text key=value`; the level `info` is omitted. */
function textLines(out: NodeJS.WritableStream): DestinationStream {
  return {
    write(line: string): void {
      const { time, level, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
      const name = pino.levels.labels[level as number];
      const parts = [
        stamp(new Date(time as number)),
        ...(name === 'info' ? [] : [`${name}:`]),
        escaped(String(msg ?? '')),
        ...pairs(fields),
        ...(err ? [(err as { stack?: string }).stack ?? String(err)] : []),
      ];
      out.write(`${parts.join(' ')}\n`);
    },
  };
}

/** `name=value` for each field; a field in an object is `outer.inner=value`. */
function pairs(fields: object, before = ''): string[] {
  return Object.entries(fields).flatMap(([name, value]) => {
    const path = before + name;
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${path}=${plain(value)}`];
    return pairs(value, `${path}.`);
  });
}

function plain(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[^\s"=\p{Cc}\p{Cf}]+$/u.test(text) ? text : escaped(JSON.stringify(value));
}

/** Some values are chosen by strangers: none may move the cursor of a terminal, or turn the text around it. */
function escaped(text: string): string {
  const code = (character: string) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
  return text.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (characters) => characters.replace(/[\s\S]/g, code));
}

function stamp(date: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('/');
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`;
}
