import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  acceptOf,
  binaryHeader,
  pongFrame,
  WebSocketDecoder,
  WebSocketFault,
} from '../../../src/protocol/websocket.js';

type Piece = string | { readonly repeat: string; readonly times: number };
interface Case {
  readonly bytes: readonly Piece[];
  readonly limit: number;
  readonly out: readonly Readonly<Record<string, Piece | readonly Piece[]>>[];
  readonly fault?: string;
  readonly code?: number;
  readonly kept?: number;
}

const vectors = JSON.parse(readFileSync(new URL('../../vectors/websocket.json', import.meta.url), 'utf8'));
const cases = Object.entries(vectors.read as Record<string, Case>);

function hex(pieces: Piece | readonly Piece[]): string {
  const all = Array.isArray(pieces) ? (pieces as readonly Piece[]) : [pieces as Piece];
  return all.map((piece) => (typeof piece === 'string' ? piece : piece.repeat.repeat(piece.times))).join('');
}

/** The output for a stream in pieces of this size, with neighbours of data joined. */
function read({ bytes, limit }: Case, size: number) {
  const out: [kind: string, hex: string][] = [];
  const add = (kind: string, payload: Buffer) => {
    const last = out.at(-1);
    if (kind === 'data' && last?.[0] === 'data') last[1] += payload.toString('hex');
    else out.push([kind, payload.toString('hex')]);
  };
  const sink = {
    onData: (payload: Buffer) => add('data', payload),
    onPing: (payload: Buffer) => add('ping', payload),
    onClose: (payload: Buffer) => add('close', payload),
  };
  const decoder = new WebSocketDecoder(sink, limit);
  const stream = Buffer.from(hex(bytes), 'hex');
  try {
    for (let at = 0; at < stream.length; at += size) decoder.push(Buffer.from(stream.subarray(at, at + size)));
  } catch (error) {
    if (!(error instanceof WebSocketFault)) throw error;
    return { out, fault: error.kind, code: error.code };
  }
  return { out, kept: decoder.held };
}

describe.each([1, 3, 1 << 20])('WebSocket streams in pieces of %i bytes', (size) => {
  it.each(cases)('a WebSocket stream is read as in the vectors: %s', (_name, each) => {
    const wanted = each.out.map((entry) => Object.entries(entry).map(([kind, payload]) => [kind, hex(payload)])[0]);
    const { fault, code, kept } = each;
    expect(read(each, size)).toEqual({ out: wanted, ...(fault === undefined ? { kept } : { fault, code }) });
  });
});

it.each(Object.entries(vectors.write.binaryHeaders as Record<string, string>))(
  'a binary message of %s bytes has the header of the vectors',
  (length, bytes) => {
    expect(binaryHeader(Number(length)).toString('hex')).toBe(bytes);
  },
);

it.each(Object.entries(vectors.write.pongs as Record<string, string>))(
  'a pong of %s has the bytes of the vectors',
  (payload, bytes) => {
    expect(pongFrame(Buffer.from(payload, 'hex')).toString('hex')).toBe(bytes);
  },
);

it.each(Object.entries(vectors.accept as Record<string, string>))(
  'the accept value for the key %s is that of the vectors',
  (key, accept) => {
    expect(acceptOf(key)).toBe(accept);
  },
);
