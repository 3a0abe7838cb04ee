import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { describe, expect, it } from 'vitest';
import type { PacketTap, TapBatch, TapFrame } from '../../src/plane/plane.js';
import { sendPacketFrame } from '../../src/protocol/frame.js';
import { generateKeyPair } from '../../src/protocol/key.js';
import { DerpClient, discoPacket } from '../helpers/client.js';
import { LANES_AND_TLS } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { MESH_KEY, startRelay } from '../helpers/relay.js';
import { numbered } from '../helpers/traffic.js';
import { eventually } from '../helpers/wait.js';

nothingIsLeft();

const ALL = { snapLength: 65536 };

/** A tap that is read from the beginning to its end, and everything that came. */
class Reader {
  readonly batches: TapBatch[] = [];
  readonly ended: Promise<void>;

  constructor(readonly tap: PacketTap) {
    this.ended = this.read();
  }

  get frames(): TapFrame[] {
    return this.batches.flatMap(({ frames }) => frames);
  }

  get missed(): number {
    return this.batches.reduce((sum, { missed }) => sum + missed, 0);
  }

  async until(count: number): Promise<TapFrame[]> {
    await eventually(
      () => this.frames.length + this.missed >= count,
      () => `${count} frames, not ${this.frames.length} and ${this.missed} missed`,
    );
    return this.frames;
  }

  private async read(): Promise<void> {
    for await (const batch of this.tap) this.batches.push(batch);
  }
}

describe.each(LANES_AND_TLS)('a packet tap, $name', (lane) => {
  it('the tap shows packets that are relayed, and packets without a receiver', async () => {
    const relay = await startRelay(lane);
    const [a, b] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const mesh = await DerpClient.connect(relay, { meshKey: MESH_KEY });
    const [nobody, far] = [generateKeyPair().publicKey, generateKeyPair().publicKey];
    const reader = new Reader(relay.dataPlane.tap(ALL));
    const before = Date.now();
    a.sendPacket(b.key, 'one');
    a.sendPacket(b.key, '');
    a.sendPacket(b.key, discoPacket(7));
    a.sendPacket(nobody, 'to nobody');
    await a.fence();
    mesh.forwardPacket(far, b.key, 'from afar');
    mesh.forwardPacket(far, nobody, discoPacket(8));
    await mesh.fence();
    const frames = await reader.until(6);
    const after = Date.now() + 1;
    const shown = frames.map(({ time, bytes, ...frame }) => {
      expect(time).toBeGreaterThanOrEqual(before);
      expect(time).toBeLessThanOrEqual(after);
      return { ...frame, bytes: Buffer.from(bytes) };
    });
    const frame = (source: string, destination: string, kind: string, bytes: Buffer | string, dropped?: string) => {
      const packet = Buffer.from(bytes as Buffer);
      return { source, destination, kind, length: packet.length, bytes: packet, ...(dropped && { dropped }) };
    };
    const ofOneWay = (destination: string, source: string) =>
      shown.filter((each) => each.source === source && each.destination === destination);
    expect(ofOneWay(b.key, a.key)).toEqual([
      frame(a.key, b.key, 'other', 'one'),
      frame(a.key, b.key, 'other', ''),
      frame(a.key, b.key, 'disco', discoPacket(7)),
    ]);
    expect(ofOneWay(nobody, a.key)).toEqual([frame(a.key, nobody, 'other', 'to nobody', 'unknown_dest')]);
    expect(ofOneWay(b.key, far)).toEqual([frame(far, b.key, 'other', 'from afar')]);
    expect(ofOneWay(nobody, far)).toEqual([frame(far, nobody, 'disco', discoPacket(8), 'unknown_dest_on_fwd')]);
    expect(shown).toHaveLength(6);
    // What is looked at is delivered all the same.
    expect(await b.expectPacket('one')).toBe(a.key);
  });

  it('the tap shows what a client sends in its order, with those packets that are dropped in between', async () => {
    const relay = await startRelay(lane);
    const [a, b, c] = [
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
    ];
    const nobody = generateKeyPair().publicKey;
    const reader = new Reader(relay.dataPlane.tap(ALL));
    await relay.commandsDone();
    const destinations = [b.key, nobody, c.key, nobody, b.key];
    // One write, so that the relay may read all of it at once.
    a.send(...destinations.map((key, at) => sendPacketFrame(key, Buffer.from(`${at}`))));
    const shown = (await reader.until(5)).map(({ destination, bytes }) => [destination, Buffer.from(bytes).toString()]);
    expect(shown).toEqual(destinations.map((key, at) => [key, `${at}`]));
  });

  it('the tap can show the packets of one client, and a part of each', async () => {
    const relay = await startRelay(lane);
    const [a, b, c] = [
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
      await DerpClient.connect(relay),
    ];
    const reader = new Reader(relay.dataPlane.tap({ key: b.key, snapLength: 4 }));
    await relay.commandsDone();
    for (const [from, to] of [
      [a, c],
      [a, b],
      [c, a],
      [b, c],
    ] as const) {
      from.sendPacket(to.key, 'a long packet');
      await from.fence();
    }
    const shown = await reader.until(2);
    const told = shown.map(({ bytes, ...frame }) => ({ ...frame, text: Buffer.from(bytes).toString() }));
    expect(told.map(({ source, destination, length, text }) => [source, destination, length, text])).toEqual([
      [a.key, b.key, 13, 'a lo'],
      [b.key, c.key, 13, 'a lo'],
    ]);
  });

  it('there is one tap at a time, and it can be stopped', async () => {
    const relay = await startRelay(lane);
    const [a, b] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const first = new Reader(relay.dataPlane.tap(ALL));
    expect(() => relay.dataPlane.tap(ALL)).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    a.sendPacket(b.key, 'first');
    await first.until(1);
    first.tap.stop();
    first.tap.stop();
    await first.ended;
    a.sendPacket(b.key, 'unseen');
    await a.fence();
    const second = relay.dataPlane.tap(ALL);
    a.sendPacket(b.key, 'second');
    for await (const batch of second) {
      expect(batch.frames.map(({ bytes }) => Buffer.from(bytes).toString())).toEqual(['second']);
      break;
    }
    // A reader that leaves the loop gets no more.
    const third = new Reader(relay.dataPlane.tap(ALL));
    await relay.relay.close();
    await third.ended;
    expect(first.frames).toHaveLength(1);
  });

  it('the tap misses packets while no batch is released, and counts them', async () => {
    const relay = await startRelay(lane);
    const [a, b] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    const reader = new Reader(relay.dataPlane.tap(ALL));
    let sent = 0;
    let delivered = 0;
    b.onPacket = () => {
      delivered += 1;
    };
    const send = async (count: number) => {
      for (let number = 0; number < count; number++) {
        a.sendPacket(b.key, numbered(sent));
        sent += 1;
        await a.fence();
      }
    };
    // More than all the memory that it may have.
    await send(50);
    const held = [...reader.batches];
    for (const batch of held) batch.release();
    for (const batch of held) batch.release();
    expect(held.flatMap(({ frames }) => frames).map(({ bytes }) => bytes.length)).not.toContain(65536);
    // The memory comes back in its own time.
    await eventually(async () => {
      await send(1);
      return reader.batches.length > held.length && reader.missed > 0;
    }, 'the next batch');
    await reader.until(sent);
    expect(reader.frames.length + reader.missed).toBe(sent);
    await eventually(() => delivered === sent, 'all packets');
    const rest = reader.batches.slice(held.length).flatMap(({ frames }) => frames);
    const seen = rest.map(({ bytes }) => Buffer.from(bytes).readUInt32BE());
    expect(seen).not.toEqual([]);
    expect(seen).toEqual([...new Set(seen)].sort((one, other) => one - other));
  });

  it('the tap gets batches back that were forgotten', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const relay = await startRelay(lane);
    const [a, b] = [await DerpClient.connect(relay), await DerpClient.connect(relay)];
    b.onPacket = () => {};
    let shown = 0;
    const tap = relay.dataPlane.tap(ALL);
    const reading = (async () => {
      for await (const { frames } of tap) shown += frames.length;
    })();
    // Some times as much as its memory.
    await eventually(async () => {
      // Each packet has a slab of its own, of which there are more than this.
      for (let packet = 0; packet < 16; packet++) {
        a.sendPacket(b.key, numbered(0));
        await a.fence();
      }
      collect();
      return shown > 100;
    }, 'three times as much as there is memory for');
    tap.stop();
    await reading;
  });
});
