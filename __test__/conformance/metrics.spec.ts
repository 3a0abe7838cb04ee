/** Figures that are more than a count of what the tests of frames see: what `/debug/varz` makes of a relay at work. */
import { duplexPair } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { sendPacketFrame } from '../../src/protocol/frame.js';
import { DerpClient, upgradeRequest } from '../helpers/client.js';
import { ask } from '../helpers/http.js';
import { LANES } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { MESH_KEY, startRelay, type TestRelay } from '../helpers/relay.js';
import { fill, numbered } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';
import { WebSocketClient } from '../helpers/websocket.js';
import { Wire } from '../helpers/wire.js';

nothingIsLeft();

/** Every sample, by its name and labels. */
async function varz(relay: TestRelay): Promise<Map<string, number>> {
  const { body } = await ask(relay.target(), '/debug/varz');
  return new Map(
    [...body.matchAll(/^([a-z][^ ]*) (\S+)$/gm)].map(([, name, value]) => [name as string, Number(value)]),
  );
}

/** Buckets and all of a histogram, which have to agree with each other. */
function histogram(samples: Map<string, number>, name: string) {
  const buckets = [...samples].filter(([sample]) => sample.startsWith(`${name}_bucket{`)).map(([, count]) => count);
  expect(buckets.length).toBeGreaterThan(5);
  expect(buckets).toEqual(buckets.toSorted((a, b) => a - b));
  const [sum, count] = [samples.get(`${name}_sum`) as number, samples.get(`${name}_count`) as number];
  expect(buckets.at(-1)).toBe(count);
  return { sum, count, upTo: (bound: string) => samples.get(`${name}_bucket{le="${bound}"}`) };
}

describe.each(LANES)('the metrics, $name', (lane) => {
  it.each([false, true])('the metrics count the frames of each write, but none of the login; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls });
    const [from, to] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const written = async () => histogram(await varz(relay), 'derp_buffered_write_frames');
    expect(await written()).toMatchObject({ sum: 0, count: 0 });
    await from.fence();
    expect(await written()).toMatchObject({ sum: 1, count: 1 });
    const packets = 30;
    let got = 0;
    to.onPacket = () => {
      got += 1;
    };
    from.send(...Array.from({ length: packets }, (_, index) => sendPacketFrame(to.key, numbered(index, 100))));
    await eventually(() => got === packets, 'all packets');
    await relay.untilCount('packets_sent', packets);
    const { sum, count, upTo } = await written();
    expect(sum).toBe(1 + packets);
    // They came with one read, or a few.
    expect(count).toBeLessThan(sum);
    expect(upTo('1')).toBeLessThan(count);
  });

  it.each([false, true])('the metrics average how long packets wait; TLS %s', async (tls) => {
    const relay = await startRelay(lane, { tls, config: { tcpWriteTimeout: 0, tcpUserTimeout: 0 } });
    const [sender, slow, other] = [
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
    ];
    const average = async () => (await varz(relay)).get('derp_average_queue_duration_ms');
    sender.sendPacket(other.key, 'at once');
    await other.expectPacket('at once');
    expect(await average()).toBe(0);
    let last = -1;
    slow.onPacket = (_source, packet) => {
      last = packet.readUInt32BE();
    };
    slow.wire.stopReading();
    // Packets that are pushed out have waited, too.
    const sent = await fill(relay, sender, slow);
    const stalled = (await average()) as number;
    expect(stalled).toBeGreaterThan(0);
    slow.wire.goOnReading();
    await eventually(() => last === sent - 1, 'the last packet');
    expect(await average()).toBeGreaterThan(0);
    // After enough that pass at once nothing is left of it.
    for (let round = 0; round < 30; round++) {
      const burst = Array.from({ length: 10 }, (_, index) => sendPacketFrame(other.key, numbered(index, 10)));
      sender.send(...burst, sendPacketFrame(other.key, Buffer.from(`round ${round}`)));
      let packet: Buffer;
      do packet = (await other.expect('RecvPacket')).packet;
      while (packet.toString() !== `round ${round}`);
    }
    expect(await average()).toBe(0);
  });

  it.each(['TLSv1.2', 'TLSv1.3'] as const)('the metrics count clients over %s', async (version) => {
    const tls = { minVersion: version, maxVersion: version };
    const relay = await startRelay(lane, { tls: true });
    const sample = `derper_tls_active_version{version="${version.slice(4)}"}`;
    const active = async () => {
      const { body } = await ask(relay.target(tls), '/debug/varz');
      return Number(
        body
          .split('\n')
          .find((line) => line.startsWith(`${sample} `))
          ?.split(' ')[1],
      );
    };
    // The request itself is under way.
    expect(await active()).toBe(1);
    const clients = [await DerpClient.connect(relay, { tls }), await DerpClient.connect(relay, { tls })];
    expect(await active()).toBe(3);
    // A connection that became DERP with its second request, and one between two requests.
    const second = await Wire.open(relay.target(tls));
    second.write('GET /robots.txt HTTP/1.1\r\nHost: derp.test\r\n\r\n');
    await second.takeThrough('Disallow: /\n');
    expect(await active()).toBe(3);
    second.write(upgradeRequest());
    await second.takeThrough('DERP🔑');
    await eventually(async () => (await active()) === 4, 'the upgrade to be counted');
    // An upgrade to what we do not speak is a request like any other.
    const refused = await Wire.open(relay.target(tls));
    refused.write(upgradeRequest({ Upgrade: 'h2c' }, 'GET /robots.txt HTTP/1.1'));
    await refused.takeThrough('Disallow: /\n');
    await refused.ended();
    expect(await active()).toBe(4);
    await second.destroy();
    await clients[0]?.close();
    await eventually(async () => (await active()) === 2, 'two to be gone');
  });

  it('the metrics count a WebSocket over TLS while it is connected', async () => {
    const relay = await startRelay(lane, { tls: true });
    const active = async () => (await varz(relay)).get('derper_tls_active_version{version="1.3"}');
    const socket = await WebSocketClient.open(relay);
    await eventually(async () => (await active()) === 2, 'the upgrade to be counted');
    const client = await DerpClient.over(socket, relay);
    expect(await active()).toBe(2);
    await client.close();
    await eventually(async () => (await active()) === 1, 'it to be gone');
  });

  it.skipIf(lane.planeKind !== 'native' || process.platform !== 'linux')(
    'the metrics count round trips of TCP',
    async () => {
      const relay = await startRelay(lane, { policy: { tcp: { roundTrips: 50 } } });
      const sums = async () => {
        const rows = [...(await varz(relay))].filter(([name]) => name.startsWith('derp_tcp_rtt{'));
        return new Map(rows.map(([name, count]) => [name.slice('derp_tcp_rtt{le="'.length, -2), count]));
      };
      expect(await sums()).toEqual(new Map());
      const client = await DerpClient.connect(relay);
      // Nothing on loopback is further away than this, and every sample is in one row.
      await eventually(async () => ((await sums()).get('10ms') ?? 0) >= 3, 'three samples');
      expect([...(await sums()).keys()]).toEqual(['10ms']);
      await client.close();
      const [ours, theirs] = duplexPair();
      await relay.dataPlane.attach(theirs, { address: '', port: 0 });
      await DerpClient.over(ours, relay);
      await eventually(async () => ((await sums()).get('non-tcp') ?? 0) > 0, 'a connection that is none of TCP’s');
    },
  );

  it.runIf(lane.planeKind === 'native')('the metrics count no round trips if the policy disables them', async () => {
    const relay = await startRelay(lane, { policy: { tcp: { roundTrips: 0 } } });
    const other = await startRelay(lane, { policy: { tcp: { roundTrips: 20 } } });
    await DerpClient.connect(relay);
    await DerpClient.connect(other);
    // Long enough for many samples, had they been asked for.
    const samples = async () => (await varz(other)).get('derp_tcp_rtt{le="10ms"}') ?? 0;
    await eventually(async () => (await samples()) >= 5, 'five samples of the other relay');
    const { body } = await ask(relay.target(), '/debug/varz');
    expect(body).toContain('# TYPE derp_tcp_rtt counter\n');
    expect(body).not.toContain('derp_tcp_rtt{');
  });

  it('the metrics count the frames for mesh peers, and their batches', async () => {
    const relay = await startRelay(lane);
    const peer = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    for (let count = 0; count < 3; count++) await DerpClient.connect(relay);
    expect(histogram(await varz(relay), 'derp_mesh_update_batch_size')).toMatchObject({ sum: 0, count: 0 });
    peer.watch();
    for (let count = 0; count < 4; count++) await peer.expect('PeerPresent');
    let batches = histogram(await varz(relay), 'derp_mesh_update_batch_size');
    expect(batches).toMatchObject({ sum: 4, count: 1 });
    expect([batches.upTo('2'), batches.upTo('5')]).toEqual([0, 1]);
    const late = await DerpClient.connect(relay);
    await peer.expect('PeerPresent');
    await late.close();
    await peer.expect('PeerGone');
    batches = histogram(await varz(relay), 'derp_mesh_update_batch_size');
    expect(batches).toMatchObject({ sum: 6, count: 3 });
    expect(histogram(await varz(relay), 'derp_mesh_update_loop_count')).toMatchObject({ sum: 3, count: 3 });
  });
});
