import type { Socket } from 'node:dgram';
import { crc32 } from 'node:zlib';
import { describe, expect, it } from 'vitest';
import { WritableCounters } from '../../../src/plane/counters.js';
import { bindingResponse, isBindingRequest, StunListener } from '../../../src/plane/js/stun.js';
import { STRICT } from '../../helpers/strict-barrier.js';
import { addressOf, bytes, cases, vectors } from '../vectors.js';

const TX = '010101010101010101010101';
const REQUEST = '000100142112a442010101010101010101010101802200087461696c6e6f646580280004355f9b89';

describe('STUN requests', () => {
  it.each(cases(vectors.stun.accepts))(
    'a STUN request is accepted or refused as upstream does: %s',
    (_name, { hex, accepted }) => {
      expect(isBindingRequest(bytes(hex))).toBe(accepted);
    },
  );

  it.each(cases(vectors.stun.requests))('a STUN request of upstream is accepted: %s', (_name, { hex }) => {
    expect(isBindingRequest(bytes(hex))).toBe(true);
  });

  it('a STUN request is refused if a bit of any byte changes', () => {
    const request = bytes(REQUEST);
    for (let at = 0; at < request.length; at++) {
      for (const bit of [0x01, 0x80]) {
        const changed = Buffer.from(request);
        changed[at] = (changed[at] as number) ^ bit;
        expect(isBindingRequest(changed), `byte ${at}`).toBe(false);
      }
    }
  });

  it('a STUN request that is cut short anywhere is refused', () => {
    const request = bytes(REQUEST);
    for (let length = 0; length < request.length; length++) {
      expect(isBindingRequest(request.subarray(0, length)), `${length} bytes`).toBe(false);
    }
  });
});

it('a STUN request of port 0 is not answered, and does not end the listener', async () => {
  const counters = new WritableCounters();
  const listener = new StunListener({ kind: 'stun', derp: false, host: '127.0.0.1', port: 0 }, 1, {
    barrier: STRICT,
    counters,
  });
  await listener.listen();
  const { sockets } = listener as unknown as { sockets: { sockets: Map<string, Socket> } };
  const [socket] = [...sockets.sockets.values()] as [Socket];
  socket.emit('message', bytes(REQUEST), { address: '192.0.2.1', family: 'IPv4', port: 0, size: REQUEST.length / 2 });
  expect(counters.readAll()).toMatchObject({ 'stun_requests:write_error': 1, 'stun_addrfamily:ipv4': 1 });
  await listener.close();
});

/** The rules one by one: each packet breaks one rule. */
describe('rules of STUN requests', () => {
  const TAILNODE = attribute(0x8022, Buffer.from('tailnode'));
  const usual = { type: 0x0001, cookie: '2112a442', attributes: [TAILNODE] };

  it('a STUN request that keeps every rule is accepted', () => {
    expect(isBindingRequest(request(usual))).toBe(true);
    expect(request(usual).toString('hex')).toBe(REQUEST);
  });

  it.each([
    ['its class: indication', { ...usual, type: 0x0011 }],
    ['its class: response', { ...usual, type: 0x0101 }],
    ['its class: error', { ...usual, type: 0x0111 }],
    ['its method', { ...usual, type: 0x0002 }],
    ['its top bit', { ...usual, type: 0x8001 }],
    ['its second bit', { ...usual, type: 0x4001 }],
    ['its cookie', { ...usual, cookie: '2112a443' }],
    ['no software', { ...usual, attributes: [] }],
    ['other software', { ...usual, attributes: [attribute(0x8022, Buffer.from('tailnodf'))] }],
    ['software with more', { ...usual, attributes: [attribute(0x8022, Buffer.from('tailnode\0'))] }],
    ['software with less', { ...usual, attributes: [attribute(0x8022, Buffer.from('tailnod'))] }],
    ['software under another number', { ...usual, attributes: [attribute(0x8023, Buffer.from('tailnode'))] }],
    ['no fingerprint', { ...usual, fingerprint: Buffer.alloc(0) }],
    ['a fingerprint of another number', { ...usual, fingerprintType: 0x8029 }],
    ['a fingerprint of 3 bytes', { ...usual, fingerprint: attribute(0x8028, Buffer.alloc(3)) }],
    ['a fingerprint of 8 bytes', { ...usual, fingerprint: attribute(0x8028, Buffer.alloc(8)) }],
    ['a fingerprint without the mask', { ...usual, mask: 0 }],
    ['something behind the fingerprint', { ...usual, behind: attribute(6, Buffer.from('user')) }],
    ['a byte behind the fingerprint', { ...usual, behind: Buffer.alloc(1) }],
    ['an attribute that is longer than the rest', { ...usual, attributes: [TAILNODE, Buffer.from('0006ffff', 'hex')] }],
    ['an attribute without its padding', { ...usual, attributes: [TAILNODE, Buffer.from('0006000175', 'hex')] }],
  ])('a STUN request is refused for %s', (_name, parts) => {
    expect(isBindingRequest(request(parts))).toBe(false);
  });

  it.each([
    ['another length in its header', { ...usual, length: 0xffff }],
    ['unknown attributes', { ...usual, attributes: [attribute(0x1234, Buffer.alloc(7)), TAILNODE] }],
    ['attributes behind the software', { ...usual, attributes: [TAILNODE, attribute(6, Buffer.alloc(0))] }],
    ['a transaction id of zeros', { ...usual, tx: '00'.repeat(12) }],
  ])('a STUN request is accepted with %s', (_name, parts) => {
    expect(isBindingRequest(request(parts))).toBe(true);
  });
});

describe('STUN responses', () => {
  it.each(cases(vectors.stun.responses))(
    'a STUN response has the bytes of upstream’s: %s',
    (_name, { txId, address, hex }) => {
      const { address: ip, port } = addressOf(address);
      expect(bindingResponse(requestWith(txId), ip, port).toString('hex')).toBe(hex);
    },
  );

  it('a STUN response has 32 bytes for IPv4 and 44 for IPv6', () => {
    expect(bindingResponse(requestWith(TX), '192.0.2.1', 1)).toHaveLength(32);
    expect(bindingResponse(requestWith(TX), '2001:db8::1', 1)).toHaveLength(44);
  });

  it('a STUN response is not accepted as a request', () => {
    expect(isBindingRequest(bindingResponse(requestWith(TX), '192.0.2.1', 1))).toBe(false);
  });
});

interface Parts {
  readonly type: number;
  readonly cookie: string;
  readonly attributes: readonly Buffer[];
  readonly tx?: string;
  readonly length?: number;
  readonly fingerprint?: Buffer;
  readonly fingerprintType?: number;
  readonly mask?: number;
  readonly behind?: Buffer;
}

function request(parts: Parts): Buffer {
  const { type, cookie, attributes, tx = TX, fingerprintType = 0x8028, mask = 0x5354554e } = parts;
  const body = Buffer.concat(attributes);
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(parts.length ?? body.length + 8, 2);
  const signed = Buffer.concat([head, bytes(cookie), bytes(tx), body]);
  const sum = Buffer.alloc(4);
  sum.writeUInt32BE((crc32(signed) ^ mask) >>> 0);
  const fingerprint = parts.fingerprint ?? attribute(fingerprintType, sum);
  return Buffer.concat([signed, fingerprint, parts.behind ?? Buffer.alloc(0)]);
}

function attribute(type: number, value: Buffer): Buffer {
  const head = Buffer.alloc(4);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(value.length, 2);
  return Buffer.concat([head, value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
}

function requestWith(tx: string): Buffer {
  return bytes(REQUEST.slice(0, 16) + tx + REQUEST.slice(40));
}
