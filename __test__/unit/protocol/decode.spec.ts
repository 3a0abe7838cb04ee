import { afterEach, describe, expect, it, vi } from 'vitest';
import { FrameDecoder, type FrameSink, maxBodyLength, ProtocolError } from '../../../src/protocol/decode.js';
import { encodeFrame, newFrame } from '../../../src/protocol/frame.js';
import { FrameType, MAX_BODY_LENGTH, MAX_FORWARD_LENGTH } from '../../../src/protocol/wire.js';
import { seeded } from '../../helpers/random.js';

/** Passed over by the sink below. */
const UNWANTED = 0x7f as FrameType;

class Recorder implements FrameSink {
  readonly headers: [type: number, length: number][] = [];
  readonly frames: string[] = [];
  atHeader: (type: number, length: number) => void = () => {};
  atFrame: (type: number) => void = () => {};

  onHeader(type: number, length: number): boolean {
    this.headers.push([type, length]);
    this.atHeader(type, length);
    return type !== UNWANTED;
  }

  onFrame(type: number, frame: Buffer): void {
    expect(frame[0]).toBe(type);
    this.frames.push(frame.toString('hex'));
    // The bytes belong to the sink, whose changes must not reach the next frame.
    frame.fill(0xff);
    this.atFrame(type);
  }
}

/** Frames of every shape: empty, tiny, unwanted, unwanted and empty, long enough to be gathered in several steps. */
const FRAMES = [
  encodeFrame(FrameType.KeepAlive, Buffer.alloc(0)),
  encodeFrame(FrameType.NotePreferred, Buffer.from([1])),
  encodeFrame(UNWANTED, Buffer.from('unwanted')),
  encodeFrame(FrameType.SendPacket, counted(40)),
  encodeFrame(UNWANTED, Buffer.alloc(0)),
  encodeFrame(UNWANTED, counted(700)),
  encodeFrame(FrameType.SendPacket, counted(1500)),
  encodeFrame(FrameType.Ping, counted(8)),
];
const STREAM = Buffer.concat(FRAMES);
const HEADERS = FRAMES.map((frame) => [frame[0], frame.length - 5]);
const WANTED = FRAMES.filter((frame) => frame[0] !== UNWANTED).map((frame) => frame.toString('hex'));

afterEach(() => {
  vi.restoreAllMocks();
});

describe('decoding a stream', () => {
  it('a stream decodes from one chunk', () => {
    const { recorder, decoder } = decoding();
    decoder.push(Buffer.from(STREAM));
    expectAll(recorder, decoder);
  });

  it('a stream decodes from single bytes', () => {
    const { recorder, decoder } = decoding();
    for (const byte of STREAM) decoder.push(Buffer.from([byte]));
    expectAll(recorder, decoder);
  });

  it('a stream decodes from two chunks, split at every index', () => {
    for (let at = 0; at <= STREAM.length; at++) {
      const { recorder, decoder } = decoding();
      decoder.push(Buffer.from(STREAM.subarray(0, at)));
      decoder.push(Buffer.from(STREAM.subarray(at)));
      expectAll(recorder, decoder);
    }
  });

  it('a stream decodes from chunks of every size', () => {
    for (let size = 1; size <= 64; size++) {
      const { recorder, decoder } = decoding();
      for (let at = 0; at < STREAM.length; at += size) decoder.push(Buffer.from(STREAM.subarray(at, at + size)));
      expectAll(recorder, decoder);
    }
  });

  it('a stream decodes from random chunks, some of them empty', () => {
    const random = seeded(42);
    for (let run = 0; run < 300; run++) {
      const { recorder, decoder } = decoding();
      for (let at = 0; at < STREAM.length; ) {
        const size = Math.floor(random() ** 3 * 900);
        decoder.push(Buffer.from(STREAM.subarray(at, at + size)));
        at += size;
      }
      expectAll(recorder, decoder);
    }
  });
});

describe('unwanted frames', () => {
  it('unwanted frames are skipped without being held, whatever their length', () => {
    const allocated = vi.spyOn(Buffer, 'allocUnsafeSlow');
    const { recorder, decoder } = decoding();
    decoder.push(header(UNWANTED, 0xffff_ffff));
    for (let passed = 0; passed < 4096; passed++) {
      decoder.push(Buffer.alloc(16 << 10));
      expect(decoder.held).toBe(0);
    }
    expect(recorder.headers).toEqual([[UNWANTED, 0xffff_ffff]]);
    expect(allocated).not.toHaveBeenCalled();
  });

  it('an unwanted frame may end in the middle of a chunk', () => {
    const { recorder, decoder } = decoding();
    decoder.push(header(UNWANTED, 10));
    decoder.push(Buffer.concat([Buffer.alloc(10), encodeFrame(FrameType.Ping, counted(8))]));
    expect(recorder.frames).toHaveLength(1);
  });
});

describe('wrong lengths', () => {
  it('a frame that is too long is refused at the header, before any of the body is kept', () => {
    const allocated = vi.spyOn(Buffer, 'allocUnsafeSlow');
    const { recorder, decoder } = decoding();
    recorder.atHeader = (_type, length) => {
      if (length > MAX_BODY_LENGTH) throw new ProtocolError('too long');
    };
    expect(() => decoder.push(Buffer.concat([header(FrameType.SendPacket, 0xffff_ffff), Buffer.alloc(100)]))).toThrow(
      ProtocolError,
    );
    expect(decoder.held).toBe(0);
    expect(allocated).not.toHaveBeenCalled();
    expect(recorder.frames).toEqual([]);
  });

  it('a frame that is too long is refused with the last byte of a header that comes in pieces', () => {
    const { recorder, decoder } = decoding();
    recorder.atHeader = () => {
      throw new ProtocolError('too long');
    };
    const pieces = [...header(FrameType.SendPacket, 0xffff_ffff)].map((byte) => Buffer.from([byte]));
    for (const piece of pieces.slice(0, 4)) decoder.push(piece);
    expect(() => decoder.push(pieces[4] as Buffer)).toThrow('too long');
  });

  it('a frame costs memory for the bytes that came, not for those announced', () => {
    const sizes: number[] = [];
    const real = Buffer.allocUnsafeSlow;
    vi.spyOn(Buffer, 'allocUnsafeSlow').mockImplementation((size) => {
      sizes.push(size);
      return real.call(Buffer, size);
    });
    const { decoder } = decoding();
    decoder.push(header(FrameType.SendPacket, 0xffff_ffff));
    let came = 5;
    for (let piece = 0; piece < 200; piece++) {
      decoder.push(Buffer.alloc(100));
      came += 100;
      expect(decoder.held).toBe(came);
      expect(sizes.at(-1)).toBeLessThanOrEqual(Math.max(512, 2 * came));
    }
    // The buffer grows in strides, so that single bytes do not cause a copy each.
    expect(sizes.length).toBeLessThan(12);
  });

  it('a decoder holds no more of a frame than the bytes that came', () => {
    let begins = 0;
    for (const frame of FRAMES) {
      for (let length = 0; length < frame.length; length++) {
        const { decoder } = decoding();
        decoder.push(Buffer.from(STREAM.subarray(0, begins + length)));
        const skipped = frame[0] === UNWANTED && length >= 5;
        expect(decoder.held).toBe(skipped ? 0 : length);
      }
      begins += frame.length;
    }
  });

  it('a frame gathered from pieces keeps nothing beside its own bytes', () => {
    const { recorder, decoder } = decoding();
    let kept = 0;
    recorder.onFrame = (_type, frame) => {
      kept = frame.buffer.byteLength;
    };
    const frame = encodeFrame(FrameType.SendPacket, counted(20_000));
    for (let at = 0; at < frame.length; at += 1460) decoder.push(Buffer.from(frame.subarray(at, at + 1460)));
    expect(kept).toBe(frame.length);
  });
});

describe('pause and resume', () => {
  it('a paused decoder stops behind the current frame, and goes on in order', () => {
    for (let stop = 1; stop <= WANTED.length; stop++) {
      const { recorder, decoder } = decoding();
      recorder.atFrame = () => {
        if (recorder.frames.length === stop) decoder.pause();
      };
      decoder.push(Buffer.from(STREAM.subarray(0, 800)));
      decoder.push(Buffer.from(STREAM.subarray(800)));
      expect(recorder.frames).toEqual(WANTED.slice(0, stop));
      decoder.resume();
      expectAll(recorder, decoder);
    }
  });

  it('a decoder may pause at every frame, whatever the chunks', () => {
    for (const size of [1, 7, 100, 1600, STREAM.length]) {
      const { recorder, decoder } = decoding();
      recorder.atFrame = () => decoder.pause();
      for (let at = 0; at < STREAM.length; at += size) decoder.push(Buffer.from(STREAM.subarray(at, at + size)));
      for (let resumed = 0; resumed < WANTED.length; resumed++) {
        expect(recorder.frames).toHaveLength(resumed + 1);
        decoder.resume();
      }
      expectAll(recorder, decoder);
    }
  });

  it('a paused decoder counts bytes that wait as held', () => {
    const { recorder, decoder } = decoding();
    decoder.push(Buffer.from(STREAM.subarray(0, 7)));
    const before = decoder.held;
    decoder.pause();
    decoder.push(Buffer.from(STREAM.subarray(7, 100)));
    decoder.push(Buffer.from(STREAM.subarray(100, 150)));
    expect(decoder.held).toBe(before + 143);
    expect(recorder.frames).toEqual(WANTED.slice(0, 1));
  });

  it('a paused decoder keeps little more than the bytes that wait, however they are cut', () => {
    const { recorder, decoder } = decoding();
    decoder.pause();
    for (const byte of STREAM) decoder.push(Buffer.of(byte));
    expect(decoder.held).toBe(STREAM.length);
    expect(decoder.kept).toBeLessThanOrEqual(2 * STREAM.length);
    decoder.resume();
    expect(recorder.frames).toEqual(WANTED);
    expect(decoder.kept).toBe(0);
  });

  it('an ended decoder holds nothing, and decodes nothing more', () => {
    for (const end of [3, 7, 150, 800]) {
      const { recorder, decoder } = decoding();
      decoder.push(Buffer.from(STREAM.subarray(0, end)));
      const seen = recorder.frames.length;
      decoder.end();
      decoder.push(Buffer.from(STREAM.subarray(end)));
      expect(decoder.held).toBe(0);
      expect(recorder.frames).toHaveLength(seen);
    }
  });

  it('a paused decoder looks at no header', () => {
    const { recorder, decoder } = decoding();
    decoder.pause();
    decoder.push(Buffer.from(STREAM));
    expect(recorder.headers).toEqual([]);
    decoder.resume();
    expectAll(recorder, decoder);
  });

  it('a decoder may resume from within a frame', () => {
    const { recorder, decoder } = decoding();
    recorder.atFrame = () => {
      decoder.pause();
      decoder.resume();
    };
    decoder.push(Buffer.from(STREAM));
    expectAll(recorder, decoder);
  });
});

describe('maxBodyLength', () => {
  it.each(Object.entries(FrameType))('maxBodyLength has the bound of %s', (name, type) => {
    expect(maxBodyLength(type)).toBe(name === 'ForwardPacket' ? MAX_FORWARD_LENGTH : MAX_BODY_LENGTH);
  });
});

function decoding(): { recorder: Recorder; decoder: FrameDecoder } {
  const recorder = new Recorder();
  return { recorder, decoder: new FrameDecoder(recorder) };
}

function expectAll(recorder: Recorder, decoder: FrameDecoder): void {
  expect(recorder.frames).toEqual(WANTED);
  expect(recorder.headers).toEqual(HEADERS);
  expect(decoder.held).toBe(0);
}

function header(type: FrameType, length: number): Buffer {
  const frame = newFrame(type, 0);
  frame.writeUInt32BE(length, 1);
  return frame;
}

function counted(length: number): Buffer {
  return Buffer.from(Array.from({ length }, (_, index) => index & 0xff));
}
