/** Tells a service manager such as systemd how the relay is: that it is ready, reads its files again, stops, lives. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { reasonOf } from '../errors.js';
import { notifyNatively } from '../plane/select.js';
import type { Relay } from '../relay.js';

const run = promisify(execFile);

/** Milliseconds that `systemd-notify` may take. */
const PATIENCE = 5000;
/** Signs of life in the time that the manager waits for one: a relay that is slow for once is not ended for that. */
const SIGNS = 4;

/** What of the environment is about the manager. */
interface Watched {
  /** A path, or an abstract name behind an `@`. */
  readonly socket: string | undefined;
  /** For how many milliseconds the manager waits for a sign of life; `undefined` where it waits for none. */
  readonly watchdog: number | undefined;
}

/**
 * One relay, as its manager sees it. The native plane sends datagrams itself; Node cannot, so that on the JavaScript plane
 * the program `systemd-notify` does, for which the unit needs `NotifyAccess=all`, and there are no signs of life.
 */
export class ServiceManager {
  private readonly watched: Watched;
  private sent: Promise<void> = Promise.resolve();
  private signs: NodeJS.Timeout | undefined;
  private isAsked = false;
  private hasFailed = false;

  /** Takes the variables that are about the manager, so that no child process speaks in the relay's name. */
  constructor(
    private readonly relay: Relay,
    env: NodeJS.ProcessEnv,
  ) {
    this.watched = takeWatched(env);
  }

  /** The relay serves. */
  ready(): void {
    const { kind } = this.relay.plane;
    const { watchdog } = this.watched;
    const state = ['READY=1', `STATUS=${this.status()}`];
    // The manager would end a relay that gives no signs.
    if (watchdog !== undefined && kind === 'js') state.push('WATCHDOG_USEC=0');
    this.tell(state);
    if (watchdog !== undefined && kind === 'native')
      this.signs = setInterval(() => this.giveSign(), watchdog / SIGNS).unref();
  }

  /** The relay reads its files again, for as long as this takes. */
  async reloading(reload: () => Promise<void>): Promise<void> {
    this.tell(['RELOADING=1', `MONOTONIC_USEC=${process.hrtime.bigint() / 1000n}`]);
    try {
      await reload();
    } finally {
      this.tell(['READY=1']);
    }
  }

  /** The relay ends. */
  stopping(): void {
    this.tell(['STOPPING=1', 'STATUS=closing connections']);
  }

  /** Resolves when the manager has been told all. */
  async told(): Promise<void> {
    clearInterval(this.signs);
    await this.sent;
  }

  private status(): string {
    const { address, plane } = this.relay;
    const { derp, http, stun } = address ?? {};
    const ports = [
      ...(derp ? [`${derp.tls ? 'TLS' : 'HTTP'} on port ${derp.port}`] : []),
      ...(http ? [`HTTP on port ${http.port}`] : []),
      ...(stun ? [`STUN on port ${stun.port}`] : []),
    ];
    return `serving ${ports.join(', ')}; plane ${plane.kind}`;
  }

  /** One question at a time: while the last one has no answer there is no sign either. */
  private giveSign(): void {
    if (this.isAsked) return;
    this.isAsked = true;
    this.relay.pulse().then(
      () => {
        this.isAsked = false;
        this.tell(['WATCHDOG=1']);
      },
      // The relay has been closed.
      () => {},
    );
  }

  private tell(state: readonly string[]): void {
    const { socket } = this.watched;
    if (socket === undefined) return;
    this.sent = this.sent.then(() => this.send(socket, state)).catch((error) => this.onFailure(error));
  }

  private async send(socket: string, state: readonly string[]): Promise<void> {
    if (this.relay.plane.kind === 'native') {
      notifyNatively(socket, state.join('\n'));
    } else {
      const env = { ...process.env, NOTIFY_SOCKET: socket };
      await run('systemd-notify', [...state], { env, timeout: PATIENCE });
    }
  }

  private onFailure(error: unknown): void {
    if (!this.hasFailed) {
      const { logger } = this.relay;
      const text = 'the service manager cannot be told how the relay is, and may end it';
      logger.warn({ reason: reasonOf(error) }, text);
    }
    this.hasFailed = true;
  }
}

function takeWatched(env: NodeJS.ProcessEnv): Watched {
  const { NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID = String(process.pid) } = env;
  for (const name of ['NOTIFY_SOCKET', 'WATCHDOG_USEC', 'WATCHDOG_PID']) delete env[name];
  const isOurs = WATCHDOG_PID === String(process.pid);
  const microseconds = Number(WATCHDOG_USEC);
  return {
    socket: NOTIFY_SOCKET || undefined,
    watchdog: isOurs && microseconds > 0 ? microseconds / 1000 : undefined,
  };
}
