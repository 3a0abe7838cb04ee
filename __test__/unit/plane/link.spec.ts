/** One link of the plane, from the dial to its end, with a relay at the other end that does what a test wants. */
import { X509Certificate } from 'node:crypto';
import { describe, expect, it, vi } from 'vitest';
import { freePort } from '../../../src/bench/ports.js';
import type { DialTarget } from '../../../src/plane/plane.js';
import {
  encodeFrame,
  peerGoneFrame,
  peerPresentFrame,
  pingFrame,
  serverKeyFrame,
} from '../../../src/protocol/frame.js';
import { switchingProtocols } from '../../../src/protocol/upgrade.js';
import { FrameType, HEADER_LENGTH, MAGIC, PeerGoneReason } from '../../../src/protocol/wire.js';
import { issue } from '../../helpers/issue.js';
import { laneNamed } from '../../helpers/lanes.js';
import { anyKey, drops, forwarded, sendTo, texts } from '../../helpers/lookups.js';
import { OtherRelay } from '../../helpers/other-relay.js';
import { PlaneHarness } from '../../helpers/plane-harness.js';
import { MESH_KEY, ownCertificate, type PolicyChanges } from '../../helpers/relay.js';
import { eventually } from '../../helpers/wait.js';
import { contextWith, settled } from './context.js';

const LANE = laneNamed('js');
const SWITCHING = Buffer.from('HTTP/1.1 101 Switching Protocols\r\n\r\n');
const UNKNOWN = 0x7f as FrameType;
const NO_DERP = 'it does not speak DERP';
const TOO_LONG = 'its ServerInfo has 1048577 bytes';

function targetAt(port: number, changes: Partial<DialTarget>): DialTarget {
  const address = { address: '127.0.0.1', port };
  const usual = { host: 'localhost', authority: `localhost:${port}`, roots: null, meshKey: MESH_KEY };
  return { address, ...usual, timeout: 30_000, watch: true, ...changes };
}

/** A plane that dials another relay. */
async function dialling(changes: Partial<DialTarget> = {}, policy: PolicyChanges = {}, pair = ownCertificate()) {
  const harness = await PlaneHarness.open(LANE, policy);
  const other = await OtherRelay.start(changes.roots !== undefined, pair);
  harness.plane.dial(7, targetAt(other.port, changes));
  return { harness, other };
}

/** A link that is open, and the other relay's end of it. */
async function linked(changes: Partial<DialTarget> = {}, policy: PolicyChanges = {}) {
  const { harness, other } = await dialling(changes, policy);
  const end = await other.linked(changes.watch ?? true);
  await eventually(() => harness.opened.includes(7), 'the link to be open');
  return { harness, other, end };
}

async function endOf(harness: PlaneHarness): Promise<string> {
  return eventually(() => harness.linkEnds[0], 'the end of the link');
}

function presence(key = anyKey(), length = 52): Buffer {
  const frame = peerPresentFrame({ key, address: '192.0.2.1', port: 1, flags: 1, appName: '' });
  return encodeFrame(
    FrameType.PeerPresent,
    Buffer.alloc(length).fill(frame.subarray(HEADER_LENGTH), 0, Math.min(length, 52)),
  );
}

function greeting(length = 40, magic = MAGIC): Buffer {
  const body = Buffer.alloc(length, 1);
  magic.copy(body);
  return Buffer.concat([SWITCHING, encodeFrame(FrameType.ServerKey, body)]);
}

describe('a link that logs in', () => {
  it('a link asks for raw DERP, gives its keys, and watches', async () => {
    const { harness, other } = await dialling();
    const { request, key, info } = await (await other.next()).login();
    expect(request).toContain(`GET /derp HTTP/1.1\r\nHost: localhost:${other.port}\r\n`);
    expect(key).toBe(harness.keys.publicKey);
    expect(info).toEqual({ version: 2, meshKey: MESH_KEY, canAckPings: true, isProber: false, appName: '' });
    await eventually(() => harness.opened.length > 0, 'the link to be open');
    expect(harness.opened).toEqual([7]);
  });

  it('a link reads an answer that comes byte by byte, and no longer than 16 KiB', async () => {
    const { harness, other } = await dialling();
    const end = await other.next();
    await end.wire.takeThrough('\r\n\r\n');
    const answer = switchingProtocols(other.keys.publicKey);
    await end.wire.writeSplit(answer, ...answer.keys());
    end.wire.write(serverKeyFrame(other.keys.publicKey));
    await end.finishLogin();
    await eventually(() => harness.opened.length > 0, 'the link to be open');
    const { harness: second, other: endless } = await dialling({}, { limits: { headBytes: 100 } });
    (await endless.next()).wire.write('x'.repeat(100));
    expect(await endOf(second)).toBe(`it answers "${'x'.repeat(64)}"`);
  });

  it('a link to the relay itself does not watch, or it would be told of its own clients', async () => {
    const { harness } = await dialling();
    harness.plane.dial(8, targetAt(harness.port, {}));
    const { info } = await eventually(() => harness.logins[0], 'a login');
    expect(info).toMatchObject({ meshKey: MESH_KEY });
    harness.plane.admit(harness.logins[0]?.id ?? 0, { mesh: true, receiveLimit: null });
    await eventually(() => harness.opened.includes(8), 'the link to be open');
    expect(harness.watchers).toEqual([]);
    expect(await linkRows(harness)).toEqual([[8, 0, 0, 0, 0, 0]]);
  });

  it.each<[string, Buffer, string]>([
    ['says no', Buffer.from('HTTP/1.1 403 Forbidden\r\n\r\n'), 'it answers "HTTP/1.1 403 Forbidden"'],
    ['begins with another frame', Buffer.concat([SWITCHING, encodeFrame(UNKNOWN, Buffer.alloc(40))]), NO_DERP],
    ['greets with too little', greeting(39), NO_DERP],
    ['has another magic', greeting(40, Buffer.alloc(8)), NO_DERP],
    ['greets with too much', greeting(1025), 'its greeting has 1025 bytes'],
    [
      'says something else then',
      Buffer.concat([greeting(1024), encodeFrame(UNKNOWN, Buffer.alloc(0))]),
      'its second frame has type 127',
    ],
    ['says too much of itself', Buffer.concat([greeting(), header(FrameType.ServerInfo, (1 << 20) + 1)]), TOO_LONG],
    [
      'has not the key that it says',
      Buffer.concat([greeting(), encodeFrame(FrameType.ServerInfo, Buffer.alloc(60))]),
      'its ServerInfo does not open',
    ],
  ])('a link ends if the other relay %s', async (_what, answer, reason) => {
    const { harness, other } = await dialling();
    const end = await other.next();
    await end.wire.takeThrough('\r\n\r\n');
    end.wire.write(answer);
    expect(await endOf(harness)).toBe(reason);
    await end.wire.ended();
    expect(harness.opened).toEqual([]);
  });

  it('a link fails if no relay listens', async () => {
    const harness = await PlaneHarness.open(LANE);
    harness.plane.dial(7, targetAt(await freePort(), {}));
    expect(await endOf(harness)).toBe('connection refused');
  });

  it('a dial that cannot begin is told as a link that has ended, and as a fault', async () => {
    const { context, log } = contextWith();
    context.links.dial(7, targetAt(70_000, {}), context);
    await settled();
    expect(log).toEqual([expect.stringMatching(/^fault ERR_INTERNAL a dial: /), 'linkClosed 7 internal error']);
    expect(context.links.open(7)).toBeUndefined();
  });

  it.each([
    ['connect', 'authority'],
    ['data', 'meshKey'],
  ])('a fault of a link, %s, is told by its name, and ends the link', async (event, setting) => {
    const other = await OtherRelay.start(false, ownCertificate());
    const { context, log } = contextWith();
    const broken = () => {
      throw new Error('broken');
    };
    const made = { [setting]: { toString: broken, toJSON: broken } } as Partial<DialTarget>;
    context.links.dial(7, targetAt(other.port, made), context);
    const end = await other.next();
    if (event === 'data') end.login().catch(() => undefined);
    await eventually(() => log.length > 1, 'the end of the link');
    const fault = expect.stringContaining(`fault ERR_INTERNAL a mesh link: ${event}: Error: broken`);
    expect(log).toEqual([fault, 'linkClosed 7 internal error']);
  });

  it('a link fails if the other relay takes longer for the login than it may', async () => {
    const { harness, other } = await dialling({ timeout: 300 });
    await (await other.next()).wire.takeThrough('\r\n\r\n');
    expect(await endOf(harness)).toBe('no login within 0.3 s');
  });
});

describe('a link over TLS', () => {
  const own = [new X509Certificate(ownCertificate().chain).raw];
  const UNTRUSTED = 'its certificate is not trusted: ';

  it.each([
    ['localhost', 'localhost'],
    ['127.0.0.1', false],
  ])('a link to %s sends the server name %j, and skips authorities that cannot be read', async (host, servername) => {
    const { end } = await linked({ host, roots: [Buffer.from('junk'), ...own] });
    expect(end.wire.tlsSocket.getProtocol()).toBe('TLSv1.3');
    expect((end.wire.tlsSocket as { servername?: string | false }).servername).toBe(servername);
  });

  it('a link refuses a relay whose certificate is for other names, and says for which', async () => {
    const { harness } = await dialling({ host: 'other.test', roots: own });
    expect(await endOf(harness)).toBe(`${UNTRUSTED}it is for the names localhost, 127.0.0.1, 0:0:0:0:0:0:0:1`);
  });

  it('a link refuses a relay whose certificate has no alternative names', async () => {
    const { pem: chain, key } = issue({ subject: 'localhost' });
    const { harness } = await dialling({ roots: [new X509Certificate(chain).raw] }, {}, { chain, key });
    expect(await endOf(harness)).toBe(`${UNTRUSTED}it has no alternative names`);
  });

  it('a link refuses a relay for which no authority vouches', async () => {
    const { harness } = await dialling({ roots: [] });
    expect(await endOf(harness)).toMatch(/^its certificate is not trusted: self.signed certificate$/);
  });

  it('a link that fails below TLS says why', async () => {
    const harness = await PlaneHarness.open(LANE);
    harness.plane.dial(7, targetAt(await freePort(), { roots: own }));
    expect(await endOf(harness)).toBe('connection refused');
  });
});

describe('a link that is open', () => {
  it('a link reports keys that come and go, and skips frames that say less or far more', async () => {
    const { harness, end } = await linked();
    const events = vi.spyOn(harness, 'linkPeers');
    const [first, second] = [anyKey(), anyKey()];
    end.send(presence(first), presence(first, 31), presence(second, 1025), presence(second, 1024));
    end.send(encodeFrame(FrameType.PeerGone, Buffer.alloc(31)), encodeFrame(FrameType.PeerGone, Buffer.alloc(1025)));
    end.send(encodeFrame(UNKNOWN, Buffer.alloc(100)), encodeFrame(FrameType.KeepAlive, Buffer.alloc(0)));
    end.send(peerGoneFrame(first, PeerGoneReason.Disconnected));
    await eventually(() => harness.told.length >= 3, 'three changes');
    expect(harness.told).toEqual([first, second, `not ${first}`]);
    expect((await linkRows(harness))[0]?.at(-1)).toBe(3);
    // One event tells all changes of a read.
    for (const [, changes] of events.mock.calls) expect(changes.length).toBeGreaterThan(0);
  });

  it('a link that does not watch ignores keys that come', async () => {
    const { harness, end } = await linked({ watch: false });
    const [came, gone] = [anyKey(), anyKey()];
    end.send(presence(came), peerGoneFrame(gone, PeerGoneReason.NotHere));
    await eventually(() => harness.told.length > 0, 'a change');
    expect(harness.told).toEqual([`not ${gone}`]);
  });

  it('a link answers pings with their first 8 bytes, and skips what is none', async () => {
    const { end } = await linked();
    end.send(pingFrame(Buffer.alloc(7)), pingFrame(Buffer.alloc(1001)), pingFrame(Buffer.alloc(1000, 'abcdefgh')));
    expect(await end.frame()).toEqual({ type: FrameType.Pong, body: Buffer.from('abcdefgh') });
  });

  it('a link carries packets to the keys that are routed over it, and counts them', async () => {
    const { harness, end } = await linked();
    const { client } = await harness.admitted();
    const [there, away] = [anyKey(), anyKey()];
    harness.plane.route(there, 7);
    harness.plane.route(away, 7);
    harness.plane.route(away, null);
    await sendTo(client, there, 'hello');
    await sendTo(client, away, 'nobody');
    expect(await forwarded(end, 1)).toEqual([{ source: client.key, destination: there, packet: Buffer.from('hello') }]);
    await eventually(async () => (await linkRows(harness))[0]?.[1] === 1, 'the packet to be counted');
    expect(await linkRows(harness)).toEqual([[7, 1, 5, 0, 0, 0]]);
    expect(drops(harness)).toEqual({ unknown_dest: 1 });
    expect(harness.plane.counters.read('packets_forwarded_out')).toBe(1);
    harness.plane.hangUp(7);
    expect(await endOf(harness)).toBe('we hung up');
    await sendTo(client, there, 'too late');
    expect(drops(harness)).toEqual({ unknown_dest: 1, mesh_down: 1 });
    expect(await linkRows(harness)).toEqual([]);
  });

  it('a link that is up again carries packets by the same routes', async () => {
    const { harness, other } = await linked();
    const { client } = await harness.admitted();
    const key = anyKey();
    harness.plane.route(key, 8);
    harness.plane.dial(8, targetAt(other.port, {}));
    await sendTo(client, key, 'too early');
    expect(drops(harness)).toEqual({ mesh_down: 1 });
    const end = await other.linked();
    await eventually(() => harness.opened.includes(8), 'the second link to be open');
    await sendTo(client, key, 'in time');
    expect(await texts(end, 1)).toEqual(['in time']);
  });

  it('a link ends at a frame of more than 1 MiB, and not at one of 1 MiB', async () => {
    const { harness, end } = await linked();
    end.send(header(UNKNOWN, 1 << 20), Buffer.alloc(1 << 20), pingFrame(Buffer.from('abcdefgh')));
    expect((await end.frame()).type).toBe(FrameType.Pong);
    end.send(header(UNKNOWN, (1 << 20) + 1));
    expect(await endOf(harness)).toBe('a frame of type 127 has 1048577 bytes');
  });

  it.each([
    ['ends the connection', 'the relay closed the connection'],
    ['resets the connection', 'connection reset by peer'],
  ])('a link ends if the other relay %s', async (how, reason) => {
    const { harness, end } = await linked();
    if (how === 'ends the connection') end.wire.end();
    else end.wire.reset();
    expect(await endOf(harness)).toBe(reason);
  });

  it('a link ends if the other relay is silent for too long', async () => {
    const { harness } = await linked({}, { deadlines: { linkSilence: 200 } });
    expect(await endOf(harness)).toBe('the relay is silent');
  });

  it('a plane that shuts down ends its links, and dials no more', async () => {
    const { harness, other, end } = await linked();
    await harness.plane.shutdown();
    await end.wire.ended();
    harness.plane.dial(8, targetAt(other.port, {}));
    expect(other.waiting).toBe(0);
  });
});

function header(type: FrameType, length: number): Buffer {
  const bytes = Buffer.alloc(HEADER_LENGTH);
  bytes[0] = type;
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

/** The rows of a snapshot's links. */
async function linkRows(harness: PlaneHarness): Promise<number[][]> {
  const { links } = await harness.plane.snapshot(0, 0);
  const rows: number[][] = [];
  for (let at = 0; at < links.length; at += 6) rows.push([...links.subarray(at, at + 6)]);
  return rows;
}
