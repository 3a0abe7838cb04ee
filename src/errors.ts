/** Every error that leaves the library, in one table. `code` is for programs, the text for people. */
import { getSystemErrorMap } from 'node:util';

export const ERROR_CODES = {
  ERR_CONFIG: 'Settings that cannot be used. `problems` lists every problem, with its path.',
  ERR_LISTEN: 'A listener could not be opened.',
  ERR_NATIVE_UNAVAILABLE: 'The native plane was selected and cannot be loaded.',
  ERR_STATE: 'A call at the wrong time, such as a second start.',
  ERR_INTERNAL: 'A fault in derpkit.',
} as const;
export type ErrorCode = keyof typeof ERROR_CODES;

export class DerpkitError extends Error {
  override name = 'DerpkitError';

  constructor(
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** One setting that cannot be used. */
export interface Problem {
  /** Where the value came from, in the user's own spelling: `-certmode`, `DERPKIT_HTTP_PORT`, `config.yaml: httpPort`. */
  readonly path: string;
  /** What is wrong with it, and what to do. */
  readonly message: string;
}

export class ConfigError extends DerpkitError {
  override name = 'ConfigError';

  constructor(readonly problems: readonly Problem[]) {
    super('ERR_CONFIG', problems.map(({ path, message }) => `${path}: ${message}`).join('\n'));
  }
}

/** Settings that this data plane cannot serve; another one may. The cause is what it has said. */
export class PlaneRefusal extends ConfigError {
  override name = 'PlaneRefusal';

  constructor(problem: Problem, cause: unknown) {
    super([problem]);
    this.cause = cause;
  }
}

/** The settings that open a listener each. */
export type ListenSetting = 'listen' | 'httpPort' | 'stunPort';

/** A listener could not be opened; `setting` says which, the cause has the system's `code`. */
export class ListenError extends DerpkitError {
  override name = 'ListenError';

  constructor(
    readonly setting: ListenSetting,
    message: string,
    options: ErrorOptions,
  ) {
    super('ERR_LISTEN', message, options);
  }
}

/** What the system says, in words and without a path: `permission denied`. Of any other error, its message. */
export function reasonOf(error: unknown): string {
  const { errno, message } = (error ?? {}) as NodeJS.ErrnoException;
  return (errno !== undefined && getSystemErrorMap().get(errno)?.[1]) || message || String(error);
}
