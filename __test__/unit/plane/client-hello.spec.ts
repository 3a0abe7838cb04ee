import { describe, expect, it } from 'vitest';
import { HelloReader, readClientHello } from '../../../src/plane/js/client-hello.js';
import { clientHello, inRecords } from '../../helpers/tls.js';

describe('the reader of ClientHellos', () => {
  it('a ClientHello is read however records cut it, and whatever follows', async () => {
    const hello = await clientHello('Relay.Test');
    const wanted = { serverName: 'relay.test', alpn: [], schemes: expect.arrayContaining([0x0403, 0x0804]) };
    for (const bytes of [hello, inRecords(hello, 1), inRecords(hello, 7), inRecords(hello, 200)]) {
      expect(readClientHello(bytes)).toEqual(wanted);
      expect(readClientHello(Buffer.concat([bytes, Buffer.from('anything')]))).toEqual(wanted);
    }
  });

  it('an incomplete ClientHello needs more bytes', async () => {
    const hello = inRecords(await clientHello('relay.test'), 100);
    for (let length = 0; length < hello.length; length++)
      expect(readClientHello(hello.subarray(0, length))).toBe('more');
  });

  it('a ClientHello may come in pieces', async () => {
    const hello = inRecords(await clientHello('relay.test'), 5);
    const reader = new HelloReader();
    for (let length = 0; length < hello.length; length++)
      expect(reader.read(Buffer.from(hello.subarray(0, length)))).toBe('more');
    expect(reader.read(hello)).toEqual(readClientHello(hello));
  });

  it('a ClientHello may lack a server name, and an address does not count as one', async () => {
    expect(readClientHello(await clientHello())).toMatchObject({ serverName: '' });
    const named = await clientHello('192.0.2.10x');
    named.write('0', named.indexOf('192.0.2.10x') + 10);
    expect(readClientHello(named)).toMatchObject({ serverName: '' });
  });

  it.each([
    ['a request', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['another message', Buffer.from('160303000402000000', 'hex')],
    ['a message in records without a body', Buffer.from('160303000016030300040100ffff', 'hex')],
    ['a message without a body', Buffer.from('16030300050100000100', 'hex')],
    [
      'a message that is longer than any ClientHello',
      inRecords(Buffer.alloc(20_000, Buffer.from('1603030000010fffff', 'hex')), 1000),
    ],
  ])('%s is no ClientHello', (_, bytes) => {
    expect(readClientHello(bytes)).toBe('other');
  });

  it('a ClientHello with wrong lengths does not need more bytes', async () => {
    const hello = await clientHello('relay.test');
    // Each byte of the body in turn. The reader then neither waits nor throws, and leaves the message to OpenSSL.
    for (let at = 9; at < hello.length; at++) {
      const broken = Buffer.from(hello);
      broken[at] = 255;
      expect(readClientHello(broken)).not.toBe('more');
    }
  });

  it('a ClientHello says which protocols and signatures the client accepts, in its order', () => {
    const bytes = built(
      extension(0x1234, Buffer.from('anything')),
      extension(16, vector(2, vector(1, Buffer.from('h2')), vector(1, Buffer.from('http/1.1')))),
      extension(13, vector(2, Buffer.from('04030804', 'hex'))),
      extension(0, vector(2, Buffer.of(0), vector(2, Buffer.from('Relay.Test')))),
    );
    expect(readClientHello(bytes)).toEqual({
      serverName: 'relay.test',
      alpn: ['h2', 'http/1.1'],
      schemes: [0x0403, 0x0804],
    });
  });

  it('a ClientHello may have no extensions, and a name of another type is none', () => {
    const nothing = { serverName: '', alpn: [], schemes: [] };
    expect(readClientHello(message(UP_TO_EXTENSIONS))).toEqual(nothing);
    expect(readClientHello(built())).toEqual(nothing);
    const named = extension(0, vector(2, Buffer.of(1), vector(2, Buffer.from('relay.test'))));
    expect(readClientHello(built(named))).toEqual(nothing);
    expect(readClientHello(built(extension(16, Buffer.of(0, 9))))).toBe('other');
  });

  it('a record of another type behind the first one is no ClientHello', () => {
    const [first, second] = [Buffer.from('16030300050100ffff01', 'hex'), Buffer.from('1703030001ff', 'hex')];
    expect(readClientHello(first)).toBe('more');
    expect(readClientHello(Buffer.concat([first, second]))).toBe('other');
    // The first byte of the message tells, before the rest has come.
    expect(readClientHello(Buffer.from('160303010002', 'hex'))).toBe('other');
    expect(readClientHello(Buffer.from('160303010001', 'hex'))).toBe('more');
  });

  it('a ClientHello may need more bytes up to 16 KiB', () => {
    const endless = inRecords(Buffer.alloc(20_000, Buffer.from('1603030000010fffff', 'hex')), 16_000);
    expect(readClientHello(endless.subarray(0, (16 << 10) - 1))).toBe('more');
    expect(readClientHello(endless.subarray(0, 16 << 10))).toBe('other');
  });
});

/** Random bytes, no session, one cipher suite, no compression. */
const UP_TO_EXTENSIONS = Buffer.concat([
  Buffer.alloc(34),
  vector(1),
  vector(2, Buffer.from('1301', 'hex')),
  vector(1, Buffer.of(0)),
]);

function vector(width: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length = Buffer.alloc(width);
  length.writeUIntBE(body.length, 0, width);
  return Buffer.concat([length, body]);
}

function extension(type: number, body: Buffer): Buffer {
  return Buffer.concat([Buffer.of(type >> 8, type & 0xff), vector(2, body)]);
}

/** A ClientHello in one record. */
function message(body: Buffer): Buffer {
  return Buffer.concat([Buffer.from('160303', 'hex'), vector(2, Buffer.of(1), vector(3, body))]);
}

function built(...extensions: readonly Buffer[]): Buffer {
  return message(Buffer.concat([UP_TO_EXTENSIONS, vector(2, ...extensions)]));
}
