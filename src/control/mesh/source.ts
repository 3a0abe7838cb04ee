import type { FoundRelay } from './wanted.js';

/** A place where relays of the mesh are found: a name in DNS, a file. */
export interface MeshSource {
  /** How log, metrics and pages call it: `dns relays.example.com`. */
  readonly name: string;
  /** Begins to look; called once. What it finds, and why it cannot, it tells `sink` from then on, until {@link stop}. */
  start(sink: SourceSink): void;
  /** Looks now, if that is worth it: a relay that no source has named has connected. */
  look(): void;
  /** The relay is about to end: a source that announces it withdraws the announcement. Resolves when others can know. */
  withdraw(): Promise<void>;
  stop(): void;
}

/** What a source tells. */
export interface SourceSink {
  /** All relays that there are now; none is an answer, too. */
  found(relays: readonly FoundRelay[]): void;
  /**
   * The source cannot say which relays there are, or not of all: `last` holds what it knows, which is what was found before
   * where it knows nothing.
   */
  failed(reason: string, last?: readonly FoundRelay[]): void;
}
