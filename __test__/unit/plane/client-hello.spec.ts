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
});
