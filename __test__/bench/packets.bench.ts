/** What a packet costs the JavaScript plane without a socket: the same steps as in the crates' `benches`. */
import { bench, describe } from 'vitest';
import type { Connection } from '../../src/plane/js/connection.js';
import { DrainRate } from '../../src/plane/js/drain-rate.js';
import { EventQueue } from '../../src/plane/js/events.js';
import { PacketQueue } from '../../src/plane/js/queue.js';
import { Table } from '../../src/plane/js/table.js';
import type { PlaneEvents } from '../../src/plane/plane.js';
import { FrameDecoder } from '../../src/protocol/decode.js';
import { sendPacketFrame } from '../../src/protocol/frame.js';
import { generateKeyPair, readNodeKey, writeNodeKey } from '../../src/protocol/key.js';
import { openClientInfo, sealClientInfo } from '../../src/protocol/login.js';
import { FrameType, HEADER_LENGTH } from '../../src/protocol/wire.js';

const FRAMES = 64;
const [client, server] = [generateKeyPair(), generateKeyPair()];
const { publicKey: key } = client;
const seen = { frames: 0, bytes: 0 };

describe('decode', () => {
  for (const size of [100, 1400, 16384]) {
    const frame = sendPacketFrame(key, Buffer.alloc(size, 7));
    const row = Buffer.concat(Array.from({ length: FRAMES }, () => frame));
    const decoder = new FrameDecoder({
      onHeader: () => true,
      onFrame: () => {
        seen.frames += 1;
      },
    });
    bench(`${FRAMES} frames of ${size} B`, () => decoder.push(row));
  }
});

describe('rewrite', () => {
  const frame = sendPacketFrame(key, Buffer.alloc(1400));
  bench('a SendPacket to a RecvPacket', () => {
    frame[0] = FrameType.RecvPacket;
    writeNodeKey(server.publicKey, frame, HEADER_LENGTH);
  });
});

describe('lookup', () => {
  for (const clients of [10, 1000, 100_000]) {
    const table = new Table(new EventQueue({} as PlaneEvents));
    const bytes = Buffer.alloc(32, 7);
    const keyOf = (number: number) => {
      bytes.writeUInt32LE(number);
      return readNodeKey(bytes);
    };
    for (let id = 0; id < clients; id += 1) table.add({ id } as Connection, keyOf(id));
    let number = 0;
    // With the key read from the frame, as a packet has it.
    bench(`among ${clients}`, () => {
      number = (number + 7919) % clients;
      if (table.lookup(keyOf(number)) === undefined) throw new Error('it is not there');
    });
  }
});

describe('queue', () => {
  for (const waiting of [1, 32]) {
    const queue = new PacketQueue();
    const rate = new DrainRate();
    const packet = { frame: Buffer.alloc(0), payload: 0, source: key, disco: false, queuedAt: 0 };
    for (let count = 0; count < waiting; count += 1) queue.push(packet, 32);
    bench(`with ${waiting} waiting`, () => {
      queue.push(packet, 32);
      while (queue.length > waiting) queue.shift(rate, 0, () => undefined);
    });
  }
});

describe('login', () => {
  const body = sealClientInfo(client, server.publicKey, '{"version":2}').subarray(HEADER_LENGTH);
  bench('seal', () => {
    seen.bytes += sealClientInfo(client, server.publicKey, '{"version":2}').length;
  });
  bench('open', () => {
    seen.bytes += openClientInfo(body, server.privateKey).sharedKey.length;
  });
});
