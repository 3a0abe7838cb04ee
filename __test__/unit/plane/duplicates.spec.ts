import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import type { Connection } from '../../../src/plane/js/connection.js';
import { Duplicates } from '../../../src/plane/js/duplicates.js';
import { EventQueue } from '../../../src/plane/js/events.js';
import { type Entry, Table } from '../../../src/plane/js/table.js';
import { seeded } from '../../helpers/random.js';
import { connectionOf, eventLog, keyOf } from './context.js';

interface Step {
  readonly op: 'add' | 'activity' | 'remove';
  readonly connection: string;
  readonly active: string | null;
}

const { cases } = JSON.parse(readFileSync(new URL('../../vectors/duplicates.json', import.meta.url), 'utf8')) as {
  readonly cases: Readonly<Record<string, readonly Step[]>>;
};

/** The connections of one key, as a table keeps them, whatever their number. */
class OneKey {
  private single: string | undefined;
  private several: Duplicates<string> | undefined;

  add(connection: string): void {
    if (this.several) this.several.add(connection);
    else if (this.single === undefined) this.single = connection;
    else this.several = new Duplicates(this.single, connection);
  }

  activity(connection: string): void {
    this.several?.activity(connection);
  }

  remove(connection: string): void {
    this.several?.remove(connection);
    if (!this.several) this.single = undefined;
    else if (this.several.size === 1) {
      this.single = this.several.active;
      this.several = undefined;
    }
  }

  get active(): string | null {
    return this.several?.active ?? this.single ?? null;
  }

  get members(): string[] {
    return this.several ? [...this.several] : this.single === undefined ? [] : [this.single];
  }
}

/** The connections of one key, through the forwarding table. */
class OneKeyOfTable {
  private readonly table = new Table<Connection>(new EventQueue(eventLog().events));
  private readonly connections = new Map<
    string,
    { readonly connection: Connection; readonly entry: Entry<Connection> }
  >();
  private readonly key = keyOf(1);

  add(name: string): void {
    const connection = connectionOf(this.connections.size);
    this.connections.set(name, { connection, entry: this.table.add(connection, this.key) });
  }

  activity(name: string): void {
    const { connection, entry } = this.found(name);
    this.table.activity(entry, connection);
  }

  remove(name: string): void {
    const { connection, entry } = this.found(name);
    this.table.remove(entry, connection);
    this.connections.delete(name);
  }

  get active(): string | null {
    const active = this.table.lookup(this.key);
    const found = [...this.connections].find(([, { connection }]) => connection === active);
    return found?.[0] ?? null;
  }

  private found(name: string): { readonly connection: Connection; readonly entry: Entry<Connection> } {
    return this.connections.get(name) as { readonly connection: Connection; readonly entry: Entry<Connection> };
  }
}

describe.each([
  ['the state machine', OneKey],
  ['the table', OneKeyOfTable],
])('the active connection by %s', (_name, Kind) => {
  it.each(Object.entries(cases))('the active connection is upstream’s: %s', (_case, steps) => {
    const key = new Kind();
    steps.forEach(({ op, connection, active }, index) => {
      key[op](connection);
      expect(key.active, `after step ${index}: ${op} ${connection}`).toBe(active);
    });
  });
});

describe('random arrivals and departures', () => {
  it.each([1, 2, 3, 4, 5, 6, 7, 8])('the active connection of a key is one of its connections, seed %i', (seed) => {
    const random = seeded(seed);
    const key = new OneKey();
    const live: string[] = [];
    const some = () => Math.floor(random() * live.length);
    let latest: string | null = null;
    for (let step = 0; step < 3000; step++) {
      const roll = random();
      if (live.length === 0 || (roll < 0.2 && live.length < 12)) {
        latest = `c${step}`;
        live.push(latest);
        key.add(latest);
      } else if (roll < 0.4) {
        const [left] = live.splice(some(), 1) as [string];
        key.remove(left);
        if (left === latest) latest = null;
      } else {
        latest = live[some()] as string;
        key.activity(latest);
        // The activity of a single connection decides nothing.
      }
      expect(key.members.toSorted()).toEqual(live.toSorted());
      if (live.length === 0) expect(key.active).toBeNull();
      else expect(live).toContain(key.active);
      // The last connection to come or to send gets the packets until it leaves.
      if (latest !== null) expect(key.active).toBe(latest);
    }
  });

  it('the history of a key does not grow while clones alternate', () => {
    const duplicates = new Duplicates('a', 'b');
    for (let turn = 0; turn < 10_000; turn++) {
      duplicates.activity('a');
      duplicates.activity('b');
    }
    const { history } = duplicates as unknown as { readonly history: readonly string[] };
    expect(history).toEqual(['a', 'b']);
  });
});
