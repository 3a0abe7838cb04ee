import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { ReceiveRate } from '../../src/plane/plane.js';
import { sendPacketFrame } from '../../src/protocol/frame.js';
import { DerpClient } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { PlaneHarness } from '../helpers/plane-harness.js';
import { MESH_KEY, startRelay } from '../helpers/relay.js';
import { numbered } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

function rateFile(config: object): string {
  const directory = mkdtempSync(join(tmpdir(), 'derpkit-rate-'));
  onTestFinished(() => rmSync(directory, { recursive: true }));
  const path = join(directory, 'rate.json');
  writeFileSync(path, JSON.stringify(config));
  return path;
}

describe.each(LANES_AND_TLS)('limits, $name', (lane) => {
  it('a receive limit delays its client, loses nothing, and affects no other', async () => {
    // For ever, as far as a test is concerned.
    const rateConfig = rateFile({ PerClientRateLimitBytesPerSec: 1 });
    const relay = await startRelay(lane, { config: { rateConfig } });
    const [slow, other, receiver] = [
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
    ];
    for (const number of [1, 2, 3]) slow.sendPacket(receiver.key, numbered(number));
    expect((await receiver.expect('RecvPacket')).packet.readUInt32BE()).toBe(1);
    await relay.untilCount('rate_limit_waits', 1);
    other.sendPacket(receiver.key, 'undisturbed');
    const seen: number[] = [];
    // The frame that overdrew the bucket is on its way; the one behind it is not read.
    for (let frame = await receiver.expect('RecvPacket'); ; frame = await receiver.expect('RecvPacket')) {
      if (frame.packet.toString() === 'undisturbed') break;
      seen.push(frame.packet.readUInt32BE());
    }
    expect(seen).not.toContain(3);
    // A file that cannot be used changes nothing; one without a limit frees every connected client.
    writeFileSync(rateConfig, 'x');
    await expect(relay.relay.reload()).rejects.toThrow('it is not JSON');
    expect((await receiver.fence()).length).toBeLessThan(2);
    // An equal limit once more gives every client a full bucket.
    writeFileSync(rateConfig, JSON.stringify({ PerClientRateLimitBytesPerSec: 1 }));
    await relay.relay.reload();
    await relay.untilCount('packets_sent', 4);
    writeFileSync(rateConfig, '{}');
    await relay.relay.reload();
    await slow.fence();
    expect(relay.drops()).toEqual({});
    expect(relay.count('packets_sent')).toBe(4);
  });

  it('a new receive limit replaces the limit of a connected client, and packets that wait go on', async () => {
    const policy = { receiveRate: { bytesPerSecond: 0.001, burst: 65_568 } };
    const harness = await PlaneHarness.open(lane, policy);
    const { client, id } = await harness.admitted();
    const { client: other } = await harness.admitted();
    // One beyond the burst, and one that waits behind it.
    const send = () => {
      for (const number of [1, 2, 3]) client.sendPacket(other.key, numbered(number, 60_000));
    };
    const expectOf = async (...expected: number[]) => {
      for (const number of expected) expect((await other.expect('RecvPacket')).packet.readUInt32BE()).toBe(number);
    };
    const undisturbed = async () => {
      other.sendPacket(other.key, 'undisturbed');
      await other.expectPacket('undisturbed');
    };
    const waits = () => harness.plane.counters.read('rate_limit_waits');
    const limit = async (rate: ReceiveRate | null) => {
      harness.plane.limit(id, rate);
      await harness.plane.snapshot(0, 0);
      // The command has crossed. On the native plane the client's worker has it before the second fence.
      await client.fence();
      await client.fence();
    };
    send();
    await expectOf(1, 2);
    await undisturbed();
    // Another one of its own, with a full burst: for the one that waits, and no more than one.
    await limit({ bytesPerSecond: 0.001, burst: 65_568 + 1 });
    await expectOf(3);
    send();
    await expectOf(1);
    await undisturbed();
    expect(waits()).toBe(2);
    await limit({ bytesPerSecond: 1e12, burst: 1e12 });
    await expectOf(2, 3);
    send();
    await expectOf(1, 2, 3);
    expect(waits()).toBe(2);
    // The common limit again. Other clients had it all the while, and a client that has gone needs nothing.
    await limit(null);
    send();
    await expectOf(1, 2);
    await undisturbed();
    expect(waits()).toBe(3);
    await limit({ bytesPerSecond: 1e12, burst: 1e12 });
    await expectOf(3);
    await client.close();
    await harness.endOf(id);
    harness.plane.limit(id, { bytesPerSecond: 1, burst: 65_568 });
    harness.plane.limit(id + 1000, null);
    await harness.plane.snapshot(0, 0);
    await undisturbed();
  });

  it('a receive limit counts frames without their headers, and lets the first frame beyond the limit through', async () => {
    const harness = await PlaneHarness.open(lane, { receiveRate: { bytesPerSecond: 0.001, burst: 65_568 } });
    const { client } = await harness.admitted();
    const { client: receiver } = await harness.admitted();
    const waits = () => harness.plane.counters.read('rate_limit_waits');
    // All that there is, to the byte: 32 of each frame are the key.
    for (const number of [1, 2]) client.sendPacket(receiver.key, numbered(number, 65_568 / 2 - 32));
    for (const number of [1, 2]) expect((await receiver.expect('RecvPacket')).packet.readUInt32BE()).toBe(number);
    expect(waits()).toBe(0);
    const [tooMuch, next] = [3, 4].map((number) => sendPacketFrame(receiver.key, numbered(number, 1000)));
    client.wire.write((tooMuch as Buffer).subarray(0, 500));
    await eventually(() => waits() === 1, 'a frame to be too much');
    client.wire.write(Buffer.concat([(tooMuch as Buffer).subarray(500), next as Buffer]));
    expect((await receiver.expect('RecvPacket')).packet.readUInt32BE()).toBe(3);
    // Long enough for it to have come: it is behind the one that has, and in the same write.
    const { client: other } = await harness.admitted();
    other.sendPacket(receiver.key, 'undisturbed');
    await receiver.expectPacket('undisturbed');
    harness.plane.policy(harness.policy({ receiveRate: null }));
    expect((await receiver.expect('RecvPacket')).packet.readUInt32BE()).toBe(4);
    expect(waits()).toBe(1);
  });

  it.each(['tcp', 'tls'] as const)(
    'a receive limit delays what a client sent before it left over %s, and loses none of it',
    async (kind) => {
      const harness = await PlaneHarness.open(lane, { receiveRate: { bytesPerSecond: 0.001, burst: 65_568 } }, kind);
      const { client, id } = await harness.admitted();
      const { client: receiver } = await harness.admitted();
      const frames = Array.from({ length: 70 }, (_, number) => sendPacketFrame(receiver.key, numbered(number, 1000)));
      client.wire.write(Buffer.concat(frames));
      await eventually(() => harness.plane.counters.read('rate_limit_waits') === 1, 'it to be held back');
      client.wire.end();
      await eventually(() => harness.plane.counters.read('packets_received:other') > 60, 'all that was permitted');
      expect(harness.ends.has(id)).toBe(false);
      harness.plane.policy(harness.policy({ receiveRate: null }));
      for (let number = 0; number < 70; number++)
        expect((await receiver.expect('RecvPacket')).packet.readUInt32BE()).toBe(number);
      expect(await harness.endOf(id)).toBe('disconnected');
    },
  );

  it('a client’s own limit replaces the common one', async () => {
    const narrow = { bytesPerSecond: 1, burst: 65_568 };
    const wide = { bytesPerSecond: 1e9, burst: 1e9 };
    for (const [policy, own, held] of [
      [null, narrow, true],
      [narrow, wide, false],
    ] as const) {
      const harness = await PlaneHarness.open(lane, { receiveRate: policy });
      const { client, login } = await harness.loggingIn();
      harness.plane.admit(login.id, { mesh: false, receiveLimit: own });
      await client.expect('ServerInfo');
      for (const number of [1, 2, 3]) client.sendPacket(client.key, numbered(number));
      expect((await client.expect('RecvPacket')).packet.readUInt32BE()).toBe(1);
      const waits = () => harness.plane.counters.read('rate_limit_waits');
      if (held) await eventually(() => waits() > 0, 'it to be held back');
      else expect(await client.fence()).toHaveLength(2);
      expect(waits() > 0).toBe(held);
    }
  });

  it('a receive limit does not apply to mesh peers', async () => {
    const rateConfig = rateFile({ PerClientRateLimitBytesPerSec: 1 });
    const relay = await startRelay(lane, { config: { rateConfig } });
    const peer = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    for (const number of [1, 2, 3, 4]) peer.sendPacket(peer.key, numbered(number));
    expect(await peer.fence()).toHaveLength(4);
    expect(relay.count('rate_limit_waits')).toBe(0);
  });

  it('an accept limit closes connections beyond it at once, and the relay goes on', async () => {
    const config = { acceptConnectionLimit: 1e-6, acceptConnectionBurst: 2 };
    const relay = await startRelay(lane, { tls: true, config });
    const [a, b] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    await expect(Wire.open(relay.target())).rejects.toThrow();
    a.sendPacket(b.key, 'still here');
    await b.expectPacket('still here');
    expect([relay.count('tls_accepts'), relay.count('tls_rejects')]).toEqual([2, 1]);
  });

  it('a disallowed app name refuses clients, but not mesh peers', async () => {
    const relay = await startRelay(lane, { config: { disallowAppNames: 'one,two' } });
    await expect(DerpClient.connect(relay, { appName: 'two' })).rejects.toThrow();
    await DerpClient.connect(relay, { appName: 'One' });
    await DerpClient.connect(relay);
    await DerpClient.connect(relay, { appName: 'one', meshKey: MESH_KEY });
  });
});
