/** A set of relays that changes, above a plane that only records its commands. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SelfVerdict } from '../../../../src/control/mesh/self-check.js';
import { listed, type WantedRelay } from '../../../../src/control/mesh/wanted.js';
import { MESH_TIMES, Mesh } from '../../../../src/control/mesh.js';
import type { LinkId } from '../../../../src/plane/plane.js';
import type { NodeKey } from '../../../../src/protocol/key.js';
import { type MeshPeer, meshPeer } from '../../../../src/protocol/mesh-peer.js';
import { STRICT } from '../../../helpers/strict-barrier.js';
import { settled } from '../../plane/context.js';

vi.mock('node:dns/promises', () => ({ lookup: async (address: string) => [{ address, family: 4 }] }));

const [OWN, A, B] = ['o', 'a', 'b'].map((name) => name.repeat(32)) as [NodeKey, NodeKey, NodeKey];

let dials: { readonly link: LinkId; readonly address: string }[];
let hungUp: LinkId[];
let changes: string[];
let log: string[];
let verdict: SelfVerdict;
let mesh: Mesh;

function make(...peers: MeshPeer[]): void {
  mesh = new Mesh(peers.map(listed), {
    ownKey: OWN,
    ownKeyFrom: '/data/derper.key',
    meshKey: 'ff',
    roots: [],
    mostKeys: 1000,
    dial: (link, { address }) => void dials.push({ link, address: address.address }),
    hangUp: (link) => {
      hungUp.push(link);
      queueMicrotask(() => mesh.linkClosed(link, 'we hung up'));
    },
    isSelf: async () => verdict,
    onChange: (link, key, present) => void changes.push(`${link} ${present ? '+' : '-'}${key[0]}`),
    log: (level, facts, text) => void log.push(`${level} ${text} ${JSON.stringify(facts)}`),
    barrier: STRICT,
  });
}

function start(...peers: MeshPeer[]): void {
  make(...peers);
  mesh.start();
}

function found(...addresses: string[]): WantedRelay[] {
  return addresses.map((address) => ({
    ...{ peer: meshPeer('relays.test', 443, address), name: `${address}:443`, from: 'dns relays.test', isFound: true },
  }));
}

async function pass(milliseconds: number): Promise<void> {
  await vi.advanceTimersByTimeAsync(milliseconds);
  await settled();
}

async function follow(...addresses: string[]): Promise<void> {
  mesh.follow(found(...addresses));
  await pass(0);
}

function open(address: string, key: NodeKey): LinkId {
  const { link } = dials.findLast((dial) => dial.address === address) as { link: LinkId };
  mesh.linkOpen(link, key);
  mesh.linkPeers(link, [{ key, present: true }]);
  return link;
}

function states(): string[] {
  return mesh.status().map(({ relay, state }) => `${relay} ${state}`);
}

beforeEach(() => {
  vi.useFakeTimers();
  [dials, hungUp, changes, log, verdict] = [[], [], [], [], 'self'];
});

afterEach(() => {
  mesh.stop();
  vi.useRealTimers();
});

describe('a set of relays that changes', () => {
  it('a change of the set dials new relays, and leaves the others alone', async () => {
    start();
    await follow('192.0.2.1', '192.0.2.2');
    open('192.0.2.1', A);
    open('192.0.2.2', B);
    await follow('192.0.2.2', '192.0.2.3');
    await follow('192.0.2.3', '192.0.2.2');
    expect(dials.map(({ address }) => address)).toEqual(['192.0.2.1', '192.0.2.2', '192.0.2.3']);
    expect(hungUp).toEqual([]);
    expect(states()).toEqual(['192.0.2.1:443 leaving', '192.0.2.2:443 connected', '192.0.2.3:443 connecting']);
  });

  it('a link outlives its place in the set for a while, and then closes with all that it announced', async () => {
    start();
    await follow('192.0.2.1');
    const link = open('192.0.2.1', A);
    await follow();
    await pass(MESH_TIMES.linger - 1);
    expect(hungUp).toEqual([]);
    await pass(1);
    expect([hungUp, changes, states()]).toEqual([[link], [`${link} +a`, `${link} -a`], []]);
    await pass(120_000);
    expect(dials).toHaveLength(1);
  });

  it('a relay that is named again in time keeps its link', async () => {
    start();
    await follow('192.0.2.1');
    open('192.0.2.1', A);
    await follow();
    await pass(MESH_TIMES.linger - 1);
    await follow('192.0.2.1');
    await pass(MESH_TIMES.linger * 2);
    expect([hungUp, dials.length, states()]).toEqual([[], 1, ['192.0.2.1:443 connected']]);
  });

  it('a relay that ends after it has left the set is not dialled again', async () => {
    start();
    await follow('192.0.2.1');
    const link = open('192.0.2.1', A);
    await follow();
    mesh.linkClosed(link, 'the relay closed the connection');
    await pass(120_000);
    expect([dials.length, states()]).toEqual([1, []]);
    await follow('192.0.2.1');
    expect(dials).toHaveLength(2);
  });

  it('a dial is given up when its relay leaves the set', async () => {
    start();
    await follow('192.0.2.1');
    await follow();
    expect([hungUp, states()]).toEqual([[1], []]);
    await pass(120_000);
    expect(dials).toHaveLength(1);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('a relay that is named again while its dial is being given up is dialled anew', async () => {
    start();
    await follow('192.0.2.1');
    mesh.follow([]);
    // The plane has not said yet that the first dial has ended.
    mesh.follow(found('192.0.2.1'));
    await pass(0);
    expect([hungUp, dials.map(({ link }) => link), states()]).toEqual([[1], [1, 2], ['192.0.2.1:443 connecting']]);
    open('192.0.2.1', A);
    await pass(60_000);
    expect([dials.length, states()]).toEqual([2, ['192.0.2.1:443 connected']]);
  });

  it('a relay that was named again while its link was being given up is heard of no more after the stop', async () => {
    start();
    await follow('192.0.2.1');
    const link = open('192.0.2.1', A);
    mesh.linkPeers(link, [{ key: B, present: true }]);
    mesh.follow([]);
    // The plane has not said yet that the link has ended.
    vi.advanceTimersByTime(MESH_TIMES.linger);
    expect(hungUp).toEqual([link]);
    mesh.follow(found('192.0.2.1'));
    mesh.stop();
    await pass(0);
    expect(changes).toEqual([`${link} +a`, `${link} +b`]);
  });

  it('relays are followed from the start of the mesh to its stop', async () => {
    make();
    await follow('192.0.2.1');
    expect([dials, states()]).toEqual([[], []]);
    mesh.start();
    mesh.stop();
    await follow('192.0.2.1');
    expect([dials, states()]).toEqual([[], []]);
  });

  it('relays of the settings stay, whatever sources say', async () => {
    start(meshPeer('relays.test', 443, '192.0.2.1'));
    await follow('192.0.2.1', '192.0.2.2');
    expect(dials.map(({ address }) => address)).toEqual(['192.0.2.1', '192.0.2.2']);
    await follow();
    expect(states()).toEqual(['relays.test connecting']);
  });
});

describe('relays that do not answer', () => {
  it('relays that do not answer do not delay good ones', async () => {
    start();
    const bad = [...Array(200).keys()].map((host) => `198.51.100.${host}`);
    await follow(...bad, '192.0.2.1');
    expect(dials).toHaveLength(32);
    // Each dial that gets no answer makes room for another after a second.
    await pass(7_000);
    expect(dials.map(({ address }) => address)).toContain('192.0.2.1');
    open('192.0.2.1', A);
    await pass(60_000);
    const before = dials.length;
    mesh.linkClosed(dials.findLast(({ address }) => address === '192.0.2.1')?.link as number, 'gone');
    await pass(6_000);
    // This relay has worked, so that it comes before relays that never answered.
    expect(dials.slice(before).some(({ address }) => address === '192.0.2.1')).toBe(true);
  });

  it('relays that do not answer are dialled ever more rarely, and do not fill the log', async () => {
    start();
    const bad = [...Array(200).keys()].map((host) => `198.51.100.${host}`);
    await follow(...bad);
    for (let second = 0; second < 600; second++) {
      await pass(1_000);
      for (const { link } of dials) mesh.linkClosed(link, `connection ${link} refused`);
    }
    // In ten minutes: 5, 10, 20, 40 s, and then every minute.
    expect(dials.length / 200).toBeLessThan(15);
    expect(dials.length / 200).toBeGreaterThan(8);
    expect(log.filter((line) => line.startsWith('warn')).length).toBeLessThan(40);
    const [status] = mesh.status();
    expect(status).toMatchObject({ state: 'waiting', since: expect.any(Number) });
    expect(status?.failures).toBeGreaterThan(8);
    expect(Date.now() - (status?.since ?? 0)).toBeGreaterThan(590_000);
  });
});

it('a reason that another relay made long is cut', async () => {
  start();
  await follow('192.0.2.1');
  mesh.linkClosed(1, 'x'.repeat(100_000));
  await pass(0);
  expect(mesh.status()).toMatchObject([{ trouble: `${'x'.repeat(500)}…` }]);
});

describe('relays that connect to this one', () => {
  it('a relay that connects is dialled at once if its link was lost', async () => {
    start();
    await follow('192.0.2.1');
    const link = open('192.0.2.1', A);
    mesh.linkClosed(link, 'gone');
    await pass(100);
    expect(mesh.arrived(A, '192.0.2.1')).toBe(true);
    await pass(0);
    expect(dials).toHaveLength(2);
    // A relay that is known may come from any address.
    expect(mesh.arrived(A, '192.0.2.9')).toBe(true);
    expect(mesh.arrived(B, '192.0.2.9')).toBe(false);
  });

  it('a relay that connects after its start, and was never met before, is dialled at once, too', async () => {
    start();
    await follow('192.0.2.1', '192.0.2.2');
    for (const { link } of dials) mesh.linkClosed(link, 'connection refused');
    await pass(100);
    expect(mesh.arrived(A, '192.0.2.2')).toBe(true);
    await pass(0);
    expect(dials.map(({ address }) => address)).toEqual(['192.0.2.1', '192.0.2.2', '192.0.2.2']);
  });
});

describe('one relay under two addresses', () => {
  it('a relay under two addresses gets one link, and the other address serves when the link ends', async () => {
    start();
    await follow('192.0.2.1', '192.0.2.2');
    const first = open('192.0.2.1', A);
    const second = open('192.0.2.2', A);
    await pass(0);
    expect(hungUp).toEqual([second]);
    expect(states()).toEqual(['192.0.2.1:443 connected', '192.0.2.2:443 duplicate']);
    mesh.linkClosed(first, 'gone');
    await pass(0);
    expect(dials.map(({ address }) => address)).toEqual(['192.0.2.1', '192.0.2.2', '192.0.2.2']);
    open('192.0.2.2', A);
    expect(states()).toEqual(['192.0.2.1:443 waiting', '192.0.2.2:443 connected']);
  });

  it('the end of a link concerns no other relay', async () => {
    start();
    await follow('192.0.2.1', '192.0.2.2', '192.0.2.3');
    open('192.0.2.1', A);
    open('192.0.2.2', A);
    const other = open('192.0.2.3', B);
    await pass(0);
    mesh.linkClosed(other, 'gone');
    await pass(0);
    expect(dials).toHaveLength(3);
    expect(states().map((state) => state.split(' ')[1])).toEqual(['connected', 'duplicate', 'waiting']);
  });

  it('a new address of a relay gets a link while the link to the old address, which left the set, still stands', async () => {
    start();
    await follow('192.0.2.1');
    open('192.0.2.1', A);
    await follow('192.0.2.2');
    open('192.0.2.2', A);
    await pass(0);
    expect(states()).toEqual(['192.0.2.1:443 leaving', '192.0.2.2:443 connected']);
  });
});

describe('relays with the key of this one', () => {
  it('this relay itself is left alone while it is in the set', async () => {
    start();
    await follow('192.0.2.1');
    mesh.linkOpen(1, OWN);
    await pass(600_000);
    expect([hungUp, dials.length, states()]).toEqual([[1], 1, ['192.0.2.1:443 self']]);
    await follow();
    expect(states()).toEqual([]);
    await follow('192.0.2.1');
    expect(dials).toHaveLength(2);
    expect(log).toEqual(['info this relay is listed in its own mesh; it is left alone {"relay":"192.0.2.1:443"}']);
  });

  it('another relay with the key of this one is an error that says what to do, and is checked again', async () => {
    verdict = 'twin';
    start();
    await follow('192.0.2.1');
    for (let minute = 0; minute < 3; minute++) {
      mesh.linkOpen(dials.at(-1)?.link as number, OWN);
      await pass(61_000);
    }
    expect(mesh.status()).toMatchObject([{ state: 'twin', trouble: 'it has the key of this relay' }]);
    const line =
      'error another relay has the key of this relay, so that the two cannot mesh: give each a key of its own ' +
      `{"relay":"192.0.2.1:443","key":"nodekey:${'6f'.repeat(32)}","from":"/data/derper.key"}`;
    expect(log).toEqual([line, line, line]);
    open('192.0.2.1', A);
    expect(states()).toEqual(['192.0.2.1:443 connected']);
  });

  it('the dialled side logs a relay with its own key as an error, too', async () => {
    start();
    await pass(0);
    expect(mesh.arrived(OWN, '192.0.2.9')).toBe(true);
    mesh.arrived(OWN, '192.0.2.9');
    expect(log.filter((text) => text.startsWith('error'))).toHaveLength(1);
    expect(log[0]).toContain('"addr":"192.0.2.9"');
    expect(log.slice(1)).toEqual([expect.stringMatching(/^debug another relay has the key of this relay/)]);
  });

  it('a dial with the own key is no error while this relay may have dialled itself', async () => {
    start();
    await follow('192.0.2.1');
    mesh.arrived(OWN, '192.0.2.1');
    mesh.linkOpen(1, OWN);
    await pass(0);
    mesh.arrived(OWN, '192.0.2.1');
    expect(log.filter((text) => text.startsWith('error'))).toEqual([]);
  });

  it('several relays behind one address are a failure like others', async () => {
    verdict = { unclear: 'more than one relay' };
    start();
    await follow('192.0.2.1');
    mesh.linkOpen(1, OWN);
    await pass(0);
    expect(mesh.status()).toMatchObject([{ state: 'waiting', failures: 1, trouble: 'more than one relay' }]);
  });
});
