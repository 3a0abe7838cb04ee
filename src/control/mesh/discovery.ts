/** What all sources together have found: the set of relays to mesh with, and the state of each source. */
import type { Barrier } from '../../faults/barrier.js';
import { LineLimit } from '../line-limit.js';
import type { MeshSource } from './source.js';
import { type FoundRelay, idOf, MOST_FOUND, type WantedRelay } from './wanted.js';

/** A source of relays of the mesh, and what it says. */
export interface MeshSourceStatus {
  /** Its name: its kind, and what the settings say, as in `dns relays.example.com`. */
  readonly source: string;
  /** `waiting`: it has not answered yet; `good`: it has; `failing`: the last answer was none, and the last good set holds. */
  readonly state: 'waiting' | 'good' | 'failing';
  /** Since when it has been in this state: milliseconds since 1970. */
  readonly since: number;
  /** Gauge: failures in a row. */
  readonly failures: number;
  /** Gauge: relays that it names, or has named last. This relay may be one of them. */
  readonly relays: number;
  /** Why it fails; empty while it does not. */
  readonly trouble: string;
}

/** What discovery uses of mesh and log. */
export interface DiscoveryParts {
  follow(found: readonly WantedRelay[]): void;
  log(level: 'info' | 'warn' | 'debug', facts: object, text: string): void;
  readonly barrier: Barrier;
}

/** Lines about a source whose answers change: so many at once, then one in this many milliseconds. */
const LINES = [10, 30_000] as const;
/** The relays that a line names. */
const NAMED = 5;

export class Discovery {
  private readonly states: readonly SourceState[];
  private held: ReadonlyMap<string, WantedRelay> = new Map();
  private crowded = false;

  constructor(
    sources: readonly MeshSource[],
    private readonly parts: DiscoveryParts,
  ) {
    this.states = sources.map((source) => new SourceState(source, parts, () => this.merge()));
  }

  start(): void {
    for (const state of this.states) state.source.start(state);
  }

  stop(): void {
    for (const { source } of this.states) source.stop();
  }

  /** A relay has connected that no source has named: a source may know of it by now. */
  look(): void {
    for (const { source } of this.states) source.look();
  }

  async withdraw(): Promise<void> {
    const { barrier } = this.parts;
    await Promise.all(this.states.map(({ source }) => barrier.settle('a source of mesh relays', source.withdraw())));
  }

  status(): MeshSourceStatus[] {
    return this.states.map((state) => state.status());
  }

  private merge(): void {
    const all = new Map<string, WantedRelay>();
    for (const { relays, source } of this.states) {
      for (const relay of relays) {
        const id = idOf(relay);
        if (!all.has(id)) all.set(id, { ...relay, from: source.name, isFound: true });
      }
    }
    this.held = this.within(all);
    this.parts.follow([...this.held.values()]);
  }

  /** As many as there may be. What is in the set already stays in it. */
  private within(all: ReadonlyMap<string, WantedRelay>): ReadonlyMap<string, WantedRelay> {
    const isCrowded = all.size > MOST_FOUND;
    if (isCrowded && !this.crowded) {
      this.parts.log(
        'warn',
        { found: all.size, limit: MOST_FOUND },
        'mesh sources name too many relays; the others are left out',
      );
    }
    this.crowded = isCrowded;
    if (!isCrowded) return all;
    const known = [...all].filter(([id]) => this.held.has(id));
    const others = [...all].filter(([id]) => !this.held.has(id));
    return new Map([...known, ...others].slice(0, MOST_FOUND));
  }
}

/** What one source has said last. */
class SourceState {
  relays: readonly FoundRelay[] = [];
  private state: MeshSourceStatus['state'] = 'waiting';
  private since = Date.now();
  private failures = 0;
  private trouble = '';
  private readonly lines = new LineLimit(...LINES, performance.now());

  constructor(
    readonly source: MeshSource,
    private readonly parts: DiscoveryParts,
    private readonly merge: () => void,
  ) {}

  status(): MeshSourceStatus {
    const { state, since, failures, trouble } = this;
    return { source: this.source.name, state, since, failures, relays: this.relays.length, trouble };
  }

  found(relays: readonly FoundRelay[]): void {
    const isFirst = this.state === 'waiting';
    if (this.state === 'failing') this.line('info', { relays: relays.length }, 'a mesh source answers again');
    this.enter('good');
    this.failures = 0;
    this.trouble = '';
    this.take(relays, isFirst);
  }

  failed(reason: string, last: readonly FoundRelay[] = this.relays): void {
    this.failures += 1;
    const isNew = reason !== this.trouble;
    this.trouble = reason;
    this.enter('failing');
    const facts = { relays: last.length, reason };
    const text = 'a mesh source fails; the last relays that it has named stay';
    if (isNew) this.line('warn', facts, text);
    else this.parts.log('debug', { source: this.source.name, ...facts }, text);
    this.take(last, false);
  }

  private take(relays: readonly FoundRelay[], isFirst: boolean): void {
    const before = new Map(this.relays.map((relay) => [idOf(relay), relay.name]));
    const after = new Map(relays.map((relay) => [idOf(relay), relay.name]));
    const came = [...after].flatMap(([id, name]) => (before.has(id) ? [] : [name]));
    const went = [...before].flatMap(([id, name]) => (after.has(id) ? [] : [name]));
    if (came.length + went.length === 0 && !isFirst) return;
    this.relays = [...relays];
    const facts = { relays: after.size, ...listing('came', came), ...listing('went', went) };
    this.line('info', facts, 'a mesh source names relays');
    this.merge();
  }

  private line(level: 'info' | 'warn', facts: object, text: string): void {
    const heldBack = this.lines.take(performance.now());
    const { name: source } = this.source;
    if (heldBack === undefined) this.parts.log('debug', { source, ...facts }, text);
    else this.parts.log(level, { source, ...facts, ...(heldBack > 0 && { heldBack }) }, text);
  }

  private enter(state: MeshSourceStatus['state']): void {
    if (state !== this.state) this.since = Date.now();
    this.state = state;
  }
}

function listing(what: string, names: readonly string[]): Record<string, string> {
  if (names.length === 0) return {};
  const more = names.length > NAMED ? ` and ${names.length - NAMED} more` : '';
  return { [what]: `${names.slice(0, NAMED).join(', ')}${more}` };
}
