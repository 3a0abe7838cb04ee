/** Bodies of HTTP that are far longer than anything between the two ends, one of which takes its time. */
import { createHash, type Hash } from 'node:crypto';
import type { Duplex } from 'node:stream';
import type { ConnectionOptions } from 'node:tls';
import { describe, expect, it } from 'vitest';
import type { DerpClient } from '../helpers/client.js';
import { LANES, type Lane } from '../helpers/lanes.js';
import { nothingIsLeft } from '../helpers/leaks.js';
import { bytesHeld } from '../helpers/memory.js';
import { PlaneHarness } from '../helpers/plane-harness.js';
import { eventually, turn } from '../helpers/wait.js';
import type { Wire } from '../helpers/wire.js';

nothingIsLeft();

const MIB = 1 << 20;
const LENGTH = 100 * MIB;
/** The most that sockets, pairs of sockets and streams take of unread data: far from all, whatever the system's buffers are. */
const UNDER_WAY = 40 * MIB;
/** What the process may hold of it beside the system. */
const MOST = 12 * MIB;
const REQUEST = 'POST /any HTTP/1.1\r\nHost: x\r\n\r\n';

const FACES: readonly (readonly [string, ConnectionOptions | undefined])[] = [
  ['plain', undefined],
  ['TLS 1.2', { maxVersion: 'TLSv1.2' }],
  ['TLS 1.3', { minVersion: 'TLSv1.3' }],
];

/** Sends the body, as fast as it is taken. */
class Source {
  written = 0;
  private readonly hash = createHash('sha256');

  async send(stream: Duplex): Promise<string> {
    for (let number = 0; this.written < LENGTH; number++) {
      const chunk = Buffer.alloc(64 << 10, number);
      chunk.writeUInt32BE(number);
      this.hash.update(chunk);
      this.written += chunk.length;
      if (!stream.write(chunk)) await new Promise((resolve) => stream.once('drain', resolve));
    }
    return this.hash.digest('hex');
  }
}

/** Reads a body once it begins to, a little at a time, with something else in between. */
class Sink {
  length = 0;
  ended = false;
  private readonly hash: Hash = createHash('sha256');

  constructor(private readonly stream: Duplex) {}

  async read(between: () => Promise<unknown>): Promise<string> {
    this.stream.on('end', () => {
      this.ended = true;
    });
    for (let rest = 4 * MIB; !this.ended; ) {
      const chunk = this.stream.read() as Buffer | null;
      if (chunk) {
        this.hash.update(chunk);
        this.length += chunk.length;
        rest -= chunk.length;
      } else {
        await turn(1);
      }
      if (rest <= 0) {
        await between();
        rest = 4 * MIB;
      }
    }
    return this.hash.digest('hex');
  }
}

/** Both ends of an HTTP connection, and two unrelated clients. */
async function open(lane: Lane, tls: ConnectionOptions | undefined) {
  const harness = await PlaneHarness.open(lane, {}, tls ? 'tls' : 'tcp');
  const others = [(await harness.admitted()).client, (await harness.admitted()).client] as const;
  const wire = await harness.wire(tls);
  wire.stream.allowHalfOpen = true;
  wire.write(REQUEST);
  const stream = await eventually(() => [...harness.duplexes.values()][0], 'a stream');
  stream.on('error', () => undefined);
  await eventually(() => (stream.read(REQUEST.length) as Buffer | null)?.toString() === REQUEST, 'the request');
  return { wire, stream, others };
}

/** Packets go between the others as if nothing was. */
async function goOn([a, b]: readonly [DerpClient, DerpClient]): Promise<void> {
  for (let count = 0; count < 4; count++) {
    a.sendPacket(b.key, 'hello');
    await b.expectPacket('hello');
  }
}

/** Waits until nothing is taken any more, which is long before all is. */
async function stuck(source: Source, others: readonly [DerpClient, DerpClient]): Promise<void> {
  let before: number;
  do {
    before = source.written;
    for (let count = 0; count < 25; count++) await goOn(others);
  } while (source.written !== before);
  expect(source.written).toBeLessThan(UNDER_WAY);
}

/** What a client reads, without the wire's own reading. */
function unread(wire: Wire): Duplex {
  const { stream } = wire;
  stream.removeAllListeners('data');
  stream.pause();
  return stream;
}

// The plane behind delays is the same one, and bodies cross nothing.
describe.each(LANES.filter(({ name }) => name !== 'js-async'))('a body of 100 MB, $name', (lane) => {
  it.each(FACES)('a body of 100 MB reaches a slow client; %s', async (_, tls) => {
    const { wire, stream, others } = await open(lane, tls);
    const client = unread(wire);
    const before = await bytesHeld(lane.planeKind);
    const source = new Source();
    const sent = source.send(stream);
    await stuck(source, others);
    expect((await bytesHeld(lane.planeKind)) - before).toBeLessThan(MOST);
    const sink = new Sink(client);
    const came = sink.read(() => goOn(others));
    const hash = await sent;
    stream.end();
    expect(await came).toBe(hash);
    expect(sink.length).toBe(LENGTH);
    // That was the end of one way only.
    client.write('more');
    await eventually(() => (stream.read(4) as Buffer | null)?.toString() === 'more', 'more');
    client.end();
    await eventually(() => stream.read() === null && stream.readableEnded, 'the end');
    for (const other of others) expect(await other.fence()).toEqual([]);
  });

  it.each(FACES)('a body of 100 MB reaches a slow server from a client; %s', async (_, tls) => {
    const { wire, stream, others } = await open(lane, tls);
    const before = await bytesHeld(lane.planeKind);
    const source = new Source();
    const sent = source.send(wire.stream);
    await stuck(source, others);
    expect((await bytesHeld(lane.planeKind)) - before).toBeLessThan(MOST);
    const sink = new Sink(stream);
    const came = sink.read(() => goOn(others));
    const hash = await sent;
    wire.end();
    expect(await came).toBe(hash);
    expect(sink.length).toBe(LENGTH);
    // That was the end of one way only.
    stream.end('an answer');
    expect((await wire.rest()).toString()).toBe('an answer');
    for (const other of others) expect(await other.fence()).toEqual([]);
  });

  it.each(FACES)('a long body ends with its client, in the middle; %s', async (_, tls) => {
    const { wire, stream, others } = await open(lane, tls);
    unread(wire);
    const source = new Source();
    void source.send(stream);
    await stuck(source, others);
    await wire.destroy();
    await eventually(() => stream.destroyed, 'the stream to be over');
    await goOn(others);
  });
});
