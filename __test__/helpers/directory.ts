/** Directories of relays that are nothing but directories, and what they have told. */
import { randomBytes } from 'node:crypto';

import type { AnnouncedRelay, DirectorySink, Place } from '../../src/control/directory/directory.js';
import { NatsDirectory, type NatsDirectoryOptions } from '../../src/control/directory/nats-directory.js';
import { type NodeKey, readNodeKey } from '../../src/protocol/key.js';
import { parseNatsServer } from '../../src/protocol/nats-server.js';
import { KEY_LENGTH } from '../../src/protocol/wire.js';
import { STRICT } from './strict-barrier.js';
import { eventually } from './wait.js';

export const MESH_KEY = 'ab'.repeat(32);

export interface Move {
  readonly key: NodeKey;
  readonly from: NodeKey;
  readonly place: Place | undefined;
  readonly generation: number;
}

/** A directory with its own key and everything that it has told. */
export class TestDirectory implements DirectorySink {
  readonly id: NodeKey;
  readonly directory: NatsDirectory;
  readonly region: string;
  readonly moves: Move[] = [];
  readonly states: boolean[] = [];
  readonly lines: { level: string; facts: Record<string, unknown>; text: string }[] = [];
  last: readonly AnnouncedRelay[] = [];

  constructor(server: string, options: Partial<NatsDirectoryOptions> = {}) {
    const { relay = key(), region = 'test', ...others } = options;
    this.region = region;
    this.id = relay;
    const parsed = parseNatsServer(server);
    if (!parsed) throw new Error(`${server} is no server of NATS`);
    this.directory = new NatsDirectory({
      relay,
      meshKey: MESH_KEY,
      region,
      servers: [parsed],
      facts: () => ({
        ...{ address: undefined, port: 443, tlsName: 'derp.test', version: '1.2.3', settings: 'ab' },
        load: { clients: 1, links: 2, packets: 3 },
      }),
      settings: () => ({ hostname: 'derp.test' }),
      log: (level, facts, text) => void this.lines.push({ level, facts: { ...facts }, text }),
      barrier: STRICT,
      ...others,
    });
  }

  start(): this {
    this.directory.start(this);
    return this;
  }

  moved(key: NodeKey, from: NodeKey, place: Place | undefined, generation: number): void {
    this.moves.push({ key, from, place, generation });
  }

  relays(all: readonly AnnouncedRelay[]): void {
    this.last = all;
  }

  state(isUp: boolean): void {
    this.states.push(isUp);
  }

  async up(): Promise<this> {
    const status = () => this.directory.status();
    await eventually(
      () => status().state === 'up',
      () => `the directory to be up: ${JSON.stringify(status())}`,
    );
    return this;
  }

  /** Waits until it has lost its connection. */
  async lost(times = 1): Promise<void> {
    await eventually(() => this.directory.status().counts.lost >= times, 'the directory to lose its connection');
  }

  async finds(key: NodeKey): Promise<NodeKey | undefined | string> {
    try {
      return (await this.directory.find(key))?.relay;
    } catch (error) {
      return (error as { trouble: string }).trouble;
    }
  }

  /** Watches a key, and waits until the server knows. */
  async watches(key: NodeKey): Promise<void> {
    this.directory.watch(key);
    await this.finds(key);
  }

  /** Waits until a key is found there, or nowhere. */
  async findsAt(key: NodeKey, relay: NodeKey | undefined): Promise<void> {
    await eventually(async () => (await this.finds(key)) === relay, 'the key to be there');
  }
}

/** A key that no client has: making a pair takes a millisecond. */
export function key(): NodeKey {
  return readNodeKey(randomBytes(KEY_LENGTH));
}
