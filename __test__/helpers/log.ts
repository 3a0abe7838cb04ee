import { expect, onTestFinished } from 'vitest';
import type { Logger } from '../../src/logger.js';
import { strangeFields } from './log-fields.js';

/** Keeps what a relay logs. */
export class Log {
  readonly lines: string[] = [];
  /** Fields that no line may have. */
  private readonly strange = new Set<string>();
  readonly logger = new Proxy({} as Logger, {
    get: (_target, level) => (facts: object | string, text?: string) => {
      // It is no level, and all of them are wanted.
      if (level === 'isLevelEnabled') return true;
      if (typeof facts === 'object') for (const name of strangeFields(facts)) this.strange.add(name);
      return this.lines.push(
        `${String(level)}: ${typeof facts === 'string' ? facts : `${text} ${JSON.stringify(facts)}`}`,
      );
    },
  });

  constructor() {
    onTestFinished(() => expect([...this.strange], 'fields of the log that log-fields.ts does not have').toEqual([]));
  }

  find(wanted: RegExp): string | undefined {
    return this.lines.find((line) => wanted.test(line));
  }
}
