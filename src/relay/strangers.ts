/** What is said of connections that are not admitted, and never will be. */
import { type Failed, FailureLog } from '../control/failure-log.js';
import { type StrangerFigures, StrangerLog, strangerFigures } from '../control/stranger-log.js';
import type { Visitors } from '../http/visitors.js';
import type { Logger } from '../logger.js';
import type { DataPlane, Failure, Login, PeerAddress, PlanePolicy } from '../plane/plane.js';

/** How often it is looked whether the level of the log has changed, in milliseconds. */
const LOOK = 1000;

export interface StrangersParts {
  readonly logger: Logger;
  readonly plane: DataPlane;
  readonly visitors: Visitors;
  readonly policy: () => PlanePolicy;
  /** The plane is to tell of failures, or not any more. */
  readonly onTell: () => void;
}

export class StrangersLog {
  /** Clients that showed a mesh key that is not the relay's. */
  wrongMeshKeys = 0;
  private readonly crowds: StrangerLog;
  private readonly failed: FailureLog;
  private timer: NodeJS.Timeout | undefined;

  constructor(private readonly parts: StrangersParts) {
    const { logger, policy } = parts;
    const perAddress = () => policy().limits.perAddress;
    this.crowds = new StrangerLog(
      () => this.figures(),
      perAddress,
      (news, text) => logger.warn(news, text),
    );
    this.failed = new FailureLog((facts, text) => logger.debug(facts, text));
  }

  /** Whether lines about failures would be seen. */
  static tells(logger: Logger): boolean {
    return logger.isLevelEnabled?.('debug') ?? false;
  }

  /** Connections that made room for others, or were refused. */
  figures(): StrangerFigures {
    const { plane, visitors } = this.parts;
    if (visitors.crowded !== undefined) this.crowded(visitors.crowded);
    visitors.crowded = undefined;
    return strangerFigures(plane.counters.readAll(), visitors);
  }

  start(): void {
    const { logger, policy, onTell } = this.parts;
    this.crowds.start();
    this.timer = setInterval(() => {
      if (StrangersLog.tells(logger) !== policy().tellFailures) onTell();
    }, LOOK).unref();
  }

  stop(): void {
    this.crowds.stop();
    clearInterval(this.timer);
  }

  /** Connections that the plane has counted. */
  failures(failures: readonly Failure[], untold: number): void {
    this.failed.tell(failures, untold, performance.now());
  }

  /** One of the HTTP server's. */
  request(reason: string, peer: PeerAddress): void {
    this.tell(`requests_failed:${reason}`, peer);
  }

  private tell(what: string, peer: PeerAddress): void {
    if (!this.parts.policy().tellFailures) return;
    const failure: Failed = { what, peer, serverName: '', alert: '' };
    this.failed.tell([failure], 0, performance.now());
  }

  /** The client is an ordinary one, as any without a mesh key. */
  wrongMeshKey({ peer }: Login): void {
    this.wrongMeshKeys += 1;
    this.tell('wrong_mesh_keys', peer);
  }

  crowded(address: string): void {
    this.crowds.crowded(address);
  }
}
