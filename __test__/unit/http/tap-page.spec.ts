import { EventEmitter } from 'node:events';
import type { ServerResponse } from 'node:http';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { DerpkitError } from '../../../src/errors.js';
import { DEBUG_HEADERS } from '../../../src/http/responses.js';
import { sendTap } from '../../../src/http/tap-page.js';
import type { PacketTap, TapBatch, TapOptions } from '../../../src/plane/plane.js';
import { generateKeyPair, nodeKeyHex } from '../../../src/protocol/key.js';

const { publicKey: KEY } = generateKeyPair();

/** A tap that the test fills, and what was asked of it. */
class Tap implements PacketTap {
  readonly options: TapOptions[] = [];
  readonly waiting: TapBatch[] = [];
  taken = 0;
  released = 0;
  isOpen = false;
  private wake = () => {};

  open(options: TapOptions): PacketTap {
    if (this.isOpen) throw new DerpkitError('ERR_STATE', 'there is a packet tap already');
    this.options.push(options);
    this.isOpen = true;
    return this;
  }

  give(missed = 0): void {
    const bytes = Buffer.from('payload');
    const frames = [{ time: 0, source: KEY, destination: KEY, kind: 'other' as const, length: bytes.length, bytes }];
    const release = () => {
      this.released += 1;
    };
    this.waiting.push({ frames, missed, release });
    this.wake();
  }

  stop(): void {
    this.isOpen = false;
    this.wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<TapBatch, void, undefined> {
    while (this.isOpen) {
      const batch = this.waiting.shift();
      if (batch) {
        this.taken += 1;
        yield batch;
      } else {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    }
  }
}

/** A reader that takes what it gets, or lets it wait. */
class Reader extends EventEmitter {
  status = 0;
  headers: Readonly<Record<string, string>> = {};
  text = '';
  isSlow = false;
  /** Behind another answer of its connection: Node destroys it only when its turn comes. */
  isQueued = false;
  destroyed = false;
  readonly req: { method: string; headers: Record<string, string>; socket: { destroy(): void } };

  constructor(method: string, accept: string) {
    super();
    this.req = { method, headers: { accept }, socket: { destroy: () => this.close() } };
  }

  writeHead(status: number, headers: Readonly<Record<string, string>>): this {
    this.status = status;
    this.headers = headers;
    return this;
  }

  flushHeaders(): void {}

  write(text: Buffer): boolean {
    this.text += text.toString('latin1');
    return !this.isSlow;
  }

  end(text = ''): void {
    this.text += text;
    this.destroy();
  }

  destroy(): void {
    if (!this.isQueued) this.close();
  }

  private close(): void {
    if (this.destroyed) return;
    this.destroyed = true;
    this.emit('close');
  }
}

let tap: Tap;

function read(query = '', { method = 'GET', accept = '*/*' } = {}): Reader {
  const reader = new Reader(method, accept);
  void sendTap(reader as unknown as ServerResponse, { tap: (options) => tap.open(options) }, query);
  return reader;
}

beforeEach(() => {
  vi.useFakeTimers();
  tap = new Tap();
});

afterEach(() => {
  vi.useRealTimers();
});

const pass = (seconds: number) => vi.advanceTimersByTimeAsync(seconds * 1000);

describe('/debug/tap', () => {
  it('the tap copies no payload that was not asked for, and asks the plane for the packets of a key', () => {
    read().destroy();
    read(`key=nodekey:${nodeKeyHex(KEY)}&payload=100`).destroy();
    read('payload=65536').destroy();
    expect(tap.options).toEqual([{ snapLength: 0 }, { snapLength: 100, key: KEY }, { snapLength: 65536 }]);
  });

  it.each(['key=nodekey:12', `key=${'ab'.repeat(32)}`, 'key=any', 'payload=-1', 'payload=65537', 'payload=1e3'])(
    'the tap refuses %s',
    (query) => {
      expect(read(query)).toMatchObject({ status: 400, text: expect.stringMatching(/^(?:key|payload) must be /) });
      expect(tap.options).toEqual([]);
    },
  );

  it.each([
    [`key=nodekey-${'ab'.repeat(32)}`, 'key must be nodekey: and 64 hex digits\n'],
    ['payload=x1', 'payload must be a number from 0 to 65536\n'],
    ['payload=1x', 'payload must be a number from 0 to 65536\n'],
  ])('the tap refuses %s with the reason', (query, text) => {
    expect(read(query)).toMatchObject({ status: 400, text });
    expect(tap.options).toEqual([]);
  });

  it('the plane gets no key that was not asked for', () => {
    read().destroy();
    expect(tap.options).toStrictEqual([{ snapLength: 0 }]);
  });

  it.each([
    ['*/*', 'application/x-ndjson'],
    ['application/x-pcapng', 'application/x-pcapng'],
    ['APPLICATION/PCAPNG', 'application/x-pcapng'],
  ])('an answer to a reader that accepts %s is %s, and is not kept', (accept, type) => {
    const headers = { ...DEBUG_HEADERS, 'Content-Type': type, 'Cache-Control': 'no-store', Vary: 'Accept' };
    for (const method of ['HEAD', 'GET']) expect(read('', { method, accept })).toMatchObject({ status: 200, headers });
  });

  it('a second reader learns that there is one tap at a time', () => {
    read();
    const text = 'a tap is open already, and there is one at a time: end it, and try again\n';
    expect(read()).toMatchObject({ status: 409, text });
  });

  it.each([new Error('no plane'), new DerpkitError('ERR_INTERNAL', 'a fault')])(
    'a tap that cannot be opened for another reason fails: %s',
    async (error) => {
      const source = {
        tap: () => {
          throw error;
        },
      };
      const reader = new Reader('GET', '*/*');
      await expect(sendTap(reader as unknown as ServerResponse, source, '')).rejects.toBe(error);
    },
  );

  it('the tap is free again where the reader has left before its turn', () => {
    const reader = new Reader('GET', '*/*');
    reader.destroy();
    void sendTap(reader as unknown as ServerResponse, { tap: (options) => tap.open(options) }, '');
    expect([tap.options.length, tap.isOpen]).toEqual([1, false]);
  });

  it('the tap has no room for a second reader until the first has left', () => {
    const first = read();
    expect(read().status).toBe(409);
    expect(first.destroyed).toBe(false);
    first.destroy();
    expect(read().status).toBe(200);
  });

  it('a HEAD request opens no tap', () => {
    expect(read('', { method: 'HEAD' })).toMatchObject({ status: 200, destroyed: true });
    expect(tap.options).toEqual([]);
  });

  it('the tap is pcapng for readers that accept it', () => {
    for (const accept of ['application/x-pcapng', 'text/plain, application/pcapng;q=0.9']) {
      const reader = read('', { accept });
      expect(reader.text).toContain('\x0a\x0d\x0d\x0a');
      reader.destroy();
    }
  });

  it('the tap takes nothing from the plane while the reader is behind, and tells it what was missed', async () => {
    const reader = read();
    reader.isSlow = true;
    for (let count = 0; count < 3; count++) tap.give();
    await pass(10);
    expect([tap.taken, tap.released]).toEqual([1, 1]);
    // No sign of life either: it would only wait with the rest.
    expect(reader.text.split('\n')).toHaveLength(2);
    reader.isSlow = false;
    tap.waiting.length = 0;
    tap.give(5);
    reader.emit('drain');
    await pass(5);
    expect(reader.text).toContain('{"missed":5}\n');
    expect(reader.text).toMatch(/"total":\{"seen":2,"missed":5\}\}\n$/);
  });

  it.each([false, true])(
    'the tap drops a reader that takes nothing for half a minute, and is free for the next one; behind another answer %s',
    async (isQueued) => {
      const reader = read();
      Object.assign(reader, { isSlow: true, isQueued });
      tap.give();
      await pass(29);
      expect(reader.destroyed).toBe(false);
      await pass(2);
      expect(reader.destroyed).toBe(true);
      await pass(0);
      expect(read().status).toBe(200);
    },
  );

  it('the tap drops a reader that takes no signs of life for half a minute, and gives it no more of them', async () => {
    const reader = read();
    reader.isSlow = true;
    await pass(34);
    expect(reader.destroyed).toBe(false);
    expect(reader.text.match(/"total"/g)).toHaveLength(1);
    await pass(2);
    expect(reader.destroyed).toBe(true);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('a tap that ends while its reader is behind leaves no timer', async () => {
    const reader = read();
    reader.isSlow = true;
    await pass(6);
    tap.stop();
    await pass(0);
    expect(vi.getTimerCount()).toBe(0);
    expect(reader.text.match(/"total"/g)).toHaveLength(2);
  });

  it('the tap shows signs of life where no packet passes', async () => {
    const reader = read();
    await pass(61);
    expect(reader.text.match(/"total"/g)).toHaveLength(12);
    expect(vi.getTimerCount()).toBe(1);
    reader.destroy();
    await pass(0);
    expect(vi.getTimerCount()).toBe(0);
  });

  it('the tap ends with the plane, and says what it has seen', async () => {
    const reader = read();
    tap.give(2);
    await pass(0);
    tap.stop();
    await pass(0);
    expect(reader).toMatchObject({ destroyed: true, text: expect.stringMatching(/\{"seen":1,"missed":2\}\}\n$/) });
  });
});
