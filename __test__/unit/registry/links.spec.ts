/** Links that lead to keys on demand: what the plane and the clients are told as keys move between relays. */
import { describe, expect, it } from 'vitest';
import { PeerGoneReason } from '../../../src/protocol/wire.js';
import { Registry } from '../../../src/registry/registry.js';
import { keyOf } from '../plane/context.js';

const ALICE = keyOf(1);
const NO_MULTI = { multiCreated: 0, multiDeleted: 0, deleteOther: 0 };

const route = (via: number | null) => ({ kind: 'route', key: ALICE, via });
const GONE = { kind: 'gone', key: ALICE, reason: PeerGoneReason.Disconnected };

function connect(registry: Registry, id: number): void {
  const said = { appName: '', version: 2, tlsVersion: null, mesh: false, prober: false, notIdeal: false };
  registry.connected({ id, key: ALICE, address: '192.0.2.1', port: 40000, ...said }, 0);
}

describe('a link that leads to a key', () => {
  it('a link that leads to a key is its route until it no longer does, and no client is told that the key has left', () => {
    const registry = new Registry(keyOf(0));
    expect(registry.linkTo(ALICE)).toBeUndefined();
    expect(registry.linkLeads(7, ALICE, undefined)).toEqual([route(7)]);
    expect(registry.linkTo(ALICE)).toBe(7);
    expect(registry.linkLeaves(7, ALICE)).toEqual([route(null)]);
    expect(registry.linkTo(ALICE)).toBeUndefined();
    expect(registry.figures()).toMatchObject(NO_MULTI);
  });

  it('a link takes the place of the link before', () => {
    const registry = new Registry(keyOf(0));
    registry.linkLeads(7, ALICE, undefined);
    expect(registry.linkLeads(8, ALICE, 7)).toEqual([route(8)]);
    expect(registry.linkTo(ALICE)).toBe(8);
    expect(registry.linkLeaves(8, ALICE)).toEqual([route(null)]);
  });

  it('the plane gets the route of a link that leads to a key already', () => {
    const registry = new Registry(keyOf(0));
    registry.linkLeads(7, ALICE, undefined);
    expect(registry.linkLeads(7, ALICE, undefined)).toEqual([route(7)]);
    expect(registry.linkLeads(7, ALICE, 7)).toEqual([route(7)]);
    expect(registry.linkTo(ALICE)).toBe(7);
    expect(registry.figures()).toMatchObject(NO_MULTI);
  });

  it('a link that announced the key before stays its route', () => {
    const registry = new Registry(keyOf(0));
    registry.linkPresent(6, ALICE);
    expect(registry.linkLeads(7, ALICE, undefined)).toEqual([route(6)]);
    expect(registry.linkGone(6, ALICE)).toEqual([route(7)]);
  });

  it('a link that no longer leads to a key leaves it to another one', () => {
    const registry = new Registry(keyOf(0));
    registry.linkPresent(6, ALICE);
    registry.linkPresent(7, ALICE);
    expect(registry.linkLeaves(6, ALICE)).toEqual([route(7)]);
    expect(registry.linkLeaves(6, ALICE)).toEqual([]);
  });
});

describe('a key that has left the other relays', () => {
  it('clients are told that a key has left', () => {
    expect(new Registry(keyOf(0)).departed(ALICE)).toEqual([GONE]);
  });

  it('a key that is connected here, or to which a link leads, has not left', () => {
    const registry = new Registry(keyOf(0));
    connect(registry, 1);
    expect(registry.departed(ALICE)).toEqual([]);
    const other = new Registry(keyOf(0));
    other.linkPresent(6, ALICE);
    expect(other.departed(ALICE)).toEqual([]);
  });
});

describe('the number of connections', () => {
  it('connections that were let in count for ever, and the present ones until they end', () => {
    const registry = new Registry(keyOf(0));
    for (const id of [1, 2, 3]) connect(registry, id);
    expect([registry.size, registry.figures().connectionsEver]).toEqual([3, 3]);
    registry.disconnected(2);
    expect([registry.size, registry.figures().connectionsEver]).toEqual([2, 3]);
  });
});
