/** Reads what is written as the specification lays it out: every block, every option, and the packets within. */
import { describe, expect, it } from 'vitest';
import { packet } from '../../../src/http/pcapng.js';
import { JsonLines, Pcapng } from '../../../src/http/tap-formats.js';
import type { TapBatch, TapFrame } from '../../../src/plane/plane.js';
import {
  formatNodeKey,
  generateKeyPair,
  type NodeKey,
  nodeKeyBytes,
  parseNodeKeyHex,
} from '../../../src/protocol/key.js';
import { type Block, blocksOf, sumOfDatagram } from '../../helpers/pcapng.js';

const [A, B] = [generateKeyPair().publicKey, generateKeyPair().publicKey];
/** Later than 2 ** 32 microseconds, and not a whole millisecond. */
const TIME = Date.UTC(2026, 10, 29) + 0.25;

function frame(bytes: Buffer, more: Partial<TapFrame> = {}): TapFrame {
  return { time: TIME, source: A, destination: B, kind: 'other', length: bytes.length, bytes, ...more };
}

function batch(missed: number, ...frames: TapFrame[]): TapBatch {
  return { frames, missed, release: () => {} };
}

function written(...batches: TapBatch[]): Block[] {
  const format = new Pcapng();
  return blocksOf(Buffer.concat([format.head(), ...batches.map((each) => format.packets(each))]));
}

const packetsOf = (blocks: Block[]) => blocks.filter(({ type }) => type === 'packet');
const addressOf = (key: typeof A) => Buffer.concat([Buffer.of(0xfd), nodeKeyBytes(key).subarray(0, 15)]);

describe('a capture file', () => {
  it('a capture file begins with a section and one interface, whose packets begin with an IP header', () => {
    const [section, link, ...more] = blocksOf(new Pcapng().head());
    expect(section).toMatchObject({ type: 'section', version: '1.0', length: -1n });
    expect(link).toMatchObject({ type: 'interface', linkType: 101, snapLength: 0 });
    expect(link?.options.get(2)?.toString()).toBe('derp');
    expect(more).toEqual([]);
  });

  it('a capture file names each client once, in front of its first packet, by its whole key', () => {
    const blocks = written(batch(0, frame(Buffer.from('1')), frame(Buffer.from('2'), { source: B, destination: A })));
    expect(blocks.slice(2).map(({ type }) => type)).toEqual(['names', 'names', 'packet', 'packet']);
    const names = blocks.filter(({ type }) => type === 'names').map(({ names: given }) => given);
    expect(names).toEqual([A, B].map((key) => [[addressOf(key), formatNodeKey(key)]]));
  });

  it.each(['', 'x', 'four', 'odd length'])('a capture file has the payload %j as a datagram that is sound', (text) => {
    const [block] = packetsOf(written(batch(0, frame(Buffer.from(text)))));
    const { data = Buffer.alloc(0) } = block as Block;
    expect(block).toMatchObject({ captured: 48 + text.length, original: 48 + text.length, microseconds: TIME * 1000 });
    expect(data.readUInt8(0) >> 4).toBe(6);
    expect(data.readUInt16BE(4)).toBe(8 + text.length);
    expect(data.readUInt8(6)).toBe(17);
    expect(data.subarray(8, 24)).toEqual(addressOf(A));
    expect(data.subarray(24, 40)).toEqual(addressOf(B));
    expect([data.readUInt16BE(40), data.readUInt16BE(42)]).toEqual([41641, 41641]);
    expect(data.readUInt16BE(44)).toBe(8 + text.length);
    expect(sumOfDatagram(data)).toBe(0xffff);
    expect(data.subarray(48).toString()).toBe(text);
  });

  it('a datagram never has the checksum 0, which IPv6 forbids', () => {
    const sent = (value: number): Buffer => {
      const payload = Buffer.alloc(2);
      payload.writeUInt16BE(value);
      return packetsOf(written(batch(0, frame(payload))))[0]?.data as Buffer;
    };
    // With its own checksum as a payload, the checksum of a packet would be 0.
    const data = sent(sent(0).readUInt16BE(46));
    expect(data.readUInt16BE(46)).toBe(0xffff);
    expect(sumOfDatagram(data)).toBe(0xffff);
  });

  it('a capture file says how long a packet is of which only a part is copied', () => {
    const [block] = packetsOf(written(batch(0, frame(Buffer.from('part'), { length: 1500 }))));
    expect(block).toMatchObject({ captured: 52, original: 1548 });
    expect(block?.data?.readUInt16BE(44)).toBe(1508);
    expect(block?.data?.readUInt16BE(46)).not.toBe(0);
  });

  it('a capture file takes the longest packet, for which a datagram has no length', () => {
    const [block] = packetsOf(written(batch(0, frame(Buffer.alloc(65_536, 1)))));
    expect(block).toMatchObject({ captured: 65_584, original: 65_584 });
    expect([block?.data?.readUInt16BE(4), block?.data?.readUInt16BE(44)]).toEqual([65_535, 65_535]);
  });

  it('a capture file shows discovery by its port, and in a comment why a packet was dropped', () => {
    const [block] = packetsOf(written(batch(0, frame(Buffer.from('?'), { kind: 'disco', dropped: 'unknown_dest' }))));
    expect(block?.data?.readUInt16BE(42)).toBe(41642);
    expect(block?.options.get(1)?.toString()).toBe('dropped: unknown_dest');
  });

  it('a capture file counts missed packets with the next packet, and all of them in its statistics', () => {
    const format = new Pcapng();
    const bytes = [
      format.packets(batch(0, frame(Buffer.from('1')))),
      format.packets(batch(7, frame(Buffer.from('9')), frame(Buffer.from('10')))),
      format.pulse(TIME, 3, 2 ** 40),
    ];
    const blocks = blocksOf(Buffer.concat([format.head(), ...bytes]));
    expect(packetsOf(blocks).map(({ options }) => options.get(4)?.readBigUInt64LE())).toEqual([
      undefined,
      7n,
      undefined,
    ]);
    const last = blocks.at(-1) as Block;
    expect(last).toMatchObject({ type: 'statistics', microseconds: TIME * 1000 });
    expect([4, 5].map((code) => last.options.get(code)?.readBigUInt64LE())).toEqual([3n, 2n ** 40n]);
  });

  it('a capture file says what its addresses and ports are, and what wrote it', () => {
    const [section] = blocksOf(new Pcapng().head());
    expect([...(section?.options ?? [])].map(([code, value]) => [code, value.toString()])).toEqual([
      [
        1,
        'Packets of a DERP relay. A client has the address fd… with the first 15 bytes of its node key. ' +
          'UDP port 41641 is WireGuard, 41642 discovery.',
      ],
      [4, 'derpkit'],
    ]);
  });

  it('a packet has options only if there is something to say', () => {
    const bytes = packet(frame(Buffer.from('four')), 0);
    expect(bytes.length).toBe(32 + 48 + 4);
    expect(blocksOf(bytes)[0]?.options).toEqual(new Map());
  });

  it('a packet of which a part is copied has a checksum that stands for none', () => {
    const [block] = packetsOf(written(batch(0, frame(Buffer.from('part'), { length: 1500 }))));
    expect(block?.data?.readUInt16BE(46)).toBe(0xffff);
  });

  it('the longest packet that a datagram can have is sound, and a longer one has no checksum', () => {
    const sent = (length: number) => {
      const payload = Buffer.from(Array.from({ length }, (_, index) => index % 251));
      return packetsOf(written(batch(0, frame(payload))))[0]?.data as Buffer;
    };
    const sound = sent(65_527);
    expect(sound.readUInt16BE(44)).toBe(65_535);
    expect(sumOfDatagram(sound)).toBe(0xffff);
    expect(sent(65_528).readUInt16BE(46)).toBe(0xffff);
  });

  it('a capture file forgets names when it has 10,000, and writes them again', () => {
    const format = new Pcapng();
    const keyOf = (number: number) => parseNodeKeyHex(number.toString(16).padStart(64, '0')) as NodeKey;
    const namesIn = (...numbers: number[]) => {
      const frames = numbers.map(keyOf).map((key) => frame(Buffer.alloc(0), { source: key, destination: key }));
      return blocksOf(format.packets(batch(0, ...frames))).filter(({ type }) => type === 'names').length;
    };
    expect(namesIn(...Array.from({ length: 10_000 }, (_, number) => number))).toBe(10_000);
    expect(namesIn(0, 5000, 9999)).toBe(0);
    expect(namesIn(10_000)).toBe(1);
    expect(namesIn(0, 10_000)).toBe(1);
  });
});

describe('lines of JSON', () => {
  it('a line of JSON is one packet, has no payload that was not asked for, and follows what was missed', () => {
    const format = new JsonLines();
    const frames = [frame(Buffer.alloc(0), { length: 9 }), frame(Buffer.from('ab'), { dropped: 'unknown_dest' })];
    const lines = `${format.packets(batch(3, ...frames))}${format.pulse(5, 2, 3)}`.split('\n');
    const [source, destination] = [formatNodeKey(A), formatNodeKey(B)];
    expect(lines.pop()).toBe('');
    expect(lines.map((line) => JSON.parse(line))).toEqual([
      { missed: 3 },
      { time: TIME, source, destination, kind: 'other', length: 9 },
      { time: TIME, source, destination, kind: 'other', length: 2, dropped: 'unknown_dest', payload: 'YWI=' },
      { time: 5, total: { seen: 2, missed: 3 } },
    ]);
  });

  it('lines of JSON say nothing of packets that were missed where none was', () => {
    const lines = new JsonLines().packets(batch(0, frame(Buffer.alloc(0), { length: 9 }))).toString();
    expect(lines).toMatch(/^\{"time":[^\n]*\}\n$/);
  });
});
