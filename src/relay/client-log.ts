import type { Settings } from '../config.js';
import { LineLimit } from '../control/line-limit.js';
import type { Logger } from '../logger.js';
import type { ConnectionId, Login } from '../plane/plane.js';
import { formatEndpoint } from '../protocol/endpoint.js';
import { formatNodeKey } from '../protocol/key.js';

/** Lines: this many at once, then one in this many milliseconds. */
const LINES = [500, 10] as const;

/**
 * What clients do, line by line, for an operator that looks for something: all of them, or probers alone, or none. Per connection;
 * frames do not cross to where logs are written.
 */
export class ClientLog {
  private readonly followed = new Set<ConnectionId>();
  private readonly lines = new LineLimit(...LINES, performance.now());

  constructor(
    private readonly logger: Logger,
    /** Whom to follow, from their login on. */
    public settings: Pick<Settings, 'debugLogs' | 'proberDebugLogs'>,
  ) {}

  /** From here to its end it is followed, if that is wanted. */
  login({ id, key, info, peer, tlsVersion, notIdeal }: Login): void {
    const { debugLogs, proberDebugLogs } = this.settings;
    if (!debugLogs && !(proberDebugLogs && info.isProber)) return;
    this.followed.add(id);
    const { version, appName, canAckPings, isProber } = info;
    this.say(id, 'logs in', {
      key: formatNodeKey(key),
      addr: formatEndpoint(peer.address, peer.port),
      tls: tlsVersion ?? 'none',
      version,
      app: appName,
      canAckPings,
      prober: isProber,
      mesh: info.meshKey !== undefined,
      notIdeal,
    });
  }

  say(id: ConnectionId, what: string, facts: object = {}): void {
    if (!this.followed.has(id)) return;
    const heldBack = this.lines.take(performance.now());
    if (heldBack === undefined) return;
    this.logger.info({ client: id, ...facts, ...(heldBack > 0 && { heldBack }) }, `client ${what}`);
  }

  ends(id: ConnectionId, reason: string): void {
    this.say(id, 'ends', { reason });
    this.followed.delete(id);
  }
}
