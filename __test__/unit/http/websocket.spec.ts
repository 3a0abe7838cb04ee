/** The handshake of DERP over WebSocket: what refuses it, in the order in which upstream checks, and what is echoed. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { Harness, parse } from './harness.js';
import { Visit } from './visit.js';

const KEY = 'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==';
const VERSION = 'Sec-WebSocket-Version: 13';
const SOUND = `GET /derp HTTP/1.1|Host: derp.test|Connection: Upgrade|Upgrade: websocket|${VERSION}|${KEY}|Sec-WebSocket-Protocol: derp`;
const CHECK = 'GET /generate_204 HTTP/1.1|Host: derp.test';

let main: Harness;

beforeEach(async () => {
  main = await Harness.open();
});

afterEach(() => main.close());

const asked = (lines: string) => new Visit(main.http).ask(lines);

describe('a handshake that is refused', () => {
  it.each<[what: string, lines: string, status: number, text: string, headers?: Record<string, string>]>([
    ['of HTTP/1.0', SOUND.replace('/1.1', '/1.0'), 426, 'a WebSocket needs HTTP/1.1, not HTTP/1.0'],
    ['by another method', SOUND.replace('GET', 'POST'), 405, 'a WebSocket is asked for with GET'],
    [
      'of another version',
      SOUND.replace(VERSION, 'Sec-WebSocket-Version: 8'),
      400,
      'the WebSocket version has to be 13',
      { 'sec-websocket-version': '13' },
    ],
    [
      'of no version',
      SOUND.replace(VERSION, 'X: y'),
      400,
      'the WebSocket version has to be 13',
      { 'sec-websocket-version': '13' },
    ],
    ['without a key', SOUND.replace(KEY, 'X: y'), 400, 'one Sec-WebSocket-Key is needed'],
    ['with two keys', `${SOUND}|${KEY}`, 400, 'one Sec-WebSocket-Key is needed'],
    ...[
      'AdGhlIHNhbXBsZSBub25jZQ==',
      'dGhlIHNhbXBsZSBub25jZQ==A',
      'dGhlIHNhbXBsZSBub25jZB==',
      'dGhl*HNhbXBsZSBub25jZQ==',
      'AAAA',
    ].map(
      (key) =>
        [
          `with the key ${key}`,
          SOUND.replace(KEY, `Sec-WebSocket-Key: ${key}`),
          400,
          'Sec-WebSocket-Key has to be 16 bytes in base64',
        ] as [string, string, number, string],
    ),
  ])(
    'a WebSocket %s is refused with the reason, and its connection ends',
    async (_what, lines, status, text, more = {}) => {
      const visit = await asked(lines);
      const { headers, ...answer } = parse(visit.text);
      expect(answer).toEqual({ status, body: `${text}\n` });
      expect(headers).toEqual({
        'content-type': 'text/plain; charset=utf-8',
        'x-content-type-options': 'nosniff',
        'content-length': String(text.length + 1),
        connection: 'close',
        date: expect.any(String),
        ...more,
      });
      expect(visit.stream.writableEnded).toBe(true);
      expect(main.adopted).toEqual([]);
    },
  );

  it('a WebSocket without Connection: Upgrade is told what it lacks, and may go on', async () => {
    const visit = await asked(SOUND.replace('Connection: Upgrade', 'X: y'));
    expect(parse(visit.text)).toMatchObject({
      status: 426,
      headers: { connection: 'Upgrade', upgrade: 'websocket' },
      body: 'a WebSocket needs the header Connection: Upgrade\n',
    });
    await visit.ask(CHECK);
    expect(visit.text).toContain('HTTP/1.1 204 ');
  });

  it('a WebSocket without Connection: Upgrade that asks for the end of its connection has it at once', async () => {
    const visit = await asked(SOUND.replace('Connection: Upgrade', 'Connection: close'));
    expect(parse(visit.text).status).toBe(426);
    expect(visit.stream.writableEnded).toBe(true);
  });

  it.each([
    ['on another path', SOUND.replace('/derp', '/x'), 200, /<h1>DERP/],
    [
      'without a host',
      SOUND.replace('Host: derp.test', 'X: y'),
      400,
      /^400 Bad Request: missing required Host header$/,
    ],
    ['with an impossible body', `${SOUND}|Content-Length: ${2n ** 63n}`, 400, /^400 Bad Request$/],
  ])('a request for a WebSocket %s is answered like any other request', async (_what, lines, status, body) => {
    for (const connection of ['Connection: Upgrade', 'X: y']) {
      const answer = parse((await asked(lines.replace('Connection: Upgrade', connection))).text);
      expect(answer.status).toBe(status);
      expect(answer.body).toMatch(body);
    }
    expect(main.adopted).toEqual([]);
  });

  it('a request for a WebSocket is an ordinary one where the relay takes no DERP', async () => {
    const without = SOUND.replace('Connection: Upgrade', 'X: y');
    const beside = await new Visit(main.http, { face: 'redirect' }).ask(without);
    expect(parse(beside.text)).toMatchObject({ status: 302, headers: { location: 'https://derp.test/derp' } });
    const other = await Harness.open('main', { derp: false });
    const disabled = await new Visit(other.http).ask(without);
    expect(parse(disabled.text)).toMatchObject({ status: 404, body: 'derp server disabled\n' });
    await other.close();
  });
});

describe('a handshake that is accepted', () => {
  it.each([
    ['with blanks around its key', SOUND.replace(KEY, KEY.replace(': ', ': \t ').concat(' \t')), 'derp'],
    ['with several options of the connection', SOUND.replace('Upgrade|', 'keep-alive, UPGRADE|'), 'derp'],
    ['that offers several subprotocols', SOUND.replace('Protocol: derp', 'Protocol: xderp ,\tDERP, y'), 'DERP'],
  ])('a WebSocket %s is accepted, with the subprotocol as the client spells it', async (_what, lines, protocol) => {
    const { headers, status } = parse((await asked(lines)).text);
    expect(status).toBe(101);
    // The example of RFC 6455.
    expect(headers['sec-websocket-accept']).toBe('s3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
    expect(headers['sec-websocket-protocol']).toBe(protocol);
    expect(main.adopted).toHaveLength(1);
  });

  it('a WebSocket without the subprotocol is disconnected, even if its client does not end', async () => {
    const visit = await asked(SOUND.replace('Protocol: derp', 'Protocol: xderp'));
    expect(visit.text).toMatch(/client must speak the derp subprotocol$/);
    expect(visit.text).not.toMatch(/^Sec-WebSocket-Protocol/im);
    expect(visit.stream.destroyed).toBe(true);
  });

  it('the bytes behind a WebSocket handshake go to the plane', async () => {
    await new Visit(main.http).send(`${SOUND.replaceAll('|', '\r\n')}\r\n\r\nbehind`);
    expect(Buffer.from(main.adopted[0]?.how.leftover ?? '').toString()).toBe('behind');
  });
});
