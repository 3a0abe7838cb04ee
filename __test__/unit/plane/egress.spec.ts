import { describe, expect, it } from 'vitest';
import { DROP_REASONS, PACKET_KINDS } from '../../../src/plane/counters.js';
import type { PlaneContext } from '../../../src/plane/js/context.js';
import { LINK } from '../../../src/plane/js/egress.js';
import { encodeFrame, peerGoneFrame, pongFrame } from '../../../src/protocol/frame.js';
import { FrameType, PeerGoneReason } from '../../../src/protocol/wire.js';
import { seeded } from '../../helpers/random.js';
import { type GatedStream, keyOf, policyWith, settled } from './context.js';
import { ALICE, control, packet, rig, stuck, WINDOW } from './egress-rig.js';

describe('packets to a client', () => {
  it('packets of one turn leave together, at the end of the turn', async () => {
    const { egress, stream } = rig();
    stream.open();
    egress.packet(packet(1));
    egress.packet(packet(2));
    expect(stream.given).toEqual([]);
    await settled();
    expect(numbers(stream)).toEqual([1, 2]);
  });

  it('packets that fit into the window are not dropped, whatever their number', async () => {
    const { egress, stream, context } = rig();
    const size = 1000;
    const many = Math.ceil(WINDOW / packet(0, size).frame.length);
    for (let number = 0; number < many; number++) egress.packet(packet(number, size));
    await settled();
    expect(egress.queuedPackets).toBe(0);
    stream.open();
    await settled();
    expect(numbers(stream)).toHaveLength(many);
    expect(context.counters.read('packets_sent')).toBe(many);
    expect(context.counters.read('bytes_sent')).toBe(many * size);
  });

  it('packets behind a full window wait, and make room at the head of the queue', async () => {
    const { egress, stream, context } = await stuck();
    for (let number = 100; number < 150; number++) egress.packet(packet(number, 10));
    expect(egress.queuedPackets).toBe(32);
    expect(context.counters.read('packets_dropped:queue_head:other')).toBe(18);
    expect(context.counters.read('bytes_dropped:queue_head:other')).toBe(180);
    stream.open();
    await settled();
    expect(numbers(stream)).toEqual([0, ...range(118, 150)]);
    expect(egress.stats).toEqual({ packets: 33, bytes: WINDOW + 320, dropped: 18 });
  });

  it('discovery packets have a queue of their own, and go first', async () => {
    const { egress, stream, context } = await stuck();
    for (let number = 100; number < 140; number++) {
      egress.packet(packet(number, 10));
      egress.packet(packet(1000 + number, 10, true));
    }
    expect(egress.queuedPackets).toBe(64);
    expect(context.counters.read('packets_dropped:queue_head:disco')).toBe(8);
    expect(context.counters.read('packets_dropped:queue_head:other')).toBe(8);
    stream.open();
    await settled();
    expect(numbers(stream)).toEqual([0, ...range(1108, 1140), ...range(108, 140)]);
  });

  it('packets at queue depth 0 are dropped at once', async () => {
    const { egress, context } = await stuck({ queueDepth: 0 });
    egress.packet(packet(100, 10));
    egress.packet(packet(101, 20, true));
    expect(context.counters.read('packets_dropped:queue_tail:other')).toBe(1);
    expect(context.counters.read('bytes_dropped:queue_tail:disco')).toBe(20);
    expect(egress.stats.dropped).toBe(2);
  });

  it('packets keep their order when the window opens between them', async () => {
    const { egress, stream } = await stuck();
    egress.packet(packet(1, 10));
    egress.packet(packet(2, 10));
    stream.open();
    egress.packet(packet(3, 10));
    await settled();
    expect(numbers(stream)).toEqual([0, 1, 2, 3]);
  });

  it('the owner hears of the source of a packet when the packet leaves, and not before', async () => {
    const { egress, stream, owner } = await stuck();
    expect(owner.sent).toEqual([ALICE]);
    const bob = keyOf(2);
    egress.packet({ ...packet(1, 10), source: bob });
    expect(owner.sent).toEqual([ALICE]);
    stream.open();
    await settled();
    expect(owner.sent).toEqual([ALICE, bob]);
  });

  it('packets leave one window at a time', async () => {
    const { egress, stream } = rig();
    for (let number = 0; number < 20; number++) egress.packet(packet(number, 20_000));
    await settled();
    // The stream has the first window. The next one follows when all of the first has gone.
    expect(stream.writableLength).toBeLessThan(WINDOW + 20_037);
    expect(stream.writableLength + 20_037 * egress.queuedPackets).toBe(20 * 20_037);
    stream.take(3);
    await settled();
    expect(egress.queuedPackets).toBe(16);
    stream.take(1);
    await settled();
    expect(egress.queuedPackets).toBe(12);
  });
});

describe('control frames', () => {
  it('control frames go before packets that wait, in their order', async () => {
    const { egress, stream } = await stuck();
    egress.packet(packet(1, 10, true));
    egress.frames(control(1));
    egress.packet(packet(2, 10));
    egress.frames(control(2));
    stream.open();
    await settled();
    expect(types(stream)).toEqual(['RecvPacket 0', 'Health 1', 'Health 2', 'RecvPacket 1', 'RecvPacket 2']);
  });

  it('control frames go before later packets of one turn', async () => {
    const { egress, stream } = rig();
    stream.open();
    egress.frames(control(1));
    egress.packet(packet(2));
    await settled();
    expect(types(stream)).toEqual(['Health 1', 'RecvPacket 2']);
  });

  it('PeerGone frames are counted by reason', async () => {
    const { egress, stream, context } = rig();
    stream.open();
    const gone = peerGoneFrame(ALICE, PeerGoneReason.Disconnected);
    egress.frames(Buffer.concat([gone, control(1), gone]));
    egress.frames(peerGoneFrame(ALICE, PeerGoneReason.NotHere));
    await settled();
    expect(context.counters.read('peer_gone_disconnected_frames')).toBe(2);
    expect(context.counters.read('peer_gone_not_here_frames')).toBe(1);
  });

  it('control frames beyond the limit overflow', async () => {
    const { egress, owner } = await stuck({ limits: { controlBytes: 100 } });
    egress.frames(Buffer.alloc(60, encodeFrame(FrameType.Health, Buffer.alloc(0))));
    expect(owner.calls).toEqual([]);
    egress.frames(Buffer.alloc(40, encodeFrame(FrameType.Health, Buffer.alloc(0))));
    expect(owner.calls).toEqual([]);
    egress.frames(Buffer.alloc(41));
    expect(owner.calls).toEqual(['overflow']);
  });

  it('control frames count against the limit only while waiting', async () => {
    const { egress, owner, stream } = rig({ limits: { controlBytes: 100 } });
    stream.open();
    for (let round = 0; round < 10; round++) {
      egress.frames(encodeFrame(FrameType.Health, Buffer.alloc(90)));
      await settled();
    }
    expect(owner.calls).toEqual([]);
  });
});

describe('pulling control frames', () => {
  const part = () => encodeFrame(FrameType.Health, Buffer.alloc(95));

  it('an egress pulls more while less than half of the limit waits', async () => {
    const { egress, owner, stream } = await stuck({ limits: { controlBytes: 1000 } });
    for (let asked = 0; asked < 4; asked++) {
      egress.frames(part(), true);
      await settled();
      expect(owner.calls).toHaveLength(asked + 1);
    }
    egress.frames(part(), true);
    await settled();
    // 500 of 1000 bytes wait: no more for now.
    expect(owner.calls).toHaveLength(4);
    stream.open();
    await settled();
    expect(owner.calls).toEqual(Array(5).fill('pulled'));
  });

  it('an egress pulls once for each part', async () => {
    const { egress, owner, stream } = rig();
    stream.open();
    egress.frames(part(), true);
    await settled();
    egress.frames(part());
    egress.packet(packet(1));
    await settled();
    expect(owner.calls).toEqual(['pulled']);
  });
});

describe('pongs', () => {
  it('pongs wait in a mailbox of one', async () => {
    const { egress, stream, context } = await stuck();
    egress.sendPong(pongFrame(Buffer.alloc(8, 1)));
    egress.sendPong(pongFrame(Buffer.alloc(8, 2)));
    stream.open();
    await settled();
    expect(stream.bytes.subarray(-13)).toEqual(pongFrame(Buffer.alloc(8, 1)));
    expect(context.counters.read('sent_pong')).toBe(1);
    egress.sendPong(pongFrame(Buffer.alloc(8, 3)));
    await settled();
    expect(stream.bytes.subarray(-13)).toEqual(pongFrame(Buffer.alloc(8, 3)));
    expect(context.counters.read('sent_pong')).toBe(2);
  });

  it('pongs go behind control frames and before packets', async () => {
    const { egress, stream } = await stuck();
    egress.packet(packet(1, 10, true));
    egress.sendPong(pongFrame(Buffer.alloc(8, 7)));
    egress.frames(control(2));
    stream.open();
    await settled();
    expect(types(stream)).toEqual(['RecvPacket 0', 'Health 2', 'Pong 7', 'RecvPacket 1']);
  });
});

describe('closing an egress', () => {
  it('close counts packets in a write and packets that wait as dropped', async () => {
    const { egress, context } = await stuck();
    for (let number = 1; number <= 3; number++) egress.packet(packet(number, 10));
    egress.packet(packet(4, 10, true));
    egress.close();
    expect(dropped(context)).toEqual({
      'write_error:other': [1, WINDOW],
      'gone_disconnected:other': [3, 30],
      'gone_disconnected:disco': [1, 10],
    });
    egress.close();
    expect(egress.stats.dropped).toBe(5);
  });

  it('close counts packets of its turn as dropped', async () => {
    const { egress, context, stream } = rig();
    stream.open();
    egress.packet(packet(1, 10));
    egress.close();
    egress.packet(packet(2, 20));
    await settled();
    expect(dropped(context)).toEqual({ 'gone_disconnected:other': [2, 30] });
    expect(stream.given).toEqual([]);
  });

  it('close counts a write without a callback as failed, and no packet twice', async () => {
    const { egress, context, stream } = rig();
    egress.packet(packet(1, 10));
    await settled();
    egress.close();
    stream.open();
    await settled();
    expect(context.counters.read('packets_sent')).toBe(0);
    expect(dropped(context)).toEqual({ 'write_error:other': [1, 10] });
  });

  it('a closed egress does nothing more', async () => {
    const { egress, owner, stream } = rig();
    stream.open();
    egress.close();
    egress.frames(control(1), true);
    egress.sendPong(pongFrame(Buffer.alloc(8)));
    await settled();
    expect(stream.given).toEqual([]);
    expect(owner.calls).toEqual([]);
    expect(egress.onTime(1e9)).toBe(Number.POSITIVE_INFINITY);
  });
});

describe('random use of an egress', () => {
  it.each([1, 2, 3, 4, 5, 6])(
    'packets sent and packets dropped add up to those offered, in order, seed %i',
    async (seed) => {
      const random = seeded(seed);
      const { egress, stream, context } = rig({ queueDepth: 1 + Math.floor(random() * 40) });
      const offered = { packets: 0, bytes: 0 };
      for (let step = 0; step < 1500; step++) {
        const roll = random();
        if (roll < 0.7) {
          const size = 4 + Math.floor(random() ** 4 * 60_000);
          egress.packet(packet(step, size, random() < 0.2));
          offered.packets += 1;
          offered.bytes += size;
        } else if (roll < 0.75) egress.frames(control(step));
        else if (roll < 0.8) egress.sendPong(pongFrame(Buffer.alloc(8)));
        else if (roll < 0.9) stream.take(1 + Math.floor(random() * 4));
        else await settled();
      }
      if (seed % 2 === 0) {
        stream.open();
        await settled();
        expect(egress.queuedPackets).toBe(0);
      }
      egress.close();
      const drops = Object.values(dropped(context));
      const sent = context.counters.read('packets_sent');
      expect(sent + drops.reduce((sum, [packets]) => sum + packets, 0)).toBe(offered.packets);
      expect(context.counters.read('bytes_sent') + drops.reduce((sum, [, bytes]) => sum + bytes, 0)).toBe(
        offered.bytes,
      );
      expect(egress.stats.packets).toBe(sent);
      expect(sent).toBeGreaterThan(100);
      expect(egress.stats.dropped).toBeGreaterThan(seed % 2);
      for (const disco of [false, true]) {
        const order = framesOf(stream)
          .filter(({ type, kind }) => type === 'RecvPacket' && kind === disco)
          .map(({ number }) => number);
        expect(order).toEqual(order.toSorted((a, b) => a - b));
      }
    },
  );
});

interface Seen {
  readonly type: string;
  readonly number: number;
  readonly kind: boolean;
}

function framesOf({ bytes }: GatedStream): Seen[] {
  const seen: Seen[] = [];
  for (let at = 0; at < bytes.length; at += 5 + bytes.readUInt32BE(at + 1)) {
    const type = Object.entries(FrameType).find(([, value]) => value === bytes[at])?.[0] ?? '?';
    const number =
      type === 'RecvPacket'
        ? bytes.readUInt32BE(at + 37)
        : type === 'Pong'
          ? bytes[at + 5]
          : bytes.readUInt32BE(at + 5);
    seen.push({ type, number: number as number, kind: type === 'RecvPacket' && bytes.readUInt32BE(at + 33) === 256 });
  }
  return seen;
}

function types(stream: GatedStream): string[] {
  return framesOf(stream).map(({ type, number }) => `${type} ${number}`);
}

function numbers(stream: GatedStream): number[] {
  return framesOf(stream).map(({ number }) => number);
}

function range(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index);
}

/** All drops, by reason and kind: packets and bytes. */
function dropped({ counters }: PlaneContext): Record<string, [packets: number, bytes: number]> {
  const all = DROP_REASONS.flatMap((reason) => PACKET_KINDS.map((kind) => `${reason}:${kind}` as const));
  const read = (label: (typeof all)[number]): [number, number] => [
    counters.read(`packets_dropped:${label}`),
    counters.read(`bytes_dropped:${label}`),
  ];
  return Object.fromEntries(all.map((label) => [label, read(label)] as const).filter(([, [packets]]) => packets > 0));
}

describe('the egress of a mesh link', () => {
  const deep = { linkQueueDepth: 3, queueDepth: 1 };

  it('the egress of a link has its own queue depth and drop reason', async () => {
    const { egress, context } = rig(deep, LINK);
    egress.packet(packet(0, WINDOW));
    await settled();
    for (let number = 1; number <= 5; number++) egress.packet(packet(number, 10));
    expect(egress.queuedPackets).toBe(3);
    expect(context.counters.read('packets_dropped:mesh_queue:other')).toBe(2);
    egress.close();
    egress.packet(packet(6, 10));
    // A packet in a write, packets that wait, and one after the close.
    expect(context.counters.read('packets_dropped:mesh_down:other')).toBe(1 + 3 + 1);
    expect(egress.stats).toEqual({ packets: 0, bytes: 0, dropped: 7 });
    expect(totalDropped(context)).toBe(7);
  });

  it('packets of a link are not counted with those of clients', async () => {
    const { egress, stream, context } = rig(deep, LINK);
    stream.open();
    egress.packet(packet(1, 10));
    egress.sendPong(pongFrame(Buffer.alloc(8)));
    await settled();
    expect(egress.stats).toEqual({ packets: 1, bytes: 10, dropped: 0 });
    const counted = Object.entries(context.counters.readAll()).filter(([, count]) => count > 0);
    expect(counted).toEqual([]);
  });
});

describe('an egress that exceeds the budget', () => {
  const held = ({ context }: { context: PlaneContext }) => context.counters.read('held:queued_bytes');

  it('the largest egress loses its oldest packets, discovery last, until the budget is kept', async () => {
    const made = await stuck({ limits: { queuedBytes: WINDOW + 25_000 } });
    const { egress, context, owner } = made;
    egress.packet(packet(1, 5000, true));
    for (let number = 2; number <= 5; number++) egress.packet(packet(number, 5000));
    expect(totalDropped(context)).toBe(1);
    expect(held(made)).toBeLessThanOrEqual(WINDOW + 25_000);
    context.policy = policyWith({ limits: { queuedBytes: WINDOW + 8000 } });
    context.budgets.queued.relieve();
    expect(context.counters.read('packets_dropped:over_budget:other')).toBe(4);
    expect(context.counters.read('packets_dropped:over_budget:disco')).toBe(0);
    expect(owner.calls).toEqual([]);
    egress.close();
    expect(held(made)).toBe(0);
  });

  it('the largest egress asks to be closed if no packet is left to lose', async () => {
    const made = await stuck();
    made.egress.frames(Buffer.alloc(5000));
    expect(held(made)).toBeGreaterThan(WINDOW + 5000);
    made.context.policy = policyWith({ limits: { queuedBytes: WINDOW } });
    made.context.budgets.queued.relieve();
    expect(made.owner.calls).toEqual(['over budget']);
  });

  it('an egress keeps only the bytes of a queued packet, not the chunk around them', async () => {
    const { egress, stream } = await stuck();
    const { small, inChunk } = smallInChunk();
    const queued = inChunk();
    egress.packet(queued);
    expect(queued.frame.buffer.byteLength).toBe(small.frame.length);
    stream.open();
    await settled();
    expect(stream.bytes.subarray(-small.frame.length)).toEqual(small.frame);
  });

  it('a packet in the window of a stream that takes nothing does not keep the chunk around it either', async () => {
    const { egress, stream } = rig();
    egress.packet(packet(0, 100));
    await settled();
    const { small, chunk, inChunk } = smallInChunk();
    const written = inChunk();
    egress.packet(written);
    expect(written.frame.buffer.byteLength).toBe(small.frame.length);
    stream.open();
    await settled();
    expect(stream.bytes.subarray(-small.frame.length)).toEqual(small.frame);
    // What leaves at once is not copied.
    const passing = inChunk();
    egress.packet(passing);
    expect(passing.frame.buffer).toBe(chunk.buffer);
  });
});

/** A packet, and how it comes: as a part of a much larger read. */
function smallInChunk() {
  const chunk = Buffer.alloc(64 << 10);
  const small = packet(1, 100);
  small.frame.copy(chunk);
  return { chunk, small, inChunk: () => ({ ...small, frame: chunk.subarray(0, small.frame.length) }) };
}

function totalDropped(context: PlaneContext): number {
  return DROP_REASONS.flatMap((reason) =>
    PACKET_KINDS.map((kind) => context.counters.read(`packets_dropped:${reason}:${kind}`)),
  ).reduce((sum, count) => sum + count, 0);
}
