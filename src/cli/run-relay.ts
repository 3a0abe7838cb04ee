/** Runs the relay of a command from its start to its end, and obeys signals. */
import { setTimeout as delay } from 'node:timers/promises';
import { reasonOf } from '../errors.js';
import { toggleDebug } from '../logger.js';
import type { Relay } from '../relay.js';
import { ServiceManager } from './service-manager.js';
import { endBySignal, heedSignals } from './signals.js';
import { endSmallStart, endSmallStartWhenBusy } from './small-start.js';

/** Milliseconds after which a second signal ends the process at once. */
const IMPATIENCE = 1000;
/** How long a relay whose plane has failed may take to close. */
const FAULT_PATIENCE = 5000;

/** A reload rejects with it where settings cannot be used, and changes nothing. */
export class UnusableSettings extends Error {}

/**
 * Starts the relay and runs it until SIGINT or SIGTERM, which ends the process. SIGHUP calls `reload`; without it,
 * there is nothing to read again. The last line of the log says how the relay has ended, if `tellsEnd`; derper's log has no
 * such line. Rejects if the relay cannot start.
 */
export async function runRelay(
  relay: Relay,
  onStarted: () => void,
  reload: (() => Promise<void>) | undefined,
  { tellsEnd = false } = {},
): Promise<never> {
  const failed = new Promise<'fault'>((resolve) => {
    relay.once('fault', () => resolve('fault'));
  });
  const manager = new ServiceManager(relay, process.env);
  const signals = new Signals(relay, reload && (() => manager.reloading(reload)));
  heedSignals(signals);
  try {
    await relay.start();
  } catch (error) {
    // The signal that closed the relay ends the process.
    if (signals.isEnding) await new Promise(() => {});
    throw error;
  }
  if (relay.plane.kind === 'native') endSmallStartWhenBusy();
  else endSmallStart();
  manager.ready();
  signals.started();
  onStarted();
  const end = await Promise.race([signals.ended, failed]);
  signals.ending();
  const stoppedAt = performance.now();
  relay.logger.info({ reason: end }, 'stopping');
  // What has failed may not close, either: a relay that is deaf must not stay.
  if (end === 'fault') setTimeout(() => process.exit(1), FAULT_PATIENCE);
  manager.stopping();
  // Not after Ctrl-C: a person who watches does not wait for balancers.
  if (end === 'SIGTERM') await Promise.race([relay.drain(), failed]);
  const { connections, meshPeers } = relay.figures();
  await relay.close();
  await manager.told();
  if (tellsEnd) {
    const milliseconds = Math.round(performance.now() - stoppedAt);
    relay.logger.info({ milliseconds, clients: connections - meshPeers }, 'the relay has ended');
  }
  if (signals.isRereading && end !== 'fault') endBySignal(end);
  // Exits here: if it returned, a signal would end Node with an error while it shuts down, and npm's copy of the Ctrl-C
  // may still come.
  process.exit(end === 'fault' ? 1 : 0);
}

/** The signals of one relay. SIGHUP and the signals that end it act differently in each phase of the relay. */
class Signals {
  readonly ended: Promise<NodeJS.Signals>;
  private phase: 'starting' | 'open' | 'ending' = 'starting';
  private resolveEnded: (signal: NodeJS.Signals) => void = () => {};
  private askedAt: number | undefined;
  private missedReload = false;
  private ignored = '';
  private readings = 0;

  constructor(
    private readonly relay: Relay,
    private readonly rereads: (() => Promise<void>) | undefined,
  ) {
    this.ended = new Promise((resolve) => {
      this.resolveEnded = resolve;
    });
  }

  get isEnding(): boolean {
    return this.phase === 'ending';
  }

  /** Whether a reload waits for a file, which would hold `process.exit` up. */
  get isRereading(): boolean {
    return this.readings > 0;
  }

  started(): void {
    this.phase = 'open';
    if (this.missedReload) this.reload();
  }

  ending(): void {
    this.phase = 'ending';
  }

  readonly end = (signal: NodeJS.Signals): void => {
    const now = performance.now();
    if (this.askedAt === undefined) this.askedAt = now;
    // npm repeats the Ctrl-C that the whole process group has received; a person waits before the second one.
    else if (now - this.askedAt > IMPATIENCE) process.exit(1);
    if (this.phase === 'starting') void this.giveUp(signal);
    this.resolveEnded(signal);
  };

  /** A reload requested during the start happens after the start, which may have read the files before the request. */
  readonly reload = (): void => {
    if (this.phase === 'starting') this.missedReload = true;
    else if (this.phase === 'open') void this.reread();
    else this.ignore('the relay is ending');
  };

  readonly toggleDebug = (): void => {
    toggleDebug(this.relay.logger);
  };

  /** Ends a start: in order, unless something blocks that, such as a file on a network that is down. */
  private async giveUp(signal: NodeJS.Signals): Promise<void> {
    this.ending();
    const closed = this.relay.close().then(() => true);
    if (await Promise.race([closed, delay(IMPATIENCE, false)])) process.exit(0);
    endBySignal(signal);
  }

  /** Says once for each reason that nothing is read again. */
  private ignore(reason: string): void {
    if (this.ignored === reason) return;
    this.ignored = reason;
    this.relay.logger.warn(`SIGHUP is ignored: ${reason}`);
  }

  private async reread(): Promise<void> {
    const { logger } = this.relay;
    if (!this.rereads) {
      this.ignore('no setting names a file that could be read again');
      return;
    }
    this.readings += 1;
    try {
      await this.rereads();
      logger.info('the relay has read its files again');
    } catch (error) {
      const outcome =
        error instanceof UnusableSettings
          ? 'a reload has failed, and the settings are unchanged'
          : 'a file cannot be used, and its last contents stay in force';
      logger.error({ reason: reasonOf(error) }, outcome);
    } finally {
      this.readings -= 1;
    }
  }
}
