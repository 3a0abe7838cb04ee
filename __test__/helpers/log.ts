import type { Logger } from '../../src/logger.js';

/** Keeps what a relay logs. */
export class Log {
  readonly lines: string[] = [];
  readonly logger = new Proxy({} as Logger, {
    get: (_target, level) => (facts: object | string, text?: string) => {
      // It is no level, and all of them are wanted.
      if (level === 'isLevelEnabled') return true;
      return this.lines.push(
        `${String(level)}: ${typeof facts === 'string' ? facts : `${text} ${JSON.stringify(facts)}`}`,
      );
    },
  });

  find(wanted: RegExp): string | undefined {
    return this.lines.find((line) => wanted.test(line));
  }
}
