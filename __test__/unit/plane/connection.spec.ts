/** A connection of the JavaScript plane: what it counts, and its end while data waits for it. */
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Wheel } from '../../../src/plane/js/wheel.js';
import { SNAPSHOT_COLUMNS } from '../../../src/plane/plane.js';
import { sendPacketFrame } from '../../../src/protocol/frame.js';
import { laneNamed } from '../../helpers/lanes.js';
import { NO_RIGHTS, PlaneHarness } from '../../helpers/plane-harness.js';
import { eventually } from '../../helpers/wait.js';
import { attached, attaching } from './attached.js';
import { settled } from './context.js';

const LANE = laneNamed('js');
/** No deadline in the way of a test. */
const FOR_EVER = 3_600_000;

async function figure(harness: PlaneHarness, name: (typeof SNAPSHOT_COLUMNS)[number]): Promise<number> {
  const { rows } = await harness.plane.snapshot(0, 1);
  return rows[SNAPSHOT_COLUMNS.indexOf(name)] as number;
}

/** A client that has ended its side and reads on, slowly: a packet waits for it. */
async function endedWithWaiting(settings?: Parameters<typeof PlaneHarness.open>[1]) {
  const harness = await PlaneHarness.open(LANE, settings);
  const { client: sender } = await harness.admitted();
  const { client, id, near, far } = await attached(harness);
  far.hold();
  sender.sendPacket(client.key, 'lost');
  expect(await sender.fence()).toEqual([]);
  near.end();
  await harness.endOf(id);
  return { harness, sender, far };
}

describe('what a connection counts', () => {
  it.each([
    ['TLSv1.2', 'tls12', 'tls13'],
    ['TLSv1.3', 'tls13', 'tls12'],
  ] as const)('a connection over %s counts as one of that version while it is there', async (version, mine, other) => {
    const harness = await PlaneHarness.open(LANE, {}, 'tls');
    const { counters } = harness.plane;
    const { client, id } = await harness.admitted({ tls: { minVersion: version, maxVersion: version } });
    const counts = () => [counters.read(`tls_active:${mine}`), counters.read(`tls_active:${other}`)];
    expect(counts()).toEqual([1, 0]);
    expect([counters.read(`tls_upgrades:${mine}`), counters.read(`tls_upgrades:${other}`)]).toEqual([1, 0]);
    await client.close();
    await harness.endOf(id);
    expect(counts()).toEqual([0, 0]);
  });

  it('a connection in the clear counts for no version of TLS', async () => {
    const harness = await PlaneHarness.open(LANE);
    await harness.admitted();
    const counts = Object.entries(harness.plane.counters.readAll()).filter(([name]) => name.startsWith('tls_'));
    expect(counts.filter(([, count]) => count !== 0)).toEqual([]);
    expect(harness.plane.counters.read('accepts')).toBe(1);
  });

  it('the figures of a client have the time that its last Pong took', async () => {
    const harness = await PlaneHarness.open(LANE, { deadlines: { silence: 50, pong: FOR_EVER } });
    const { client } = await harness.admitted();
    expect(await figure(harness, 'roundTrip')).toBeNaN();
    const { data } = await client.expect('Ping');
    client.pong(Buffer.from(data, 'hex'));
    const roundTrip = await eventually(async () => {
      const value = await figure(harness, 'roundTrip');
      return Number.isNaN(value) ? undefined : { value };
    }, 'a round trip');
    expect(roundTrip.value).toBeGreaterThanOrEqual(0);
  });
});

describe('a client that waits for its admission', () => {
  it('a client that waits for its admission is read up to a bound, and on after the admission', async () => {
    const harness = await PlaneHarness.open(LANE, { limits: { leftoverBytes: 4096 } });
    const { client: receiver } = await harness.admitted();
    const { client, id, near, far } = await attaching(harness);
    const frame = sendPacketFrame(receiver.key, Buffer.alloc(2000));
    near.write(Buffer.concat([frame, frame]));
    await settled();
    expect(far.isPaused()).toBe(false);
    near.write(frame);
    await settled();
    expect(far.isPaused()).toBe(true);
    harness.plane.admit(id, NO_RIGHTS);
    await client;
    for (let count = 0; count < 3; count++) await receiver.expect('RecvPacket');
    expect(far.isPaused()).toBe(false);
  });
});

describe('the end of a connection', () => {
  it('a client that sends no more gets what waits for it, and its peers are told at once', async () => {
    const harness = await PlaneHarness.open(LANE);
    const { client: sender } = await harness.admitted();
    const { client, id, near, far } = await attached(harness);
    far.hold();
    for (const text of ['one', 'two', 'three']) sender.sendPacket(client.key, text);
    expect(await sender.fence()).toEqual([]);
    near.end();
    expect(await harness.endOf(id)).toBe('disconnected');
    sender.sendPacket(client.key, 'too late');
    expect(await sender.fence()).toEqual([]);
    expect(harness.plane.counters.read('packets_dropped:unknown_dest:other')).toBe(1);
    expect(far.destroyed).toBe(false);
    far.release();
    for (const text of ['one', 'two', 'three']) await client.expectPacket(text);
    await eventually(() => far.destroyed, 'the end of the stream');
    expect(harness.plane.counters.read('packets_sent')).toBe(3);
  });

  it('a client that sends no more and breaks then loses what waits for it', async () => {
    const { harness, far } = await endedWithWaiting();
    far.destroy();
    await eventually(() => harness.plane.counters.read('packets_dropped:write_error:other') === 1, 'the drop');
  });

  it('a client that sends no more has half a minute for what waits for it, where writes have no deadline', async () => {
    const { harness, sender, far } = await endedWithWaiting({
      deadlines: { write: 0 },
      tcp: { userTimeout: 0 },
      keepAlive: { interval: 20_000, jitter: 0 },
    });
    onTestFinished(() => void vi.restoreAllMocks());
    let ahead = 29_000;
    vi.spyOn(Wheel, 'now').mockImplementation(() => performance.now() + ahead);
    // The deadlines until then have been met.
    await sender.expect('KeepAlive');
    expect(far.destroyed).toBe(false);
    ahead = 30_100;
    // Half a minute of real time would do it, too.
    await eventually(() => far.destroyed, 'the end of the stream', 15_000);
    expect(harness.plane.counters.read('packets_dropped:write_error:other')).toBe(1);
  });

  it('a client that takes nothing of what is written to it is closed once all clients hold too much', async () => {
    const harness = await PlaneHarness.open(LANE, { limits: { queuedBytes: 100 } });
    const { client: sender } = await harness.admitted();
    const { client, id, far } = await attached(harness);
    far.hold();
    for (let count = 0; count < 60; count++) sender.sendPacket(client.key, Buffer.alloc(4000));
    expect(await harness.endOf(id)).toBe('over_budget');
    expect(far.destroyed).toBe(true);
    expect(await sender.fence()).toEqual([]);
  });

  it('what a client sends before its admission counts, even if it sends no more then', async () => {
    const harness = await PlaneHarness.open(LANE);
    const { client: receiver } = await harness.admitted();
    const { client, login } = await harness.loggingIn();
    client.sendPacket(receiver.key, 'ahead');
    client.wire.end();
    for (const _ of [1, 2, 3]) expect(await receiver.fence()).toEqual([]);
    harness.plane.admit(login.id, NO_RIGHTS);
    expect(await receiver.expectPacket('ahead')).toBe(client.key);
    expect(await harness.endOf(login.id)).toBe('disconnected');
  });

  it('a client for which nothing waits is gone at once', async () => {
    const harness = await PlaneHarness.open(LANE);
    const { id, near, far } = await attached(harness);
    near.end();
    expect(await harness.endOf(id)).toBe('disconnected');
    expect(far.destroyed).toBe(true);
  });

  it('a plane that shuts down waits for no client that still reads', async () => {
    const { harness, far } = await endedWithWaiting();
    await harness.plane.shutdown();
    expect(far.destroyed).toBe(true);
  });

  it('a stream that has ended before it was attached raises no login', async () => {
    const harness = await PlaneHarness.open(LANE);
    const { far } = await attached(harness);
    far.destroy();
    const id = await harness.plane.attach(far, { address: '192.0.2.1', port: 5 });
    expect(harness.logins.map((login) => login.id)).not.toContain(id);
    expect(harness.plane.counters.read('logins_failed')).toBe(1);
  });
});
