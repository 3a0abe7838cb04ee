import { describe, expect, it } from 'vitest';
import { peerGoneFrame, peerPresentFrame } from '../../../src/protocol/frame.js';
import { type NodeKey, readNodeKey } from '../../../src/protocol/key.js';
import { PeerGoneReason, PresenceFlag } from '../../../src/protocol/wire.js';
import type { Arrival } from '../../../src/registry/client.js';
import { type Command, Registry } from '../../../src/registry/registry.js';
import { seeded } from '../../helpers/random.js';
import { keyOf } from '../plane/context.js';
import { vectors } from '../vectors.js';

const SERVER = keyOf(0);
const ALICE = keyOf(1);
const BOB = keyOf(2);
const RELAY = keyOf(3);

/** A registry, with short forms for events and for the commands that follow. */
class Scene {
  readonly registry = new Registry(SERVER);
  private readonly names = new Map<NodeKey, string>(
    Object.entries({ server: SERVER, alice: ALICE, bob: BOB, relay: RELAY }).map(([name, key]) => [key, name]),
  );

  come(id: number, key: NodeKey, more: Partial<Arrival> = {}, now = 0): string[] {
    return this.read(this.registry.connected(arrival(id, key, more), now));
  }

  leave(id: number): string[] {
    return this.read(this.registry.disconnected(id));
  }

  watch(id: number): string[] {
    return this.read(this.registry.watch(id));
  }

  /** One line for each command; for frames, the peers that come (+) and go (-). */
  read(commands: readonly Command[]): string[] {
    return commands.map((command): string => {
      switch (command.kind) {
        case 'send':
          return `send ${command.ids.join()}${command.pull ? ' pull' : ''}: ${this.frames(command.frames).join(', ')}`;
        case 'gone':
          return `gone ${this.names.get(command.key)} ${command.reason}`;
        case 'route':
          return `route ${this.names.get(command.key)} ${command.via}`;
        case 'close':
          return `close ${command.id}`;
        default:
          return command satisfies never;
      }
    });
  }

  private frames(bytes: Buffer): string[] {
    const said: string[] = [];
    for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt32BE(at + 1)) {
      const key = readNodeKey(bytes, at + 5);
      const name = this.names.get(key) ?? `#${Buffer.from(key, 'latin1').readUInt32BE(28) - 1}`;
      said.push(`${bytes[at] === 9 ? '+' : '-'}${name}`);
    }
    return said;
  }
}

describe('presence of clients', () => {
  it('a client is announced to watchers with its address, flags and app name', () => {
    const { registry } = new Scene();
    registry.connected(arrival(1, RELAY, { mesh: true }), 0);
    registry.watch(1);
    const who = { address: '192.0.2.7', port: 41641, appName: 'app' };
    const [command] = registry.connected(arrival(2, ALICE, { ...who, prober: true, notIdeal: true }), 0);
    const flags = PresenceFlag.Prober | PresenceFlag.NotIdeal;
    expect(command).toEqual({
      kind: 'send',
      ids: [1],
      frames: peerPresentFrame({ key: ALICE, ...who, flags }),
      pull: false,
    });
  });

  it.each<[Partial<Arrival>, number]>([
    [{}, PresenceFlag.Regular],
    [{ mesh: true }, PresenceFlag.MeshPeer],
    [{ prober: true }, PresenceFlag.Prober],
    [{ notIdeal: true }, PresenceFlag.NotIdeal],
    [{ mesh: true, prober: true, notIdeal: true }, 0x0e],
  ])('a client has the presence flags of %j', (more, flags) => {
    const { registry } = new Scene();
    registry.connected(arrival(1, ALICE, more), 0);
    expect(registry.get(1)?.flags).toBe(flags);
  });

  it('a client is announced with every connection, and as gone with the last one only', () => {
    const scene = new Scene();
    scene.come(1, RELAY, { mesh: true });
    scene.watch(1);
    expect(scene.come(2, ALICE)).toEqual(['send 1: +alice']);
    expect(scene.come(3, ALICE)).toEqual(['send 1: +alice']);
    expect(scene.leave(2)).toEqual([]);
    expect(scene.leave(3)).toEqual(['gone alice 0', 'send 1: -alice']);
  });

  it('without watchers, no client is announced', () => {
    const scene = new Scene();
    expect(scene.come(1, ALICE)).toEqual([]);
    expect(scene.leave(1)).toEqual(['gone alice 0']);
  });

  it('a client is announced as gone in upstream’s form', () => {
    const { registry } = new Scene();
    registry.connected(arrival(1, RELAY, { mesh: true }), 0);
    registry.watch(1);
    registry.connected(arrival(2, ALICE), 0);
    const [, send] = registry.disconnected(2);
    expect(send).toMatchObject({ frames: peerGoneFrame(ALICE, PeerGoneReason.Disconnected) });
  });

  it('a connection is found by its id and by its key', () => {
    const { registry } = new Scene();
    registry.connected(arrival(1, ALICE), 7);
    registry.connected(arrival(2, ALICE), 8);
    expect(registry.get(1)).toMatchObject({ id: 1, key: ALICE, since: 7, home: false });
    expect(registry.connectionsOf(ALICE).map(({ id }) => id)).toEqual([1, 2]);
    registry.disconnected(1);
    expect(registry.get(1)).toBeUndefined();
    expect(registry.connectionsOf(ALICE).map(({ id }) => id)).toEqual([2]);
    registry.disconnected(2);
    expect(registry.connectionsOf(ALICE)).toEqual([]);
  });

  it('a connection leaves once, and an unknown connection does not leave', () => {
    const scene = new Scene();
    scene.come(1, ALICE);
    scene.leave(1);
    expect(scene.leave(1)).toEqual([]);
    expect(scene.leave(99)).toEqual([]);
  });
});

describe('watchers', () => {
  it('a new watcher hears of every client, of other watchers and of itself', () => {
    const scene = new Scene();
    scene.come(1, ALICE);
    scene.come(2, RELAY, { mesh: true });
    expect(scene.watch(2)).toEqual(['send 2 pull: +alice, +relay']);
    expect(scene.read(scene.registry.pulled(2))).toEqual([]);
    expect(scene.come(3, BOB)).toEqual(['send 2: +bob']);
    expect(scene.watch(3)).toEqual(['send 3 pull: +alice, +relay, +bob']);
    expect(scene.leave(1)).toEqual(['gone alice 0', 'send 2,3: -alice']);
  });

  it('a watcher that asks again hears of every client again', () => {
    const scene = new Scene();
    scene.come(1, RELAY, { mesh: true });
    expect(scene.watch(1)).toEqual(['send 1 pull: +relay']);
    expect(scene.watch(1)).toEqual(['send 1 pull: +relay']);
    expect(scene.registry.figures().watchers).toBe(1);
    expect(scene.come(2, ALICE)).toEqual(['send 1: +alice']);
  });

  it('a watcher that leaves hears of no further client', () => {
    const scene = new Scene();
    scene.come(1, RELAY, { mesh: true });
    scene.watch(1);
    expect(scene.leave(1)).toEqual(['gone relay 0']);
    expect(scene.come(2, ALICE)).toEqual([]);
    expect(scene.registry.figures().watchers).toBe(0);
    expect(scene.read(scene.registry.pulled(1))).toEqual([]);
  });

  it('a watcher with the relay’s own key is passed over', () => {
    const scene = new Scene();
    scene.come(1, SERVER, { mesh: true });
    expect(scene.watch(1)).toEqual([]);
    expect(scene.come(2, ALICE)).toEqual([]);
    expect(scene.registry.figures().watchers).toBe(0);
  });

  it('a watcher that has left is passed over', () => {
    expect(new Scene().watch(5)).toEqual([]);
  });

  it('a watcher hears of a key with several connections once, with the active one', () => {
    const { registry } = new Scene();
    registry.connected(arrival(1, ALICE, { port: 1111 }), 0);
    registry.connected(arrival(2, ALICE, { port: 2222 }), 0);
    registry.connected(arrival(3, RELAY, { mesh: true }), 0);
    const portOf = () => (registry.watch(3)[0] as { frames: Buffer }).frames.readUInt16BE(5 + 48);
    expect(portOf()).toBe(2222);
    registry.active(ALICE, 1, 1);
    expect(portOf()).toBe(1111);
    registry.connected(arrival(4, ALICE, { port: 4444 }), 0);
    expect(portOf()).toBe(4444);
  });
});

describe('a long dump', () => {
  const many = 1800;

  function crowd(): Scene {
    const scene = new Scene();
    for (let number = 100; number < 100 + many; number++) scene.come(number, keyOf(number));
    scene.come(1, RELAY, { mesh: true });
    return scene;
  }

  const peers = (lines: string[]) => lines.flatMap((line) => line.split(': ')[1]?.split(', ') ?? []);

  it('a long dump comes in parts, each on request, and ends', () => {
    const scene = crowd();
    const parts = [scene.watch(1)];
    while (parts.length < 20) {
      const part = scene.read(scene.registry.pulled(1));
      if (part.length === 0) break;
      parts.push(part);
    }
    expect(parts.length).toBeGreaterThan(2);
    for (const [line] of parts) expect(line).toMatch(/^send 1 pull: /);
    const told = parts.flatMap(peers);
    expect(new Set(told).size).toBe(many + 1);
    expect(told).toHaveLength(many + 1);
    // No part is longer than about 28 KB.
    for (const part of parts) expect(peers(part).length).toBeLessThanOrEqual(500);
    // The batches of the dump, and one loop with as many.
    const { meshBatches, meshLoops } = scene.registry.figures();
    expect(meshBatches.sum).toBe(many + 1);
    expect(meshBatches.counts.reduce((sum, count) => sum + count)).toBe(parts.length);
    expect(meshLoops.sum).toBe(parts.length);
    expect(meshLoops.counts.reduce((sum, count) => sum + count)).toBe(1);
  });

  it('a long dump ends with the clients that are connected, even if clients come and go meanwhile', () => {
    const scene = crowd();
    const here = new Set<string>();
    const apply = (lines: string[]) => {
      for (const peer of peers(lines.filter((line) => line.startsWith('send')))) {
        if (peer.startsWith('+')) here.add(peer.slice(1));
        else here.delete(peer.slice(1));
      }
    };
    apply(scene.watch(1));
    // Two clients leave, of which one was announced before. One client is new, and two clients come back.
    apply(scene.leave(100));
    apply(scene.leave(100 + many - 1));
    apply(scene.come(9000, keyOf(9000)));
    apply(scene.leave(101));
    apply(scene.come(9001, keyOf(101)));
    apply(scene.leave(100 + many - 2));
    apply(scene.come(9002, keyOf(100 + many - 2)));
    for (let part = scene.read(scene.registry.pulled(1)); part.length > 0; ) {
      apply(part);
      part = scene.read(scene.registry.pulled(1));
    }
    const expected = new Set(Array.from({ length: many }, (_, index) => `#${100 + index}`));
    expected.delete('#100');
    expected.delete(`#${100 + many - 1}`);
    expect(here).toEqual(new Set([...expected, '#9000', 'relay']));
  });
});

describe('several connections of one key', () => {
  const gauges = ({ registry }: Scene) => {
    const { dupKeys, dupConnections, dupConnectionsEver, localKeys, connections } = registry.figures();
    return [connections, localKeys, dupKeys, dupConnections, dupConnectionsEver];
  };

  it('the registry counts duplicates as upstream does', () => {
    const scene = new Scene();
    scene.come(1, ALICE);
    expect(gauges(scene)).toEqual([1, 1, 0, 0, 0]);
    scene.come(2, ALICE);
    expect(gauges(scene)).toEqual([2, 1, 1, 2, 1]);
    scene.come(3, ALICE);
    expect(gauges(scene)).toEqual([3, 1, 1, 3, 2]);
    scene.come(4, BOB);
    scene.come(5, BOB);
    expect(gauges(scene)).toEqual([5, 2, 2, 5, 3]);
    scene.leave(1);
    expect(gauges(scene)).toEqual([4, 2, 2, 4, 3]);
    scene.leave(3);
    expect(gauges(scene)).toEqual([3, 2, 1, 2, 3]);
    scene.leave(2);
    scene.leave(5);
    expect(gauges(scene)).toEqual([1, 1, 0, 0, 3]);
    scene.leave(4);
    expect(gauges(scene)).toEqual([0, 0, 0, 0, 3]);
  });

  it('a late report of the active connection does not replace a later one', () => {
    const { registry } = new Scene();
    for (const id of [1, 2, 3]) registry.connected(arrival(id, ALICE, { port: id }), 0);
    registry.connected(arrival(9, RELAY, { mesh: true }), 0);
    const active = () => (registry.watch(9)[0] as { frames: Buffer }).frames.readUInt16BE(5 + 48);
    registry.active(ALICE, 2, 5);
    registry.active(ALICE, 1, 4);
    expect(active()).toBe(2);
    registry.active(ALICE, 1, 6);
    expect(active()).toBe(1);
    // Reports of an unknown connection, and of an unknown key.
    registry.active(ALICE, 77, 7);
    registry.active(BOB, 1, 8);
    expect(active()).toBe(1);
    registry.disconnected(1);
    expect([2, 3]).toContain(active());
  });

  it('the active connection of a key stays active when another one leaves', () => {
    const { registry } = new Scene();
    for (const id of [1, 2, 3]) registry.connected(arrival(id, ALICE, { port: id }), 0);
    registry.connected(arrival(9, RELAY, { mesh: true }), 0);
    registry.disconnected(1);
    expect((registry.watch(9)[0] as { frames: Buffer }).frames.readUInt16BE(5 + 48)).toBe(3);
  });

  it('a report of the active connection changes nothing for a key with one', () => {
    const { registry } = new Scene();
    registry.connected(arrival(1, ALICE), 0);
    registry.active(ALICE, 1, 1);
    expect(registry.connectionsOf(ALICE)).toHaveLength(1);
  });
});

describe('closePeer', () => {
  it('closePeer closes every connection of a key', () => {
    const scene = new Scene();
    scene.come(1, ALICE);
    scene.come(2, ALICE);
    scene.come(3, BOB);
    expect(scene.read(scene.registry.closePeer(ALICE))).toEqual(['close 1', 'close 2']);
    expect(scene.read(scene.registry.closePeer(BOB))).toEqual(['close 3']);
    expect(scene.read(scene.registry.closePeer(RELAY))).toEqual([]);
  });
});

describe('homes', () => {
  const grace = Number(vectors.documented.HomeMoveGraceSeconds?.value) * 1000;
  const homes = ({ registry }: Scene) => {
    const { home, homeMovesIn, homeMovesOut } = registry.figures();
    return [home, homeMovesIn, homeMovesOut];
  };

  it('homes are counted, and count as moves if the connection is older than the grace', () => {
    const scene = new Scene();
    scene.come(1, ALICE, {}, 1000);
    scene.registry.prefer(1, true, 1, 1000);
    expect(homes(scene)).toEqual([1, 0, 0]);
    scene.registry.prefer(1, false, 1, 1000 + grace);
    expect(homes(scene)).toEqual([0, 0, 0]);
    scene.registry.prefer(1, true, 1, 1001 + grace);
    expect(homes(scene)).toEqual([1, 1, 0]);
    scene.registry.prefer(1, false, 1, 1002 + grace);
    expect(homes(scene)).toEqual([0, 1, 1]);
  });

  it('homes that change within the grace do not count as moves', () => {
    const scene = new Scene();
    scene.come(1, ALICE);
    scene.registry.prefer(1, false, 2, 4000);
    expect(homes(scene)).toEqual([0, 0, 0]);
    scene.registry.prefer(1, true, 1, 4000);
    expect(homes(scene)).toEqual([1, 0, 0]);
  });

  it('a home ends with its connection, which does not count as a move', () => {
    const scene = new Scene();
    scene.come(1, ALICE);
    scene.registry.prefer(1, true, 1, 9000);
    scene.leave(1);
    expect(homes(scene)).toEqual([0, 1, 0]);
    scene.registry.prefer(1, true, 1, 9000);
    expect(homes(scene)).toEqual([0, 1, 0]);
  });

  it('each connection of a key has a home of its own', () => {
    const scene = new Scene();
    scene.come(1, ALICE);
    scene.come(2, ALICE);
    scene.registry.prefer(1, true, 1, 0);
    scene.registry.prefer(2, true, 1, 0);
    expect(homes(scene)).toEqual([2, 0, 0]);
    scene.leave(1);
    expect(homes(scene)).toEqual([1, 0, 0]);
  });
});

describe('clients with another ideal node', () => {
  it('the registry counts connected clients with another ideal node', () => {
    const scene = new Scene();
    scene.come(1, ALICE, { notIdeal: true });
    scene.come(2, ALICE, { notIdeal: true, mesh: true });
    scene.come(3, BOB);
    expect(scene.registry.figures().notIdeal).toBe(2);
    scene.leave(1);
    scene.leave(3);
    expect(scene.registry.figures().notIdeal).toBe(1);
  });
});

describe('mesh links', () => {
  it('a mesh link adds routes of keys, and removes them', () => {
    const scene = new Scene();
    expect(scene.read(scene.registry.linkPresent(7, ALICE))).toEqual(['route alice 7']);
    expect(scene.read(scene.registry.linkPresent(7, ALICE))).toEqual([]);
    expect(scene.read(scene.registry.linkGone(7, ALICE))).toEqual(['route alice null', 'gone alice 0']);
    expect(scene.read(scene.registry.linkGone(7, ALICE))).toEqual([]);
  });

  it('the route of a key leads to the next link that announces it', () => {
    const scene = new Scene();
    scene.registry.linkPresent(7, ALICE);
    expect(scene.read(scene.registry.linkPresent(8, ALICE))).toEqual([]);
    expect(scene.read(scene.registry.linkGone(7, ALICE))).toEqual(['route alice 8']);
    expect(scene.read(scene.registry.linkGone(7, ALICE))).toEqual([]);
    expect(scene.read(scene.registry.linkGone(8, ALICE))).toEqual(['route alice null', 'gone alice 0']);
    expect(scene.registry.figures()).toMatchObject({ multiCreated: 1, multiDeleted: 1, deleteOther: 1 });
  });

  it('a connected key has not left the region when its link loses it', () => {
    const scene = new Scene();
    scene.registry.linkPresent(7, ALICE);
    scene.come(1, ALICE);
    expect(scene.read(scene.registry.linkGone(7, ALICE))).toEqual(['route alice null']);
    expect(scene.leave(1)).toEqual(['gone alice 0']);
  });

  it('a key with a link has not left the region when it disconnects, but watchers hear of it', () => {
    const scene = new Scene();
    scene.come(9, RELAY, { mesh: true });
    scene.watch(9);
    scene.come(1, ALICE);
    scene.registry.linkPresent(7, ALICE);
    expect(scene.leave(1)).toEqual(['send 9: -alice']);
    expect(scene.read(scene.registry.linkGone(7, ALICE))).toEqual(['route alice null', 'gone alice 0']);
  });

  it('keys of mesh links and of clients here count once in the region', () => {
    const scene = new Scene();
    scene.come(1, ALICE);
    scene.registry.linkPresent(7, ALICE);
    scene.registry.linkPresent(7, BOB);
    scene.registry.linkPresent(8, BOB);
    scene.registry.linkPresent(8, RELAY);
    expect(scene.registry.figures()).toMatchObject({ localKeys: 1, totalKeys: 3, connections: 1 });
  });
});

describe('random arrivals and departures', () => {
  it.each([1, 2, 3, 4])('the registry’s figures are those of the connected clients, seed %i', (seed) => {
    const random = seeded(seed);
    const scene = new Scene();
    const here = new Map<number, { key: number; home: boolean; notIdeal: boolean; mesh: boolean }>();
    for (let step = 1; step <= 3000; step++) {
      const roll = random();
      const id = here.size > 0 ? pick(here, random) : 0;
      if (roll < 0.45) {
        const key = 100 + Math.floor(random() * 12);
        const notIdeal = random() < 0.3;
        const mesh = random() < 0.3;
        scene.come(step, keyOf(key), { notIdeal, mesh });
        here.set(step, { key, home: false, notIdeal, mesh });
      } else if (roll < 0.8 && here.size > 0) {
        scene.leave(id);
        here.delete(id);
      } else if (here.size > 0) {
        const home = random() < 0.5;
        scene.registry.prefer(id, home, 1, 0);
        (here.get(id) as { home: boolean }).home = home;
      }
      const perKey = new Map<number, number>();
      for (const { key } of here.values()) perKey.set(key, (perKey.get(key) ?? 0) + 1);
      const links = [...here.values()].filter(({ mesh }) => mesh);
      const several = [...perKey.values()].filter((count) => count > 1);
      expect(scene.registry.figures()).toMatchObject({
        connections: here.size,
        localKeys: perKey.size,
        totalKeys: perKey.size,
        dupKeys: several.length,
        dupConnections: several.reduce((sum, count) => sum + count, 0),
        home: [...here.values()].filter(({ home }) => home).length,
        notIdeal: [...here.values()].filter(({ notIdeal }) => notIdeal).length,
        meshPeers: links.length,
        meshPeerKeys: new Set(links.map(({ key }) => key)).size,
      });
      expect(scene.registry.clientCount).toBe(here.size - links.length);
    }
  });
});

function arrival(id: number, key: NodeKey, more: Partial<Arrival> = {}): Arrival {
  const said = { appName: '', version: 2, tlsVersion: null };
  const usual = { address: '192.0.2.1', port: 40000, ...said, mesh: false, prober: false, notIdeal: false };
  return { id, key, ...usual, ...more };
}

function pick<T>(from: ReadonlyMap<number, T>, random: () => number): number {
  return [...from.keys()][Math.floor(random() * from.size)] as number;
}
