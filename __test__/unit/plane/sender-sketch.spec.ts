import { readFileSync } from 'node:fs';
import { expect, it } from 'vitest';
import { estimate, SenderSketch } from '../../../src/plane/js/sender-sketch.js';
import { type NodeKey, readNodeKey } from '../../../src/protocol/key.js';
import { seeded } from '../../helpers/random.js';

const vectors = JSON.parse(readFileSync(new URL('../../vectors/senders.json', import.meta.url), 'utf8'));
const estimates = Object.entries(vectors.estimates).map(([count, estimate]) => [Number(count), estimate] as const);

function key(number: number): NodeKey {
  const bytes = Buffer.alloc(32);
  bytes.writeUInt32LE(number);
  return readNodeKey(bytes);
}

it('the sketch of senders estimates what the vectors say, however often a sender comes', () => {
  const sketch = new SenderSketch();
  let inserted = 0;
  expect(estimates.length).toBeGreaterThan(10);
  for (const [count, estimate] of estimates) {
    while (inserted < count) sketch.insert(key(inserted++));
    expect(sketch.estimate(), `${count} senders`).toBe(estimate);
    for (let number = 0; number < count; number += 97) sketch.insert(key(number));
    expect(sketch.estimate(), `${count} senders, some of them twice`).toBe(estimate);
  }
});

it('the sketch of senders is right about a thousand of them, and off by a few per cent of more', () => {
  const random = seeded(7);
  const bytes = Buffer.alloc(32);
  for (const count of [1, 999, 1024, 3000, 30_000]) {
    const sketch = new SenderSketch();
    for (let number = 0; number < count; number++) {
      for (let at = 0; at < 32; at++) bytes[at] = Math.floor(random() * 256);
      sketch.insert(readNodeKey(bytes));
    }
    const error = Math.abs(sketch.estimate() - count) / count;
    // Four standard errors.
    expect(error, `${count} senders`).toBeLessThanOrEqual(count <= 1024 ? 0 : 0.065);
  }
});

it('every bit of a key counts for the sketch of senders', () => {
  const sketch = new SenderSketch();
  for (let bit = 0; bit < 256; bit++) {
    const bytes = Buffer.from(Array.from({ length: 32 }, (_, at) => (at * 37 + 11) & 0xff));
    bytes[bit >> 3] = (bytes[bit >> 3] as number) ^ (1 << (bit & 7));
    sketch.insert(readNodeKey(bytes));
  }
  expect(sketch.estimate()).toBe(256);
});

it('the estimate of the sketch of senders is right over the whole range', () => {
  const [registers, ranks] = [4096, 20];
  for (const senders of [1e3, 1e4, 1e6, 1e8, 1e9, 4e9, 1e10]) {
    // Of the registers, those with this rank at most. A hash in 2 to the power of the rank has a higher one.
    const share = (rank: number) => (rank > ranks ? 1 : Math.exp((-senders / registers) * 0.5 ** rank));
    const places = Array.from({ length: registers }, (_, register) => (register + 0.5) / registers);
    const rankAt = (place: number) => [...Array(ranks + 2).keys()].find((rank) => place < share(rank)) as number;
    expect(Math.abs(estimate(Uint8Array.from(places, rankAt)) / senders - 1), `${senders}`).toBeLessThan(0.005);
  }
});
