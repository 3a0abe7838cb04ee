import { type DestinationStream, type Logger, type LoggerOptions, pino } from 'pino';

/** A logger of the package pino, or one with its methods. */
export type { Logger };

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export interface LogSettings {
  /** `text`: one readable line each, as derper's are. `json`: pino's. */
  readonly format: 'text' | 'json';
  readonly level: LogLevel;
}

/** Writes to standard error unless told otherwise: standard output is for what was asked for. */
export function createLogger(settings: LogSettings, out: NodeJS.WritableStream = process.stderr): Logger {
  // A full disk or a closed pipe costs lines, not the relay.
  if (out.listenerCount('error') === 0) out.on('error', () => {});
  const options: LoggerOptions = { level: settings.level, base: null };
  const destination: DestinationStream =
    settings.format === 'json' ? { write: (line) => void out.write(line) } : textLines(out);
  return pino(options, destination);
}

/** `2026/11/23 06:15:52 warn: text key=value`; no level where it is info. */
function textLines(out: NodeJS.WritableStream): DestinationStream {
  return {
    write(line: string): void {
      const { time, level, msg, err, ...fields } = JSON.parse(line) as Record<string, unknown>;
      const name = pino.levels.labels[level as number];
      const parts = [
        stamp(new Date(time as number)),
        ...(name === 'info' ? [] : [`${name}:`]),
        String(msg ?? ''),
        ...Object.entries(fields).map(([key, value]) => `${key}=${plain(value)}`),
        ...(err ? [(err as { stack?: string }).stack ?? String(err)] : []),
      ];
      out.write(`${parts.join(' ')}\n`);
    },
  };
}

function plain(value: unknown): string {
  const text = typeof value === 'string' ? value : JSON.stringify(value);
  return /^[^\s"=]+$/.test(text) ? text : JSON.stringify(value);
}

function stamp(date: Date): string {
  const two = (value: number) => String(value).padStart(2, '0');
  const day = [date.getFullYear(), two(date.getMonth() + 1), two(date.getDate())].join('/');
  return `${day} ${[date.getHours(), date.getMinutes(), date.getSeconds()].map(two).join(':')}`;
}
