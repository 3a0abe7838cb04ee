/** Every error that leaves the library, in one table. `code` is for programs, the message for people. */
import { getSystemErrorMap } from 'node:util';

/** Every error code and its meaning. */
export const ERROR_CODES = {
  /** Settings that cannot be used: a {@link ConfigError}. */
  ERR_CONFIG: 'Settings that cannot be used. `problems` lists every problem, with its path.',
  /** A listener could not be opened: a {@link ListenError}. */
  ERR_LISTEN: 'A listener could not be opened.',
  /** The setting `plane` is `native`, and the addon cannot be loaded; the message says why. */
  ERR_NATIVE_UNAVAILABLE: 'The native plane was selected and cannot be loaded.',
  /** A call at the wrong time: a second `start`, or a question before `start` or after `close`. */
  ERR_STATE: 'A call at the wrong time: a second start, or a question before the start or after the close.',
  /** A fault in derpkit: please report it. */
  ERR_INTERNAL: 'A fault in derpkit.',
} as const;
/** The code of an error: a key of {@link ERROR_CODES}. */
export type ErrorCode = keyof typeof ERROR_CODES;

/** Any error that derpkit throws or rejects with. Programs read `code`; the message is for people, and may change. */
export class DerpkitError extends Error {
  /** The name of the class. */
  override name = 'DerpkitError';

  /** `options.cause` is the underlying error. */
  constructor(
    /** The kind of error. */
    readonly code: ErrorCode,
    message: string,
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

/** One setting that cannot be used. */
export interface Problem {
  /** Where the value came from, as the user spells it: `-certmode`, `DERPKIT_HTTP_PORT`, `config.yaml: httpPort`. */
  readonly path: string;
  /** What is wrong with it, and what to do. */
  readonly message: string;
}

/** Settings that cannot be used, with every problem. Its code is `ERR_CONFIG`. */
export class ConfigError extends DerpkitError {
  /** The name of the class. */
  override name = 'ConfigError';

  /** The message has one line for each problem. */
  constructor(
    /** Every problem, at least one. */
    readonly problems: readonly Problem[],
  ) {
    super('ERR_CONFIG', problems.map(({ path, message }) => `${path}: ${message}`).join('\n'));
  }
}

/** Settings that this data plane cannot serve; another one may. The cause is the plane's error. */
export class PlaneRefusal extends ConfigError {
  override name = 'PlaneRefusal';

  constructor(problem: Problem, cause: unknown) {
    super([problem]);
    this.cause = cause;
  }
}

/** A setting that opens a listener. */
export type ListenSetting = 'listen' | 'httpPort' | 'stunPort' | 'metrics.listen';

/** A listener could not be opened. Its code is `ERR_LISTEN`; its `cause` has the system's code, such as `EADDRINUSE`. */
export class ListenError extends DerpkitError {
  /** The name of the class. */
  override name = 'ListenError';

  /** `options.cause` is the system's error. */
  constructor(
    /** The setting whose listener it is. */
    readonly setting: ListenSetting,
    message: string,
    options: ErrorOptions,
  ) {
    super('ERR_LISTEN', message, options);
  }
}

/**
 * The system's reason without a path, such as `permission denied`; for any other error, its message. For a name that the system
 * has looked up in vain, the reason has the name.
 */
export function reasonOf(error: unknown): string {
  const { errno, message, code, hostname } = (error ?? {}) as NodeJS.ErrnoException & { hostname?: string };
  if (code === 'ENOTFOUND' && hostname) return `no address is known for the name ${hostname}`;
  if (code === 'EAI_AGAIN' && hostname) return `the name ${hostname} cannot be looked up for now`;
  return (errno !== undefined && getSystemErrorMap().get(errno)?.[1]) || message || String(error);
}
