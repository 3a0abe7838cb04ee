/** Relays of the mesh that announce themselves in NATS, as this one does. */
import type { Barrier } from '../../faults/barrier.js';
import { formatAddress } from '../../protocol/host-port.js';
import type { NodeKey } from '../../protocol/key.js';
import { meshPeer } from '../../protocol/mesh-peer.js';
import type { AnnouncedRelay, Directory } from '../directory/directory.js';
import type { MeshSource, SourceSink } from './source.js';
import type { FoundRelay } from './wanted.js';

/** Milliseconds between looks at the connection. */
const INTERVAL = 1_000;

export class NatsSource implements MeshSource {
  readonly name = 'nats';
  private timer: NodeJS.Timeout | undefined;
  private failures = 0;
  private closing: Promise<void> | undefined;

  /** The directory is this source's own. */
  constructor(
    private readonly directory: Directory,
    private readonly ownKey: NodeKey,
    private readonly barrier: Barrier,
    private readonly interval = INTERVAL,
  ) {}

  start(sink: SourceSink): void {
    this.directory.start({
      moved: () => {},
      relays: (all) => sink.found(relaysIn(all, this.ownKey)),
      state: (isUp) => {
        // Those that were known before the connection was lost stay until they are missed.
        if (isUp) sink.found(relaysIn(this.directory.relays(), this.ownKey));
      },
    });
    const look = this.barrier.guard('the directory', () => this.tell(sink));
    this.timer = setInterval(look, this.interval).unref();
  }

  /** Nothing to do: a relay that comes asks the others to announce themselves. */
  look(): void {}

  withdraw(): Promise<void> {
    clearInterval(this.timer);
    this.closing ??= this.directory.close();
    return this.closing;
  }

  stop(): void {
    void this.barrier.settle('the directory', this.withdraw());
  }

  /** A connection that cannot be made is no event of the directory. */
  private tell(sink: SourceSink): void {
    const { state, failures, trouble } = this.directory.status();
    const isFailing = (state === 'waiting' || state === 'connecting') && failures > 0;
    if (isFailing && failures !== this.failures) sink.failed(trouble);
    this.failures = isFailing ? failures : 0;
  }
}

/**
 * The others, each once: two that announce one address are one. One with our key is among them: the mesh finds out that it is a
 * twin, and says so.
 */
function relaysIn(all: readonly AnnouncedRelay[], own: NodeKey): FoundRelay[] {
  const others = all.filter(({ id }, at) => id !== own || at > 0);
  const found = others.map(({ address, port, tlsName }): [string, FoundRelay] => {
    const name = formatAddress({ host: address, port });
    return [name, { name, peer: meshPeer(tlsName, port, address) }];
  });
  return [...new Map(found).values()];
}
