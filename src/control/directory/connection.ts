/** Keeps a connection to one of the servers: connects again when it ends, ever more rarely while that fails. */
import { reasonOf } from '../../errors.js';
import type { Barrier } from '../../faults/barrier.js';
import type { NatsServer } from '../../protocol/nats-server.js';
import { LineLimit } from '../line-limit.js';
import type { DirectoryStatus } from './directory.js';
import type { Link } from './link.js';

export interface ConnectionParts {
  readonly servers: readonly NatsServer[];
  connect(server: NatsServer): Promise<Link>;
  /** There is a connection. If this rejects, it ends. */
  onUp(link: Link): Promise<void>;
  onDown(): void;
  /** Called in regular intervals while there is a connection. */
  onBeat(): void;
  log(level: 'info' | 'warn' | 'debug', facts: object, text: string): void;
  readonly barrier: Barrier;
}

/** Milliseconds before the next attempt: the first, and the longest; each is shortened at random by up to half. */
const PAUSE = { first: 250, longest: 5_000 } as const;
/** Milliseconds between two pings, and pings without an answer after which a server is dead. */
export const BEAT = 2_500;
const UNANSWERED = 3;
/** Lines about reasons: so many at once, then one in this many milliseconds. */
const LINES = [10, 30_000] as const;
/** Older servers let one relay that does not read slow the others down, and cannot be told not to. */
const OLDEST = [2, 10, 26] as const;

export class Connection {
  connected = 0;
  lost = 0;
  private link: Link | undefined;
  private state: DirectoryStatus['state'] = 'connecting';
  private since = Date.now();
  private failures = 0;
  private trouble = '';
  private roundTrip: number | undefined;
  private stopped = false;
  private warned = false;
  private wake: (() => void) | undefined;
  private readonly lines = new LineLimit(...LINES, performance.now());

  constructor(private readonly parts: ConnectionParts) {}

  start(): void {
    void this.parts.barrier.settle('the directory', this.run());
  }

  stop(): void {
    this.stopped = true;
    this.link?.end('the relay has ended it');
    this.wake?.();
  }

  /** The connection, while there is one. */
  get current(): Link | undefined {
    return this.link;
  }

  status(): Pick<DirectoryStatus, 'state' | 'since' | 'failures' | 'trouble' | 'server' | 'version' | 'roundTrip'> {
    const { state, since, failures, trouble, roundTrip, link } = this;
    return { state, since, failures, trouble, server: link?.server ?? '', version: link?.version ?? '', roundTrip };
  }

  private async run(): Promise<void> {
    const servers = shuffled(this.parts.servers);
    for (let attempt = 0; !this.stopped; attempt += 1) {
      this.enter('connecting');
      const link = await this.attempt(servers[attempt % servers.length] as NatsServer);
      if (link) await this.serve(link);
      if (this.stopped) return;
      this.enter('waiting');
      await this.pause();
    }
  }

  private async attempt(server: NatsServer): Promise<Link | undefined> {
    try {
      const link = await this.parts.connect(server);
      if (!this.stopped) return link;
      link.end('the relay has ended it');
    } catch (error) {
      if (!this.stopped) this.failed(reasonOf(error), `${server.host}:${server.port}`);
    }
    return undefined;
  }

  private async serve(link: Link): Promise<void> {
    const { barrier } = this.parts;
    this.link = link;
    this.connected += 1;
    this.enter('syncing');
    this.warnOfVersion(link.version);
    const beats = this.beats(link);
    void barrier.settle('the directory', this.sync(link));
    const reason = await link.ended;
    clearInterval(beats);
    this.link = undefined;
    this.roundTrip = undefined;
    this.lost += 1;
    barrier.run('the directory', () => this.parts.onDown());
    if (!this.stopped) this.failed(reason, link.server);
  }

  private async sync(link: Link): Promise<void> {
    try {
      await this.parts.onUp(link);
      if (this.link !== link) return;
      this.failures = 0;
      this.trouble = '';
      this.enter('up');
      this.parts.log('info', { server: link.server, version: link.version }, 'NATS connected');
    } catch (error) {
      link.end(reasonOf(error));
    }
  }

  private beats(link: Link): NodeJS.Timeout {
    let unanswered = 0;
    const ping = async () => {
      const sent = performance.now();
      await link.flush();
      unanswered = 0;
      if (this.link === link) this.roundTrip = performance.now() - sent;
    };
    const beat = () => {
      // Beats are counted, and not milliseconds: this process may have stood still itself.
      if (unanswered >= UNANSWERED) {
        link.end('the server does not answer any more');
        return;
      }
      unanswered += 1;
      // It rejects if the connection ends, which `serve` notices.
      void ping().catch(() => {});
      this.parts.onBeat();
    };
    this.parts.barrier.run('the directory', beat);
    return setInterval(this.parts.barrier.guard('the directory', beat), BEAT).unref();
  }

  private failed(reason: string, server: string): void {
    const isNew = reason !== this.trouble && this.lines.take(performance.now()) !== undefined;
    this.failures += 1;
    this.trouble = reason;
    const text = 'NATS is not connected; clients of other relays that are not known yet cannot be reached';
    this.parts.log(isNew ? 'warn' : 'debug', { server, reason }, text);
  }

  private async pause(): Promise<void> {
    const longest = Math.min(PAUSE.longest, PAUSE.first * 2 ** Math.min(this.failures - 1, 10));
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, longest * (0.5 + Math.random() / 2));
      this.wake = () => {
        clearTimeout(timer);
        resolve();
      };
      timer.unref();
    });
  }

  private enter(state: DirectoryStatus['state']): void {
    const isDown = (one: DirectoryStatus['state']) => one === 'connecting' || one === 'waiting';
    if (state !== this.state && !(isDown(state) && isDown(this.state))) this.since = Date.now();
    this.state = state;
  }

  private warnOfVersion(version: string): void {
    if (this.warned || !isOlder(version)) return;
    this.warned = true;
    const text = `NATS is older than ${OLDEST.join('.')}: a relay that stops reading slows others down; update nats-server`;
    this.parts.log('warn', { version }, text);
  }
}

function isOlder(version: string): boolean {
  const parts = /^(\d+)\.(\d+)\.(\d+)/.exec(version)?.slice(1).map(Number);
  if (!parts) return false;
  const index = OLDEST.findIndex((least, at) => least !== parts[at]);
  return index >= 0 && (parts[index] as number) < (OLDEST[index] as number);
}

/** Relays spread over the servers. */
function shuffled<Item>(items: readonly Item[]): Item[] {
  return items
    .map((item) => ({ item, at: Math.random() }))
    .sort((a, b) => a.at - b.at)
    .map(({ item }) => item);
}
