/** DERP within a WebSocket, over a transport that does only what the test says. */
import { Duplex } from 'node:stream';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { Barrier } from '../../../src/faults/barrier.js';
import { WebSocketStream } from '../../../src/plane/js/websocket-stream.js';
import { binaryHeader, closeFrame, closeReply, pongFrame } from '../../../src/protocol/websocket.js';
import { clientFrame, closePayload, Opcode } from '../../helpers/websocket.js';
import { settled } from './context.js';

/** A transport that takes everything that is written, or nothing more. */
class Transport extends Duplex {
  readonly given: Buffer[] = [];
  isStuck = false;

  constructor() {
    super({ highWaterMark: 64 });
  }

  get bytes(): Buffer {
    return Buffer.concat(this.given);
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.given.push(chunk);
    if (!this.isStuck) done();
  }
}

/** A WebSocket, what it has read, and whether that was all. */
function opened() {
  const inner = new Transport();
  const faults: unknown[] = [];
  const stream = new WebSocketStream(inner, new Barrier((_what, error) => faults.push(error)));
  const seen = { bytes: '', isOver: false, faults };
  stream.on('data', (chunk: Buffer) => {
    seen.bytes += chunk;
  });
  stream.on('end', () => {
    seen.isOver = true;
  });
  stream.on('error', () => undefined);
  onTestFinished(() => {
    expect(faults).toEqual([]);
  });
  return { inner, stream, seen };
}

/** What the client sends, and all that follows from it. */
async function says(inner: Transport, ...frames: readonly Buffer[]): Promise<void> {
  inner.push(Buffer.concat(frames));
  await settled();
}

const text = (payload: string, opcode: number = Opcode.Binary) => clientFrame(Buffer.from(payload), { opcode });

describe('the bytes of a WebSocket', () => {
  it('bytes that are written together leave as one message', async () => {
    const { inner, stream } = opened();
    stream.cork();
    stream.write('abc');
    stream.write('de');
    stream.uncork();
    await settled();
    expect(inner.bytes).toEqual(Buffer.concat([binaryHeader(5), Buffer.from('abcde')]));
    await new Promise<void>((resolve) => stream.write('f', () => resolve()));
    expect(inner.bytes.subarray(7)).toEqual(Buffer.concat([binaryHeader(1), Buffer.from('f')]));
  });

  it('the payloads of all messages are one stream, and those that came early are its beginning', async () => {
    const { inner, stream, seen } = opened();
    const early = text('early ');
    const before = Buffer.from(early);
    stream.onBytes(early);
    // The bytes belong to the caller.
    expect(early).toEqual(before);
    await says(inner, text('one '), text('two'));
    expect(seen).toMatchObject({ bytes: 'early one two', isOver: false });
  });

  it('a WebSocket that nobody reads stops its transport until it is read', async () => {
    const inner = new Transport();
    const stream = new WebSocketStream(inner, new Barrier(() => undefined));
    await says(inner, clientFrame(Buffer.alloc(100_000)));
    expect(inner.isPaused()).toBe(true);
    stream.resume();
    await settled();
    expect(inner.isPaused()).toBe(false);
  });

  it('a ping is answered unless the client reads nothing', async () => {
    const { inner, stream } = opened();
    await says(inner, text('hi', Opcode.Ping));
    expect(inner.bytes).toEqual(pongFrame(Buffer.from('hi')));
    inner.isStuck = true;
    stream.write(Buffer.alloc(100));
    await says(inner, text('again', Opcode.Ping));
    expect(inner.writableLength).toBe(binaryHeader(100).length + 100);
  });

  it('deadlines of writes see the handle of the transport', () => {
    const { inner, stream } = opened();
    const handle = { writeQueueSize: 7 };
    Object.assign(inner, { _handle: handle });
    expect(stream._handle).toBe(handle);
  });
});

describe('the end of a WebSocket', () => {
  it('a close of the client is answered with its own payload, and nothing behind it counts', async () => {
    const { inner, stream, seen } = opened();
    const payload = closePayload(1001, 'bye');
    await says(inner, text('last'), clientFrame(payload, { opcode: Opcode.Close }), text('late'));
    await says(inner, text('later'));
    expect(seen).toMatchObject({ bytes: 'last', isOver: true });
    expect(inner.bytes).toEqual(closeReply(payload));
    const error = await new Promise((resolve) => stream.write('more', resolve));
    expect(error).toEqual(new Error('the WebSocket is closing'));
    await settled();
    expect(inner.bytes).toEqual(closeReply(payload));
  });

  it.each([
    ['a frame without a mask', () => clientFrame(Buffer.from('x'), { masked: false }), 1002],
    ['a text', () => text('x', Opcode.Text), 1003],
    ['a message of more than 128 KiB', () => clientFrame(Buffer.alloc(0), { announced: (128 << 10) + 1 }), 1009],
  ])('%s ends a WebSocket with its code, once', async (_what, frame, code) => {
    const { inner, seen } = opened();
    await says(inner, text('before'), frame(), frame());
    await says(inner, frame());
    expect(seen).toMatchObject({ bytes: 'before', isOver: true });
    expect(inner.bytes).toEqual(closeFrame(code));
  });

  it('a message may have 128 KiB', async () => {
    const { inner, seen } = opened();
    await says(inner, clientFrame(Buffer.alloc(0), { announced: 128 << 10 }));
    expect([seen.isOver, inner.bytes.length]).toEqual([false, 0]);
  });

  it('the end of the transport is the end of the stream', async () => {
    const { inner, seen } = opened();
    inner.push(null);
    await settled();
    expect(seen.isOver).toBe(true);
  });

  it.each([new Error('reset'), undefined])('a transport that breaks breaks the stream: %s', async (error) => {
    const { inner, stream } = opened();
    inner.destroy(error);
    await settled();
    expect(stream.destroyed).toBe(true);
    expect(inner.bytes.length).toBe(0);
  });

  it('a WebSocket that the relay ends says so, and goes when the client has ended its side', async () => {
    const { inner, stream } = opened();
    stream.destroy();
    await settled();
    expect(inner.bytes).toEqual(closeFrame(1000));
    expect([inner.writableEnded, inner.destroyed]).toEqual([true, false]);
    // What the client still sends is read, and means nothing.
    await says(inner, text('late'), text('ping', Opcode.Ping));
    inner.push(null);
    await settled();
    expect(inner.destroyed).toBe(true);
    expect(inner.bytes).toEqual(closeFrame(1000));
  });

  it('a WebSocket that the relay ends goes at once if the client has ended its side before', async () => {
    const { inner, stream } = opened();
    inner.push(null);
    await settled();
    stream.destroy();
    await settled();
    expect(inner.bytes).toEqual(closeFrame(1000));
    expect(inner.destroyed).toBe(true);
  });

  it('a WebSocket that the relay ends goes after a second at the latest', async () => {
    onTestFinished(() => void vi.useRealTimers());
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    const { inner, stream } = opened();
    stream.destroy();
    await settled();
    vi.advanceTimersByTime(999);
    expect(inner.destroyed).toBe(false);
    vi.advanceTimersByTime(1);
    expect(inner.destroyed).toBe(true);
    const { inner: other, stream: second } = opened();
    second.destroy();
    other.push(null);
    await settled();
    expect(vi.getTimerCount()).toBe(0);
  });

  it('a WebSocket whose client reads nothing goes at once', async () => {
    const { inner, stream } = opened();
    inner.isStuck = true;
    stream.write(Buffer.alloc(100));
    await settled();
    stream.destroy();
    await settled();
    expect(inner.destroyed).toBe(true);
  });
});
