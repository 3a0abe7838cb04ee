import { describe, expect, it } from 'vitest';
import { type DerpUpgrade, type Head, HeadReader } from '../../../src/plane/js/http-head.js';
import { busyTime } from '../../helpers/wait.js';
import { vectors } from '../vectors.js';

const LIMIT = 16 << 10;
const UPGRADE = 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP';
const PLAIN = { fastStart: false, notIdeal: false };

describe('requests of upstream’s clients', () => {
  it.each([
    ['request', PLAIN],
    ['requestTLS12', PLAIN],
    ['requestFastStart', { ...PLAIN, fastStart: true }],
  ])('a request of upstream’s client is a DERP upgrade: %s', (name, expected) => {
    const head = Buffer.from(vectors.upgrade[name]?.text ?? '');
    expect(readHead(head, LIMIT)).toEqual({ ...expected, end: head.length });
  });
});

describe('heads of upgrades to raw DERP', () => {
  it.each<[string, string, Partial<DerpUpgrade>]>([
    ['in any case', 'GET /derp HTTP/1.1|Host: x|uPGRADE: DeRp', {}],
    ['without Connection', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP', {}],
    ['with another method', 'POST /derp HTTP/1.1|Host: x|Upgrade: DERP', {}],
    ['with an unknown method', 'BREW! /derp HTTP/1.1|Host: x|Upgrade: DERP', {}],
    ['over HTTP/1.0', 'GET /derp HTTP/1.0|Upgrade: DERP', {}],
    ['with a query', 'GET /derp?a=b HTTP/1.1|Host: x|Upgrade: DERP', {}],
    ['with an absolute target', 'GET https://derp.test/derp HTTP/1.1|Host: x|Upgrade: DERP', {}],
    ['with blanks around the value', 'GET /derp HTTP/1.1|Host: x|Upgrade: \t DERP \t', {}],
    ['with no blank before the value', 'GET /derp HTTP/1.1|Host: x|Upgrade:DERP', {}],
    ['from the first of two Upgrade headers', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Upgrade: websocket', {}],
    ['from an early client', 'GET /derp HTTP/1.1|Host: x|Upgrade: WebSocket', {}],
    [
      'with another subprotocol of WebSocket',
      'GET /derp HTTP/1.1|Host: x|Upgrade: websocket|Sec-WebSocket-Protocol: chat',
      {},
    ],
    [
      'with the subprotocol derp in the second header alone',
      'GET /derp HTTP/1.1|Host: x|Upgrade: websocket|Sec-WebSocket-Protocol: chat|Sec-WebSocket-Protocol: derp',
      {},
    ],
    ['with fast start', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|derp-fast-start: 1', { fastStart: true }],
    ['with fast start 0', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Derp-Fast-Start: 0', {}],
    ['with fast start true', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Derp-Fast-Start: true', {}],
    [
      'with fast start in the second header',
      'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Derp-Fast-Start: 0|Derp-Fast-Start: 1',
      {},
    ],
    ['with an ideal node', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Ideal-Node: 1a', { notIdeal: true }],
    ['with an empty ideal node', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Ideal-Node:', {}],
    ['with a blank ideal node', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Ideal-Node:  \t ', {}],
    [
      'with an ideal node that is empty first',
      'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|Ideal-Node:|Ideal-Node: 1a',
      {},
    ],
    ['with latin1 in a value', 'GET /derp HTTP/1.1|Host: x|X: \xe9|Upgrade: DERP', {}],
    ['with colons in a value', 'GET /derp HTTP/1.1|Host: [::1]:443|Upgrade: DERP', {}],
    ['with the longest body', `${UPGRADE}|Content-Length: 0009223372036854775807`, {}],
    ['with the length of a body, twice', `${UPGRADE}|Content-Length: 5|content-length:5`, {}],
    ['with a body in chunks', `${UPGRADE}|Transfer-Encoding: Chunked|Content-Length: 5`, {}],
    ['with a coding in HTTP/1.0', 'GET /derp HTTP/1.0|Upgrade: DERP|Transfer-Encoding: gzip', {}],
  ])('a head is a DERP upgrade %s', (_name, lines, expected) => {
    const bytes = head(lines);
    expect(readHead(bytes, LIMIT)).toEqual({ ...PLAIN, ...expected, end: bytes.length });
  });

  it('DERP begins behind the head, and the reader leaves the bytes there alone', () => {
    const bytes = head('GET /derp HTTP/1.1|Host: x|Upgrade: DERP');
    const followed = Buffer.concat([bytes, Buffer.from('\x02\0\0\0\x04\r\n\r\n')]);
    expect(readHead(followed, LIMIT)).toEqual({ ...PLAIN, end: bytes.length });
  });
});

describe('heads for the HTTP server', () => {
  it.each([
    ['no upgrade', 'GET /derp HTTP/1.1|Host: x'],
    ['no host', 'GET /derp HTTP/1.1'.concat('|Upgrade: DERP')],
    ['two hosts', 'GET /derp HTTP/1.1|Host: x|host: x|Upgrade: DERP'],
    ['another upgrade', 'GET /derp HTTP/1.1|Host: x|Upgrade: h2c'],
    ['a list of upgrades', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP, websocket'],
    ['the first of two Upgrade headers is another', 'GET /derp HTTP/1.1|Host: x|Upgrade: h2c|Upgrade: DERP'],
    ['the first of two Upgrade headers is empty', 'GET /derp HTTP/1.1|Host: x|Upgrade:|Upgrade: DERP'],
    ['WebSocket', 'GET /derp HTTP/1.1|Host: x|Upgrade: websocket|Sec-WebSocket-Protocol: derp'],
    [
      'WebSocket with several subprotocols',
      'GET /derp HTTP/1.1|Host: x|Upgrade: WebSocket|Sec-WebSocket-Protocol: chat, derp',
    ],
    ['a path with a slash', 'GET /derp/ HTTP/1.1|Host: x|Upgrade: DERP'],
    ['a longer path', 'GET /derpx HTTP/1.1|Host: x|Upgrade: DERP'],
    ['a path below', 'GET /derp/probe HTTP/1.1|Host: x|Upgrade: DERP'],
    ['a path in other case', 'GET /DERP HTTP/1.1|Host: x|Upgrade: DERP'],
    ['an escaped path', 'GET /%64erp HTTP/1.1|Host: x|Upgrade: DERP'],
    ['a doubled slash', 'GET //derp HTTP/1.1|Host: x|Upgrade: DERP'],
    ['the root', 'GET / HTTP/1.1|Host: x|Upgrade: DERP'],
    ['an absolute target without a path', 'GET http://derp HTTP/1.1|Host: x|Upgrade: DERP'],
    ['HTTP/2', 'PRI * HTTP/2.0'],
    ['HTTP/1.2', 'GET /derp HTTP/1.2|Upgrade: DERP'],
    ['a folded line', 'GET /derp HTTP/1.1|Host: x|X: a|  b|Upgrade: DERP'],
    ['a blank before the colon', 'GET /derp HTTP/1.1|Host: x|Upgrade : DERP'],
    ['no name', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|: value'],
    ['a malformed name', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|na(me: value'],
    ['a NUL in a value', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|X: a\0b'],
    ['a bare carriage return', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|X: a\rb'],
    ['no length of a body', `${UPGRADE}|Content-Length:`],
    ['a negative length', `${UPGRADE}|Content-Length: -1`],
    ['a length with a sign', `${UPGRADE}|Content-Length: +1`],
    ['a length in hex', `${UPGRADE}|Content-Length: 0x1`],
    ['a list of lengths', `${UPGRADE}|Content-Length: 5, 5`],
    ['too great a length', `${UPGRADE}|Content-Length: 9223372036854775808`],
    ['two lengths', `${UPGRADE}|Content-Length: 5|Content-Length: 6`],
    ['a broken length in HTTP/1.0', 'GET /derp HTTP/1.0|Upgrade: DERP|Content-Length: x'],
    ['an empty coding', `${UPGRADE}|Transfer-Encoding:`],
    ['an unknown coding', `${UPGRADE}|Transfer-Encoding: gzip`],
    ['a list of codings', `${UPGRADE}|Transfer-Encoding: gzip, chunked`],
    ['a coding twice', `${UPGRADE}|Transfer-Encoding: chunked|Transfer-Encoding: chunked`],
  ])('a head goes to the HTTP server: %s', (_name, lines) => {
    expect(readHead(head(lines), LIMIT)).toBe('http');
  });
});

describe('bytes that are no head', () => {
  it.each([
    ['HTTP/0.9', 'GET /derp|Upgrade: DERP'],
    ['two blanks in the request line', 'GET  /derp HTTP/1.1|Host: x|Upgrade: DERP'],
    ['a blank behind the request line', 'GET /derp HTTP/1.1 |Upgrade: DERP'],
    ['a blank before the request line', ' GET /derp HTTP/1.1|Host: x|Upgrade: DERP'],
    ['an empty line before the request line', '|GET /derp HTTP/1.1|Host: x|Upgrade: DERP'],
    ['no colon', 'GET /derp HTTP/1.1|Host: x|Upgrade: DERP|nonsense'],
    ['a TLS client hello', '\x16\x03\x01\x02\0\x01\0'],
    ['a first header that goes on', 'GET /derp HTTP/1.1| Host: x|Upgrade: DERP'],
  ])('bytes are no head: %s', (_name, lines) => {
    expect(readHead(head(lines), LIMIT)).toBe('bad');
  });
});

describe('incomplete heads', () => {
  const whole = head('GET /derp HTTP/1.1|Host: x|Upgrade: DERP');

  it('a head needs more bytes until its last one', () => {
    for (let at = 0; at < whole.length; at++) expect(readHead(whole.subarray(0, at), LIMIT)).toBe('more');
    expect(readHead(whole, LIMIT)).not.toBe('more');
  });

  it('a head may have bare line feeds, up to the limit', () => {
    const bare = Buffer.from('GET /derp HTTP/1.1\nHost: x\nUpgrade: DERP\n\n');
    expect(readHead(bare, bare.length)).toEqual({ ...PLAIN, end: bare.length });
    expect(readHead(bare, bare.length - 1)).toBe('http');
  });

  it('a head may be as long as the limit, and no longer', () => {
    expect(readHead(whole, whole.length)).toEqual({ ...PLAIN, end: whole.length });
    expect(readHead(whole, whole.length - 1)).toBe('http');
    expect(readHead(whole.subarray(0, 30), 30)).toBe('http');
    expect(readHead(whole.subarray(0, 29), 30)).toBe('more');
  });
});

describe('heads that are made to be slow', () => {
  const much = 64 << 10;

  it.each([
    ['blanks within a value', `X: x${' '.repeat(much)}x`],
    ['a long target', 'X: x', `/${'a'.repeat(much)}`],
    ['a scheme without an end', 'X: x', `${'a'.repeat(much)}://`],
    ['a long name', 'x'.repeat(much)],
    ['a length without an end', `Content-Length: ${'0'.repeat(much)}`],
    ['many headers', Array.from({ length: 6000 }, (_, index) => `a${index}:`).join('|')],
  ])('a hostile head takes no quadratic time: %s', (_name, lines, target = '/derp') => {
    const bytes = head(`GET ${target} HTTP/1.1|Host: x|${lines}|Upgrade: DERP`);
    // Quadratic time would take seconds.
    expect(busyTime(() => readHead(bytes, 2 * much))).toBeLessThan(500);
  });

  it.each([
    ['a method', 'a'.repeat(much)],
    ['a target', `GET /${'a'.repeat(much)}`],
    ['a header', `GET / HTTP/1.1|X: ${'a'.repeat(much)}`],
    ['headers', `GET / HTTP/1.1|${'X: a|'.repeat(much / 6)}`],
  ])('a hostile head that comes byte by byte takes no quadratic time: %s', (_name, lines) => {
    const bytes = head(lines).subarray(0, -4);
    const reader = new HeadReader(2 * much);
    const byByte = () => {
      for (let length = 1; length <= bytes.length; length++) reader.read(bytes.subarray(0, length));
    };
    expect(busyTime(byByte)).toBeLessThan(500);
  });
});

function readHead(bytes: Buffer, limit: number): Head {
  return new HeadReader(limit).read(bytes);
}

/** Lines, with `|` for their ends. */
function head(lines: string): Buffer {
  return Buffer.from(`${lines.replaceAll('|', '\r\n')}\r\n\r\n`, 'latin1');
}
