/** The watch loop alone, above a plane that does nothing but note what it is asked for. */
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { SelfVerdict } from '../../../src/control/mesh/self-check.js';
import { listed } from '../../../src/control/mesh/wanted.js';
import { Mesh, type MeshParts } from '../../../src/control/mesh.js';
import type { DialTarget, LinkId } from '../../../src/plane/plane.js';
import { formatNodeKey, type NodeKey } from '../../../src/protocol/key.js';
import type { MeshPeer } from '../../../src/protocol/mesh-peer.js';
import { STRICT } from '../../helpers/strict-barrier.js';
import { settled } from '../plane/context.js';

const lookup = vi.hoisted(() => vi.fn());
vi.mock('node:dns/promises', () => ({ lookup }));

const OWN = 'o'.repeat(32) as NodeKey;
const THEIRS = 't'.repeat(32) as NodeKey;
const [A, B] = ['a', 'b'].map((name) => name.repeat(32)) as [NodeKey, NodeKey];
const ROOTS = [new Uint8Array(1)];
const PEER: MeshPeer = { host: 'relay.test', authority: 'relay.test:8443', port: 8443, dialHost: 'inner.test' };

let dials: { readonly link: LinkId; readonly target: DialTarget }[];
let hungUp: LinkId[];
let changes: string[];
let log: string[];
let verdict: SelfVerdict;
let mesh: Mesh;

function meshWith(...peers: MeshPeer[]): Mesh {
  return meshOfAtMost(1000, ...peers);
}

function meshOfAtMost(mostKeys: number, ...peers: MeshPeer[]): Mesh {
  const parts: MeshParts = {
    ownKey: OWN,
    ownKeyFrom: 'derper.key',
    isSelf: async () => verdict,
    meshKey: 'ff',
    roots: ROOTS,
    mostKeys,
    dial: (link, target) => void dials.push({ link, target }),
    hangUp: (link) => void hungUp.push(link),
    onChange: (link, key, present) => void changes.push(`${link} ${present ? '+' : '-'}${key[0]}`),
    log: (level, facts, text) => void log.push(`${level} ${text} ${JSON.stringify(facts)}`),
    barrier: STRICT,
  };
  mesh = new Mesh(peers.map(listed), parts);
  mesh.start();
  return mesh;
}

function resolvesTo(...addresses: string[]): void {
  lookup.mockImplementation(async () => addresses.map((address) => ({ address, family: 4 })));
}

/** Addresses that were dialled, in order. */
function dialled(): string[] {
  return dials.map(({ target }) => target.address.address);
}

beforeEach(() => {
  vi.useFakeTimers();
  [dials, hungUp, changes, log, verdict] = [[], [], [], [], 'self'];
  resolvesTo('192.0.2.1');
});

afterEach(() => {
  mesh.stop();
  vi.useRealTimers();
});

describe('a relay of the mesh', () => {
  it('a relay is resolved and dialled, under a name that may differ from the resolved one', async () => {
    meshWith(PEER);
    await vi.advanceTimersByTimeAsync(0);
    expect(lookup).toHaveBeenLastCalledWith('inner.test', { all: true, verbatim: true });
    expect(dials).toEqual([
      {
        link: 1,
        target: {
          address: { address: '192.0.2.1', port: 8443 },
          host: 'relay.test',
          authority: 'relay.test:8443',
          roots: ROOTS,
          meshKey: 'ff',
          timeout: 10_000,
          watch: true,
        },
      },
    ]);
    expect(mesh.status()).toEqual([
      {
        relay: 'relay.test:8443',
        from: 'meshWith',
        state: 'connecting',
        since: Date.now(),
        failures: 0,
        peers: 0,
        passedOver: 0,
        publicKey: undefined,
        trouble: '',
      },
    ]);
  });

  it('a relay is dialled at all its addresses, which share the time', async () => {
    resolvesTo('2001:db8::1', '192.0.2.1', '192.0.2.2');
    meshWith(PEER);
    await vi.advanceTimersByTimeAsync(0);
    expect(dials[0]?.target.timeout).toBe(3333);
    await vi.advanceTimersByTimeAsync(4000);
    mesh.linkClosed(1, 'no');
    await vi.advanceTimersByTimeAsync(0);
    expect(dials[1]?.target.timeout).toBe(3000);
    mesh.linkClosed(2, 'nor there');
    await vi.advanceTimersByTimeAsync(0);
    expect(dials[2]?.target.timeout).toBe(6000);
    mesh.linkOpen(3, THEIRS);
    expect(dialled()).toEqual(['2001:db8::1', '192.0.2.1', '192.0.2.2']);
    expect(mesh.status()).toMatchObject([{ state: 'connected', publicKey: formatNodeKey(THEIRS) }]);
  });

  it('a relay is resolved and dialled again after 5 s, or a little more', async () => {
    meshWith(PEER);
    await vi.advanceTimersByTimeAsync(0);
    mesh.linkClosed(1, 'connection refused');
    await vi.advanceTimersByTimeAsync(4999);
    expect(mesh.status()).toMatchObject([{ state: 'waiting', trouble: 'connection refused' }]);
    expect(dials).toHaveLength(1);
    resolvesTo('192.0.2.9');
    await vi.advanceTimersByTimeAsync(1001);
    expect(dialled()).toEqual(['192.0.2.1', '192.0.2.9']);
    expect(dials.map(({ link }) => link)).toEqual([1, 2]);
  });

  it('a relay whose name does not resolve is tried again', async () => {
    const unknown = { errno: -3008, code: 'ENOTFOUND', syscall: 'getaddrinfo', hostname: 'inner.test' };
    lookup.mockRejectedValueOnce(Object.assign(new Error('getaddrinfo ENOTFOUND inner.test'), unknown));
    meshWith(PEER);
    await vi.advanceTimersByTimeAsync(0);
    expect(mesh.status()).toMatchObject([
      { state: 'waiting', trouble: 'no address is known for the name inner.test (meshWith)' },
    ]);
    await vi.advanceTimersByTimeAsync(6000);
    expect(dials).toHaveLength(1);
  });

  it('a relay whose name never resolves is given up for this attempt', async () => {
    lookup.mockReturnValueOnce(new Promise(() => {}));
    meshWith(PEER);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(mesh.status()).toMatchObject([{ trouble: 'the name inner.test is not resolved in time (meshWith)' }]);
    await vi.advanceTimersByTimeAsync(6000);
    expect(dials).toHaveLength(1);
  });

  it('an unreachable relay is logged once for each reason', async () => {
    meshWith(PEER);
    for (const reason of ['one', 'one', 'two', 'one', 'one']) {
      await vi.advanceTimersByTimeAsync(6000);
      mesh.linkClosed(dials.length, reason);
    }
    await settled();
    expect(log.map((line) => line.split(' ')[0])).toEqual(['warn', 'debug', 'warn', 'warn', 'debug']);
  });

  it('a lost relay is logged each time', async () => {
    meshWith(PEER);
    for (let time = 0; time < 3; time++) {
      await vi.advanceTimersByTimeAsync(6000);
      mesh.linkOpen(dials.length, THEIRS);
      mesh.linkPeers(dials.length, [{ key: A, present: true }]);
      mesh.linkClosed(dials.length, 'gone');
    }
    await settled();
    const lost = log.filter((line) => line.includes('mesh link lost'));
    expect(lost).toEqual(
      Array(3).fill(
        `warn mesh link lost {"relay":"relay.test:8443","key":"nodekey:${'74'.repeat(32)}","reason":"gone"}`,
      ),
    );
  });
});

describe('the keys of a link', () => {
  beforeEach(async () => {
    meshWith(PEER);
    await vi.advanceTimersByTimeAsync(0);
    mesh.linkOpen(1, THEIRS);
  });

  it('the relay that a link leads to is known while the link is open', () => {
    expect([1, 2].map((link) => mesh.relayAt(link))).toEqual([THEIRS, undefined]);
    mesh.linkClosed(1, 'gone');
    expect(mesh.relayAt(1)).toBeUndefined();
  });

  it('announced keys are passed on in order', () => {
    mesh.linkPeers(1, [
      { key: A, present: true },
      { key: B, present: true },
      { key: A, present: false },
    ]);
    mesh.linkPeers(1, [{ key: A, present: true }]);
    expect(changes).toEqual(['1 +a', '1 +b', '1 -a', '1 +a']);
    expect(mesh.status()).toMatchObject([{ peers: 2 }]);
  });

  it('announced keys are withdrawn when the link ends, each once', async () => {
    mesh.linkPeers(1, [
      { key: A, present: true },
      { key: A, present: true },
      { key: B, present: true },
    ]);
    changes = [];
    mesh.linkClosed(1, 'gone');
    await settled();
    expect(changes.sort()).toEqual(['1 -a', '1 -b']);
    expect(mesh.status()).toMatchObject([{ peers: 0, trouble: 'gone' }]);
    await vi.advanceTimersByTimeAsync(6000);
    mesh.linkOpen(2, THEIRS);
    changes = [];
    mesh.linkClosed(2, 'gone');
    await settled();
    expect(changes).toEqual([]);
  });

  it('announcements of a replaced link are ignored', async () => {
    mesh.linkClosed(1, 'gone');
    await vi.advanceTimersByTimeAsync(6000);
    mesh.linkOpen(2, THEIRS);
    mesh.linkPeers(1, [{ key: A, present: true }]);
    expect(changes).toEqual([]);
  });

  it('what is said of a link that has ended is ignored', async () => {
    mesh.linkClosed(1, 'gone');
    await settled();
    mesh.linkOpen(1, THEIRS);
    mesh.linkClosed(1, 'gone again');
    await settled();
    expect(mesh.status()).toMatchObject([{ state: 'waiting', trouble: expect.stringMatching(/^gone and/) }]);
  });

  it('announced keys are counted in the log: once when they are complete, then as the count changes', async () => {
    mesh.linkPeers(1, [{ key: A, present: true }]);
    await vi.advanceTimersByTimeAsync(200);
    mesh.linkPeers(1, [{ key: B, present: true }]);
    await vi.advanceTimersByTimeAsync(10_000);
    expect(log).toEqual([
      'info mesh link connected {"relay":"relay.test:8443","peers":1}',
      'info mesh peers {"relay":"relay.test:8443","peers":2}',
    ]);
  });
});

it('a relay that turns out to be this one is disconnected, and not dialled again', async () => {
  meshWith(PEER);
  await vi.advanceTimersByTimeAsync(0);
  mesh.linkOpen(1, OWN);
  expect(hungUp).toEqual([1]);
  mesh.linkClosed(1, 'we hung up');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(dials).toHaveLength(1);
  expect(mesh.status()).toMatchObject([{ state: 'self', trouble: '' }]);
});

it('several relays are dialled at once, and each again on its own', async () => {
  meshWith(PEER, { ...PEER, authority: 'other.test' });
  await vi.advanceTimersByTimeAsync(0);
  expect(dials.map(({ target }) => target.authority)).toEqual(['relay.test:8443', 'other.test']);
  mesh.linkOpen(1, THEIRS);
  mesh.linkClosed(2, 'no');
  await vi.advanceTimersByTimeAsync(6000);
  expect(dials.map(({ target }) => target.authority)).toEqual(['relay.test:8443', 'other.test', 'other.test']);
});

it('no relay is dialled once the mesh is stopped', async () => {
  meshWith(PEER, PEER);
  await vi.advanceTimersByTimeAsync(0);
  mesh.linkClosed(1, 'no');
  await vi.advanceTimersByTimeAsync(100);
  mesh.stop();
  mesh.linkClosed(2, 'shutdown');
  await vi.advanceTimersByTimeAsync(60_000);
  expect(dials).toHaveLength(2);
  expect(vi.getTimerCount()).toBe(0);
});

describe('keys beyond the limit', () => {
  it('keys beyond the limit are ignored and logged, and the relay is dialled again once there is room', async () => {
    meshOfAtMost(4, PEER);
    await vi.advanceTimersByTimeAsync(0);
    mesh.linkOpen(1, THEIRS);
    const keys = [...'abcdef'].map((name) => name.repeat(32) as NodeKey);
    const told = (present: boolean, from: readonly NodeKey[]) =>
      mesh.linkPeers(
        1,
        from.map((key) => ({ key, present })),
      );
    told(true, keys);
    expect(changes).toEqual(['1 +a', '1 +b', '1 +c', '1 +d']);
    expect(mesh.status()).toMatchObject([{ peers: 4, passedOver: 2 }]);
    const warnings = log.filter((line) => line.startsWith('warn'));
    expect(warnings).toEqual([
      'warn keys of a mesh relay are skipped: there are more than limits.meshKeys ' +
        '{"relay":"relay.test:8443","peers":4,"limit":4}',
    ]);
    // What was passed over is not there to go.
    told(false, keys.slice(4));
    expect([changes.length, hungUp]).toEqual([4, []]);
    told(false, keys.slice(0, 1));
    expect(hungUp).toEqual([1]);
    mesh.linkClosed(1, 'we hung up');
    await vi.advanceTimersByTimeAsync(6000);
    expect(changes.slice(4)).toEqual(['1 -a', '1 -b', '1 -c', '1 -d']);
    mesh.linkOpen(2, THEIRS);
    mesh.linkPeers(2, [{ key: keys[5] as NodeKey, present: true }]);
    expect(changes.at(-1)).toBe('2 +f');
  });

  it('keys beyond the limit are taken from the relay that announces most', async () => {
    meshOfAtMost(4, PEER, { ...PEER, authority: 'other.test' });
    await vi.advanceTimersByTimeAsync(0);
    for (const link of [1, 2]) mesh.linkOpen(link, THEIRS);
    for (const key of [...'abcd'].map((name) => name.repeat(32) as NodeKey))
      mesh.linkPeers(1, [{ key, present: true }]);
    mesh.linkPeers(2, [{ key: 'x'.repeat(32) as NodeKey, present: true }]);
    expect(changes.slice(4)).toEqual(['1 -a', '2 +x']);
    expect(mesh.status()).toMatchObject([
      { peers: 3, passedOver: 1 },
      { peers: 1, passedOver: 0 },
    ]);
  });
});
