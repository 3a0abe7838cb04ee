import { describe, expect, it } from 'vitest';
import type { Client } from '../../../src/registry/client.js';
import { Registry } from '../../../src/registry/registry.js';
import { keyOf } from '../plane/context.js';

const ALICE = keyOf(1);
const BOB = keyOf(2);

/** A registry with these connections, in this order. */
function withClients(...clients: readonly (readonly [id: number, key: ReturnType<typeof keyOf>])[]): Registry {
  const registry = new Registry(keyOf(0));
  for (const [id, key] of clients) {
    const said = { appName: '', version: 2, tlsVersion: null, mesh: false, prober: false, notIdeal: false };
    registry.connected({ id, key, address: '192.0.2.1', port: 40000, ...said }, 0);
  }
  return registry;
}

const standing = (registry: Registry, id: number) => registry.standing(registry.get(id) as Client);

describe('the registry', () => {
  it('the registry lists every admitted connection until it leaves', () => {
    const registry = withClients([1, ALICE], [2, ALICE], [3, BOB]);
    const ids = () => [...registry.clients()].map(({ id }) => id);
    expect(ids()).toEqual([1, 2, 3]);
    registry.disconnected(2);
    expect(ids()).toEqual([1, 3]);
  });
});

describe('the standing of a connection', () => {
  it('the only connection of a key is active', () => {
    expect(standing(withClients([1, ALICE], [2, BOB]), 1)).toEqual({ connections: 1, active: true });
  });

  it('among several connections of a key, the newest is active, or the one that the plane names', () => {
    const registry = withClients([1, ALICE], [2, ALICE]);
    expect(standing(registry, 1)).toEqual({ connections: 2, active: false });
    expect(standing(registry, 2)).toEqual({ connections: 2, active: true });
    registry.active(ALICE, 1, 1);
    expect(standing(registry, 1)).toEqual({ connections: 2, active: true });
    expect(standing(registry, 2)).toEqual({ connections: 2, active: false });
  });

  it('a connection that has just left has a standing, too', () => {
    const registry = withClients([1, ALICE]);
    const client = registry.get(1) as Client;
    registry.disconnected(1);
    expect(registry.standing(client)).toEqual({ connections: 1, active: true });
  });
});
